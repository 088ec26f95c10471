"""``check`` looks at the code of a design, in processes that cannot hang or end the tools, and says what it found."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from console import bounded, design_page, image_probe, jobs
from console.image_probe import ImageCheck
from console.options import DEFAULT_DESIGN
from monitor.design import Design, DesignError
from monitor.loader import load_design
from monitor.rules import RULES
from sandbox import walls
from tests.console import commands

THERMOSTAT = commands.ROOT / "examples" / "thermostat"
HEAD = "from partitions.sdk import Partition, Window\n"
FINE = f"{HEAD}class Heater(Partition):\n    def window(self, window: Window) -> None: ...\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The worked example in a folder of its own, free to be broken."""
    return Path(shutil.copytree(THERMOSTAT, tmp_path / "incubator"))


def edit(file: Path, old: str, new: str) -> None:
    """Replace the first place of ``old``, which must be there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def heater(folder: Path) -> ImageCheck:
    """What is found of the heater; the other image, which is whole, has to pass beside it."""
    first, second = image_probe.check_images(load_design(folder, walls.ALL))
    assert (first.partition, second.partition, second.passes) == ("heater", "telemetry", True)
    return first


# --- images ---


@pytest.mark.parametrize("design", [DEFAULT_DESIGN, THERMOSTAT])
def test_the_images_of_the_designs_that_come_with_bulkhead_pass(design: Path) -> None:
    found = image_probe.check_images(load_design(design, walls.ALL))
    assert [image.problem for image in found] == ["", ""]
    assert all(image.files >= 1 for image in found)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def f(:\n", "main.py, line 1: invalid syntax; mend it there"),
        (
            FINE.replace("Heater", "Heeter"),
            "main.py: it has no class Heater; write it, or correct entry in device.toml; did you mean Heeter?",
        ),
        (
            "x = 1\nimport nowhere_at_all\n" + FINE,
            (
                "main.py, line 2: there is no module nowhere_at_all behind the walls; "
                'write it into the image, or install it and write "nowhere_at_all" into packages'
            ),
        ),
        (
            "import click\n" + FINE,
            (
                "main.py, line 1: there is no module click behind the walls; "
                'write "click" into packages of [partition.heater]'
            ),
        ),
        (
            "from monitor import judge\n" + FINE,
            (
                "main.py, line 1: there is no module monitor behind the walls; a partition has its own files, "
                "ipc_schemas and partitions.sdk, and no other module of Bulkhead's"
            ),
        ),
        (
            "import schemas\n" + FINE,
            (
                "main.py, line 1: there is no module schemas behind the walls; "
                "import the design's message types from design_schemas"
            ),
        ),
        ("import os.pth\n" + FINE, "main.py, line 1: there is no module os.pth behind the walls; write it,"),
        ("from json import nothing\n" + FINE, "main.py, line 1: importing main raised ImportError: cannot"),
        ("\n\n1 / 0\n", "main.py, line 3: importing main raised ZeroDivisionError: division by zero; mend"),
        ("raise SystemExit(3)", "main.py, line 1: importing main raised SystemExit: 3; mend it there"),
        ("a = bytearray(10**10)", "main.py, line 1: importing main raised MemoryError; mend it there"),
        ("import os\nos._exit(0)", "importing main: it ended the process that ran it (exit status 0); do "),
        ("import os\nos.abort()", "importing main: it was ended by signal SIGABRT; do lasting work in wind"),
        ("Heater = 3\n", "main.py: Heater is not a partition; write class Heater(Partition), with from "),
        ("\nclass Heater: ...\n", "main.py, line 2: Heater is not a partition; write class Heater(Parti"),
        (
            f"{HEAD}class Heater(Partition): ...\n",
            "main.py, line 2: Heater has no window; write def window(self, window: Window) -> None",
        ),
    ],
)
def test_what_keeps_a_partition_from_running_is_told_with_file_line_and_remedy(
    folder: Path, source: str, sentence: str
) -> None:
    (folder / "images" / "heater" / "main.py").write_text(source)
    found = heater(folder)
    assert not found.passes
    assert found.sentence.startswith(sentence)
    assert str(folder) not in found.sentence
    assert "bh-check" not in found.sentence


def test_a_file_that_nothing_imports_has_to_compile_too(folder: Path) -> None:
    (folder / "images" / "heater" / "deep").mkdir()
    (folder / "images" / "heater" / "deep" / "later.py").write_text("x = 1\nif x\n")
    assert heater(folder).sentence == "deep/later.py, line 2: expected ':'; mend it there"


def test_a_module_that_the_interpreter_has_as_well_is_never_the_images_own(folder: Path) -> None:
    image = folder / "images" / "heater"
    (image / "main.py").rename(image / "code.py")
    edit(folder / "device.toml", 'entry = "main:Heater"', 'entry = "code:Heater"')
    assert heater(folder).problem == "code is a module of the interpreter's or of a package"


def test_an_image_that_the_monitor_would_not_pack_fails(folder: Path) -> None:
    (folder / "images" / "heater" / "linked.py").symlink_to("main.py")
    assert heater(folder).sentence.endswith("an image may not contain links; put the file itself there")


def test_a_declared_package_is_found_and_one_that_is_not_installed_is_named(folder: Path) -> None:
    toml = folder / "device.toml"
    (folder / "images" / "heater" / "main.py").write_text("import click\n" + FINE)
    edit(toml, 'walls = "all"', 'walls = "all"\npackages = ["click"]')
    assert heater(folder).passes
    edit(toml, 'packages = ["click"]', 'packages = ["no_such_package"]')
    assert heater(folder).problem == "packages names no_such_package, which is not installed"


def test_an_image_that_never_finishes_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "TIME_S", 2)
    (folder / "images" / "heater" / "main.py").write_text("import time\ntime.sleep(1_000)\n")
    assert heater(folder).problem == "importing main: it did not finish within 2 s"


def test_an_image_that_fails_makes_check_fail(folder: Path) -> None:
    (folder / "images" / "heater" / "main.py").write_text("def f(:\n")
    done = commands.run("check", "--design", str(folder))
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAIL  heater  main:Heater  main.py, line 1: invalid syntax; mend it there" in done.stdout
    assert "pass  telemetry  main:Telemetry, 1 file" in done.stdout
    assert done.stdout.rstrip().endswith("keeps all 19 rules, but 1 of 2 images cannot be run")


# --- schemas that hang or end whoever loads them ---


def with_schemas(folder: Path, source: str) -> Design:
    """The worked example, whose schemas do something else first."""
    file = folder / "schemas.py"
    text = file.read_text()
    file.write_text(text.replace("import enum\n", f"import enum\n{source}\n", 1))
    return load_design(folder, walls.ALL)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("while True: ...", "it did not finish within 2 s; every tool and the monitor load that file"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()", "did not finish"),
        ("import os; os._exit(0)", "it ended the process that ran it (exit status 0); every tool"),
        ("import os; os.abort()", "it was ended by signal SIGABRT; every tool"),
        ("held = bytearray(10**10)", "running it raised MemoryError in line"),
        ("raise SystemExit(0)", "running it raised SystemExit in line"),
    ],
)
def test_schemas_that_hang_exit_or_ask_for_all_memory_are_refused_in_one_sentence(
    folder: Path, source: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "TIME_S", 2)
    design = with_schemas(folder, source)
    with pytest.raises(DesignError) as caught:
        image_probe.require_sound_schemas(design, folder)
    assert str(caught.value).startswith('device.toml: [device] schemas = "schemas.py": ')
    assert words in str(caught.value)


@pytest.mark.parametrize("verb", [("check",), ("run", "--days", "0.001"), ("attack", "K01"), ()])
def test_no_verb_is_ended_by_a_designs_schemas(folder: Path, verb: tuple[str, ...]) -> None:
    with_schemas(folder, "import os; os._exit(0)")
    done = commands.run(*verb, "--design", str(folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith('run_device: device.toml: [device] schemas = "schemas.py": it ended the')
    assert done.stderr.count("\n") == 1


def test_a_design_may_be_named_by_a_file_of_any_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_schemas(folder, "")
    (folder / "device.toml").rename(folder / "other.toml")
    monkeypatch.chdir(folder)
    assert jobs.sound_design(Path("other.toml")).name == "thermostat"


def test_nothing_that_schemas_started_lives_on(folder: Path) -> None:
    told = folder / "pid"
    design = with_schemas(
        folder,
        f"import subprocess; open({str(told)!r}, 'w').write(str(subprocess.Popen(['sleep', '99']).pid))",
    )
    image_probe.require_sound_schemas(design, folder)
    pid = int(told.read_text())
    until_s = time.monotonic() + 2.0
    while commands.started(pid) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert commands.started(pid) == ""


def test_the_reference_design_starts_no_process_to_load_its_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(image_probe, "Child", refuse)
    assert jobs.sound_design(DEFAULT_DESIGN).name == "insulin_pump"
    with pytest.raises(AssertionError, match="a child was started"):
        jobs.sound_design(THERMOSTAT)


# --- the page ---


def shown(design: Design, *, is_ascii: bool = False, width: int = 300) -> str:
    """The page without any colour."""
    console = Console(width=width, color_system=None, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        console.print(design_page.page(design, (), (), width, is_ascii=is_ascii))
    return captured.get()


@pytest.fixture
def page_of() -> Callable[..., str]:
    """The page of the reference design."""
    design = load_design(DEFAULT_DESIGN, walls.ALL)
    return lambda **options: shown(design, **options)


def test_every_rule_is_shown_with_its_source_when_it_passes_too(page_of: Callable[..., str]) -> None:
    lines = page_of(width=600).splitlines()
    for rule in RULES:
        assert any(f"pass  {rule.name}  " in line and f"[{rule.source}]" in line for line in lines), rule.name


@pytest.mark.parametrize(("is_ascii", "mark"), [(False, "▲"), (True, "!!")])
def test_the_way_from_the_network_into_class_c_is_marked_without_colour(
    page_of: Callable[..., str], is_ascii: bool, mark: str
) -> None:
    marked = [line for line in page_of(is_ascii=is_ascii).splitlines() if mark in line]
    assert len(marked) == 3
    assert f"{mark} target_request -> therapy.target_request" in marked[0]
    assert f"{mark} activity -> therapy.activity" in marked[1]
    assert marked[2].rstrip() == (
        f"{mark} 2 channels lead from a networked partition into class C: at most 10 messages, 832 bytes and "
        "8 rejections per frame, so at most 22.19 bit/s in messages"
    )


def test_the_bound_in_bits_is_the_bytes_of_a_frame_over_its_time() -> None:
    design = load_design(DEFAULT_DESIGN, walls.ALL)
    found = design_page.crossings(design)
    assert [(one.sink, one.messages_per_frame_max, one.bytes_per_frame_max) for one in found] == [
        ("therapy.target_request", 2, 448),
        ("therapy.activity", 8, 384),
    ]
    assert found[0].bits_per_s_max(design.frame_ms) == 448 * 8 / 300


def test_what_a_relay_passes_on_counts_as_a_crossing() -> None:
    bad = commands.ROOT / "tests" / "designs_bad" / "networked-reaches-class-c"
    design = load_design(bad, walls.ALL)
    assert design_page.crossings(design) == ()
    ports = tuple(replace(p, from_networked=p.full_name == "heart.hint") for p in design.ports)
    found = design_page.crossings(replace(design, ports=ports))
    assert [(one.source, one.sink) for one in found] == [("relay.hint", "heart.hint")]
