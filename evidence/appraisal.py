"""Appraises an attestation: what a verifier may believe of a device, and the first layer that is not what it should be.

The verdicts are the trust tiers of the EAT Attestation Result (draft-ietf-rats-ear-04, after AR4SI,
draft-ietf-rats-ar4si). Only ``AFFIRMING`` is good news, and it takes all of these:

- The nonce was ours, for this device, in time, and had not been used.
- The layers lead from the device's identity, one signing the next, to the key that signed the token.
- Each chain value of the measured log follows, and the log says the same as the layers.
- Layers and log say exactly what the reference measurements of the release say, and nothing besides.
- The device is who its certificate says, is in operation, and debugging is closed.

**Whom to believe.** A stage can say what it likes of the stage it starts, in the log and in the layer it signs, and
can rewrite the log before it. It cannot change what the stage before it signed of *itself*. So layers are read from
the identity upwards; the first that is not the reference's is the one to name, whatever the log says of it, and
nothing that was measured by it or after it is believed. A stage that was taken over while it ran is still its
measurement: no attestation sees that.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from boot import attestation as eat
from boot import layers, measured
from boot.refusal import Refused
from evidence import said as token_text
from evidence.challenges import Challenges
from evidence.reference import Reference
from evidence.said import Said
from evidence.strict_cbor import Unreadable
from ipc_schemas.release import Layer, Measurement


class Verdict(enum.StrEnum):
    """The trust tiers, from the worst to the best. ``NONE``: there was nothing to compare with."""

    CONTRAINDICATED = "CONTRAINDICATED"
    NONE = "NONE"
    WARNING = "WARNING"
    AFFIRMING = "AFFIRMING"


class Mark(enum.StrEnum):
    """What became of one row of the comparison."""

    SAME = "same"
    DIFFERS = "differs"
    MISSING = "missing"
    EXTRA = "not of this release"
    NOT_BELIEVED = "not believed"


class Row(msgspec.Struct, frozen=True):
    """One thing that was measured. ``stage`` measured it; digests are in hex, empty where there is none."""

    stage: str
    kind: str
    name: str
    expected: str
    found: str
    mark: Mark

    def __str__(self) -> str:
        found = self.found or "nothing"
        return f"{self.kind} {self.name}, measured by {self.stage}: {found} instead of {self.expected or 'nothing'}"


class Check(msgspec.Struct, frozen=True):
    """One thing that has to hold. ``holds`` is None when it could not be looked at: never a pass."""

    name: str
    holds: bool | None
    sentence: str = ""


class Appraisal(msgspec.Struct, frozen=True):
    """What came of it. ``first`` is the first layer, or line, that is not what it should be."""

    verdict: Verdict
    sentence: str
    checks: tuple[Check, ...]
    first: Row | None = None
    rows: tuple[Row, ...] = ()
    release: str = ""
    lifecycle: str = ""
    is_debug: bool | None = None
    issued_at_s: int | None = None
    #: By its certificates, where those were looked at.
    serial: str = ""


#: In the order in which they are made.
CHECKS = ("nonce", "form", "layers", "signature", "device", "log", "measurements", "life")


class Verifier(msgspec.Struct, frozen=True):
    """What a verifier knows of one device before it asks.

    ``identity_public_key`` is the SubjectPublicKeyInfo in the device's certificate, whose path the caller has
    validated; ``serial`` and ``hardware_id`` are those in it. ``reference`` is the release that the device should run,
    ``older`` are releases that it may have run before: genuine, and not affirmed.
    """

    identity_public_key: bytes
    serial: str
    hardware_id: str
    reference: Reference | None
    older: tuple[Reference, ...] = ()
    #: Walls that an experiment leaves out, of ``WALLS``.
    without: frozenset[str] = frozenset()


#: What an experiment may have a verifier not ask (``sandbox.walls``).
WALLS = frozenset({"nonce", "layers", "pathlen", "revocation"})


def appraise(
    token: bytes, nonce: bytes, challenges: Challenges, verifier: Verifier, now_s: float
) -> Appraisal:
    """The verdict over ``token``, the answer to ``nonce``, which is used up. Never raises for what is in the token."""
    why = challenges.use(nonce, verifier.serial, now_s)
    if "nonce" in verifier.without:
        return _appraised(token, None, Check("nonce", True, "not asked"), verifier)
    return _appraised(token, nonce, _check("nonce", why), verifier)


def appraise_kept(
    token: bytes, nonce: bytes, verifier: Verifier, *, is_ours: bool, doubt: str = ""
) -> Appraisal:
    """The verdict over a token that was kept. Whether ``nonce`` was fresh then, only who drew it can know: ``is_ours``
    says that whoever asks did. Otherwise, and with a ``doubt`` of what the verifier rests on, the verdict is no better
    than ``WARNING``.
    """
    unknown = "whether its nonce was fresh then, only who drew it can tell"
    fresh = Check("nonce", True) if is_ours else Check("nonce", None, unknown)
    return _appraised(token, nonce, fresh, verifier, doubt)


def _appraised(
    token: bytes, nonce: bytes | None, fresh: Check, verifier: Verifier, doubt: str = ""
) -> Appraisal:
    """``nonce`` is what the token has to answer, None when nobody asks; ``fresh`` what became of that check so far."""
    try:
        said = token_text.read(token)
    except Unreadable as unreadable:
        return _result([fresh, Check("form", False, f"the token: {unreadable}")])
    if fresh.holds is not False and nonce is not None and said.nonce != nonce:
        fresh = Check("nonce", False, "the token answers another nonce than ours")
    checks = [fresh, Check("form", True), *_who_signed(said, verifier)]
    other = _other_device(said, verifier)
    checks.append(Check("device", None, doubt) if doubt and not other else _check("device", other))
    if not all(check.holds for check in checks[2:4]):
        return _result(checks, said)
    broken = _broken_line(said.lines)
    checks.append(_check("log", broken[0] if broken else ""))
    if verifier.reference is None:
        unknown = Check("measurements", None, "there are no reference measurements to compare with")
        return _result([*checks, unknown, _life(said)], said, first=broken[1] if broken else None)
    rows = _compared(said, verifier.reference, verifier.without)
    release, is_older = _release(said, rows, verifier)
    first = broken[1] if broken else first_difference(rows)
    checks.append(_measurements(first_difference(rows), release, verifier.reference, said, is_older))
    checks.append(_life(said))
    return _result(checks, said, first, rows, release.version if release else "")


def rows_to_show(appraisal: Appraisal) -> list[tuple[str, str, str, str]]:
    """For a page: what was measured (and by whom), expected, found, mark; digests shortened."""
    return [
        (f"{row.name} ({row.kind}, by {row.stage})", row.expected[:12], row.found[:12], row.mark.value)
        for row in appraisal.rows
    ]


# Who signed


def _who_signed(said: Said, verifier: Verifier) -> list[Check]:
    """The checks ``layers`` and ``signature``."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = layers.verify_layers(verifier.identity_public_key, said.layers)
    except Refused as refused:
        return [Check("layers", False, refused.sentence), Check("signature", None, "whose key is not known")]
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(said.signature, said.signed_bytes)
    except (InvalidSignature, ValueError):
        last = said.layers[-1].layer
        return [Check("layers", True), Check("signature", False, f"the token is not signed by {last}'s key")]
    return [Check("layers", True), Check("signature", True)]


# What it says


def _other_device(said: Said, verifier: Verifier) -> str:
    if said.ueid != eat.ueid(verifier.serial):
        return f"the token does not speak for {verifier.serial}"
    reference = verifier.reference
    is_same = reference is None or reference.hardware_id == verifier.hardware_id
    if said.hwmodel != eat.hwmodel(verifier.hardware_id) or not is_same:
        return f"the token or the release is for other hardware than {verifier.hardware_id}"
    return ""


def _broken_line(lines: tuple[Measurement, ...]) -> tuple[str, Row] | None:
    """The first line that breaks the log, as a sentence and as a row of chain values."""
    try:
        measured.replay(lines)
    except measured.LineRefused as refused:
        line = refused.line
        found, expected = line.chain.hex(), refused.expected.hex()
        return refused.sentence, Row(
            line.stage, f"chain of {line.kind}", line.name, expected, found, Mark.DIFFERS
        )
    return None


def _life(said: Said) -> Check:
    """Whether the device is in use and closed. What it says of debugging has to fit its life.

    Before it is provisioned, debugging is open in any case.
    """
    is_closed = said.debug_status == eat.DEBUG_CLOSED
    if said.debug_status not in (eat.DEBUG_OPEN, eat.DEBUG_CLOSED) or (
        is_closed and said.lifecycle not in eat.LOCKED
    ):
        return Check(
            "life", False, f"debug status {said.debug_status} in a {said.lifecycle} device cannot be"
        )
    if said.lifecycle == "decommissioned":
        return Check("life", False, "the device was taken out of use, for good")
    if not is_closed:
        return Check("life", None, "debugging is open: the device may have been changed since it measured")
    return Check("life", True)


# The comparison


def _compared(said: Said, reference: Reference, without: frozenset[str]) -> tuple[Row, ...]:
    """As ``compare``; without the wall ``layers`` the log is believed as it is."""
    if "layers" in without:
        return tuple(row for stage in measured.STAGES for row in _line_rows(stage, said.lines, reference))
    return compare(said, reference)


def compare(said: Said, reference: Reference) -> tuple[Row, ...]:
    """Layers and lines beside the reference's, in the order of the boot: each layer first, then what it consists of.

    What a layer that differs has measured, and all that comes after, is not believed.
    """
    rows: list[Row] = []
    platform: list[Row] = []  # what was measured of it so far
    believed = True
    for stage in measured.STAGES:
        layers, lines = _layer_rows(stage, said, reference), _line_rows(stage, said.lines, reference)
        wrong = [row for row in layers if row.mark is not Mark.SAME]
        platform += [row for row in lines if row.kind == "platform" and row.found]
        if not believed:
            layers, lines = _disbelieved(layers), _disbelieved(lines)
        elif wrong:
            lines = _admitted(wrong[0], lines, platform)
            believed = False
        rows += layers + lines
    return tuple(rows)


def _disbelieved(rows: list[Row]) -> list[Row]:
    return [msgspec.structs.replace(row, mark=Mark.NOT_BELIEVED) for row in rows]


def _admitted(layer: Row, lines: list[Row], platform: list[Row]) -> list[Row]:
    """What a stage measured before it started a wrong ``layer``, which may have rewritten it since.

    Believed is only what makes up the layer, and that only if it gives the measurement that the stage signed: its
    image, and all of the ``platform`` that it and those before it measured.
    """
    images = [row for row in lines if row.kind == "image" and row.name == layer.name and row.found]
    parts = [(row.name, bytes.fromhex(row.found)) for row in platform]
    gives = measured.layer_measurement(bytes.fromhex(images[0].found), parts).hex() if images else ""
    believed = [*images, *platform] if gives and gives == layer.found else []
    return [row if row in believed else _disbelieved([row])[0] for row in lines]


def first_difference(rows: Sequence[Row]) -> Row | None:
    """The one to name: where a layer differs, the image or part of it that does, if the log admits to it.

    A release that differs is named only when nothing in it does: every other release differs in that, too.
    """
    wrong = [row for row in rows if row.mark not in (Mark.SAME, Mark.NOT_BELIEVED)]
    layers = [row for row in wrong if row.kind == "layer"]
    if layers:
        admitted = [
            row for row in wrong if row.stage == layers[0].stage and row.kind in ("image", "platform")
        ]
        return admitted[0] if admitted else layers[0]
    return next((row for row in wrong if row.kind != "release"), wrong[0] if wrong else None)


def _layer_rows(stage: str, said: Said, reference: Reference) -> list[Row]:
    """The layers that ``stage`` vouches for: by the reference, at the same place in the token's chain."""
    rows = []
    for index, expected in enumerate(reference.layers):
        if expected.stage != stage:
            continue
        wanted, found = (
            expected.measurement.hex(),
            _layer_found(said.layers[index : index + 1], expected.layer),
        )
        mark = Mark.SAME if found == wanted else Mark.DIFFERS if found else Mark.MISSING
        rows.append(Row(stage, "layer", expected.layer, wanted, found, mark))
    beyond = said.layers[len(reference.layers) :] if stage == measured.STAGES[-1] else ()
    return rows + [Row(stage, "layer", x.layer, "", x.measurement.hex(), Mark.EXTRA) for x in beyond]


def _layer_found(layers: Sequence[Layer], name: str) -> str:
    """The measurement of the one layer that is there, with its name in front if it should have another."""
    return "".join(
        x.measurement.hex() if x.layer == name else f"{x.layer} {x.measurement.hex()}" for x in layers
    )


def _line_rows(stage: str, lines: Sequence[Measurement], reference: Reference) -> list[Row]:
    """The lines of ``stage``. One that is there twice differs if either does."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if line.stage == stage:
            found.setdefault((line.kind, line.name), []).append(line.digest.hex())
    rows = []
    for expected in (line for line in reference.lines if line.stage == stage):
        wanted = expected.digest.hex()
        digests = found.pop((expected.kind, expected.name), [])
        other = next((digest for digest in digests if digest != wanted), wanted if digests else "")
        mark = Mark.SAME if other == wanted else Mark.DIFFERS if other else Mark.MISSING
        rows.append(Row(stage, expected.kind, expected.name, wanted, other, mark))
    return rows + [
        Row(stage, kind, name, "", digests[0], Mark.EXTRA) for (kind, name), digests in found.items()
    ]


def _release(said: Said, rows: Sequence[Row], verifier: Verifier) -> tuple[Reference | None, bool]:
    """Which known release it is, to the last line, and whether that is an older one."""
    if first_difference(rows) is None:
        return verifier.reference, False
    for older in verifier.older:
        if first_difference(_compared(said, older, verifier.without)) is None:
            return older, True
    return None, False


def _measurements(
    first: Row | None, release: Reference | None, wanted: Reference, said: Said, is_older: bool
) -> Check:
    if release is None:
        return Check("measurements", False, f"{first}")
    if (said.firmware, said.version) != (release.device, release.version):
        name = f"{said.firmware} {said.version}"
        return Check("measurements", False, f"it calls itself {name}, and measured {release.version}")
    if is_older:
        sentence = f"it runs release {release.version}, not {wanted.version}; first: {first}"
        return Check("measurements", None, sentence)
    return Check("measurements", True)


# The verdict


def _check(name: str, why: str) -> Check:
    return Check(name, not why, why)


def _result(
    checks: list[Check],
    said: Said | None = None,
    first: Row | None = None,
    rows: tuple[Row, ...] = (),
    release: str = "",
) -> Appraisal:
    made = {check.name for check in checks}
    unmade = [Check(name, None, "not looked at") for name in CHECKS if name not in made]
    every = sorted([*checks, *unmade], key=lambda check: CHECKS.index(check.name))
    verdict = _verdict(every, is_compared=bool(rows))
    doubts = [check.sentence for check in checks if not check.holds and check.sentence]
    sentence = "; ".join(doubts) or f"it runs release {release}, as it should"
    return Appraisal(
        verdict=verdict,
        sentence=sentence,
        checks=tuple(every),
        first=first,
        rows=rows,
        release=release,
        lifecycle=said.lifecycle if said else "",
        is_debug=said.debug_status != eat.DEBUG_CLOSED if said else None,
        issued_at_s=said.issued_at_s if said else None,
    )


def _verdict(checks: Sequence[Check], *, is_compared: bool) -> Verdict:
    """The worst that any check allows. What was not looked at is no pass."""
    if any(check.holds is False for check in checks):
        return Verdict.CONTRAINDICATED
    if not is_compared:
        return Verdict.NONE
    return Verdict.AFFIRMING if all(check.holds for check in checks) else Verdict.WARNING
