"""What is drawn, as pure functions: plots, words for what happens, the live screen at several sizes."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.text import Text

from console import plot, telling
from console.painter import Painter
from console.scene import STORY_RUNS, Scene, Subject, WallsSeen, degraded_label
from console.screen import is_big_enough, screen
from faults import attack_files
from ipc_schemas import links
from monitor.design import Event
from monitor.loader import load_design
from sandbox import walls

PUMP = load_design(Path(__file__).resolve().parents[2] / "designs" / "insulin_pump", walls.ALL)
AXES = plot.Axes(points=100, low=0.0, high=100.0, band=(40.0, 60.0), hours=10.0)


def plain(curves: list[plot.Curve], width: int = 25, height: int = 5, *, is_ascii: bool = False) -> list[str]:
    return [line.plain for line in plot.chart(curves, AXES, width, height, is_ascii=is_ascii)]


def test_a_rising_curve_goes_from_the_lower_left_to_the_upper_right() -> None:
    lines = plain([plot.Curve([float(v) for v in range(100)], "")])
    assert lines == [
        " 100                 ⢀⡠⠔⠊",
        "                 ⢀⡠⠔⠊⠁   ",
        "  40 ┄┄┄┄┄┄┄┄⣀⠤⠒⠉⠁┄┄┄┄┄┄┄",
        "         ⣀⠤⠒⠉            ",
        "   0 ⡠⠔⠒⠉                ",
        "     00:00 03:00 06:00",
    ]


@pytest.mark.parametrize("width", [9, 40, 200])
def test_no_line_is_wider_than_asked_for_and_outliers_stick_to_the_edge(width: int) -> None:
    lines = plain([plot.Curve([-1e9, 1e9] * 50, "")], width)
    assert max(len(line) for line in lines) <= width
    assert len(lines) == 6


def test_a_curve_fills_only_the_time_it_has() -> None:
    lines = plain([plot.Curve([50.0] * 50, "")], 25)
    assert any(c > "\u2800" for c in lines[2][5:15])
    assert not any(c >= "\u2800" for c in lines[2][16:])


def test_a_value_below_the_plot_is_labelled_as_below() -> None:
    axes = plot.Axes(points=100, low=20.0, high=100.0, band=(40.0, 60.0), hours=10.0)
    for lowest, label in ((20.0, "  20 "), (19.9, " <20 ")):
        lines = plot.chart([plot.Curve([50.0, lowest] * 50, "")], axes, 25, 8)
        assert lines[7].plain.startswith(label)


def test_ascii_plots_have_ascii_only() -> None:
    lines = plain([plot.Curve([50.0] * 100, "")], is_ascii=True)
    assert all(line.isascii() for line in lines)
    assert "*" in lines[2]
    assert plot.sparkline([1.0, 2.0], 2, 2, is_ascii=True).isascii()
    assert plot.bar(0.5, 4, is_ascii=True) == "##.."


def test_what_is_below_the_band_has_its_own_style() -> None:
    chart = plot.chart([plot.Curve([10.0] * 100, "cyan", "red")], AXES, 25, 5)
    assert {span.style for line in chart for span in line.spans} >= {"red"}
    assert "cyan" not in {span.style for line in chart for span in line.spans}


def test_a_sparkline_shows_the_largest_of_each_bucket() -> None:
    assert plot.sparkline([0.0, 0.0, 8.0, 0.0, 4.0, 0.0], 8, 4) == "▁█▅"
    assert plot.sparkline([], 8, 4) == ""


def note(kind: str, text: str = "", frame: int = 96, **facts: str | float | list[str]) -> links.Note:
    """A note of the monitor about transfer."""
    return links.Note(frame, kind, "transfer", text, dict(facts))


def test_an_attack_is_told_in_plain_words() -> None:
    (line,) = telling.lines_of(note("log", "ATTACK K01 begin frame=96"))
    assert (line.kind, line.attack_id, line.text) == ("attack", "K01", attack_files.built()["K01"].plain)


def test_the_wall_that_stopped_it_is_named() -> None:
    ruling = note("ruling", event="bad_message", action="drop", detail="canonical: not the one")
    assert telling.lines_of(ruling)[0].text.startswith("canonical: refused at the gate: not the one")
    killed = note("ruling", event="forbidden_syscall", action="restart", detail="x")
    assert telling.lines_of(killed)[0].text.startswith("seccomp: the kernel ends transfer")
    old = note(
        "ruling", event="bad_sequence", action="restart", detail="frame: of frame 99, this is frame 111"
    )
    assert telling.lines_of(old)[0].text.startswith("sequence: ")


def test_without_walls_no_wall_is_credited() -> None:
    """What cannot be delivered goes nowhere; "route: refused at the gate" beside "no wall stands" would contradict."""
    number = PUMP.port("world.pump_command").number
    detail = f"route: port {number} is no output port of this partition"
    ruling = note("ruling", event="bad_message", action="drop", detail=detail)
    (line,) = telling.lines_of(ruling, walls.ALL, PUMP)
    assert (line.kind, line.text) == (
        "log",
        (
            "what cannot be delivered goes nowhere, wall or no wall: "
            "world.pump_command is an input, on which nobody sends; discarded"
        ),
    )
    (credited,) = telling.lines_of(ruling, walls.ALL - {"route"})
    assert (credited.kind, credited.text.split(":")[0]) == ("wall", "route")
    nothing = WallsSeen(frozenset(), walls.ALL, frozenset())
    assert nothing.sentence().startswith("no wall stands: all 50 are left out")


def test_ports_and_partitions_are_named_not_numbered() -> None:
    number = PUMP.port("therapy.pump_command").number
    detail = f"route: port {number} is no output port of this partition"
    (line,) = telling.lines_of(note("ruling", event="bad_message", action="drop", detail=detail), design=PUMP)
    assert line.text == (
        "route: refused at the gate: therapy.pump_command is another partition's to send on; discarded"
    )
    forged = note(
        "ruling", event="spoofed_sender", action="drop", detail="stamp: claims to be partition 65534"
    )
    (line,) = telling.lines_of(forged, design=PUMP)
    assert line.text.endswith("claims to be world; discarded")
    unknown = note(
        "ruling",
        event="bad_message",
        action="drop",
        detail="route: port 999 is no output port of this partition",
    )
    (line,) = telling.lines_of(unknown, design=PUMP)
    assert "there is no port 999" in line.text


def test_what_has_ended_already_is_not_killed_and_what_stays_off_is_said_once() -> None:
    ended = note("ruling", event="partition_exit", action="restart", detail="ended by itself with status 0")
    (line,) = telling.lines_of(ended)
    assert line.text == "transfer ended by itself with status 0; it is started afresh"
    killed = note("ruling", event="rate_exceeded", action="restart", detail="rate: message 9")
    assert telling.lines_of(killed)[0].text.endswith("; it is killed and started afresh")
    off = [note("ruling", event="partition_exit", action="quarantine", detail="ended"), note("quarantine")]
    told = " ".join(line.text for one in off for line in telling.lines_of(one))
    assert told.count("stays off") == 1


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ('{"sent": true}', "the message was sent"),
        ('{"sent": 32, "captured": 0}', "sent 32"),
        ('{"bytes": 300000000}', "286.1 MiB"),
        ('{"file_bytes": 96}', "file 96 bytes"),
        ('{"share": 1.5306387391679528}', "share 1.53064"),
    ],
)
def test_an_attackers_own_account_is_told_in_words(report: str, words: str) -> None:
    (line,) = telling.lines_of(note("log", f"ATTACK K01 end frame=96 {report}"))
    assert line.text == f"by its own account: {words}"


def test_one_message_is_one_message() -> None:
    assert telling.lines_of(note("overflow", "world.upload lost 1 messages"))[0].text == (
        "world.upload lost 1 message"
    )


@pytest.mark.parametrize("event", list(Event))
def test_every_event_has_words(event: Event) -> None:
    (line,) = telling.lines_of(note("ruling", event=event.value, action="restart", detail="d"))
    assert "transfer" in line.text or ": " in line.text
    assert "{" not in line.text


def test_hostile_log_text_is_shortened_and_never_breaks_the_teller() -> None:
    for text in (
        "ATTACK K01 end frame=1 {",
        "ATTACK ZZ begin frame=1",
        "ATTACK K01 end frame=1 []",
        "x" * 5000,
    ):
        assert all(len(line.text) < 400 for line in telling.lines_of(note("log", text)))


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        ([100.0] * 20, "100 mg/dL, steady; the patient feels well"),
        ([100.0 + 1.5 * m for m in range(20)], "128 mg/dL, rising; the patient feels well"),
        (
            [120.0 - 3.0 * m for m in range(20)],
            "63 mg/dL, falling fast; the patient is shaky and sweating: low",
        ),
        ([30.0], "30 mg/dL, steady; the patient is in grave danger"),
        ([20.0], "20 mg/dL, steady; the patient is in grave danger"),
        ([0.0], "<20 mg/dL, steady; the patient is in grave danger"),
        ([180.0], "180 mg/dL, steady; the patient feels well"),
        ([400.0], "400 mg/dL, steady; the patient is thirsty and ill: very high"),
    ],
)
def test_how_the_patient_is(trace: list[float], words: str) -> None:
    assert telling.patient_sentence(trace) == words


def test_the_clock() -> None:
    assert telling.clock_text(103, 300_000) == "08:35"
    assert telling.clock_text(288 + 12, 300_000) == "day 2 01:00"
    assert telling.clock_text(50, 20) == "00:00:01"


def test_a_missing_wall_is_degraded_and_one_that_only_root_can_raise_is_not() -> None:
    root_only = frozenset(wall.name for wall in walls.WALLS.values() if wall.root_only)
    assert degraded_label(WallsSeen(walls.ALL - root_only, frozenset(), root_only), PUMP) == ""
    without = frozenset({"landlock"})
    assert degraded_label(WallsSeen(walls.ALL - without, frozenset(), without), PUMP) == (
        "DEGRADED: without landlock"
    )
    assert (
        degraded_label(WallsSeen(frozenset(), walls.ALL, frozenset()), PUMP) == "DEGRADED: without every wall"
    )


def a_scene() -> Scene:
    """A scene in the middle of an attack."""
    scene = Scene(Subject(PUMP, 0, 1, 288, 2), STORY_RUNS)
    scene.begin("attacked", 1)
    standing = sorted(walls.ALL - {"memcg"})
    scene.hear(note("walls", standing=standing, off=[], unavailable=["memcg"]))
    truth = SimpleNamespace(
        glucose_mg_dl=tuple(100.0 + m % 50 for m in range(500)),
        delivered_u=tuple([0.1] * 100),
        suspended_min=(),
    )
    scene.hear(note("log", "ATTACK K01 begin frame=96"))
    scene.hear(note("ruling", event="forbidden_syscall", action="restart", detail="x"))
    scene.see(99, SimpleNamespace(truth=lambda: truth))
    return scene


def drawn(scene: Scene, width: int, height: int, *, is_ascii: bool = False) -> list[str]:
    """The screen as text."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, legacy_windows=False)
    console.print(screen(scene, width, height, now_s=1e9, is_ascii=is_ascii))
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(100, 40), (80, 24), (200, 60)])
def test_the_screen_fits_and_tells_the_story(width: int, height: int) -> None:
    lines = drawn(a_scene(), width, height)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    text = "\n".join(lines)
    assert "08:15" in text
    assert "K01 It tries to reach" in text
    assert "seccomp" in text
    assert "149 mg/dL" in text
    assert "49 of 50 walls stand" in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 20)])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_the_attack_that_is_going_on_stays_in_view(width: int, height: int, is_ascii: bool) -> None:
    scene = a_scene()
    scene.hear(note("log", "ATTACK C15 begin frame=120", frame=120))
    for number in range(9):
        scene.hear(note("log", f"a line of the partition {number}", frame=120))
    lines = drawn(scene, width, height, is_ascii=is_ascii)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    text = "\n".join(lines)
    assert "C15 It forges a glucose" in text
    assert "a line of the partition 8" in text
    assert "K01" not in text


def test_the_smallest_screen_still_fits() -> None:
    lines = drawn(a_scene(), 50, 18)
    assert len(lines) <= 18
    assert max(len(line) for line in lines) <= 50
    assert any("149 mg/dL" in line for line in lines)


def test_a_world_that_tells_no_glucose_has_a_screen_without_it() -> None:
    scene = Scene(Subject(PUMP, 0, 1, 288), STORY_RUNS)
    scene.begin("attacked", 1)
    scene.see(5, object())
    text = "\n".join(drawn(scene, 80, 24))
    assert "glucose" not in text
    assert "what happens" in text


def test_the_patient_is_told_of_once_an_attack_has_settled() -> None:
    lines = [line.kind for line in a_scene().lines]
    assert lines == ["attack", "wall", "patient"]


def test_an_attack_is_told_before_what_it_caused() -> None:
    """The monitor may have ruled before it reads the attacker's log: the ruling would seem the last attack's."""
    scene = Scene(Subject(PUMP, 0, 1, 288, 2, frozenset({96, 114})), STORY_RUNS)
    scene.begin("attacked", 1)
    scene.hear(note("log", "ATTACK K01 begin frame=96"))
    scene.hear(note("ruling", event="forbidden_syscall", action="restart", detail="x"))
    scene.hear(note("ruling", frame=114, event="rate_exceeded", action="restart", detail="rate: message 9"))
    scene.hear(note("killed", frame=114, kill_ms=4.0))
    assert [line.kind for line in scene.lines] == ["attack", "wall"]
    scene.hear(note("log", "ATTACK C05 begin frame=114", frame=114))
    assert [(line.kind, line.attack_id) for line in scene.lines[2:]] == [
        ("attack", "C05"),
        ("wall", ""),
        ("life", ""),
    ]


@pytest.mark.parametrize("how", ["a later note", "a later frame", "the end"])
def test_what_an_attacker_did_that_never_spoke_is_told_all_the_same(how: str) -> None:
    scene = Scene(Subject(PUMP, 0, 1, 288, 1, frozenset({96})), STORY_RUNS)
    scene.begin("attacked", 1)
    scene.hear(note("ruling", event="rate_exceeded", action="restart", detail="rate: message 9"))

    def texts() -> list[str]:
        return [line.text for line in scene.lines]

    assert texts() == []
    if how == "a later note":
        scene.hear(note("up", frame=98, epoch=1, launch_ms=3.0))
    elif how == "a later frame":
        scene.see(98, object())
    else:
        scene.hear(links.Note(96, "end", "", "all frames done", {}))
    assert texts()[0].startswith("rate: too many messages")


def test_a_run_is_done_to_100_percent_when_it_has_ended_and_not_before() -> None:
    scene = Scene(Subject(PUMP, 0, 1, 3, clock="60x"), {"run": ("it", 1.0)})
    scene.begin("run", 1)
    assert scene.waits_for(scene._seen_s + 4.0) == "the device to switch on for 4.0 s"
    for frame in range(3):
        scene.see(frame, object())
    assert (scene.clock, f"{scene.share_done:.0%}") == ("00:10", "67%")
    assert scene.waits_for(scene._seen_s + 4.0) == "the 60x clock for 4.0 s"
    scene.hear(note("end", "all frames done", frame=2))
    assert f"{scene.share_done:.0%}" == "100%"


def test_while_an_attacker_hangs_the_run_waits_for_it() -> None:
    scene = a_scene()
    scene.hear(note("log", "ATTACK F02 begin frame=100", frame=100))
    scene.see(100, object())
    assert "transfer for " in scene.waits_for(1e9)
    assert scene.waits_for(1e9).endswith(", which F02 has in its hands")
    scene.see(101, object())
    assert scene.waits_for(1e9) == ""


def test_at_80_columns_the_pump_is_not_cut_off() -> None:
    scene = a_scene()
    for trace in ([46.0] * 500, [120.0 - 3.0 * m for m in range(25)], [400.0] * 500, [19.0] * 500):
        truth = SimpleNamespace(
            glucose_mg_dl=tuple(trace), delivered_u=(32.8,), suspended_min=(len(trace) - 1,)
        )
        for seen, words in (
            (truth, "pump suspended"),
            (SimpleNamespace(**vars(truth) | {"suspended_min": ()}), "pump delivering"),
        ):
            scene.truths = {"attacked": seen}  # type: ignore[dict-item]
            row = next(
                line
                for line in drawn(scene, 80, 24)
                if "mg/dL," in line and "dotted" not in line and "♥" not in line
            )
            assert words in row
            assert "32.8 U" in row
            assert "…" not in row


def test_the_earlier_runs_curve_has_a_legend_and_the_screen_does_not_jump_between_runs() -> None:
    scene = a_scene()
    assert "faint" not in "\n".join(drawn(scene, 80, 24))
    scene.begin("open", 4)
    before = drawn(scene, 80, 24)
    assert "faint: run 1, behind the walls; doses below ─" in before[4]
    scene.see(0, SimpleNamespace(truth=lambda: scene.truths["attacked"]))
    after = drawn(scene, 80, 24)
    assert [line[0] for line in before] == [line[0] for line in after]


def test_at_switch_on_the_screen_says_so() -> None:
    scene = Scene(Subject(PUMP, 0, 1, 288), STORY_RUNS)
    scene.begin("attacked", 1)
    assert "switching on: the walls are raised" in "\n".join(drawn(scene, 80, 24))


def test_only_what_has_changed_is_written_to_the_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, width=40, height=10, force_terminal=True, legacy_windows=False)
    rows = [f"row {number}" for number in range(9)]
    painter = Painter(console, lambda: Text("\n".join(rows)), 5)
    painter.paint()
    assert all(row in out.getvalue() for row in rows)
    written = len(out.getvalue())
    painter.paint()
    assert len(out.getvalue()) == written
    rows[4] = "another"
    painter.paint()
    assert "another" in out.getvalue()[written:]
    assert "row" not in out.getvalue()[written:]
    assert "\x1b[5;1H" in out.getvalue()[written:]


def test_a_screen_that_cannot_be_drawn_is_not_a_quiet_end() -> None:
    def fail() -> Text:
        raise ZeroDivisionError

    console = Console(file=io.StringIO(), width=40, height=10, force_terminal=True)
    with pytest.raises(ZeroDivisionError), Painter(console, fail, 100):
        pass


def test_tiny_terminals_get_lines_instead() -> None:
    assert is_big_enough(80, 24)
    assert not is_big_enough(49, 24)
    assert not is_big_enough(80, 17)
