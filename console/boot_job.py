"""The verb ``boot``: a device is made, switched on through its chain of trust, and off again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from console import boot_page, failures, jobs
from console.ablation_job import as_named
from console.as_json import head
from console.boot_page import Attacked, Refusal, Started
from console.failures import Refused
from console.output import Output
from console.scene import label_of
from console.telling import chain_of
from evidence import experiment, fitting, matrix
from evidence.sealing_in_use import as_they_have_to, starts
from faults import attack_files
from faults import experiment as runs
from faults.attack import Injection, Report
from faults.effects import FOREIGN_MARK, foreign_image_ran
from ipc_schemas import links
from monitor.design import Design
from world.bench import Bench, BootRefused, Plan, run_folder

#: Enough for whatever runs to have said so.
FRAMES = 3
_NAMED = re.compile(r"\s*([A-Za-z]\d{2})\s*(\(.*\))?\s*", re.DOTALL)


def boot(output: Output, given: Mapping[str, Any]) -> int:
    """Status 0 only if the device is on; attacked, only if a wall kept it off, or its own programs run."""
    design = jobs.sound_design(given["design"], given["seed"])
    if given["settings"]:
        return _settings(output, given, design)
    made = jobs.device_of(given, design)
    one = flash_attack(given["attack"], design) if given["attack"] is not None else None
    plan = Plan(
        given["design"],
        FRAMES,
        given["seed"],
        without=given["without"],
        accept_degraded=given["degraded"],
        device=made,
        verifier=jobs.verifier_of(given),
    )
    heard: list[links.Note] = []
    ends = ExitStack()
    reports: dict[tuple[str, int], Report] = {}
    if one is not None:
        plan = replace(plan, tamper=runs.tampering(design, (one,), reports, ends, plan.without))
    # A refusal was heard, and the page tells it.
    with ends, run_folder() as folder, Bench(plan=plan) as bench, suppress(BootRefused):
        bench.run(plan, folder, on_note=heard.append)
    missed = "".join(str(report.get("missed", "")) for report in reports.values())
    started = replace(_started(heard, given, design, one), missed=missed)
    output.show(boot_page.page(started, explains=given["explain"]))
    output.verdict(boot_page.closing(started))
    status = failures.HELD if started.is_well else failures.NOT_HELD
    output.write_json(as_json(started, design.digest, status))
    return status


def flash_attack(text: str, design: Design) -> Injection:
    """The attack on the flash that ``--attack`` names, such as ``B09(signer=revoked)``. Raises ``Refused``."""
    match = _NAMED.fullmatch(text)
    on_flash = [
        name for name, attack in matrix.built_for(design).items() if attack.effect is foreign_image_ran
    ]
    if match is None:
        raise Refused(
            f"--attack {text}: write the id of an attack on the flash, without a time, its parameters in brackets, as "
            f"'B09(signer=revoked)'; there are {', '.join(on_flash)}"
        )
    attack_id, brackets = match[1].upper(), match[2] or ""
    if attack_id not in on_flash:
        raise Refused(
            f"--attack {text}: {attack_id} is no attack on the flash of a device that is off; there are "
            f"{', '.join(on_flash)}"
        )
    try:
        line = shlex.join(["design=.", f"frames={matrix.FRAME * 2}", f"{attack_id}@{matrix.FRAME}{brackets}"])
        read = experiment.read(line)
        fitting.require_fit(read, design)
    except experiment.LineWrong as wrong:
        raise Refused(f"--attack {text}: {wrong}") from None
    return read.injections[0]


def _started(
    heard: list[links.Note], given: Mapping[str, Any], design: Design, one: Injection | None
) -> Started:
    chains = [note for note in heard if note.kind == "chain"]
    refusals = tuple(_refusal(note) for note in heard if note.kind == "boot_refused")
    foreign = [note.partition for note in heard if note.kind == "log" and FOREIGN_MARK in note.text]
    ends = [note.text for note in heard if note.kind in ("safe_state", "end")]
    attacked, line = None, ""
    if one is not None:
        told = experiment.parameters_told(one.parameters)
        plain = attack_files.built(design.folder)[one.attack_id].plain
        attacked = Attacked(one.attack_id + (f"({told})" if told else ""), one.attack_id, plain)
        single = experiment.single(as_named(given["design"]), one, given["without"])
        line = shlex.quote(single.line)
    return Started(
        str(chains[0].facts["root"]) if chains else "",
        chain_of(chains[0]) if chains else (),
        _took_ms(heard),
        given["without"],
        label_of(given["without"], design),
        refusals,
        tuple(note.text for note in heard if note.kind in ("attestation", "settings")),
        attacked,
        foreign[0] if foreign else "",
        ends[-1] if ends else "",
        any(note.kind == "booted" for note in heard),
        line,
    )


def _refusal(note: links.Note) -> Refusal:
    facts = {name: str(value) for name, value in note.facts.items()}
    slot = re.match(r"slot ([ab]): ", note.text)
    return Refusal(
        facts["stage"],
        facts["image"],
        facts["signer"],
        facts["rule"],
        facts["sentence"],
        facts["remedy"],
        slot[1] if slot else "",
    )


def _settings(output: Output, given: Mapping[str, Any], design: Design) -> int:
    """Status 0 only if each start came out as it has to. Raises ``Refused``."""
    beside = [name for name in ("explain", "without", "attack", "device") if given[name]]
    if beside:
        raise Refused(
            f"--settings starts a device of its own four times, behind all walls; leave out --{beside[0]}"
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
        "told": list(started.told),
        "is_on": started.is_on,
        "attack": started.attacked.name if started.attacked else None,
        "foreign_program_in": started.foreign or None,
        "refusals": [
            {
                "stage": one.stage,
                "slot": one.slot or None,
                "image": one.image,
                "signer": one.signer,
                "rule": one.rule,
                "sentence": one.sentence,
                "remedy": one.remedy,
            }
            for one in started.refusals
        ],
        "took_ms": {name: round(value, 3) for name, value in started.took_ms.items()},
    }
