"""What ``check`` shows: the rules one by one, what breaks them, and a picture of the design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.rule import Rule as Line
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from console.image_probe import ImageCheck
from faults.words import counted
from monitor.design import WORLD, Design, Partition, Port, PortKind, SafetyClass
from monitor.rules import RULES, Finding
from sandbox.walls import WALLS


@dataclass(frozen=True, slots=True)
class Crossing:
    """A channel over which what a networked partition sends enters a class C partition, with its bounds."""

    source: str
    sink: str
    messages_per_frame_max: int
    bytes_per_frame_max: int
    rejections_per_frame_max: int

    def bits_per_s_max(self, frame_ms: int) -> float:
        """What messages can tell: no encoding of a type begins another one, so their bytes are a bound."""
        return self.bytes_per_frame_max * 8 * 1_000 / frame_ms


def crossings(design: Design) -> tuple[Crossing, ...]:
    """In the order of the file. Counted too is what a relay passes on, where the design declares it."""
    found = []
    for channel in design.channels:
        source = design.port(channel.source)
        for sink in (design.port(name) for name in channel.sinks):
            if _crosses(design, source, sink):
                messages = sink.messages_per_frame_max
                rejections = sink.rejections_per_frame_max
                found.append(
                    Crossing(
                        source.full_name, sink.full_name, messages, messages * sink.bytes_max, rejections
                    )
                )
    return tuple(found)


def _crosses(design: Design, source: Port, sink: Port) -> bool:
    if sink.partition == WORLD or design.partition(sink.partition).safety_class is not SafetyClass.C:
        return False
    is_networked = source.partition != WORLD and design.partition(source.partition).is_networked
    return is_networked or sink.from_networked


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of a design. ``world_problem`` is a sentence, empty when the world can be made."""

    findings: Sequence[Finding] = ()
    images: Sequence[ImageCheck] = ()
    world_problem: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found that keeps the design from running. What cannot be told is no such thing."""
        return not self.findings and not self.world_problem and not any(image.fails for image in self.images)


def page(design: Design, checked: Checked, width: int, *, is_ascii: bool = False) -> Group:
    """Picture first, then rules, images and world, then what is wrong and what to do."""
    return Group(
        *_picture(design, width, is_ascii=is_ascii),
        Text(),
        Line("the rules", align="left", style="dim"),
        rules_table(checked.findings),
        Text(),
        Line("the images, which are read and not run, and the world", align="left", style="dim"),
        code_table(design, checked),
        *_findings(checked.findings),
        Text(),
        closing(design, checked),
    )


def closing(design: Design, checked: Checked) -> Text:
    """One line: does it keep the rules, can its images be run, and can its world be made?"""
    findings, images = checked.findings, checked.images
    broken = len({finding.rule for finding in findings})
    unfit, untold = sum(image.fails for image in images), sum(bool(image.untold) for image in images)
    kept = f"keeps all {len(RULES)} rules"
    if findings:
        places = "1 place" if len(findings) == 1 else f"{len(findings)} places"
        kept = f"breaks {broken} of {len(RULES)} rules, in {places}"
    wrong = [f"{unfit} of {len(images)} images cannot be run"] if unfit else []
    wrong += ["its world cannot be made"] if checked.world_problem else []
    if wrong:
        kept += f"{' and' if findings else ', but'} {' and '.join(wrong)}"
    if untold:
        kept += f"; whether {untold} of {len(images)} images can be run cannot be told by reading"
    style = "bold red" if not checked.is_sound else "bold yellow" if untold else "bold green"
    text = Text(f"{design.name} {kept}", style=style)
    return text.append(f"  {design.label}", "bold yellow") if design.label else text


def code_table(design: Design, checked: Checked) -> Table:
    """Every partition's code and the world with pass, ? or fail; where it fails, what is wrong and what to do."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column("verdict", no_wrap=True)
    table.add_column("image")
    for image in checked.images:
        verdict = Text("FAIL", style="bold red") if image.fails else Text("?", style="bold yellow")
        if image.passes:
            verdict = Text("pass", style="green")
        text = Text(f"{image.partition}  ", style="bold").append(image.entry, "default")
        if image.passes:
            text.append(f", {image.files} file{'s' if image.files != 1 else ''}", "default")
        else:
            text.append(f"  {image.sentence}", "default")
        table.add_row(verdict, text)
    problem = checked.world_problem
    world = Text("world  ", style="bold").append(design.world.entry, "default")
    world.append(f"  {problem}" if problem else "", "default")
    table.add_row(Text("FAIL", style="bold red") if problem else Text("pass", style="green"), world)
    return table


def rules_table(findings: Sequence[Finding]) -> Table:
    """Every rule with pass or fail, its sentence and its source."""
    broken = {finding.rule for finding in findings}
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column("verdict", no_wrap=True)
    table.add_column("rule")
    for rule in RULES:
        failed = rule.name in broken
        verdict = Text("FAIL" if failed else "pass", style="bold red" if failed else "green")
        text = Text(f"{rule.name}  ", style="bold").append(rule.statement, "default")
        table.add_row(verdict, text.append(f"  [{rule.source}]", "dim"))
    return table


def _findings(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    if not findings:
        return
    yield Text()
    yield Line("what breaks them", align="left", style="dim")
    for finding in findings:
        yield Text(f"{finding.rule}, at {finding.where}", style="bold red")
        yield Text(f"  {finding.message}")
        if finding.path:
            yield Text(f"  path: {finding.path_text}", style="yellow")
        yield Text(f"  remedy: {finding.remedy}", style="green")


# --- the picture ---

#: The one way in that matters, beside a mark that survives without colour.
_CROSSING = "bold yellow"


def _picture(design: Design, width: int, *, is_ascii: bool) -> Iterator[RenderableType]:
    yield Text(f"{design.name}, frame {_milliseconds(design.frame_ms)}", style="bold")
    tree = Tree("", hide_root=True)
    world = tree.add(
        Text("world", style="bold").append(
            f"  {design.world.entry}{_labels(design.world.cleared_for)}", "dim"
        )
    )
    mark = "!!" if is_ascii else "▲"
    _add_ports(world, design, WORLD, mark)
    for partition in design.partitions:
        _add_ports(tree.add(_partition(partition)), design, partition.name, mark)
    yield tree
    yield crossings_line(design, mark)
    yield Text()
    yield from timeline(design, width, is_ascii=is_ascii)


def _partition(partition: Partition) -> Text:
    is_c = partition.safety_class == "C"
    text = Text(partition.name, style="bold").append(
        f"  class {partition.safety_class}", "red" if is_c else "default"
    )
    words = [
        word
        for word, holds in (("critical", partition.is_critical), ("networked", partition.is_networked))
        if holds
    ]
    limits = partition.limits
    words += [
        f"{limits.memory_bytes_max >> 20} MiB",
        "1 process" if limits.processes_max == 1 else f"{limits.processes_max} processes",
        f"{counted(partition.restart.restarts_max, 'restart')} in {counted(partition.restart.within_frames, 'frame')}",
        _walls_required(partition.walls),
    ]
    return text.append("  " + ", ".join(words), "default").append(_labels(partition.cleared_for), "dim")


def _walls_required(required: frozenset[str]) -> str:
    """As docs/adr/0004 has it: what an ordinary user can have is demanded, the rest is used where it is to be had."""
    extra = sum(WALLS[name].root_only for name in required)
    return f"{len(required) - extra} walls required" + (
        f", {extra} more where there is root" if extra else ""
    )


def _labels(cleared_for: frozenset[str]) -> str:
    return f"  cleared for {', '.join(sorted(cleared_for))}" if cleared_for else ""


def crossings_line(design: Design, mark: str) -> Text:
    """What the narrow way from the network into class C lets through, all channels of it together."""
    found = crossings(design)
    if not found:
        return Text("No channel leads from a networked partition into class C.", style="dim")
    messages = sum(one.messages_per_frame_max for one in found)
    size = sum(one.bytes_per_frame_max for one in found)
    rejections = sum(one.rejections_per_frame_max for one in found)
    rate = sum(one.bits_per_s_max(design.frame_ms) for one in found)
    channels = "1 channel leads" if len(found) == 1 else f"{len(found)} channels lead"
    return Text(f"{mark} {channels} from a networked partition into class C: ", style=_CROSSING).append(
        f"at most {counted(messages, 'message')}, {counted(size, 'byte')} and "
        f"{counted(rejections, 'rejection')} per frame, "
        f"so at most {rate:,.{0 if rate >= 100 else 2}f} bit/s in messages",
        "default",
    )


def _add_ports(branch: Tree, design: Design, partition: str, mark: str) -> None:
    """The channels that leave a partition, with their ends and limits."""
    for channel in design.channels:
        source = design.port(channel.source)
        if source.partition != partition:
            continue
        crossing = any(_crosses(design, source, design.port(name)) for name in channel.sinks)
        style = _CROSSING if crossing else "cyan"
        text = Text(f"{mark} " if crossing else "", style=_CROSSING)
        text.append(f"{source.name} ", style).append("-> ", "default").append(", ".join(channel.sinks), style)
        text.append(f"  {source.message}, {_limits(source)}", "dim")
        if source.labels:
            text.append(f"  [{', '.join(sorted(source.labels))}]", "magenta")
        for sink in (design.port(name) for name in channel.sinks):
            text.append(_sink(sink), "yellow" if sink.from_networked else "dim")
        branch.add(text)


def _limits(port: Port) -> str:
    return f"{port.kind.value}, {port.messages_per_frame_max} x {port.bytes_max} B per frame"


def _sink(port: Port) -> str:
    words = []
    if port.kind is PortKind.QUEUING:
        words.append(f"depth {port.depth}")
    elif port.freshness_frames:
        words.append(f"fresh for {counted(port.freshness_frames, 'frame')}")
    if port.from_networked:
        words.append("from networked")
    return f"  ({', '.join(words)})" if words else ""


def timeline(design: Design, width: int, *, is_ascii: bool = False) -> Iterator[Text]:
    """The windows of a frame, drawn up to where the last one ends; what follows is slack."""
    end_ms = max((w.offset_ms + w.budget_ms for w in design.windows), default=1)
    name_width = max((len(w.partition) for w in design.windows), default=0)
    room = max(width - name_width - 32, 10)
    block, rest = ("#", ".") if is_ascii else ("█", "·")
    for window in design.windows:
        first = window.offset_ms * room // end_ms
        length = max(window.budget_ms * room // end_ms, 1)
        row = Text(f"{window.partition:<{name_width}} ", style="bold")
        row.append(rest * first, "dim").append(block * length, "cyan")
        row.append(rest * max(room - first - length, 0), "dim")
        start, stop = _milliseconds(window.offset_ms), _milliseconds(window.offset_ms + window.budget_ms)
        yield row.append(f" {start} to {stop}", "default")
    slack_ms = design.frame_ms - end_ms
    yield Text(f"then {_milliseconds(max(slack_ms, 0))} of slack until the next frame", style="dim")


def _milliseconds(value: int) -> str:
    return f"{value} ms" if value < 1_000 else f"{value / 1_000:g} s"
