"""The measured-boot log: what each stage measured before it ran or used it, each line chained to all before it.

A log is a value. A stage appends a line *before* it starts what the line speaks of, and hands the log on; nobody can
take a line away without breaking every later chain value. The chain alone proves nothing of who wrote it: the layer
certificates do, and the signature of the attestation that the log goes into.

- Line n holds SHA-256 of (chain value of line n-1, canonical encoding of line n with zeros for its chain value).
- Before the first line the chain value is ``START``.
- Lines come in the order of the stages; a log has at most ``LINES_MAX``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from boot.refusal import Refused
from ipc_schemas import codec
from ipc_schemas.release import Manifest, Measurement, Role

Kind = Literal["release", "image", "platform"]

START = hashlib.sha256(b"bulkhead measured log 1\0").digest()
LINES_MAX = 512
#: Stages that measure, in the order in which they run.
STAGES = ("rom", "bootloader", "monitor")
#: Which stage measures the images of a role, and what their manifests say of the platform. ROM measures the release.
MEASURED_BY: dict[Role, str] = {
    "bootloader": "rom",
    "monitor": "bootloader",
    "design": "monitor",
    "partition": "monitor",
}
#: Roles whose images measure others in their turn. Each is a layer, with a key of its own.
LAYERS: tuple[Role, ...] = ("bootloader", "monitor")

_NOTHING = bytes(32)
_LAYER = b"bulkhead layer's measurement 1\0"
_IN_RELEASE = b"bulkhead measurement in a release 1\0"
_LINE = codec.Codec(Measurement)


class Log(msgspec.Struct, frozen=True):
    """The lines so far. Only ``appended`` and ``replay`` make one that holds."""

    lines: tuple[Measurement, ...] = ()

    @property
    def digest(self) -> bytes:
        """The last chain value: one value for everything that was measured, and in which order."""
        return self.lines[-1].chain if self.lines else START

    @property
    def platform(self) -> dict[str, bytes]:
        """Each part of the platform that was measured, whoever did it, with its digest."""
        return {line.name: line.digest for line in self.lines if line.kind == "platform"}

    def layer_measurement(self, manifest: Manifest, image_sha256: bytes) -> bytes:
        """What the layer of this image follows from, by what was found, whatever the manifest says."""
        return layer_measurement(image_sha256, [(part, self.platform[part]) for part, _ in manifest.platform])

    def appended(self, stage: str, kind: Kind, name: str, version: str, digest: bytes, signer: str) -> Log:
        """The log with one more line. Raises ``Refused`` (``form``) when it is full, or for a line out of bounds."""
        if len(self.lines) >= LINES_MAX:
            raise _refused(f"the measured log is full: it has {LINES_MAX} lines", "measure less")
        bare = Measurement(stage, kind, name, version, digest, signer, _NOTHING)
        try:
            _LINE.decode(codec.encode(bare))
        except codec.Refused as refused:
            raise _refused(f"{kind} {name!r} makes no line of the measured log: {refused}", _FIX) from None
        require_order((*self.lines[-1:], bare), len(self.lines))
        return Log((*self.lines, msgspec.structs.replace(bare, chain=_chained(self.digest, bare))))


def replay(lines: Sequence[Measurement]) -> Log:
    """The log that these lines are. Raises ``LineRefused`` for the first that does not follow from those before."""
    if len(lines) > LINES_MAX:
        raise LineRefused(LINES_MAX, lines[LINES_MAX], START, f"a log has at most {LINES_MAX} lines")
    chain = START
    for index, line in enumerate(lines):
        chain = _chained(chain, line)
        if line.chain != chain:
            raise LineRefused(index, line, chain, "does not follow from the lines before it")
        require_order(lines[max(0, index - 1) : index + 1], index)
    return Log(tuple(lines))


class LineRefused(Refused):
    """One line of a log does not stand where it may. ``expected`` is the chain value that it should have."""

    def __init__(self, index: int, line: Measurement, expected: bytes, why: str) -> None:
        sentence = f"line {index} of the measured log ({line.stage}, {line.kind} {line.name}): {why}"
        super().__init__("form", sentence, _FIX, image=line.name)
        self.index = index
        self.line = line
        self.expected = expected


def require_order(pair: Sequence[Measurement], index: int = 0) -> None:
    """Raises ``LineRefused`` unless the last stage of ``pair`` is known, and runs no earlier than the first."""
    last = pair[-1]
    if last.stage not in STAGES:
        raise LineRefused(index, last, last.chain, f"{last.stage} is no stage that measures")
    if STAGES.index(last.stage) < STAGES.index(pair[0].stage):
        raise LineRefused(index, last, last.chain, f"{last.stage} had already handed on to {pair[0].stage}")


def registers(lines: Iterable[Measurement]) -> dict[str, bytes]:
    """For each stage one value over what it measured, whatever the others did (as the PCRs of a TPM).

    A register starts at zeros, and is extended to SHA-256 of itself and the line without its chain value.
    """
    values: dict[str, bytes] = {}
    for line in lines:
        values[line.stage] = _chained(values.get(line.stage, _NOTHING), line)
    return values


def layer_measurement(image_sha256: bytes, platform: Iterable[tuple[str, bytes]]) -> bytes:
    """What a layer's key follows from: its image, and each part of the platform that it is pinned to."""
    parts = sorted(platform)
    if not parts:
        return image_sha256
    return hashlib.sha256(_LAYER + codec.encode([image_sha256, parts])).digest()


def release_digest(lines: Iterable[Measurement]) -> bytes:
    """The digest of the release that ROM has measured. Raises ``Refused`` when the log has no such line."""
    found = next((line.digest for line in lines if line.kind == "release"), None)
    if found is None:
        raise _refused("the measured log names no release", _FIX)
    return found


def register_measurement(measurement: bytes, release_sha256: bytes) -> bytes:
    """What the element's register is extended by for the monitor: its layer's measurement, and the release.

    So what is sealed is sealed to every image of the release, and not only to the stages that the element hears of.
    """
    return hashlib.sha256(_IN_RELEASE + measurement + release_sha256).digest()


def expected_measurement(manifest: Manifest) -> bytes:
    """The ``layer_measurement`` of an image that is what its manifest says."""
    return layer_measurement(manifest.image_sha256, manifest.platform)


def _chained(before: bytes, line: Measurement) -> bytes:
    return hashlib.sha256(before + codec.encode(msgspec.structs.replace(line, chain=_NOTHING))).digest()


_FIX = "do not believe this log; start the device again"


def _refused(sentence: str, remedy: str) -> Refused:
    return Refused("form", sentence, remedy)
