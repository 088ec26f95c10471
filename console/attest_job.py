"""The verb ``attest``: a device is challenged while it starts, and what it answers is appraised, now or later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from console import attest_page, failures, jobs
from console.as_json import attestation, head
from console.attest_page import Attested
from console.failures import Refused
from console.output import Output
from console.scene import label_of
from evidence.appraisal import Verdict
from evidence.attesting import appraised_again, root_of
from evidence.kept_attestation import FILES, KeptWrong, read, write
from world.bench import Bench, BootRefused, Plan, run_folder


def attest(output: Output, given: Mapping[str, Any]) -> int:
    """Status 0 only for the verdict ``AFFIRMING``. Raises ``Refused`` and what ``boot`` raises."""
    found = _verified(given) if given["verify"] is not None else _challenged(given)
    is_affirmed = found.appraisal is not None and found.appraisal.verdict is Verdict.AFFIRMING
    is_affirmed &= not found.left_out  # a verdict of whoever did not ask everything
    status = failures.HELD if is_affirmed else failures.NOT_HELD
    output.show(attest_page.page(found))
    output.verdict(attest_page.closing(found))
    output.write_json(as_json(found, status))
    return status


def _challenged(given: Mapping[str, Any]) -> Attested:
    for name in ("root", "nonce"):
        if given[name] is not None:
            raise Refused(
                f"--{name} says what a kept attestation is to be compared with; give it with --verify FOLDER"
            )
    keep = _empty(given["keep"])
    design = jobs.sound_design(given["design"], given["seed"])
    made = jobs.device_of(given, design)
    verifier = jobs.verifier_of(given)
    if verifier is None:
        raise Refused(
            f"--device {given['device']}: it does not lie in its factory's folder, and nobody else here knows its "
            "maker's root; name it where provision devices made it"
        )
    plan = Plan(
        given["design"],
        1,
        given["seed"],
        without=given["without"],
        accept_degraded=given["degraded"],
        device=made,
        verifier=verifier,
    )
    refusals: tuple[str, ...] = ()
    with run_folder() as folder, Bench(plan=plan) as bench:
        try:
            bench.run(plan, folder)
        except BootRefused as refused:
            refusals = (str(refused),)
    asked = verifier.asked
    if keep is not None and asked is not None:
        try:
            write(keep, asked)
        except OSError as error:
            raise Refused(
                f"--keep {keep}: cannot be written: {error.strerror}; name another folder"
            ) from None
    return Attested(
        verifier.appraisal,
        asked,
        root_of(asked),
        label_of(given["without"], design),
        keep if asked is not None else None,
        refusals=refusals,
        left_out=given["without"],
    )


def _verified(given: Mapping[str, Any]) -> Attested:
    for name, is_given in (
        ("keep", given["keep"] is not None),
        ("without", bool(given["without"])),
        ("device", given["device"] is not None),
    ):
        if is_given:
            raise Refused(f"--{name} is for a device that starts now; leave it out beside --verify")
    folder: Path = given["verify"]
    try:
        asked = read(folder)
    except KeptWrong as wrong:
        raise Refused(f"--verify {folder}: {wrong}") from None
    own = root_of(asked)
    wanted = given["root"]
    if given["nonce"] is not None and given["nonce"] != asked.nonce.hex():
        raise Refused(
            f"--nonce {given['nonce'][:16]}...: this is not the nonce in {folder}; give the one that was drawn for it"
        )
    appraisal = appraised_again(
        asked,
        bytes.fromhex(wanted) if wanted is not None else bytes.fromhex(own) if own else b"",
        is_ours=given["nonce"] is not None,
        is_root_known=wanted is not None,
    )
    return Attested(appraisal, asked, own, "", None, is_kept=True)


def _empty(folder: Path | None) -> Path | None:
    """The folder that an attestation goes into. Raises ``Refused`` when there is one in it already."""
    if folder is None:
        return None
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise Refused(f"--keep {folder}: {there[0]} is there already; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"--keep {folder}: cannot be made: {error.strerror}; name another folder") from None
    return folder


def as_json(found: Attested, status: int) -> dict[str, Any]:
    """The object that ``docs/json.md`` describes."""
    return head("attest", status) | {
        "is_kept": found.is_kept,
        "root_key_sha256": found.root_key_sha256 or None,
        "nonce": found.asked.nonce.hex() if found.asked is not None else None,
        "attestation": attestation(found.appraisal),
        "left_out": sorted(found.left_out),
        "degraded": found.label,
        "refusals": list(found.refusals),
    }
