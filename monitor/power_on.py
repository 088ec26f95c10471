"""One device from power-on to power-off: waits for one ``PowerOn`` from whoever switched it on, runs, and ends.

Exit status: 0 the run ended as asked, 1 it was stopped by a fault, 2 what was ordered was refused, 75 what lies in
flash was refused, and the device is to be started again, 143 (128 + SIGTERM) it was asked to end before it was switched
on.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

import msgspec

from boot import stage
from boot.refusal import Refused
from ipc_schemas import codec, links
from ipc_schemas.release import Handover
from monitor import journal, loader, rules, schedule
from monitor.core import Core
from monitor.design import Design, DesignError
from monitor.flash import STAGE, Content, Flash
from monitor.priority import Priority, rt_share_us
from monitor.seat import StopRun
from monitor.vault import Vault
from monitor.warden import Warden
from sandbox import linux, passport, scheduling, walls
from sandbox.launcher import Launcher, LaunchError


class Refusal(Exception):
    """The device does not start; the sentence says why and what to do."""


_ORDER_BYTES_MAX = 256 << 20
_REFUSALS = (
    DesignError,
    Refusal,
    codec.Refused,
    schedule.ClockRefused,
    LaunchError,
    journal.JournalLost,
)


class Speaker:
    """Sends notes to the console without ever waiting for it; what does not fit is counted."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.lost = 0

    def tell(
        self, frame: int, kind: str, partition: str, text: str, facts: dict[str, object] | None = None
    ) -> None:
        """One note."""
        note = links.Note(frame, kind, partition, text[:4000], facts or {})  # type: ignore[arg-type]
        try:
            self._control.send(codec.encode(note), socket.MSG_DONTWAIT)
        except OSError:
            self.lost += 1


def one_device(handover: Handover, launcher: Launcher, host: passport.Begun) -> int:
    """Run one device from power-on to power-off. Returns the exit status; the launcher stays the caller's."""
    prepare()
    control = socket.socket(fileno=handover.control)
    try:
        chip = stage.element_of(handover)
        vault = Vault(handover, chip)
        flash = Flash(msgspec.structs.replace(handover, secret=b""), chip.facts())
        os.close(handover.element)
        return stand_by(control, launcher, host.passport(), flash, vault)
    except Refused as refused:
        tell_refusal(Speaker(control), handover.slot, refused)
        return links.EXIT_RESET


def tell_refusal(speaker: Speaker, slot: str, refused: Refused) -> None:
    """As the stages before tell theirs."""
    facts = msgspec.to_builtins(stage.refusal_of(STAGE, refused))
    speaker.tell(0, "boot_refused", "", f"slot {slot}: {refused}", facts)


def prepare() -> None:
    """Take the monitor's name, and end in order when asked to before anything was switched on."""
    linux.set_name("bh-monitor")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def stand_by(
    control: socket.socket, launcher: Launcher, host: passport.Passport, flash: Flash, vault: Vault | None
) -> int:
    """Wait for one order on ``control`` and carry it out. Returns the exit status. The launcher stays the caller's.

    ``vault`` is what a monitor that was booted by itself has; one out of a nursery has none.
    """
    control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    speaker = Speaker(control)
    try:
        request, descriptors, _, _ = socket.recv_fds(control, 16, 1)
        if not request or not descriptors:
            return 0
        with open(descriptors[0], "rb") as content:
            content.seek(0)
            order = codec.Codec(links.PowerOn).decode_loosely(content.read(_ORDER_BYTES_MAX))
        return _power_on(order, host, launcher, speaker, control, flash, vault)
    except Refused as refused:
        tell_refusal(speaker, flash.slot, refused)
        # A nursery's has no power supply of its own that could start it again; and settings lie in no slot, so that no
        # other slot, and no other start, can do better.
        return links.EXIT_RESET if vault is not None and refused.rule != "seal" else 2
    except _REFUSALS as error:
        speaker.tell(0, "refused", "", str(error))
        return 2
    except (
        Exception
    ) as error:  # a console that cannot be heard or an order that no rule foresaw: refuse in a sentence
        speaker.tell(0, "refused", "", f"the monitor failed before the boot: {type(error).__name__}: {error}")
        return 2


def _leave(number: int, _frame: FrameType | None) -> None:
    """Asked to end before anything was switched on: clean up, and say which signal it was, as shells do."""
    raise SystemExit(128 + number)


def _power_on(
    order: links.PowerOn,
    host: passport.Passport,
    launcher: Launcher,
    speaker: Speaker,
    control: socket.socket,
    flash: Flash,
    vault: Vault | None,
) -> int:
    started_s = time.monotonic()
    early: list[int] = []
    signal.signal(
        signal.SIGTERM, lambda number, _: early.append(number)
    )  # heard once there is something to end
    content = flash.content(order.flash, order.slot, order.without)
    order = msgspec.structs.replace(order, without=tuple(sorted(content.left_out)))
    speaker.tell(
        0, "chain", "", f"release {content.release.version} verified", _told(content, flash.root_sha256)
    )
    order = _settled(order, content, vault, speaker)
    design = content.design.with_walls(order.restored)
    module = loader.load_schemas(design)
    findings = rules.unaccepted(design, rules.check(design, module))
    if findings:
        raise Refusal(f"the design breaks {len(findings)} rule(s); first: {findings[0].message}")
    up = _standing_walls(order, design, host, speaker)
    clock = schedule.parse_clock(order.clock)
    priority = _priority(order, design, up, clock, launcher, speaker)
    warden = _warden(order, design, content, up, launcher, priority)
    processes: list[int | str] = ["self"]
    if vault is not None:  # a nursery's template was forked from this very process
        launcher.wait_ready()
        processes.append(launcher.template_pid)
    flash.require_mapped(content, processes)
    book = journal.Writer(Path(order.run_folder) / "journal.bhj")
    digests = {name: image.digest for name, image in content.partitions.items()}
    book.append(_header(order, design, digests))
    types = {port.message: getattr(module, port.message) for port in design.ports}
    core = Core(design, types, warden, clock, book, speaker.tell, control.fileno())

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        core.lives.stop_asked = "SIGTERM"

    signal.signal(signal.SIGTERM, ask_to_stop)
    if early:
        ask_to_stop(early[0], None)

    def confirm() -> None:
        critical = [core.lives.seats[p.name] for p in design.partitions if p.is_critical]
        if vault is None:
            return
        if all(seat.life is not None and not seat.is_starting for seat in critical):
            flash.require_unchanged(content)
            flash.confirm(vault.chip, content)
            _seal(order, content, vault, speaker)
        vault.close()

    return _run(core, order, book, speaker, started_s, confirm)


def _settled(order: links.PowerOn, content: Content, vault: Vault | None, speaker: Speaker) -> links.PowerOn:
    """The challenge of the order is answered, and the settings that the world does not give are those in flash.

    Raises ``Refused``.
    """
    if order.nonce and vault is None:
        speaker.tell(0, "attestation", "", "not attested: warm start, this monitor has no secret of its own")
    if vault is None:
        return order
    if order.nonce:
        answer = vault.answer(order.nonce, content.log, content.release)
        speaker.tell(0, "attestation", "", "the challenge is answered", answer)
    opened = vault.settings(name for name in _sealable(content.design) if name not in order.configs)
    if opened:
        _tell_settings(speaker, f"{_of(opened)} were opened: they lay sealed in flash", opened, content)
    return msgspec.structs.replace(order, configs={**order.configs, **opened})


def _seal(order: links.PowerOn, content: Content, vault: Vault, speaker: Speaker) -> None:
    """What has proven itself may keep its settings. That it cannot is told, and no reason to stop a therapy."""
    kept = {name: order.configs[name] for name in _sealable(content.design) if name in order.configs}
    try:
        sealed = vault.keep(kept)
        if order.successor:
            vault.chip.authorise_successor(order.successor)
    except Refused as refused:
        speaker.tell(0, "settings", "", f"not sealed: {refused}", {"failed": True})
        return
    if sealed:
        found = content.release
        _tell_settings(
            speaker, f"{_of(sealed)} are sealed to {found.device} {found.version}", sealed, content
        )


def _tell_settings(speaker: Speaker, text: str, names: Iterable[str], content: Content) -> None:
    speaker.tell(0, "settings", "", text, {"of": sorted(names), "release": content.release.version})


def _of(names: Iterable[str]) -> str:
    return f"the settings of {', '.join(sorted(names))}"


def _sealable(design: Design) -> list[str]:
    """The critical partitions that have settings."""
    return [p.name for p in design.partitions if p.is_critical and p.config is not None]


def _run(
    core: Core,
    order: links.PowerOn,
    book: journal.Writer,
    speaker: Speaker,
    started_s: float,
    confirm: Callable[[], None],
) -> int:
    why, is_fault = "", False
    try:
        core.boot()
        confirm()
        up = "the critical partitions are up" if core.lives.are_starting else "all partitions are up"
        speaker.tell(0, "booted", "", up, {"boot_ms": (time.monotonic() - started_s) * 1000})
        core.run(order.frames)
    except StopRun as stop:
        why, is_fault = str(stop), stop.is_fault
    except journal.JournalLost as lost:
        why, is_fault = f"safe state: the journal cannot be written: {lost}", True
    except Refused as refused:
        why, is_fault = f"safe state: {refused}", True
    except Exception as error:  # a fault of the monitor's own: whatever it is, nothing may live on unwatched
        why, is_fault = f"safe state: the monitor failed: {type(error).__name__}: {error}"[:500], True
    finally:
        core.lives.shut_down()
    try:
        core.close_book(why)
    except journal.JournalLost as lost:
        why, is_fault = why or str(lost), True
    facts: dict[str, object] = {"chain": book.chain.hex(), "is_fault": is_fault, "notes_lost": speaker.lost}
    for name, values in core.lateness_ms.items():
        if values:
            facts[f"lateness_ms.{name}"] = [f"{value:.4f}" for value in values]
            facts[f"unopened.{name}"] = [str(frame) for frame in core.unopened[name]]
    speaker.tell(max(core.frames_done - 1, 0), "end", "", why or "all frames done", facts)
    return 1 if is_fault else 0


def _standing_walls(
    order: links.PowerOn, design: Design, host: passport.Passport, speaker: Speaker
) -> frozenset[str]:
    """The walls that will stand: all but those left out and those this host cannot raise."""
    is_root = os.geteuid() == 0
    unavailable = host.unavailable
    asked = frozenset(order.without)
    up = walls.standing(asked | unavailable, is_root=is_root)
    for partition in design.partitions:
        missing = sorted(w for w in partition.walls & unavailable if not walls.WALLS[w].root_only)
        if missing and not order.accept_degraded and not asked:
            why = host[missing[0]]
            raise Refusal(
                f"{partition.name} requires the wall {missing[0]}, which this host cannot raise ({why.reason}); "
                f"{why.remedy}, or accept a degraded run with --degraded"
            )
    facts: dict[str, object] = {
        "standing": sorted(up),
        "off": sorted(asked),
        "unavailable": sorted(unavailable),
    }
    speaker.tell(0, "walls", "", f"{len(up)} walls stand", facts)
    return up


def _priority(
    order: links.PowerOn,
    design: Design,
    up: frozenset[str],
    clock: schedule.Clock,
    launcher: Launcher,
    speaker: Speaker,
) -> Priority:
    """What the host grants of the priority that was asked for; the monitor takes its own share at once."""
    if not order.priority:
        return Priority(design, None, speaker.tell)
    if order.priority != "rt" or clock.is_virtual:
        raise Refusal(
            f"priority {order.priority!r} on the clock {order.clock}: the one priority there is, is rt, and it means "
            "something on the real clock only; use --clock real"
        )
    grant = scheduling.probe(in_group="cpucg" in up, share_us=rt_share_us(design))
    speaker.tell(0, "scheduling", "", "what the host grants of the priority asked for", grant.facts)
    launcher.wait_ready()
    scheduling.place_monitor(launcher.template_pid, grant)
    return Priority(design, grant, speaker.tell)


def _told(content: Content, root_sha256: bytes) -> dict[str, object]:
    """The root that this device trusts and the measured log, line by line, for whoever switched the device on."""
    lines = {
        f"{number:02} {line.stage} {line.kind} {line.name}": [line.version, line.digest.hex(), line.signer]
        for number, line in enumerate(content.log.lines)
    }
    not_asked = walls.in_order(content.left_out & walls.BOOT_WALL_NAMES)
    told = {"root": root_sha256.hex(), "monotonic_s": time.monotonic(), "not_asked": not_asked}
    return {**told, **lines}


def _warden(
    order: links.PowerOn,
    design: Design,
    content: Content,
    up: frozenset[str],
    launcher: Launcher,
    priority: Priority,
) -> Warden:
    for partition in design.partitions:
        if partition.config is not None and partition.name not in order.configs:
            raise Refusal(
                f"{partition.name} needs the configuration {partition.config!r}; the world gives none"
            )
    run_folder = Path(order.run_folder)
    run_folder.mkdir(parents=True, exist_ok=True)
    return Warden(
        design,
        design.schemas,
        up,
        run_folder,
        dict(content.partitions),
        content.gate,
        {name: manifest.entry for name, manifest in content.manifests.items()},
        order.configs,
        launcher,
        priority,
    )


def _header(order: links.PowerOn, design: Design, digests: dict[str, str]) -> journal.Header:
    ports = tuple((port.number, port.full_name) for port in design.ports)
    without = (*order.without, *design.lacking)
    accepts = tuple(sorted(design.accepts))
    return journal.Header(
        journal.FORMAT, design.name, design.digest, order.frames, without, digests, ports, accepts
    )
