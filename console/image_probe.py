"""Looks at the image of each partition before it runs: would the device find the class that the design names?

That code is not believed, so none of it is run: it is read (``console.image_reader``), in bounded children, because
source may be made to cost a reader all its time and memory.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from console.bounded import Child, Report
from monitor import images
from monitor.design import Design, Partition
from world.factory import packing

#: What every partition is given without asking: the channel and the codec rest on them.
GIVEN_PACKAGES = ("msgspec", "zmq")
#: How many children run at a time; each has its time for itself and a few others.
_CHILDREN_MAX = 4
_PROGRAM = ("-s", "-m", "console.probe_child")
#: Rooms of ours that exist beside the design but not behind the walls.
_NOT_INSIDE = frozenset(
    ("monitor", "sandbox", "boot", "world", "faults", "evidence", "console", "benchmarks")
)


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """What was found of one partition's image: a problem, or what cannot be told by reading, or neither.

    ``file`` is relative to the image and may be empty; ``line`` counts from 1, 0 where there is none.
    """

    partition: str
    entry: str
    files: int
    problem: str = ""
    remedy: str = ""
    file: str = ""
    line: int = 0
    untold: tuple[str, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether something would certainly keep it from running."""
        return bool(self.problem)

    @property
    def passes(self) -> bool:
        """Whether the runner would find the class that the design names."""
        return not self.problem and not self.untold

    @property
    def sentence(self) -> str:
        """Where, what and what to do; or what cannot be told; or nothing."""
        if self.untold and not self.problem:
            return f"cannot be told by reading: {'; '.join(self.untold)}"
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{place}: {self.problem}; {self.remedy}" if place else f"{self.problem}; {self.remedy}"


class _Unfit(Exception):
    """An image that cannot even be tried: problem and remedy."""


def check_images(design: Design) -> tuple[ImageCheck, ...]:
    """Each partition's image, in the order of the design; a few children run side by side.

    Raises ``OSError`` when no child can be started.
    """
    found: list[ImageCheck] = []
    for first in range(0, len(design.partitions), _CHILDREN_MAX):
        found += _check_some(design, design.partitions[first : first + _CHILDREN_MAX])
    return tuple(found)


def _check_some(design: Design, partitions: Sequence[Partition]) -> list[ImageCheck]:
    with tempfile.TemporaryDirectory(prefix="bh-check-") as scratch, ExitStack() as children:
        started: list[tuple[Partition, int, Child | _Unfit]] = []
        for partition in partitions:
            folder = Path(scratch) / partition.name
            try:
                packages = _installed(partition)
                files = _lay_out(design, partition, folder)
            except _Unfit as unfit:
                started.append((partition, 0, unfit))
                continue
            arguments = (
                str(folder),
                images.schemas_module(design.schemas),
                partition.entry,
                json.dumps(packages),
            )
            child = children.enter_context(Child(_PROGRAM, "image", *arguments))
            started.append((partition, files, child))
        return [_judged(*one) for one in started]


def _lay_out(design: Design, partition: Partition, folder: Path) -> int:
    """Write what the partition would be given. Returns how many files are the partition's own."""
    try:
        own = packing.partition_files(partition.image, {})
    except packing.ImageError as error:
        problem, _, remedy = str(error).rpartition("; ")
        raise _Unfit(problem, remedy) from None
    files = {f"app/{name}": content for name, content in own.items()} | packing.cell_files()
    if design.schemas.endswith(".py"):
        files[f"lib/{images.DESIGN_SCHEMAS}.py"] = design.schemas_source
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return len(own)


def _installed(partition: Partition) -> list[str]:
    """The packages that the partition may import. Looked for by their top-level name, which runs nothing of them."""
    names = [*GIVEN_PACKAGES, *partition.packages]
    for name in names:
        if not _is_installed(name):
            raise _Unfit(
                f"packages names {name}, which is not installed", "install it, or take it out of device.toml"
            )
    return names


def _is_installed(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ValueError, ImportError):  # a module that was never found anywhere, such as __main__
        return False
    return spec is not None and spec.origin is not None


def _judged(partition: Partition, files: int, tried: Child | _Unfit) -> ImageCheck:
    if isinstance(tried, _Unfit):
        problem, remedy = tried.args
        return ImageCheck(partition.name, partition.entry, files, problem, remedy)
    ended = tried.wait()
    report = ended.report or Report("untold", untold=(f"its code: {ended.why_not}",))
    if report.kind in ("ok", "untold"):
        return ImageCheck(partition.name, partition.entry, files, untold=report.untold)
    problem, remedy = _told(partition, report)
    return ImageCheck(partition.name, partition.entry, files, problem, remedy, report.file, report.line)


def _told(partition: Partition, report: Report) -> tuple[str, str]:
    """Problem and remedy."""
    module, _, name = partition.entry.partition(":")
    match report.kind:
        case "syntax":
            return report.said, "mend it there"
        case "import":
            return f"there is no module {report.said} behind the walls", _import_remedy(
                partition, report.said
            )
        case "before":
            return (
                f"the schemas need what is not behind the walls: {report.said}",
                "let them import the standard library, msgspec and ipc_schemas only",
            )
        case "name":
            source, missing, *known = report.said.split()
            return (
                f"{source} has no {missing}",
                f"write it there, or correct the name{_nearest(missing, known)}",
            )
        case "shadowed":
            return f"{module} is a module of the interpreter's or of a package", "rename the image's own"
        case "missing":
            hint = _nearest(name, report.said.split())
            return f"it has no class {name}", f"write it, or correct entry in device.toml{hint}"
        case "not_partition":
            return (
                f"{name} is not a partition",
                f"write class {name}(Partition), with from partitions.sdk import Partition",
            )
        case "no_window":
            return f"{name} has no window", "write def window(self, window: Window) -> None"
    return f"the probe said {report.kind}: {report.said}", "report this as a defect in Bulkhead"


def _import_remedy(partition: Partition, missing: str) -> str:
    top = missing.partition(".")[0]
    modules = {path.stem for path in partition.image.glob("*.py")}
    if top in _NOT_INSIDE or (top == "partitions" and missing != "partitions.sdk"):
        return (
            "a partition has its own files, ipc_schemas and partitions.sdk, and no other module of Bulkhead's"
        )
    if top == "schemas" and top not in modules:
        return "import the design's message types from design_schemas"
    hint = _nearest(top, modules)
    if hint or top != missing:
        return f"write it, or correct the name{hint}"
    if _is_installed(top):
        return f'write "{top}" into packages of [partition.{partition.name}]'
    return f'write it into the image, or install it and write "{top}" into packages'


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
