"""Only a device that proves all of it is affirmed; otherwise the first layer that differs has a name."""

from __future__ import annotations

import hashlib
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boot import attestation, measured
from evidence import appraisal
from evidence.appraisal import Appraisal, Mark, Verdict, appraise
from evidence.challenges import Challenges, TooManyOpen
from ipc_schemas import codec
from ipc_schemas.release import Layer, Measurement
from tests.support.attested import (
    NOW_S,
    Bench,
    Booted,
    digest,
    key_of,
    layer,
    published,
    signed_by,
    token,
)

RELEASE = published()
OLDER = published("1.1.0", monitor="the monitor of 1.1.0", therapy="the therapy of 1.1.0")
BENCH = Bench()
VERIFIER = BENCH.verifier(RELEASE)
BOOTED = BENCH.boot(RELEASE)
#: Whole answers to one nonce, which each appraisal is allowed to use anew.
NONCE = digest("nonce")
SIGNED = token(BOOTED, NONCE, BENCH.about(RELEASE))
EVIL = digest("evil")


def anew(signed: bytes, verifier: appraisal.Verifier = VERIFIER) -> Appraisal:
    """The appraisal of an answer to ``NONCE``, as if it had just been handed out."""
    challenges = Challenges(draw=lambda _: NONCE)
    challenges.fresh(verifier.serial, NOW_S)
    return appraise(signed, NONCE, challenges, verifier, NOW_S)


def said_by(booted: Booted) -> Appraisal:
    """The appraisal of what the device says after that boot."""
    return BENCH.appraised(booted, RELEASE, VERIFIER)


def named(found: Appraisal) -> tuple[str, str, str]:
    """Who measured the first difference, of what kind it is, and its name."""
    assert found.first is not None
    return found.first.stage, found.first.kind, found.first.name


def holds(found: Appraisal, name: str) -> bool | None:
    """What became of one check."""
    return next(check.holds for check in found.checks if check.name == name)


# A sound device


def test_a_device_that_runs_the_release_is_affirmed() -> None:
    found = said_by(BOOTED)
    assert found.verdict is Verdict.AFFIRMING
    assert found.sentence == "it runs release 1.2.0, as it should"
    assert found.first is None
    assert tuple(check.name for check in found.checks) == appraisal.CHECKS
    assert {row.mark for row in found.rows} == {Mark.SAME}
    assert (found.release, found.lifecycle, found.is_debug) == ("1.2.0", "operational", False)


def test_a_page_shows_each_thing_that_was_measured_in_the_order_of_the_boot() -> None:
    shown = appraisal.rows_to_show(said_by(BOOTED))
    assert [row[0] for row in shown[:3]] == [
        "bootloader (layer, by rom)",
        "insulin_pump (release, by rom)",
        "bootloader (image, by rom)",
    ]
    assert shown[-1] == (
        "transfer (image, by monitor)",
        *[RELEASE.digests["transfer"].hex()[:12]] * 2,
        "same",
    )


# What differs is named


@pytest.mark.parametrize(
    ("name", "stage", "kind"),
    [
        ("bootloader", "rom", "image"),
        ("python", "bootloader", "platform"),
        ("msgspec", "bootloader", "platform"),
        ("monitor", "bootloader", "image"),
        ("design", "monitor", "image"),
        ("therapy", "monitor", "image"),
        ("transfer", "monitor", "image"),
    ],
)
def test_the_one_thing_that_differs_is_named_with_both_digests(name: str, stage: str, kind: str) -> None:
    found = said_by(BENCH.boot(RELEASE, {name: EVIL}))
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found) == (stage, kind, name)
    assert found.first is not None
    assert (found.first.expected, found.first.found) == (RELEASE.digests[name].hex(), EVIL.hex())
    assert name in found.sentence


@pytest.mark.parametrize(
    ("name", "stage", "kind"),
    [
        ("python", "rom", "platform"),
        ("msgspec", "bootloader", "platform"),
        ("monitor", "bootloader", "image"),
    ],
)
def test_what_rom_has_measured_for_all_stages_is_a_part_of_each_of_their_layers(
    name: str, stage: str, kind: str
) -> None:
    """The bootloader does not measure it again, and the monitor's layer still follows from it."""
    shared = published(boots_on=("python",))
    good = BENCH.appraised(BENCH.boot(shared), shared, BENCH.verifier(shared))
    assert good.verdict is Verdict.AFFIRMING
    bad = BENCH.appraised(BENCH.boot(shared, {name: EVIL}), shared, BENCH.verifier(shared))
    assert bad.verdict is Verdict.CONTRAINDICATED
    assert named(bad) == (stage, kind, name)


def test_of_several_that_differ_the_first_in_the_boot_is_named() -> None:
    assert named(said_by(BENCH.boot(RELEASE, dict.fromkeys(RELEASE.digests, EVIL)))) == (
        "rom",
        "image",
        "bootloader",
    )
    assert named(said_by(BENCH.boot(RELEASE, {"transfer": EVIL, "monitor": EVIL})))[2] == "monitor"


def test_what_a_wrong_stage_has_measured_is_not_believed() -> None:
    found = said_by(BENCH.boot(RELEASE, {"monitor": EVIL}))
    marks = {(row.stage, row.kind, row.name): row.mark for row in found.rows}
    assert marks["monitor", "image", "therapy"] is Mark.NOT_BELIEVED
    assert marks["rom", "image", "bootloader"] is Mark.SAME


# Stages that lie


def test_a_bootloader_that_lies_about_the_monitor_and_rewrites_the_log_is_named_itself() -> None:
    """Log and second layer say what the release says; what ROM signed of the bootloader stands against them."""
    liar = BENCH.boot(RELEASE, {"bootloader": EVIL, "monitor": EVIL}, liar="bootloader")
    found = said_by(liar)
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found) == ("rom", "layer", "bootloader")
    assert found.first is not None
    assert found.first.found == EVIL.hex()
    assert holds(found, "signature")
    assert holds(found, "log")


def test_a_monitor_that_lies_about_the_partitions_and_rewrites_the_log_is_named_itself() -> None:
    liar = BENCH.boot(RELEASE, {"monitor": EVIL, "therapy": EVIL}, liar="monitor")
    found = said_by(liar)
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found) == ("bootloader", "layer", "monitor")


def test_a_lying_bootloader_cannot_lead_to_another_line_of_the_log() -> None:
    liar = BENCH.boot(RELEASE, {"bootloader": EVIL}, liar="bootloader")
    log = measured.Log().appended("rom", "image", "scapegoat", "1", EVIL, "maker")
    for line in liar.log.lines:
        log = log.appended(line.stage, line.kind, line.name, line.version, line.digest, line.signer)
    assert named(said_by(Booted(liar.key, log, liar.layers))) == (
        "rom",
        "layer",
        "bootloader",
    )


def test_a_lying_bootloader_cannot_use_the_layers_of_an_honest_boot() -> None:
    """They are no secret: every attestation shows them. It has not the keys that they speak of."""
    liar = BENCH.boot(RELEASE, {"bootloader": EVIL}, liar="bootloader")
    found = said_by(Booted(liar.key, BOOTED.log, BOOTED.layers))
    assert found.verdict is Verdict.CONTRAINDICATED
    assert (holds(found, "layers"), holds(found, "signature")) == (True, False)
    own = signed_by(liar.key, layer("monitor", BOOTED.layers[1].measurement, liar.key))
    found = said_by(Booted(liar.key, BOOTED.log, (BOOTED.layers[0], own)))
    assert holds(found, "layers") is False
    assert "layer 1 (monitor) is not signed by bootloader" in found.sentence


def test_a_layer_that_the_release_has_not_is_named() -> None:
    key = key_of(EVIL)
    more = signed_by(BOOTED.key, layer("extra", EVIL, key))
    found = said_by(Booted(key, BOOTED.log, (*BOOTED.layers, more)))
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found)[1:] == ("layer", "extra")


def test_a_layer_that_is_missing_is_named() -> None:
    bootloader_secret = hashlib.sha256(BENCH.secret + RELEASE.digests["bootloader"]).digest()
    found = said_by(Booted(key_of(bootloader_secret), BOOTED.log, BOOTED.layers[:1]))
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found) == ("bootloader", "layer", "monitor")
    assert found.first is not None
    assert found.first.mark is Mark.MISSING


def test_a_layer_under_another_name_is_named() -> None:
    bootloader_secret = hashlib.sha256(BENCH.secret + RELEASE.digests["bootloader"]).digest()
    other = signed_by(key_of(bootloader_secret), layer("other", BOOTED.layers[1].measurement, BOOTED.key))
    assert named(said_by(Booted(BOOTED.key, BOOTED.log, (BOOTED.layers[0], other))))[1:] == (
        "layer",
        "monitor",
    )


# The log


def with_lines(*lines: Measurement) -> Booted:
    return Booted(BOOTED.key, measured.Log(lines), BOOTED.layers)


PLACES = st.integers(0, len(BOOTED.log.lines) - 1)


@given(PLACES, PLACES)
def test_lines_that_changed_places_are_named(one: int, other: int) -> None:
    lines = list(BOOTED.log.lines)
    lines[one], lines[other] = lines[other], lines[one]
    found = said_by(with_lines(*lines))
    if one == other:
        assert found.verdict is Verdict.AFFIRMING
        return
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found)[2] == lines[min(one, other)].name
    assert holds(found, "log") is False


@given(PLACES)
def test_a_line_that_was_dropped_is_missed(place: int) -> None:
    """The chain shows the first line behind the hole; behind the last one nothing is left but the hole itself."""
    lines = [*BOOTED.log.lines[:place], *BOOTED.log.lines[place + 1 :]]
    found = said_by(with_lines(*lines))
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found)[2] == BOOTED.log.lines[min(place + 1, len(lines))].name
    marks = {(row.stage, row.kind, row.name): row.mark for row in found.rows}
    dropped = BOOTED.log.lines[place]
    assert marks[dropped.stage, dropped.kind, dropped.name] is Mark.MISSING


@given(PLACES, st.booleans())
def test_a_line_dropped_or_changed_under_a_chain_made_anew_is_named(place: int, is_dropped: bool) -> None:
    """As the monitor itself could do it. Lines of the layers' own images are held against the layers as well."""
    log = measured.Log()
    victim = BOOTED.log.lines[place]
    for line in BOOTED.log.lines:
        if line is victim and is_dropped:
            continue
        value = EVIL if line is victim else line.digest
        log = log.appended(line.stage, line.kind, line.name, line.version, value, line.signer)
    found = said_by(Booted(BOOTED.key, log, BOOTED.layers))
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found) == (victim.stage, victim.kind, victim.name)
    assert found.first is not None
    assert found.first.mark is (Mark.MISSING if is_dropped else Mark.DIFFERS)


def test_what_the_release_does_not_know_is_named() -> None:
    log = BOOTED.log.appended("monitor", "image", "implant", "1", EVIL, "someone")
    found = said_by(Booted(BOOTED.key, log, BOOTED.layers))
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found) == ("monitor", "image", "implant")


@pytest.mark.parametrize("name", ["design", "transfer"])
def test_a_second_line_about_the_same_image_has_to_say_the_same(name: str) -> None:
    same = BOOTED.log.appended("monitor", "image", name, "1.2.0", RELEASE.digests[name], "maker")
    assert said_by(Booted(BOOTED.key, same, BOOTED.layers)).verdict is Verdict.AFFIRMING
    other = BOOTED.log.appended("monitor", "image", name, "1.2.0", EVIL, "maker")
    assert named(said_by(Booted(BOOTED.key, other, BOOTED.layers)))[2] == name


# Releases


def test_a_known_older_release_is_a_warning_and_its_first_layer_is_named() -> None:
    found = BENCH.appraised(BENCH.boot(OLDER), OLDER, BENCH.verifier(RELEASE, OLDER))
    assert found.verdict is Verdict.WARNING
    assert named(found) == ("bootloader", "image", "monitor")
    assert (found.release, "it runs release 1.1.0, not 1.2.0" in found.sentence) == ("1.1.0", True)


def test_an_older_release_that_nobody_published_is_contraindicated() -> None:
    found = BENCH.appraised(BENCH.boot(OLDER), OLDER, VERIFIER)
    assert found.verdict is Verdict.CONTRAINDICATED
    assert named(found) == ("bootloader", "image", "monitor")


def test_in_another_release_the_image_that_differs_is_named_and_not_the_release() -> None:
    other = published("1.2.1", transfer="the transfer of 1.2.1")
    found = BENCH.appraised(BENCH.boot(other), other, VERIFIER)
    assert named(found) == ("monitor", "image", "transfer")


def test_a_release_signed_anew_over_the_same_images_is_named_itself() -> None:
    found = BENCH.appraised(BENCH.boot(published("1.2.1")), published("1.2.1"), VERIFIER)
    assert named(found) == ("rom", "release", "insulin_pump")


def test_without_reference_measurements_nothing_is_said() -> None:
    found = BENCH.appraised(BOOTED, RELEASE, BENCH.verifier(None))
    assert found.verdict is Verdict.NONE
    broken = BENCH.appraised(with_lines(*BOOTED.log.lines[1:]), RELEASE, BENCH.verifier(None))
    assert broken.verdict is Verdict.CONTRAINDICATED


@pytest.mark.parametrize("claim", [{"version": "1.3.0"}, {"firmware": "other"}])
def test_a_device_that_calls_its_release_by_another_name_is_contraindicated(claim: dict[str, str]) -> None:
    found = BENCH.appraised(BOOTED, RELEASE, VERIFIER, **claim)
    assert found.verdict is Verdict.CONTRAINDICATED
    assert "calls itself" in found.sentence


# Whose, and when


def test_an_attestation_that_is_shown_again_is_refused() -> None:
    challenges = Challenges()
    nonce = challenges.fresh(BENCH.serial, NOW_S)
    answer = token(BOOTED, nonce, BENCH.about(RELEASE))
    assert appraise(answer, nonce, challenges, VERIFIER, NOW_S).verdict is Verdict.AFFIRMING
    again = appraise(answer, nonce, challenges, VERIFIER, NOW_S + 1)
    assert again.verdict is Verdict.CONTRAINDICATED
    assert "replay" in again.sentence


def test_an_answer_to_an_earlier_nonce_does_not_answer_the_next_one() -> None:
    challenges = Challenges()
    answer = token(BOOTED, challenges.fresh(BENCH.serial, NOW_S), BENCH.about(RELEASE))
    found = appraise(answer, challenges.fresh(BENCH.serial, NOW_S), challenges, VERIFIER, NOW_S)
    assert found.verdict is Verdict.CONTRAINDICATED
    assert "another nonce" in found.sentence


def test_an_answer_that_comes_too_late_is_refused() -> None:
    challenges = Challenges(valid_s=10)
    nonce = challenges.fresh(BENCH.serial, NOW_S)
    answer = token(BOOTED, nonce, BENCH.about(RELEASE))
    found = appraise(answer, nonce, challenges, VERIFIER, NOW_S + 11)
    assert found.verdict is Verdict.CONTRAINDICATED
    assert "1 s too late" in found.sentence


def test_a_nonce_that_nobody_handed_out_is_refused() -> None:
    found = appraise(SIGNED, NONCE, Challenges(), VERIFIER, NOW_S)
    assert found.verdict is Verdict.CONTRAINDICATED
    assert "nobody was asked" in found.sentence


def test_a_nonce_serves_one_device_and_is_used_up_by_the_first_try() -> None:
    challenges = Challenges()
    nonce = challenges.fresh("pump-0002", NOW_S)
    answer = token(BOOTED, nonce, BENCH.about(RELEASE))
    assert "was for pump-0002" in appraise(answer, nonce, challenges, VERIFIER, NOW_S).sentence
    assert "used before" in challenges.use(nonce, "pump-0002", NOW_S)


def test_open_challenges_are_bounded_and_forgotten_in_time() -> None:
    challenges = Challenges(valid_s=10, open_max=2)
    first = challenges.fresh("a", 0)
    challenges.fresh("b", 0)
    with pytest.raises(TooManyOpen):
        challenges.fresh("c", 19)
    challenges.fresh("c", 21)
    assert "nobody was asked" in challenges.use(first, "a", 21)


def test_nonces_are_not_drawn_twice() -> None:
    challenges = Challenges()
    assert len({challenges.fresh("a", 0) for _ in range(100)}) == 100


def test_the_token_of_another_device_is_refused() -> None:
    """Under its own name, and under ours."""
    other = Bench(serial="pump-0002", secret=digest("another secret"))
    booted = other.boot(RELEASE)
    for device in (other.about(RELEASE), BENCH.about(RELEASE)):
        found = anew(token(booted, NONCE, device))
        assert found.verdict is Verdict.CONTRAINDICATED
        assert "layer 0 (bootloader) is not signed by the device's identity" in found.sentence


@pytest.mark.parametrize("claim", [{"serial": "pump-0002"}, {"hardware_id": "pump-board-4"}])
def test_a_device_that_claims_to_be_another_is_refused(claim: dict[str, str]) -> None:
    found = BENCH.appraised(BOOTED, RELEASE, VERIFIER, **claim)
    assert (found.verdict, holds(found, "device")) == (Verdict.CONTRAINDICATED, False)


def test_a_reference_for_other_hardware_affirms_nothing() -> None:
    assert VERIFIER.reference is not None
    other = msgspec.structs.replace(VERIFIER.reference, hardware_id="pump-board-4")
    found = BENCH.appraised(BOOTED, RELEASE, msgspec.structs.replace(VERIFIER, reference=other))
    assert found.verdict is Verdict.CONTRAINDICATED


def test_an_identity_that_is_no_key_is_no_exception() -> None:
    verifier = msgspec.structs.replace(VERIFIER, identity_public_key=b"no key")
    assert anew(SIGNED, verifier).verdict is Verdict.CONTRAINDICATED


# Life


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ({"lifecycle": "provisioned"}, Verdict.AFFIRMING),
        ({"is_debug": True}, Verdict.WARNING),
        ({"is_debug": True, "lifecycle": "provisioned"}, Verdict.WARNING),
        ({"lifecycle": "manufactured"}, Verdict.WARNING),
        ({"lifecycle": "blank"}, Verdict.WARNING),
        ({"lifecycle": "decommissioned"}, Verdict.CONTRAINDICATED),
        ({"lifecycle": "of its own"}, Verdict.CONTRAINDICATED),
    ],
)
def test_only_a_device_in_use_and_closed_is_affirmed(claim: dict[str, Any], verdict: Verdict) -> None:
    assert BENCH.appraised(BOOTED, RELEASE, VERIFIER, **claim).verdict is verdict


def resigned(**claims: Any) -> bytes:
    """A token with other claims, signed by the right key."""
    content = attestation.claims(NONCE, BOOTED.log, BOOTED.layers, BENCH.about(RELEASE), NOW_S)
    content.update({getattr(attestation, name.upper(), 0): value for name, value in claims.items()})
    payload = cbor2.dumps({k: v for k, v in content.items() if v is not ...}, canonical=True)
    header = cbor2.dumps(attestation.HEADER, canonical=True)
    signature = BOOTED.key.sign(attestation.signed_bytes(header, payload))
    return cbor2.dumps(cbor2.CBORTag(18, [header, {}, payload, signature]), canonical=True)


@pytest.mark.parametrize("status", [1, 2, 4, 5, -1, 1 << 40])
def test_a_debug_status_that_our_devices_have_not_is_contraindicated(status: int) -> None:
    assert anew(resigned()).verdict is Verdict.AFFIRMING
    assert anew(resigned(dbgstat=status)).verdict is Verdict.CONTRAINDICATED


def test_closed_debugging_in_a_life_that_has_it_open_is_contraindicated() -> None:
    assert anew(resigned(lifecycle="manufactured")).verdict is Verdict.CONTRAINDICATED


# Hostile bytes


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_a_token_with_one_bit_flipped_is_never_affirmed(bit: int) -> None:
    changed = bytearray(SIGNED)
    changed[bit // 8] ^= 1 << bit % 8
    assert anew(bytes(changed)).verdict is Verdict.CONTRAINDICATED


@given(st.integers(0, len(SIGNED) - 1))
def test_a_token_that_ends_too_early_is_never_affirmed(length: int) -> None:
    assert anew(SIGNED[:length]).verdict is Verdict.CONTRAINDICATED


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xd2", b"\xd2\x84", SIGNED[:40]]))
def test_bytes_of_any_kind_are_contraindicated_and_never_raise(data: bytes, head: bytes) -> None:
    found = anew(head + data)
    assert found.verdict is Verdict.CONTRAINDICATED
    assert found.sentence


BOMBS = {
    "nothing": b"",
    "deep": b"\xd2" + b"\x81" * 100_000,
    "deep maps": b"\xd2" + b"\xa1\x00" * 100_000,
    "deep tags": b"\xd2" * 100_000,
    "a length that is not there": b"\xd2\x84\x5b" + b"\xff" * 8,
    "an array that is not there": b"\xd2\x9b" + b"\x7f" * 8,
    "a map that is not there": b"\xd2\xbb" + b"\x7f" * 8,
    "no stated length": b"\xd2\x9f" + b"\x00" * 1_000 + b"\xff",
    "a huge number": b"\xd2\xc2\x5a\x00\x01\x00\x00" + b"\xff" * 65_536,
    "a regular expression": b"\xd2" + cbor2.dumps(cbor2.CBORTag(35, "(a+)+$")),
    "shared values": b"\xd2\xd8\x1c\x81\xd8\x1d\x00",
    "too many bytes": SIGNED + bytes(attestation.TOKEN_BYTES_MAX),
    "something behind it": SIGNED + b"\x00",
    "a bad text": b"\xd2\x61\xff",
    "untagged": SIGNED[1:],
    "tagged twice": b"\xd8\x3d" + SIGNED,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=list(BOMBS))
def test_a_bomb_is_a_sentence(bomb: bytes) -> None:
    found = anew(bomb)
    assert found.verdict is Verdict.CONTRAINDICATED
    assert found.sentence.startswith("the token: ")


HOSTILE_CLAIMS: dict[str, dict[str, Any]] = {
    "no layers": {"layers": codec.encode([])},
    "many layers": {"layers": codec.encode([Layer("a", EVIL, EVIL)] * 9)},
    "layers of another shape": {"layers": codec.encode([1, 2])},
    "layers that are deep": {"layers": b"\x91" * 100_000},
    "layers in another encoding": {"layers": b"\xdc\x00\x02" + codec.encode(list(BOOTED.layers))[1:]},
    "a key that is no point": {"layers": codec.encode([Layer("a", EVIL, b"\xff" * 32)] * 2)},
    "lines in another format": {"measurements": [[65_001, codec.encode(list(BOOTED.log.lines))]]},
    "two logs": {"measurements": [[65_000, codec.encode([])]] * 2},
    "no log": {"measurements": []},
    "a log too long": {"measurements": [[65_000, codec.encode([BOOTED.log.lines[0]] * 513)]]},
    "a text for a number": {"dbgstat": "3"},
    "a version of two": {"swversion": ["1.2.0", "2"]},
    "another profile": {"eat_profile": "urn:example:other"},
    "another manufacturer": {"oemid": bytes(16)},
    "a claim too few": {"lifecycle": ...},
    "a claim too many": {"unknown": 0},
    "two nonces": {"nonce": [NONCE, NONCE]},
    "a nonce too long": {"nonce": bytes(65)},
}


@pytest.mark.parametrize("claims", HOSTILE_CLAIMS.values(), ids=list(HOSTILE_CLAIMS))
def test_hostile_claims_under_a_good_signature_are_a_sentence(claims: dict[str, Any]) -> None:
    found = anew(resigned(**claims))
    assert found.verdict is Verdict.CONTRAINDICATED
    assert found.sentence


def test_bounds_are_said_before_anything_is_believed() -> None:
    many = resigned(measurements=[[65_000, codec.encode([BOOTED.log.lines[0]] * 513)]])
    assert "a log of 513 lines, more than 512" in anew(many).sentence
    assert "bytes, more than 524288" in anew(SIGNED + bytes(attestation.TOKEN_BYTES_MAX)).sentence


def test_a_header_that_says_anything_else_is_refused() -> None:
    outer = cbor2.loads(SIGNED).value
    for header, unprotected in (
        ({1: -8}, {}),
        ({1: -7, 16: "application/eat+cwt"}, {}),
        (attestation.HEADER, {4: b"k"}),
    ):
        changed = [cbor2.dumps(header, canonical=True), unprotected, *outer[2:]]
        found = anew(cbor2.dumps(cbor2.CBORTag(18, changed), canonical=True))
        assert "its header does not say EdDSA" in found.sentence
