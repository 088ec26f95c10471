"""A start of a device as a page: what each stage verified, whose it is, what was asked, and how long it took.

Where somebody had the flash before: who refuses what, by which rule, and what the device's owner is to do.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console.telling import Link, chain_sentences, common_name
from evidence.command import command
from evidence.sealing_in_use import Start, as_they_have_to
from faults.words import counted
from sandbox import walls

STAGES = {"rom": "ROM", "bootloader": "bootloader", "monitor": "monitor", "device": "device"}
#: What the time of each went into.
WORK = {
    "rom": "reads and judges the release and the bootloader",
    "bootloader": "the monitor; measures the interpreter and the packages",
    "monitor": "loads itself; the design and each partition's image",
    "device": "from its order to the first window (what the monitor judges is in both)",
}


#: Of a digest; all of it is in the JSON object.
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Refusal:
    """Who did not go on, over which image of whom, by which rule, why, and what to do.

    ``slot`` is empty where the stage does not tell which one it read.
    """

    stage: str
    image: str
    signer: str
    rule: str
    sentence: str
    remedy: str
    slot: str = ""


@dataclass(frozen=True, slots=True)
class Attacked:
    """What was done to the flash before: the attack as it was named, its id, and its sentence."""

    name: str
    attack_id: str
    plain: str


@dataclass(frozen=True, slots=True)
class Started:
    """``took_ms`` is by stage, in their order; ``refusals`` is empty when every stage went on.

    ``foreign`` is the partition in which a program ran that is not the device's own. ``stopped`` is why the device did
    not come up, where no stage had refused anything. ``line`` runs the attack again, as an experiment.
    """

    root_key_sha256: str
    chain: tuple[Link, ...]
    took_ms: Mapping[str, float]
    without: frozenset[str]
    label: str
    refusals: tuple[Refusal, ...] = ()
    #: What was told of attestation and settings, in sentences.
    told: tuple[str, ...] = ()
    attacked: Attacked | None = None
    foreign: str = ""
    stopped: str = ""
    is_on: bool = True
    line: str = ""
    #: Why the attack could not be carried out; empty: it was.
    missed: str = ""

    @property
    def not_asked(self) -> list[str]:
        """Checks of the boot that were left out."""
        return walls.in_order(self.without & walls.BOOT_WALL_NAMES)

    @property
    def stopped_by(self) -> str:
        """The last wall by which a slot was refused; empty when none was."""
        return self.last.rule if self.last and self.last.rule in walls.BOOT_WALL_NAMES else ""

    @property
    def last(self) -> Refusal | None:
        """The refusal that kept the device off: the last one by a wall, if any was. A slot may just be empty."""
        if self.is_on:
            return None
        by_wall = [one for one in self.refusals if one.rule in walls.BOOT_WALL_NAMES]
        return next(reversed(by_wall or self.refusals), None)

    @property
    def is_well(self) -> bool:
        """On; or, attacked, kept off by a wall, or on with its own programs although the attack was carried out."""
        if self.attacked is None:
            return self.is_on
        return not self.foreign and not self.missed and (self.is_on or bool(self.stopped_by))


def named(stage: str) -> str:
    """A stage in a sentence."""
    return STAGES.get(stage, stage) if stage == "rom" else f"the {STAGES.get(stage, stage)}"


def page(started: Started, *, explains: bool) -> RenderableType:
    """A few lines, or, with ``explains``, the whole measured log and every check."""
    rows: list[RenderableType] = []
    if started.attacked is not None:
        rows.append(Text(f"before power-on, {started.attacked.name}: {started.attacked.plain}", "bold"))
        rows += [Text()] if explains or started.chain else []
    if explains:
        rows += list(_explained(started))
    else:
        rows += [Text(line) for line in chain_sentences(started.chain, started.without)]
    rows += [Text(line) for line in started.told]
    for refusal in started.refusals:
        rows += [*([Text()] if rows else []), _refused(refusal)]
    if started.stopped_by and started.stopped:  # otherwise the last line says it
        rows += [Text(), Text(started.stopped)]
    rows += list(_costs(started.took_ms))
    rows += [Text(), closing(started), *_next(started)]
    return Group(*rows)


def _explained(started: Started) -> Iterator[RenderableType]:
    if started.chain:
        yield _log(started.chain)
        yield Text()
    yield Text("what a stage asks of an image before it goes on", style="bold")
    yield _checks(started.without)
    if started.root_key_sha256:
        yield Text()
        yield Text("the one root that this device trusts, by the SHA-256 of its key:", style="dim")
        yield Text(started.root_key_sha256, style="dim")


def _log(chain: Sequence[Link]) -> Table:
    """What was measured, whether or not it was verified."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("stage", "measured", "version", "SHA-256", "signed by"):
        table.add_column(name, no_wrap=name == "SHA-256")
    for link in chain:
        what = f"release {link.name}" if link.kind == "release" else link.name
        what = link.name.rpartition("/")[2] if link.kind == "platform" else what
        signer = ", ".join(common_name(one) for one in link.signer.split(", ") if one)
        signer = "(platform)" if link.kind == "platform" else signer
        digest = f"{link.digest[:_DIGITS]}..."
        table.add_row(STAGES.get(link.stage, link.stage), what, link.version, digest, signer)
    return table


def _checks(without: frozenset[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("rule", style="bold", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("what it means", ratio=1)
    for wall in walls.BOOT_WALLS:
        out = wall.name in without
        table.add_row(
            wall.name, Text("left out" if out else "asked", style="yellow" if out else "green"), wall.keeps
        )
    return table


def _refused(refusal: Refusal) -> RenderableType:
    """A refusal, item by item."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(ratio=1)
    means = walls.WALLS[refusal.rule].keeps if refusal.rule in walls.WALLS else "never left out"
    for name, value in (
        ("slot", refusal.slot),
        ("image", refusal.image),
        ("signed by", common_name(refusal.signer)),
        ("rule", f"{refusal.rule}: {means}"),
        ("because", refusal.sentence),
        ("remedy", f"for whoever owns the device: {refusal.remedy}"),
    ):
        if value:
            table.add_row(name, value)
    head = Text(f"{named(refusal.stage)} does not go on", style="bold red")
    return Group(head, table)


def _costs(took_ms: Mapping[str, float]) -> Iterator[RenderableType]:
    if not took_ms:
        return
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(ratio=1, style="dim")
    for name, spent_ms in took_ms.items():
        table.add_row(STAGES.get(name, name), f"{spent_ms:.0f} ms", WORK.get(name, ""))
    yield Text()
    yield Text("how long it took", style="bold")
    yield table


def closing(started: Started) -> Text:
    """The last line: on or off, and, of an attack, whether the foreign program ran."""
    attacked = started.attacked
    if started.foreign and attacked is not None:
        said = f"ON  {attacked.name} got through: what runs as {started.foreign} is a foreign program"
        text = Text(said, style="bold red")
    elif not started.is_on:
        last = started.last
        is_reason = last is not None and (last.rule in walls.BOOT_WALL_NAMES or not started.stopped)
        why = (
            f"{named(last.stage)} refuses {last.image} ({last.rule})"
            if last and is_reason
            else started.stopped
        )
        got = f"{attacked.name} did not get through: " if attacked is not None and started.stopped_by else ""
        style = "bold green" if got else "bold red"
        text = Text(f"OFF  {got}{why}; no partition runs, the device stays in its safe state", style=style)
    elif attacked is not None:
        said = f"{attacked.name} did not get through: the device's own programs run"
        said = f"{attacked.name} was not carried out: {started.missed}" if started.missed else said
        text = Text(f"ON  {said}", style="bold yellow" if started.missed or started.label else "bold green")
    else:
        count = len(started.chain)
        style = "bold yellow" if started.label else "bold green"
        text = Text(f"ON  every stage went on; the measured log has {counted(count, 'line')}", style=style)
    return text.append(f"  {started.label}", "bold yellow") if started.label else text


def settings_page(starts: Sequence[Start]) -> RenderableType:
    """Start by start: which release, what it was given, and what became of the settings."""
    rows: list[RenderableType] = []
    for number, one in enumerate(starts, 1):
        rows.append(Text(f"start {number}, release {one.release}: {one.what}", style="bold"))
        rows += [Text(f"  {line}") for line in one.told]
        if one.refused:
            rows.append(Text(f"  OFF, by the rule {one.rule}: {one.refused}", style="yellow"))
    rows.append(settings_closing(starts))
    return Group(*rows)


def settings_closing(starts: Sequence[Start]) -> Text:
    """The last line."""
    if as_they_have_to(starts):
        text = (
            "SEALED  the settings opened in the release that sealed them and in its successor, not in another"
        )
        return Text(text, style="bold green")
    return Text("NOT SEALED  a start came out otherwise than it has to", style="bold red")


def _next(started: Started) -> Iterator[Text]:
    """What to try next, after an attack."""
    attacked = started.attacked
    if attacked is None:
        return
    if started.foreign:
        yield Text(f"what it does: {command()} replay {started.line}", "dim", overflow="ignore", no_wrap=True)
    elif started.stopped_by:
        out = ",".join([*started.not_asked, started.stopped_by])
        again = f"{command()} boot --attack {shlex.quote(attacked.name)} --without {out}"
        yield Text(f"without that rule: {again}", "dim", overflow="ignore", no_wrap=True)
