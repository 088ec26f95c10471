"""A start of a device as a page: what each stage verified, whose it is, what was asked, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console.telling import Link, chain_sentences
from sandbox import walls

STAGES = {
    "rom": "ROM",
    "bootloader": "bootloader",
    "monitor": "monitor",
    "device": "from the order, the monitor's checks among it, to the first window",
}


@dataclass(frozen=True, slots=True)
class Started:
    """``took_ms`` is by stage, in their order; ``refusals`` are sentences, empty when the device is on."""

    root_key_sha256: str
    chain: tuple[Link, ...]
    took_ms: Mapping[str, float]
    without: frozenset[str]
    label: str
    refusals: tuple[str, ...] = ()


def page(started: Started, *, explains: bool) -> RenderableType:
    """A few lines, or, with ``explains``, the whole measured log and every check."""
    rows: list[RenderableType] = []
    if explains:
        rows += [
            _log(started.chain),
            Text(),
            Text("what every stage asks", style="bold"),
            _checks(started.without),
        ]
        if started.root_key_sha256:
            rows.append(Text(f"the one root that this device trusts: {started.root_key_sha256}", style="dim"))
        rows.append(Text())
    else:
        rows += [Text(line) for line in chain_sentences(started.chain, started.without)]
    if started.took_ms:
        spent = ", ".join(f"{STAGES.get(name, name)} {ms:.0f} ms" for name, ms in started.took_ms.items())
        rows.append(Text(f"it took: {spent}"))
    rows.append(closing(started))
    return Group(*rows)


def _log(chain: Sequence[Link]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("stage", "verified", "version", "SHA-256", "signed by"):
        table.add_column(name, no_wrap=name == "SHA-256")
    for link in chain:
        what = f"{link.name}, the release" if link.kind == "release" else link.name
        what = f"{link.name.rpartition('/')[2]} (platform)" if link.kind == "platform" else what
        table.add_row(STAGES.get(link.stage, link.stage), what, link.version, link.digest[:16], link.signer)
    return table


def _checks(without: frozenset[str]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for wall in walls.BOOT_WALLS:
        out = wall.name in without
        table.add_row(
            wall.name, Text("left out" if out else "asked", style="yellow" if out else "green"), wall.keeps
        )
    return table


def closing(started: Started) -> Text:
    """The last line."""
    if started.refusals:
        text = Text(f"OFF  {started.refusals[0]}", style="bold red")
    else:
        count = len(started.chain)
        style = "bold yellow" if started.label else "bold green"
        text = Text(f"ON  every stage went on; the measured log has {count} lines", style=style)
    return text.append(f"  {started.label}", "bold yellow") if started.label else text
