"""The verb ``boot``: a device is made, switched on through its chain of trust, and off again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console import boot_page, failures, jobs
from console.as_json import head
from console.boot_page import Started
from console.output import Output
from console.scene import label_of
from console.telling import chain_of
from ipc_schemas import links
from world.bench import Bench, BootRefused, Plan, run_folder


def boot(output: Output, given: Mapping[str, Any]) -> int:
    """Status 0 only if the device is on at the end of its boot."""
    design = jobs.sound_design(given["design"], given["seed"])
    plan = Plan(
        given["design"],
        1,
        given["seed"],
        without=given["without"],
        accept_degraded=given["degraded"],
        device=jobs.device_of(given, design),
    )
    heard: list[links.Note] = []
    refusals: tuple[str, ...] = ()
    with run_folder() as folder, Bench(plan=plan) as bench:
        try:
            bench.run(plan, folder, on_note=heard.append)
        except BootRefused as refused:
            refusals = (str(refused),)
    chains = [note for note in heard if note.kind == "chain"]
    started = Started(
        str(chains[0].facts["root"]) if chains else "",
        chain_of(chains[0]) if chains else (),
        _took_ms(heard),
        given["without"],
        label_of(given["without"], design),
        refusals,
    )
    is_on = any(note.kind == "booted" for note in heard)
    status = failures.HELD if is_on and not refusals else failures.NOT_HELD
    output.show(boot_page.page(started, explains=given["explain"]))
    output.verdict(boot_page.closing(started))
    output.write_json(as_json(started, design.digest, status))
    return status


def _took_ms(heard: list[links.Note]) -> dict[str, float]:
    """From one note to the next, by the host's own clock in each."""
    found: dict[str, float] = {}
    running, since_s = "", 0.0
    for note in heard:
        at_s = note.facts.get("monotonic_s")
        if not isinstance(at_s, float):
            continue
        if running:
            found[running] = (at_s - since_s) * 1_000
        running, since_s = (note.text if note.kind == "stage" else ""), at_s
    for note in heard:
        boot_ms = note.facts.get("boot_ms")
        if isinstance(boot_ms, float):
            found["device"] = boot_ms
    return found


def as_json(started: Started, digest: str, status: int) -> dict[str, Any]:
    """The object that ``docs/json.md`` describes."""
    return head("boot", status) | {
        "design_digest": digest,
        "root_key_sha256": started.root_key_sha256 or None,
        "chain": [link._asdict() for link in started.chain],
        "left_out": sorted(started.without),
        "degraded": started.label,
        "refusals": list(started.refusals),
        "took_ms": {name: round(value, 3) for name, value in started.took_ms.items()},
    }
