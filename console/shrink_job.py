"""The verb ``shrink``: from an experiment in which something got through to the smallest, and a test of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from console import failures, jobs, shrink_page
from console.as_json import head
from console.failures import Refused
from console.output import Output
from evidence import experiment, fitting, shrinking
from evidence.command import command
from evidence.experiment import Experiment, LineWrong
from evidence.shrinking import NoTest, NothingToShrink, Shrunk
from evidence.workers import Workers
from faults.attack_files import AttackFileWrong
from monitor.design import Design


def fitting_experiment(line: str) -> tuple[Experiment, Design]:
    """The experiment of a line and its design, if the one fits the other and the design keeps the rules.

    Raises ``Refused`` and ``DesignError``.
    """
    try:
        one = experiment.read(line)
    except LineWrong as error:
        raise Refused(f"{error} (write the line in quotes, as it was printed)") from None
    design = jobs.sound_design(one.design, one.seed, one.patient)
    try:
        fitting.require_fit(one, design)
    except (LineWrong, AttackFileWrong) as error:
        raise Refused(str(error)) from None
    return one, design


def shrink(output: Output, given: Mapping[str, Any]) -> int:
    """Status 0 when it was shrunk or is as small as it gets. Raises ``Refused`` when nothing got through."""
    one, _ = fitting_experiment(given["line"])
    path: Path | None = given["test"]
    if path is not None:
        _require_ours(path)
    found = _search(output, one, given["workers"] or 1)
    try:
        test, whole = shrinking.as_test(found), shrinking.as_file(found)
    except NoTest as why:
        test, whole = f"none: {why}", ""
    output.show(shrink_page.page(found))
    output.show(shrink_page.heading("run it again"))
    output.show_whole(f"{command()} replay {shrink_page.one_word(found.smallest.line)}")
    output.show(shrink_page.heading("the test that passes once it is mended"))
    output.show_whole(test.rstrip("\n"))
    if path is not None:
        if not whole:
            raise Refused(f"--test {path}: not written; {test.removeprefix('none: ')}")
        _write(path, whole)
        output.show(f"test: {path}")
    output.show(shrink_page.closing(found))
    output.verdict(shrink_page.closing(found))
    output.write_json(as_json(found, test if whole else None))
    return failures.HELD


def _search(output: Output, one: Experiment, at_once: int) -> Shrunk:
    """As many workers as experiments are asked about at once. Raises ``Refused``."""

    def on_step(step: shrinking.Step) -> None:
        output.show(shrink_page.progress(step))

    try:
        with Workers() as pool:
            return shrinking.shrink(one, pool.ask, on_step, at_once=at_once)
    except NothingToShrink as why:
        raise Refused(str(why)) from None


def _require_ours(path: Path) -> None:
    """See that the file may be written: it is not there, or was written by this verb. Raises ``Refused``."""
    if not path.name.startswith("test_") or path.suffix != ".py":
        raise Refused(f"--test {path}: pytest looks for files called test_....py; name it so")
    if not path.parent.is_dir():
        raise Refused(f"--test {path}: there is no folder {path.parent}; make it, or name a file in another")
    if path.exists():
        try:
            is_ours = path.read_text(encoding="utf-8").startswith(shrinking.FILE_HEADER)
        except (OSError, ValueError):
            is_ours = False
        if not is_ours:
            raise Refused(
                f"--test {path}: it is there already and was not written by this verb; name another file"
            )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(f"--test {path}: cannot be written: {error.strerror}; name another file") from None


def as_json(found: Shrunk, test: str | None) -> dict[str, Any]:
    """The object that ``docs/json.md`` describes."""
    return head("shrink", failures.HELD) | {
        "original": found.original.line,
        "line": found.smallest.line,
        "outcome": found.told.outcome,
        "reasons": list(found.told.reasons),
        "kept": [str(one) for one in found.kept],
        "lost": [str(one) for one in found.lost],
        "confirmed": found.confirmed,
        "repeats": found.repeats,
        "is_sure": found.is_sure,
        "is_whole": found.is_whole,
        "experiments": found.questions,
        "doubts": list(found.doubts),
        "test": test,
    }
