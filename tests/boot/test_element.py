"""The secure element, as a real process: what it does in which order, and what nobody gets it to do."""

from __future__ import annotations

import os
import socket
import typing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from boot import chip, element_process, layers
from boot.element import Element
from boot.refusal import Refused
from ipc_schemas import codec, element
from tests.boot import elements
from tests.boot.elements import BOOTLOADER, MONITOR, booted_to, bring_to, live_to, make, powered

KEY = Ed25519PrivateKey.generate()
KEY_BYTES = KEY.public_key().public_bytes_raw()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An operational element for tests that leave nothing behind in it."""
    return make(tmp_path_factory.mktemp("shared") / "element", "operational")


@pytest.fixture
def operational(tmp_path: Path, shared: Path) -> Path:
    """An operational element of the test's own."""
    folder = tmp_path / "element"
    folder.mkdir()
    for file in shared.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


# Fuses and life


@given(st.lists(st.binary(min_size=1, max_size=4), max_size=6))
def test_a_fuse_keeps_the_first_value_whatever_is_written_after_it(values: list[bytes]) -> None:
    held = b""
    for value in values:
        try:
            held = chip.burnt(held, value, "serial")
        except Refused:
            assert held not in (b"", value)
    assert held == (values[0] if values else b"")


def test_a_burnt_fuse_keeps_its_value_and_refuses_another(tmp_path: Path) -> None:
    with powered(make(tmp_path / "e", "blank")) as link:
        e = Element(link)
        e.burn_fuse("serial", b"SN-1")
        e.burn_fuse("serial", b"SN-1")
        with pytest.raises(Refused, match="burnt, and with another value"):
            e.burn_fuse("serial", b"SN-2")
        assert e.facts().serial == b"SN-1"


@pytest.mark.parametrize(
    ("fuse", "value"),
    [
        ("root_key_sha256", bytes(32)),
        ("root_key_sha256", b"short"),
        ("hardware_id", b"\x1b[2J"),
        ("serial", b"a b"),
    ],
)
def test_a_fuse_refuses_what_has_not_its_form(tmp_path: Path, fuse: element.Fuse, value: bytes) -> None:
    with powered(make(tmp_path / "e", "blank")) as link, pytest.raises(Refused, match="has not the form"):
        Element(link).burn_fuse(fuse, value)


def test_nothing_is_manufactured_before_all_fuses_are_burnt(tmp_path: Path) -> None:
    with powered(make(tmp_path / "e", "blank")) as link:
        e = Element(link)
        e.burn_fuse("serial", b"SN-1")
        with pytest.raises(Refused, match="root_key_sha256, hardware_id"):
            e.manufacture()


def test_life_goes_one_way_step_by_step(tmp_path: Path) -> None:
    with powered(make(tmp_path / "e", "manufactured")) as link:
        e = Element(link)
        with pytest.raises(Refused, match="without the manufacturer's certificate"):
            e.advance("provisioned")
        with pytest.raises(Refused, match="does not become operational"):
            e.advance("operational")
        e.store_chain("idevid", (elements.certificate_for(e.certificate_request()),))
        e.advance("provisioned")
        for back in ("blank", "manufactured", "provisioned"):
            with pytest.raises(Refused, match="life goes one way"):
                e.advance(back)
        with pytest.raises(Refused, match="not open on a provisioned device"):
            e.certificate_request()
        with pytest.raises(Refused, match="not open on a provisioned device"):
            e.manufacture()


def test_the_certificate_request_is_for_the_identity_and_the_serial_number(tmp_path: Path) -> None:
    with powered(make(tmp_path / "e", "manufactured")) as link:
        e = Element(link)
        request = x509.load_der_x509_csr(e.certificate_request())
        identity = e.identity_public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    assert request.is_signature_valid
    assert request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == identity
    assert request.subject.rfc4514_string() == "2.5.4.5=SN-0001"
    assert len(list(request.extensions)) == 0


def test_the_manufacturers_certificate_has_to_be_for_this_identity_and_in_time(tmp_path: Path) -> None:
    with powered(make(tmp_path / "other", "manufactured")) as link:
        others = elements.certificate_for(Element(link).certificate_request())
    with powered(make(tmp_path / "e", "manufactured")) as link:
        e = Element(link)
        for wrong in ((others,), (b"no certificate",), ()):
            with pytest.raises(Refused, match="not one for this device's identity"):
                e.store_chain("idevid", wrong)
        own = elements.certificate_for(e.certificate_request())
        e.store_chain("idevid", (own,))
        e.advance("provisioned")
        with pytest.raises(Refused, match="before the device is provisioned"):
            e.store_chain("idevid", (own,))
        e.store_chain("ldevid", (b"an owner's",))
        assert (e.chain("idevid"), e.chain("ldevid")) == ((own,), (b"an owner's",))


def test_a_decommissioned_element_has_wiped_its_secret_and_derives_nothing(operational: Path) -> None:
    secret = (operational / "secret").read_bytes()
    with powered(operational) as link:
        e = Element(link)
        e.advance("decommissioned")
        for forbidden in (
            e.identity_public_key,
            lambda: e.spend_attempt("a"),
            lambda: e.advance("operational"),
        ):
            with pytest.raises(Refused, match="not open on a decommissioned device"):
                forbidden()
    assert not (operational / "secret").exists()
    assert all(secret not in file.read_bytes() for file in operational.iterdir())
    with powered(operational) as link:
        assert Element(link).facts().lifecycle == "decommissioned"


# One boot


def test_every_command_has_a_row_and_every_row_a_command() -> None:
    assert set(chip.ROWS) == set(typing.get_args(element.Request))


#: When each command is open, written a second time, so that a row that is widened is seen.
OPEN_IN: dict[type[element.Command], tuple[str, str]] = {
    element.ReadFacts: ("rbmc", "01234"),
    element.ReadRefusals: ("rbmc", "01234"),
    element.ReadChain: ("rbmc", "01234"),
    element.ReadIdentityKey: ("rbmc", "123"),
    element.BurnFuse: ("r", "0"),
    element.Manufacture: ("r", "0"),
    element.RequestCertificate: ("r", "1"),
    element.StoreChain: ("rc", "123"),
    element.AdvanceLifecycle: ("rc", "123"),
    element.SpendAttempt: ("r", "123"),
    element.OpenDebug: ("r", "23"),
    element.DeriveLayer: ("r", "123"),
    element.MeasureNext: ("b", "123"),
    element.Confirm: ("m", "123"),
    element.ReadSealingSecret: ("mc", "123"),
    element.RaiseFloor: ("c", "123"),
    element.RaiseListFloors: ("c", "123"),
    element.RaiseTimeFloor: ("c", "123"),
    element.ArmSlot: ("c", "123"),
    element.AuthoriseSuccessor: ("c", "123"),
    element.ReadState: ("rbmc", "01234"),
    element.RestoreAttempts: ("r", "123"),
}


def test_the_table_opens_no_command_wider_than_intended() -> None:
    table = {
        kind: (
            "".join(p[0] for p in element.PHASES if p in row.phases),
            "".join(str(n) for n, life in enumerate(element.LIFECYCLES) if life in row.lives),
        )
        for kind, row in chip.ROWS.items()
    }
    assert table == OPEN_IN
    assert {k for k, row in chip.ROWS.items() if row.is_debug} == {element.ReadState, element.RestoreAttempts}


EXAMPLES: list[element.Command] = [
    element.SpendAttempt("a"),
    element.DeriveLayer("bootloader", BOOTLOADER),
    element.MeasureNext(MONITOR),
    element.Confirm(),
    element.RaiseFloor("therapy", 1),
    element.RaiseListFloors((element.ListFloor(MONITOR, 1),)),
    element.RaiseTimeFloor(1),
    element.ArmSlot("b"),
    element.AuthoriseSuccessor(MONITOR),
    element.ReadSealingSecret(MONITOR),
    element.BurnFuse("serial", b"x"),
    element.Manufacture(),
    element.RequestCertificate(),
    element.ReadState(),
    element.RestoreAttempts("a"),
]


@pytest.mark.parametrize("phase", element.PHASES)
def test_what_is_not_open_in_a_phase_is_denied_and_counted(operational: Path, phase: element.Phase) -> None:
    with powered(operational) as link:
        e = Element(link)
        bring_to(phase, e)
        closed = [
            request
            for request in EXAMPLES
            if phase[0] not in OPEN_IN[type(request)][0] or "3" not in OPEN_IN[type(request)][1]
        ]
        before = e.facts()
        for request in closed:
            link.send(codec.encode(request))
            answer = codec.Codec(element.Denied).decode(link.recv(70_000))
            assert type(request).__name__ in answer.sentence
        assert e.facts() == before
        assert e.refusals().count == len(closed) > 5
        assert len(e.refusals().first) == min(len(closed), element.REFUSALS_KEPT_MAX)


def test_the_layer_secret_leaves_once_in_a_boot_and_is_the_same_in_the_next(operational: Path) -> None:
    secrets = []
    for _ in range(2):
        with powered(operational) as link:
            e = Element(link)
            e.spend_attempt("a")
            secrets.append(e.derive_layer("bootloader", BOOTLOADER)[0])
            with pytest.raises(Refused, match="DeriveLayer is not open in phase bootloader"):
                e.derive_layer("bootloader", BOOTLOADER)
    assert secrets[0] == secrets[1]


def test_no_answer_holds_the_device_secret(operational: Path) -> None:
    secret = (operational / "secret").read_bytes()
    assert len(secret) == 32
    with powered(operational) as link:
        e = Element(link)
        e.open_debug(elements.unlock_by(KEY, e.facts().nonce), KEY_BYTES, 1_000)
        answers = []
        requests = [element.ReadFacts(), element.ReadState(), element.ReadIdentityKey(), *EXAMPLES[:4]]
        register = layers.register_of((BOOTLOADER, MONITOR), is_debug=True)
        for request in (*requests, element.ReadSealingSecret(register), element.ReadFacts()):
            link.send(codec.encode(request))
            answers.append(link.recv(70_000))
        assert all(b"denied" not in answer for answer in answers)
        assert all(secret not in answer for answer in answers)


def test_the_first_layer_is_signed_by_the_identity(shared: Path) -> None:
    with powered(shared) as link:
        e = Element(link)
        e.spend_attempt("a")
        secret, layer = e.derive_layer("bootloader", BOOTLOADER)
        assert layers.verify_layers(e.identity_public_key(), [layer]) == layer.public_key
        e.measure_next(MONITOR)
        e.confirm()
    assert layer.public_key == layers.layer_key(secret).public_key().public_bytes_raw()


def test_no_layer_is_derived_for_a_slot_of_which_no_attempt_was_spent(shared: Path) -> None:
    with powered(shared) as link, pytest.raises(Refused, match="no attempt of a slot was spent"):
        Element(link).derive_layer("bootloader", BOOTLOADER)


def test_attempts_run_out_unless_what_runs_is_confirmed(operational: Path) -> None:
    with booted_to("confirmed", operational) as e:
        e.arm_slot("b")
        with pytest.raises(Refused, match="is the one that runs"):
            e.arm_slot("a")
        assert e.facts().slot_active == "b"
    for left in reversed(range(element.ATTEMPTS_MAX)):
        with booted_to("monitor", operational, slot="b") as e:
            assert e.facts().attempts == (element.ATTEMPTS_MAX, left)
    with powered(operational) as link:
        e = Element(link)
        with pytest.raises(Refused, match="slot b has no attempt left"):
            e.spend_attempt("b")
        bring_to("confirmed", e, slot="a")
        assert e.facts().slot_active == "a"
        assert e.facts().attempts == (element.ATTEMPTS_MAX, 0)


def test_floors_and_time_only_go_up(operational: Path) -> None:
    with booted_to("confirmed", operational) as e:
        e.raise_floor("therapy", 7)
        e.raise_floor("therapy", 7)
        with pytest.raises(Refused, match="the floor of therapy is 7, and 6 is below it"):
            e.raise_floor("therapy", 6)
        e.raise_time_floor(100)
        with pytest.raises(Refused, match="it is 100 s or later"):
            e.raise_time_floor(99)
    with powered(operational) as link:
        facts = Element(link).facts()
    assert (facts.floors, facts.time_floor_s) == ((element.Floor("therapy", 7),), 100)


def test_there_is_room_for_so_many_floors_and_no_more(operational: Path) -> None:
    with booted_to("confirmed", operational) as e:
        for n in range(element.FLOORS_MAX):
            e.raise_floor(f"image_{n}", 1)
        with pytest.raises(Refused, match="room for no more"):
            e.raise_floor("one_more", 1)
        e.raise_floor("image_0", 2)


# Debugging


def test_debugging_is_open_before_the_device_is_locked_and_closed_after(tmp_path: Path) -> None:
    with powered(make(tmp_path / "e", "manufactured")) as link:
        e = Element(link)
        assert e.debug_state().serial == elements.SERIAL
        e.store_chain("idevid", (elements.certificate_for(e.certificate_request()),))
        e.advance("provisioned")
        with pytest.raises(Refused, match="for debugging, which is not open"):
            e.debug_state()


def test_an_unlock_opens_debugging_in_one_boot_and_cannot_be_replayed(operational: Path) -> None:
    with powered(operational) as link:
        e = Element(link)
        e.spend_attempt("a")
        unlock = elements.unlock_by(KEY, e.facts().nonce)
        e.open_debug(unlock, KEY_BYTES, 1_000)
        e.debug_restore_attempts("a")
        assert e.debug_state().attempts == (element.ATTEMPTS_MAX, element.ATTEMPTS_MAX)
        with pytest.raises(Refused, match="for another boot, or was used before"):
            e.open_debug(unlock, KEY_BYTES, 1_000)
    with powered(operational) as link:
        e = Element(link)
        with pytest.raises(Refused, match="for another boot, or was used before"):
            e.open_debug(unlock, KEY_BYTES, 1_000)
        with pytest.raises(Refused, match="not open"):
            e.debug_state()


def test_an_unlock_for_another_device_or_over_or_of_another_signer_is_refused(shared: Path) -> None:
    with powered(shared) as link:
        e = Element(link)
        nonce = e.facts().nonce
        good = elements.unlock_by(KEY, nonce)
        tampered = element.SignedUnlock(good.payload[:-1] + bytes([good.payload[-1] ^ 1]), good.signature)
        garbage = element.SignedUnlock(b"x", KEY.sign(element.UNLOCK_LABEL + b"x"))
        for unlock, now_s, says in [
            (elements.unlock_by(KEY, nonce, serial=b"SN-0002"), 1_000, "for device 'SN-0002'"),
            (good, 2_000, "ended at 2000 s"),
            (elements.unlock_by(Ed25519PrivateKey.generate(), nonce), 1_000, "not signed"),
            (tampered, 1_000, "not signed"),
            (garbage, 1_000, "has not the form"),
        ]:
            with pytest.raises(Refused, match=says):
                e.open_debug(unlock, KEY_BYTES, now_s)
        assert not e.facts().is_debug


def test_an_unlock_that_ended_before_the_time_floor_is_refused_whatever_time_is_claimed(
    operational: Path,
) -> None:
    with booted_to("confirmed", operational) as e:
        e.raise_time_floor(2_000)
    with powered(operational) as link:
        e = Element(link)
        with pytest.raises(Refused, match="it is 2000 s"):
            e.open_debug(elements.unlock_by(KEY, e.facts().nonce), KEY_BYTES, 0)


def test_a_boot_with_debugging_open_has_other_secrets(operational: Path) -> None:
    secrets, registers = [], []
    for is_debug in (False, True):
        with powered(operational) as link:
            e = Element(link)
            if is_debug:
                e.open_debug(elements.unlock_by(KEY, e.facts().nonce), KEY_BYTES, 1_000)
            e.spend_attempt("a")
            secrets.append(e.derive_layer("bootloader", BOOTLOADER)[0])
            e.measure_next(MONITOR)
            registers.append(e.facts().register)
            ordinary = layers.register_of((BOOTLOADER, MONITOR))
            if is_debug:
                with pytest.raises(Refused, match="not this boot's"):
                    e.sealing_secret(ordinary)
            else:
                e.sealing_secret(ordinary)
    assert len(set(secrets)) == len(set(registers)) == 2


# Hostile clients, broken cells


def test_what_is_no_command_is_denied_and_the_element_lives(shared: Path) -> None:
    once = codec.encode(element.ReadFacts())
    with powered(shared) as link:
        hostile = [
            b"",
            b"\xc1",
            b"\x91" * 5_000,
            b"x" * (element.MESSAGE_BYTES_MAX + 1),
            once + b"\0",
            b"\x80",
        ]
        hostile += [
            codec.encode({"command": "readsecret"}),
            codec.encode({"command": "readfacts", "more": 1}),
        ]
        hostile += [codec.encode({"command": "derivelayer", "layer": "rom", "measurement": b"short"})]
        hostile += [b"\xde\x00\x01" + once[1:]]  # the same value, written another way
        for request in hostile:
            link.send(request)
            assert codec.Codec(element.Denied).decode(link.recv(70_000)).sentence
        refusals = Element(link).refusals()
        assert refusals.count == len(hostile)
        assert f"the request has more than {element.MESSAGE_BYTES_MAX} bytes" in refusals.first


def test_random_bytes_and_cut_commands_are_denied_and_the_element_lives(shared: Path) -> None:
    whole = codec.encode(element.DeriveLayer("bootloader", BOOTLOADER))
    with powered(shared) as link:
        for n in range(300):
            request = os.urandom(n) if n % 2 else whole[: n % len(whole)]
            link.send(request)
            assert codec.Codec(element.Denied).decode(link.recv(70_000)).sentence
        e = Element(link)
        assert e.refusals().count == 300
        assert len(e.refusals().first) == element.REFUSALS_KEPT_MAX


def test_descriptors_that_are_sent_along_are_not_taken(shared: Path) -> None:
    ours, theirs = socket.socketpair()
    with powered(shared) as link, ours:
        socket.send_fds(link, [codec.encode(element.ReadFacts())], [theirs.fileno()])
        theirs.close()
        assert link.recv(70_000)
        ours.settimeout(5)
        assert ours.recv(1) == b""  # the only other descriptor of it is gone


def test_only_one_process_holds_an_element(shared: Path) -> None:
    with powered(shared) as first:
        Element(first).facts()
        with powered(shared) as second, pytest.raises(Refused, match="another process holds"):
            Element(second).facts()


def test_a_blank_element_is_made_once_and_never_by_opening(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, says in ((tmp_path / "empty", "state is missing"), (tmp_path / "none", "cannot be opened")):
        with powered(folder) as link, pytest.raises(Refused, match=says):
            Element(link).facts()
    element_process.make_blank(tmp_path / "e")
    with pytest.raises(Refused, match="already a secure element"):
        element_process.make_blank(tmp_path / "e")


def test_without_its_state_an_element_refuses_and_does_not_begin_anew(operational: Path) -> None:
    (operational / "state").unlink()
    with powered(operational) as link:
        for _ in range(2):
            with pytest.raises(
                Refused, match="state is missing: its floors and its identity cannot be known"
            ):
                Element(link).facts()
    with pytest.raises(Refused, match="already a secure element"):
        element_process.make_blank(operational)


def flip(path: Path, index: int) -> None:
    content = bytearray(path.read_bytes())
    content[index] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("index", [0, 20, 60, -1])
def test_a_changed_state_is_refused(operational: Path, index: int) -> None:
    flip(operational / "state", index)
    with powered(operational) as link, pytest.raises(Refused, match="cut or changed"):
        Element(link).facts()


@pytest.mark.parametrize("length", [0, 8, 39, 100])
def test_a_cut_state_is_refused(operational: Path, length: int) -> None:
    os.truncate(operational / "state", length)
    with powered(operational) as link, pytest.raises(Refused, match="cut or changed"):
        Element(link).facts()


def test_another_or_no_device_secret_is_refused(operational: Path) -> None:
    flip(operational / "secret", 0)
    with powered(operational) as link, pytest.raises(Refused, match="is not this element's"):
        Element(link).facts()
    (operational / "secret").unlink()
    with powered(operational) as link, pytest.raises(Refused, match="device secret is missing"):
        Element(link).facts()


def test_a_change_that_cannot_be_written_ends_the_element_with_a_sentence(operational: Path) -> None:
    with powered(operational) as link:
        e = Element(link)
        e.facts()
        (operational / "state.new").mkdir()  # no new state can be written here
        with pytest.raises(Refused, match="cannot be read or written"):
            e.spend_attempt("a")
        with pytest.raises(Refused, match="does not answer"):
            e.facts()
    (operational / "state.new").rmdir()
    with powered(operational) as link:
        assert Element(link).facts().attempts == (element.ATTEMPTS_MAX, element.ATTEMPTS_MAX)


def test_the_same_factory_steps_give_every_device_another_identity(tmp_path: Path) -> None:
    keys = set()
    for name in ("one", "two"):
        element_process.make_blank(tmp_path / name)
        with powered(tmp_path / name) as link:
            live_to("manufactured", Element(link))
            keys.add(Element(link).identity_public_key())
    assert len(keys) == 2
