"""A device that really starts is challenged, and its answer appraised: by its challenger, and by others later."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from boot import layers, measured
from boot.authority import key_sha256_of
from evidence import kept_attestation, reference, said
from evidence.appraisal import CHECKS, Appraisal, Mark, Verdict
from evidence.attesting import Asked, Attester, appraised_again, in_one_line
from evidence.kept_attestation import KeptWrong
from ipc_schemas import codec, links, release
from ipc_schemas.release import Envelope
from monitor.design import Design
from monitor.loader import load_design
from sandbox import walls
from tests.console.commands import ROOT
from tests.support.memory import found_in
from world import devices
from world.bench import Bench, Plan, Record, run_folder
from world.factory.development import enveloped
from world.nursery import Nursery

PUMP = ROOT / "designs" / "insulin_pump"


class Started(msgspec.Struct):
    """One start of the pump: its verifier, its notes, and how often each secret was in the monitor's memory."""

    verifier: Attester
    notes: list[links.Note]
    secrets: dict[str, int]


def _secrets(bench: Bench, asked: Asked) -> dict[str, bytes]:
    """What only this device's element and stages can compute, computed from the inside of the element."""
    assert bench.device is not None
    device = (bench.device.device.element / "secret").read_bytes()
    token = said.read(asked.token)
    first, second = (one.measurement for one in token.layers)
    bootloader = layers.next_secret(device, first)
    monitor = layers.next_secret(bootloader, second)
    own = measured.register_measurement(second, measured.release_digest(token.lines))
    sealing = layers.derive(device, layers.register_of((first, own)), b"bulkhead sealing secret 1\0")
    assert layers.layer_key(monitor).public_key().public_bytes_raw() == token.layers[-1].public_key
    return {"device": device, "bootloader": bootloader, "monitor": monitor, "sealing": sealing}


@pytest.fixture(scope="module")
def started() -> Started:
    verifier = Attester()
    plan = Plan(PUMP, 2, verifier=verifier)
    secrets: dict[str, int] = {}
    with run_folder() as folder, Bench(plan=plan) as bench:

        def on_note(note: links.Note) -> None:
            if note.kind == "booted":
                assert verifier.asked is not None
                secrets.update(found_in(bench.monitor.pid, _secrets(bench, verifier.asked)))

        record = bench.run(plan, folder, on_note)
    return Started(verifier, record.notes, secrets)


def appraisal_of(found: Attester) -> Appraisal:
    assert found.appraisal is not None
    return found.appraisal


def asked_of(found: Attester) -> Asked:
    assert found.asked is not None
    return found.asked


def failed(found: Appraisal) -> list[str]:
    return [check.name for check in found.checks if check.holds is False]


def test_a_device_that_runs_its_release_is_affirmed_to_whoever_challenged_it(started: Started) -> None:
    found = appraisal_of(started.verifier)
    assert found.verdict is Verdict.AFFIRMING
    assert (found.serial, found.release, found.lifecycle, found.is_debug) == (
        "SN-0001",
        "1.0",
        "operational",
        False,
    )
    assert tuple(check.name for check in found.checks) == CHECKS
    assert {row.mark for row in found.rows} == {Mark.SAME}
    assert [row.name for row in found.rows if row.kind == "layer"] == ["bootloader", "monitor"]


def test_the_token_is_out_of_the_notes_and_the_verdict_is_in_them(started: Started) -> None:
    (note,) = (one for one in started.notes if one.kind == "attestation")
    assert note.text == "attested: AFFIRMING, nonce fresh, release 1.0"
    assert note.facts == {}


def test_no_secret_of_the_boot_is_in_the_memory_of_a_monitor_whose_device_is_up(started: Started) -> None:
    """Seen: the secret of the monitor's layer stayed there for the whole run, and nothing used it."""
    assert started.secrets == dict.fromkeys(("device", "bootloader", "monitor", "sealing"), 0)


def test_a_secret_that_stayed_would_be_found() -> None:
    kept = os.urandom(32)
    assert found_in(os.getpid(), {"kept": kept})["kept"] >= 1


def test_a_second_answer_to_one_challenge_is_not_listened_to(started: Started) -> None:
    asked = asked_of(started.verifier)
    before = started.verifier.appraisal
    assert "second answer" in started.verifier.hear(asked.token, asked.identity)
    assert started.verifier.appraisal is before


def test_an_answer_to_an_earlier_challenge_is_contraindicated(started: Started) -> None:
    asked = asked_of(started.verifier)
    later = Attester()
    later.challenge("SN-0001", _design(), {})
    told = later.hear(asked.token, asked.identity)
    assert told == "attested: CONTRAINDICATED: the token answers another nonce than ours"
    assert failed(appraisal_of(later)) == ["nonce"]


def test_the_answer_of_another_device_than_the_one_that_was_asked_counts_for_nothing(
    started: Started,
) -> None:
    asked = asked_of(started.verifier)
    later = Attester()
    later.challenge("SN-0002", _design(), {})
    later.hear(asked.token, asked.identity)
    assert appraisal_of(later).verdict is Verdict.CONTRAINDICATED
    assert appraisal_of(later).sentence == "SN-0001 answers, and SN-0002 was asked"


def test_a_challenge_that_leaves_a_check_out_says_so_in_its_line(started: Started) -> None:
    told = in_one_line(appraisal_of(started.verifier), frozenset({"nonce"}))
    assert told == "attested, without asking nonce: AFFIRMING, release 1.0"


def test_a_monitor_out_of_a_nursery_says_that_it_cannot_attest() -> None:
    verifier = Attester()
    plan = Plan(PUMP, 1, verifier=verifier)
    with Nursery() as nursery, run_folder() as folder, Bench(nursery) as bench:
        record: Record = bench.run(plan, folder)
    (note,) = record.of_kind("attestation")
    assert note.text == "not attested: warm start, this monitor has no secret of its own"
    assert verifier.appraisal is None
    assert record.of_kind("settings") == []


def test_who_is_not_asked_answers_nothing() -> None:
    plan = Plan(PUMP, 1)
    with run_folder() as folder, Bench(plan=plan) as bench:
        record = bench.run(plan, folder)
    assert record.of_kind("attestation") == []


# --- kept, and appraised by somebody else ---


def root_of(asked: Asked) -> bytes:
    return key_sha256_of(x509.load_der_x509_certificate(asked.root))


def again(asked: Asked, *, is_ours: bool = True, is_root_known: bool = True) -> Appraisal:
    return appraised_again(asked, root_of(asked), is_ours=is_ours, is_root_known=is_root_known)


def test_what_was_kept_is_affirmed_by_who_knows_root_and_nonce_and_by_nobody_else(
    started: Started, tmp_path: Path
) -> None:
    kept_attestation.write(tmp_path, asked_of(started.verifier))
    asked = kept_attestation.read(tmp_path)
    assert asked == asked_of(started.verifier)
    assert again(asked).verdict is Verdict.AFFIRMING
    for ours, known in ((False, True), (True, False), (False, False)):
        assert again(asked, is_ours=ours, is_root_known=known).verdict is Verdict.WARNING
    stranger = appraised_again(asked, bytes(32), is_ours=True, is_root_known=True)
    assert stranger.verdict is Verdict.CONTRAINDICATED
    assert "the root is not the one that is trusted" in stranger.sentence


def _flipped(content: bytes, bit: int) -> bytes:
    at, shift = divmod(bit % (8 * len(content)), 8)
    return content[:at] + bytes([content[at] ^ 1 << shift]) + content[at + 1 :]


@pytest.mark.parametrize("what", ["nonce", "token", "identity", "texts", "lists"])
def test_one_flipped_bit_of_what_was_kept_is_never_affirmed(started: Started, what: str) -> None:
    asked = asked_of(started.verifier)
    for step in range(40):
        bit = 7919 * step + 3
        value = getattr(asked, what)
        if isinstance(value, bytes):
            changed: object = _flipped(value, bit)
        elif isinstance(value, tuple):
            changed = (*value[:-1], _flipped(value[-1], bit))
        else:
            name = sorted(value)[step % len(value)]
            changed = {**value, name: _flipped(value[name], bit)}
        found = again(msgspec.structs.replace(asked, **{what: changed}))
        assert found.verdict is Verdict.CONTRAINDICATED, (what, step)


def test_the_reference_of_a_release_that_is_not_signed_or_not_whole_is_none(started: Started) -> None:
    asked = asked_of(started.verifier)
    fewer = {name: text for name, text in asked.texts.items() if name != "therapy.bhm"}
    found = again(msgspec.structs.replace(asked, texts=fewer))
    assert failed(found) == ["measurements"]
    assert "the manifest of therapy is not there" in found.sentence
    unsigned = again(msgspec.structs.replace(asked, texts={}))
    assert "there is no reference to believe" in unsigned.sentence


@pytest.mark.parametrize("name", ["release.bhm", "therapy.bhm"])
def test_a_reference_whose_signature_is_not_by_the_key_that_is_named_is_none(
    started: Started, name: str
) -> None:
    asked = asked_of(started.verifier)
    envelope = codec.Codec(Envelope).decode(asked.texts[name])
    (one,) = envelope.signatures
    forged = msgspec.structs.replace(one, signature=_flipped(one.signature, 100))
    changed = codec.encode(Envelope(envelope.payload, (forged,)))
    found = again(msgspec.structs.replace(asked, texts={**asked.texts, name: changed}))
    assert f"the signature of {name} is not by the key that its certificate names" in found.sentence
    nobody = codec.encode(Envelope(envelope.payload, ()))
    found = again(msgspec.structs.replace(asked, texts={**asked.texts, name: nobody}))
    assert f"{name} is not signed" in found.sentence


def test_a_reference_signed_by_somebody_without_the_scope_for_it_is_none(started: Started) -> None:
    asked = asked_of(started.verifier)
    texts = devices.published(_design(), {})
    supplier = devices.signers_of(_design())["transfer"]
    payload = codec.Codec(Envelope).decode(texts["therapy.bhm"]).payload
    texts["therapy.bhm"] = enveloped(release.MANIFEST_LABEL, payload, supplier)
    found = again(msgspec.structs.replace(asked, texts=texts))
    assert "Supplier of transfer" in found.sentence
    assert "may not vouch for" in found.sentence
    assert found.verdict is Verdict.CONTRAINDICATED


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nonce.hex", b"no digits\n", "nonce.hex is no nonce"),
        ("token.cwt", bytes(600 << 10), "token.cwt has more than"),
        ("trust/root.der", None, "root.der cannot be read"),
    ],
)
def test_a_folder_that_holds_no_attestation_is_told_in_a_sentence(
    started: Started, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    kept_attestation.write(tmp_path, asked_of(started.verifier))
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(KeptWrong, match=said):
        kept_attestation.read(tmp_path)


def test_a_register_computed_from_signed_texts_is_the_one_that_the_device_reads(started: Started) -> None:
    asked = asked_of(started.verifier)
    token = said.read(asked.token)
    first, second = (one.measurement for one in token.layers)
    own = measured.register_measurement(second, measured.release_digest(token.lines))
    expected = reference.of_release(*_payloads(asked))
    assert reference.register_of(expected) == layers.register_of((first, own))


def _payloads(asked: Asked) -> tuple[bytes, list[bytes]]:
    opened = {name: codec.Codec(Envelope).decode(text).payload for name, text in asked.texts.items()}
    return opened.pop("release.bhm"), list(opened.values())


def _design() -> Design:
    return load_design(PUMP, walls.ALL)
