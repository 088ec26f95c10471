"""The catalogue, the schedules made of it, and the image of a compromised partition that really runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from faults import attack_files, catalogue, image, means
from faults.attack import Injection
from faults.catalogue import UnknownAttack
from faults.means import Means
from monitor.design import Action, Event
from monitor.loader import load_design
from sandbox import walls

BUILT = attack_files.built()
_ROOT = Path(__file__).parent.parent.parent
MEANS = Means(
    run_pid=42,
    token="bx123456",
    ports={"world.cgm": 1, "world.pump_command": 2, "therapy.pump_command": 3},
    partitions={"therapy": 1, "transfer": 2},
    collector_tcp_port=1_111,
    collector_udp_port=2_222,
    abstract_name="collector",
    deadline_unix_s=1e9,
)


def test_every_built_attack_has_a_row_a_sentence_and_a_detector() -> None:
    built = {row.id for row in catalogue.rows().values() if row.built}
    assert built == {attack_id for attack_id, attack in BUILT.items() if attack.partitions}
    assert len(built) >= 26
    assert all(attack.plain.endswith(".") and attack.effect.__doc__ for attack in BUILT.values())
    assert all(set(attack.walls) <= walls.ALL and attack.walls for attack in BUILT.values())
    assert all(set(attack.needs) <= set(means.GIVES) for attack in BUILT.values())
    assert all(not row.plain for row in catalogue.rows().values() if not row.built)


def test_a_row_that_stays_unbuilt_gives_its_reason_in_a_sentence() -> None:
    assert set(catalogue.NOT_BUILT) <= set(catalogue.rows()) - set(BUILT)
    assert all(why.endswith(".") and why[0].isupper() for why in catalogue.NOT_BUILT.values())


def test_the_demonstration_covers_every_family_it_must() -> None:
    must = {"C06", "C08", "C05", "C14", "C15", "C03", "K01", "K02", "K03", "K23", "K16", "K25"}
    assert must <= set(catalogue.DEMO_ORDER)
    assert set(catalogue.DEMO_ORDER) <= set(BUILT)
    assert len(set(catalogue.DEMO_ORDER)) == len(catalogue.DEMO_ORDER)


def test_the_day_begins_with_memory_and_ends_with_what_outlives_the_kill() -> None:
    day = catalogue.default_schedule()
    assert (day[0].frame, day[0].attack_id) == (96, "K01")
    assert (day[-1].frame, day[-1].attack_id, day[-1].until_frame) == (264, "K25", None)
    assert [one.until_frame for one in day[:-1]] == [one.frame for one in day[1:]]
    assert len({one.frame for one in day}) == len(day)


def test_the_restart_budget_lets_every_attack_have_its_turn() -> None:
    transfer = load_design(_ROOT / "designs" / "insulin_pump", walls.ALL).partition("transfer")
    assert transfer.health[Event.FORBIDDEN_SYSCALL] is Action.RESTART
    frames = [one.frame for one in catalogue.default_schedule() if BUILT[one.attack_id].costs_a_restart]
    budget = transfer.restart
    for frame in frames:
        within = [other for other in frames if frame - budget.within_frames < other <= frame]
        assert len(within) <= budget.restarts_max, (frame, within)


@pytest.mark.parametrize(
    ("text", "frame", "attack_id"),
    [("K01@08:30", 102, "K01"), ("k01", 96, "K01"), ("F02@0:00", 0, "F02"), (" C15 @ 23:59 ", 287, "C15")],
)
def test_an_attack_can_be_named_with_its_time(text: str, frame: int, attack_id: str) -> None:
    assert catalogue.parse_attack(text) == Injection(frame, attack_id)


@pytest.mark.parametrize(
    ("text", "says"),
    [("Z99", "'Z99'"), ("C13", "not built"), ("K01@25:00", "'25:00'"), ("K01@", "not a time"), ("", "''")],
)
def test_what_is_no_attack_is_refused_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(UnknownAttack) as refused:
        catalogue.parse_attack(text)
    assert says in str(refused.value)


def test_attacks_get_the_means_they_need_and_keep_what_the_schedule_says() -> None:
    plan = [Injection(1, attack_id) for attack_id in sorted(BUILT)] + [
        Injection(2, "K03", {"signal": "stop"})
    ]
    equipped = means.equip(plan, MEANS, BUILT)
    by_id = {one.attack_id: one.parameters for one in equipped if one.frame == 1}
    for attack_id in ("K01", "K02", "K03", "K21"):
        assert by_id[attack_id]["run_pid"] == 42
    assert by_id["C15"]["world_cgm_port"] == 1
    assert by_id["K25"]["token"] == "bx123456-K25"
    assert equipped[-1].parameters == {"run_pid": 42, "victim": "therapy", "signal": "stop"}


def test_an_attack_covers_its_frames_and_no_others() -> None:
    one = Injection(5, "K01", {}, 7)
    assert [one.covers(frame) for frame in (4, 5, 6, 7)] == [False, True, True, False]
    assert Injection(5, "K01").covers(10_000)


def test_an_image_that_already_has_such_a_file_is_refused() -> None:
    with pytest.raises(image.ImageClash):
        image.compromised({"schedule.json": b""}, [], "main:Transfer")


_LIFE = """
import json, os, sys
sys.path[:0] = [IMAGE, ROOT + "/lib"]
from ipc_schemas import insulin_pump, wire
from ipc_schemas.window import Ports, Setup, Window
import implant_main
assert "faults" in sys.modules and sys.modules["faults"].__file__.startswith(IMAGE)
card = wire.PortCard(11, "activity", True, True, 0, "ActivityHint")
ports = Ports(wire.Hello(2, 0, 300_000, (card,)), insulin_pump)
life = implant_main.Compromised(Setup("transfer", b"", 300_000))
for frame in range(8):
    sent = []
    life.window(Window(ports, wire.WindowOpen(frame, ()), lambda port, payload: sent.append(payload)))
    print(json.dumps(len(sent)))
"""
_BENIGN = """
from ipc_schemas.insulin_pump import ActivityHint
class Transfer:
    def __init__(self, setup): pass
    def window(self, window): window.send("activity", ActivityHint(window.frame, 1.0))
"""


def test_the_implant_sleeps_strikes_in_its_frame_and_goes_on_being_benign(tmp_path: Path) -> None:
    schedule = [
        Injection(1, "C05", {"count": 3}),
        Injection(2, "C15", {}),  # without its parameters it fails, and must not take the partition with it
        Injection(5, "C05", {"count": 2, "for_frames": 2}),  # in two windows in a row
        Injection(3, "C06", {}),  # takes the place of the honest hint; its other ports are not there
        Injection(4, "K26", {"collector_udp_port": 9}),  # begins before the first window
    ]
    image.write(tmp_path / "app", image.compromised({"main.py": _BENIGN.encode()}, schedule, "main:Transfer"))
    lib = tmp_path / "lib"
    lib.mkdir()
    (lib / "ipc_schemas").symlink_to(_ROOT / "ipc_schemas")
    program = f"IMAGE, ROOT = {str(tmp_path / 'app')!r}, {str(tmp_path)!r}" + _LIFE
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.split()] == [1, 1 + 3, 1, 1, 1, 1 + 2, 1 + 2, 1]
    said = [line.split(" ", 4) for line in done.stderr.splitlines() if line.startswith("ATTACK")]
    assert [(words[1], words[2], words[3]) for words in said] == [
        ("C05", "begin", "frame=1"),
        ("C05", "end", "frame=1"),
        ("C15", "begin", "frame=2"),
        ("C15", "end", "frame=2"),
        ("C06", "begin", "frame=3"),
        ("C06", "end", "frame=3"),
        ("K26", "begin", "frame=4"),
        ("K26", "end", "frame=4"),
        ("C05", "begin", "frame=5"),
        ("C05", "end", "frame=5"),
        ("C05", "begin", "frame=6"),
        ("C05", "end", "frame=6"),
    ]
    assert "error" in json.loads(said[3][4])
    assert json.loads(said[7][4]) == {"note": ""}  # its thread had been started
