"""Why a stage does not go on: the one exception of this room."""

from __future__ import annotations


class Refused(Exception):
    """A rule of the chain of trust is broken.

    ``rule`` is a word of ``RULES``, ``sentence`` what is wrong with the value in it, ``remedy`` what to do. ``image``
    and ``signer`` are filled in by whoever knows them.
    """

    def __init__(self, rule: str, sentence: str, remedy: str, image: str = "", signer: str = "") -> None:
        super().__init__(f"{sentence}; {remedy}")
        assert rule in RULES, rule
        self.rule = rule
        self.sentence = sentence
        self.remedy = remedy
        self.image = image
        self.signer = signer


#: Rules that no experiment leaves out: without them there is nothing that could be told. ``form``: what lies in flash
#: is whole, canonical and within its bounds. ``element``: the secure element does nothing unknown, out of turn or
#: backwards. ``layer``: each layer's key is signed by the layer before it. ``seal``: what was sealed opens only under
#: the secret it was sealed under.
ALWAYS = frozenset({"form", "element", "layer", "seal"})
#: All others are walls: ``sandbox.walls`` says what each keeps out.
RULES = ALWAYS | {
    "signature", "chain", "revocation", "scope", "digest", "release", "hardware", "floor", "swap", "platform",
}  # fmt: skip
