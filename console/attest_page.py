"""An attestation as a page: the verdict, check by check, and what was measured beside what should have been."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evidence.appraisal import Appraisal, Check, Mark, Row, Verdict
from evidence.attesting import Asked
from evidence.command import command

STYLES = {
    Verdict.AFFIRMING: "bold green",
    Verdict.WARNING: "bold yellow",
    Verdict.NONE: "bold yellow",
    Verdict.CONTRAINDICATED: "bold red",
}
_MARKS = {Mark.SAME: "green", Mark.NOT_BELIEVED: "yellow"}
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Attested:
    """What came of asking. ``appraisal`` is None when nothing was answered; ``keep`` is where it was kept."""

    appraisal: Appraisal | None
    asked: Asked | None
    root_key_sha256: str
    label: str
    keep: Path | None
    is_kept: bool = False
    refusals: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()


def page(found: Attested) -> RenderableType:
    """Who answered, each check, each layer with what it is made of, and the verdict."""
    rows: list[RenderableType] = []
    if found.appraisal is not None:
        rows += [_who(found.appraisal), Text(), _checks(found.appraisal), Text()]
        if found.appraisal.rows:
            rows += [_measured(found.appraisal), Text()]
    if found.root_key_sha256:
        rows.append(Text(f"the root that this rests on: {found.root_key_sha256}", style="dim"))
    if found.keep is not None and found.asked is not None:
        known = f"--root {found.root_key_sha256} --nonce {found.asked.nonce.hex()}"
        again = f"{command()} attest --verify {found.keep} {known}"
        rows.append(Text(f"kept; anybody can appraise it again: {again}", style="dim"))
    rows.append(Text("It says what was started, and nothing of what happened since.", style="dim"))
    rows.append(closing(found))
    return Group(*rows)


def _who(appraisal: Appraisal) -> Text:
    if not appraisal.lifecycle:
        return Text("who answers, and what it runs, is not known")
    debugging = "open" if appraisal.is_debug else "closed"
    who = appraisal.serial or "somebody"
    return Text(f"{who} says of itself: {appraisal.lifecycle}, debugging {debugging}")


def _checks(appraisal: Appraisal) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for check in appraisal.checks:
        word, style = _word(check)
        table.add_row(check.name, Text(word, style=style), check.sentence or _MEANS.get(check.name, ""))
    return table


def _word(check: Check) -> tuple[str, str]:
    if check.holds is None:
        return "not known", "yellow"
    return ("holds", "green") if check.holds else ("fails", "bold red")


_MEANS = {
    "nonce": "it answers the nonce that was just drawn, for this device, once",
    "form": "the token has the one form that it may have",
    "layers": "from the device's identity on, each layer is signed by the one before it",
    "signature": "the token is signed by the key of the last layer",
    "device": "token, certificates and release speak of the same device and hardware",
    "log": "each line of the measured log follows from those before it",
    "measurements": "layers and log say what the signed texts of the release say, and nothing besides",
    "life": "the device is in use, and debugging is closed",
}


def _measured(appraisal: Appraisal) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("measured by", "what", "reference", "measured", ""):
        table.add_column(name, no_wrap=name in ("reference", "measured", ""))
    for row in appraisal.rows:
        name = row.name.rpartition("/")[2]  # of a system library's path
        what = f"{name} (layer)" if row.kind == "layer" else f"  {name} ({row.kind})"
        is_first = row == appraisal.first
        style = "bold red" if is_first else _MARKS.get(row.mark, "red")
        mark = f"{row.mark.value}: the first" if is_first else row.mark.value
        table.add_row(
            row.stage, what, _short(row, row.expected), _short(row, row.found), Text(mark, style=style)
        )
    return table


def _short(row: Row, digest: str) -> str:
    """Enough of a digest to tell it from another; a name in front of it stays."""
    name, _, digits = digest.rpartition(" ")
    return f"{name} {digits[:_DIGITS]}".strip() or ("-" if row.mark is not Mark.NOT_BELIEVED else "")


def closing(found: Attested) -> Text:
    """The last line."""
    if found.appraisal is None:
        why = found.refusals[0] if found.refusals else "the device did not answer"
        return Text(f"NO ANSWER  {why}", style="bold red")
    verdict = found.appraisal.verdict
    text = Text(f"{verdict.value}  {found.appraisal.sentence}", style=STYLES[verdict])
    return text.append(f"  {found.label}", "bold yellow") if found.label else text
