"""Writes a design to measure: a folder with device.toml, the message types, and each partition's image."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: What a partition can do, and the code that does it.
ROLES = {
    "source": "source:Source",
    "sink": "sink:Sink",
    "violator": "violator:Violator",
    "beating": "beating:Beating",
    "spinning": "spinning:Spinning",
    "touching": "touching:Touching",
    "forking": "forking:Forking",
}
WORLD_ENTRY = "benchmarks.device.still_world:StillWorld"

#: Every event restarts, but for those rows a part changes.
HEALTH = dict.fromkeys(
    [
        "bad_message",
        "bad_sequence",
        "spoofed_sender",
        "rate_exceeded",
        "rejections_exceeded",
        "window_overrun",
        "partition_exit",
        "forbidden_syscall",
        "memory_exceeded",
        "cpu_exceeded",
        "gate_died",
        "gate_lied",
        "log_flood",
    ],
    "restart",
)
#: Budgets so wide that only the thing measured is measured.
WIDE_MS = 20_000


@dataclass(frozen=True)
class Part:
    """One partition: its name, what it does, and its window; windows follow one another in the frame."""

    name: str
    role: str
    is_therapy: bool = False
    budget_ms: int = WIDE_MS
    restarts_max: int = 3
    health: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wire:
    """One channel. ``bytes_max`` is that of the canonical payload."""

    source: str
    sink: str
    message: str
    bytes_max: int
    messages_max: int
    is_queuing: bool


@dataclass(frozen=True)
class Load:
    """What sources send: messages per frame, and the size of each canonical payload in bytes."""

    messages_per_frame: int = 1
    message_bytes: int = 38

    @property
    def data_bytes(self) -> int:
        """The length of ``Packet.data`` that gives a payload of ``message_bytes``."""
        overhead = 8 if self.message_bytes <= 8 + 255 else 9
        return self.message_bytes - overhead


def packet_payload(load: Load) -> bytes:
    """The canonical payload that a source with this load sends."""
    from benchmarks.device.design_schemas import Packet
    from ipc_schemas import codec

    return codec.encode(Packet(bytes((7,)) * load.data_bytes))


def write(
    folder: Path, name: str, parts: list[Part], wires: list[Wire], load: Load, frame_ms: int = 0
) -> Path:
    """Write the design into ``folder`` and return it.

    Without a ``frame_ms`` the frame is as long as its windows.
    """
    frame_ms = frame_ms or sum(part.budget_ms for part in parts)
    folder.mkdir(parents=True, exist_ok=True)
    constants = f"\nMESSAGES_PER_FRAME = {load.messages_per_frame}\nDATA_BYTES = {load.data_bytes}\n"
    source = (HERE / "design_schemas.py").read_text()
    # The bound follows the load, so that the largest message fits its port whatever the load is.
    source = source.replace("DATA_BYTES_MAX = 8_192", f"DATA_BYTES_MAX = {max(load.data_bytes, 32)}")
    (folder / "schemas.py").write_text(source + constants)
    for role in {part.role for part in parts}:
        image = folder / f"image_{role}"
        image.mkdir(exist_ok=True)
        shutil.copy(HERE / f"{ROLES[role].partition(':')[0]}.py", image)
    (folder / "device.toml").write_text(_text(name, parts, wires, frame_ms))
    return folder


def _text(name: str, parts: list[Part], wires: list[Wire], frame_ms: int) -> str:
    blocks = [
        f'[device]\nname = "{name}"\nframe_ms = {frame_ms}\nschemas = "schemas.py"\nlabels = []',
        f'[world]\nentry = "{WORLD_ENTRY}"\nbudget_ms = {min(WIDE_MS, frame_ms)}',
        *(_partition(part) for part in parts),
        *(_channel(wire) for wire in wires),
        "[schedule]\nwindows = [\n" + "".join(_windows(parts)) + "]",
    ]
    return "\n\n".join(blocks) + "\n"


def _partition(part: Part) -> str:
    health = HEALTH | part.health
    rows = "\n".join(f'{event} = "{action}"' for event, action in health.items())
    kind = (
        'safety_class = "C"\ncritical = true' if part.is_therapy else 'safety_class = "A"\ncritical = false'
    )
    return f"""[partition.{part.name}]
{kind}
networked = false
image = "image_{part.role}"
entry = "{ROLES[part.role]}"
walls = "all"

[partition.{part.name}.limits]
memory_mb = 96
processes = 1
files = 32
scratch_kb = 0
cpu_ms_per_frame = 60_000
log_bytes_per_frame = 65_536

[partition.{part.name}.restart]
restarts = {part.restarts_max}
within_frames = 1_000_000

[partition.{part.name}.health]
{rows}"""


def _channel(wire: Wire) -> str:
    kind, sink = ("queuing", f"{{ depth = {wire.messages_max} }}") if wire.is_queuing else ("sampling", "{}")
    return f"""[[channel]]
from = "{wire.source}"
message = "{wire.message}"
kind = "{kind}"
bytes = {wire.bytes_max}
messages_per_frame = {wire.messages_max}
to = {{ "{wire.sink}" = {sink} }}"""


def _windows(parts: list[Part]) -> Iterator[str]:
    offset_ms = 0
    for part in parts:
        yield f'  {{ partition = "{part.name}", offset_ms = {offset_ms}, budget_ms = {part.budget_ms} }},\n'
        offset_ms += part.budget_ms
