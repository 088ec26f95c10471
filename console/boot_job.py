"""The verb ``boot``: a device is made, switched on through its chain of trust, and off again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from console import boot_page, failures, jobs
from console.as_json import head
from console.boot_page import Started
from console.failures import Refused
from console.output import Output
from console.scene import label_of
from console.telling import chain_of
from evidence.attesting import Attester
from evidence.sealing_in_use import as_they_have_to, starts
from ipc_schemas import links
from monitor.design import Design
from world import devices
from world.bench import Bench, BootRefused, Plan, run_folder
from world.devices import Device
from world.factory.packing import ImageError


def boot(output: Output, given: Mapping[str, Any]) -> int:
    """Status 0 only if the device is on at the end of its boot."""
    design = jobs.sound_design(given["design"], given["seed"])
    if given["settings"]:
        return _settings(output, given, design)
    made = _made_before(given["device"])
    plan = Plan(
        given["design"],
        1,
        given["seed"],
        without=given["without"],
        accept_degraded=given["degraded"],
        device=made,
        verifier=Attester(given["without"]) if made is None else None,
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
        tuple(note.text for note in heard if note.kind in ("attestation", "settings")),
    )
    is_on = any(note.kind == "booted" for note in heard)
    status = failures.HELD if is_on and not refusals else failures.NOT_HELD
    output.show(boot_page.page(started, explains=given["explain"]))
    output.verdict(boot_page.closing(started))
    output.write_json(as_json(started, design.digest, status))
    return status


def _made_before(folder: Path | None) -> Device | None:
    """The device in this folder. Raises ``Refused``."""
    try:
        return devices.at(folder) if folder is not None else None
    except ImageError as error:
        raise Refused(str(error)) from None


def _settings(output: Output, given: Mapping[str, Any], design: Design) -> int:
    """Status 0 only if each start came out as it has to. Raises ``Refused``."""
    if given["explain"] or given["without"]:
        raise Refused(
            "--settings starts the device four times, behind all walls; leave out --explain and --without"
        )
    if not any(p.is_critical and p.config is not None for p in design.partitions):
        raise Refused(
            f"no critical partition of {design.name} has settings; name a design in which one has a config"
        )
    found = list(starts(given["design"], given["seed"], accept_degraded=given["degraded"]))
    status = failures.HELD if as_they_have_to(found) else failures.NOT_HELD
    output.show(boot_page.settings_page(found))
    output.verdict(boot_page.settings_closing(found))
    output.write_json(
        head("boot --settings", status)
        | {
            "design_digest": design.digest,
            "starts": [
                {
                    "release": one.release,
                    "what": one.what,
                    "is_on": one.is_on,
                    "told": list(one.told),
                    "refused": one.refused or None,
                    "rule": one.rule or None,
                }
                for one in found
            ],
        }
    )
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
        "told": list(started.told),
        "took_ms": {name: round(value, 3) for name, value in started.took_ms.items()},
    }
