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


#: Each rule, and what it keeps out. All but ``ALWAYS`` can be left out for an experiment, as walls.
RULES = {
    "form": "what lies in flash has to be whole, canonical and within its bounds before anything of it is believed",
    "signature": "each signature of a manifest or a release is good, and there is one",
    "chain": "each signer's certificates lead to the root in the fuses: dates, path length, names, usages",
    "revocation": "no certificate of the chain is on its issuer's revocation list, and each list is there",
    "scope": "a signer vouches only for the partitions, roles and safety classes in its certificate",
    "digest": "the image has the length and the digest in its manifest",
    "release": "all images belong to one release, signed by the device's own manufacturer",
    "hardware": "manifest and release are for this hardware",
    "floor": "no image is older than the floor in the secure element",
    "swap": "what runs is what was verified: a sealed memory file, whatever becomes of the flash",
    "platform": "interpreter and packages have the digests in the manifest",
    "element": "the secure element does nothing unknown, out of turn or backwards, and nothing out of broken cells",
    "layer": "each layer's key is signed by the layer before it, the first one's by the device's identity",
    "seal": "what was sealed opens only under the secret it was sealed under, for the same purpose, unchanged",
}
#: Rules that no experiment leaves out: without them there is nothing that could be told.
ALWAYS = frozenset({"form", "element", "layer", "seal"})
