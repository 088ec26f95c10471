"""``check`` reads partition code and runs none of it, makes the world, and says in a sentence what is wrong."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from console import bounded, design_code, design_page, image_probe, jobs
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
        (
            "import concurrent.future\n" + FINE,
            "main.py, line 1: there is no module concurrent.future behind the walls; write it,",
        ),
        (
            FINE.replace("import Partition", "import Partitoin"),
            (
                "main.py, line 1: partitions.sdk has no Partitoin; write it there, or correct the name; "
                "did you mean Partition?"
            ),
        ),
        ("from . import near\n" + FINE, "main.py, line 1: there is no module . behind the walls; write it"),
        ("class Heater(int):\n    def window(self, window): ...\n", "main.py, line 1: Heater is not a parti"),
        ("def Heater(setup): ...\n", "main.py: Heater is not a partition; write class Heater(Partition)"),
        ("import json as Heater\n", "main.py: Heater is not a partition; write class Heater(Partition)"),
        ("x = " + "(" * 5_000 + ")" * 5_000, "main.py, line 1: too many nested parentheses; mend it there"),
        ("# coding: nonsense\n", "main.py: "),
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


EVIL = """
import os, socket
open({told!r}, "w").write("it ran")
if os.fork() == 0:
    os.setsid()
    open({told!r}, "w").write("and lives on")
    os._exit(0)
for descriptor in range(3, 64):
    try:
        os.write(descriptor, b'{{"kind": "ok"}}')
    except OSError:
        continue
os._exit(0)
"""


def test_partition_code_is_never_run_and_forges_no_report(folder: Path, tmp_path: Path) -> None:
    told, image = tmp_path / "told", folder / "images" / "heater"
    evil = EVIL.format(told=str(told))
    (image / "main.py").write_text(evil)
    for name in ("sitecustomize.py", "encodings.py", "json.py", "conftest.py"):
        (image / name).write_text(evil)
    (image / "start.pth").write_text(f"import os; open({str(told)!r}, 'w')")
    done = commands.run("check", "--design", str(folder))
    assert done.returncode == 1
    assert "FAIL  heater  main:Heater  main.py: it has no class Heater" in done.stdout
    (image / "main.py").write_text(FINE + evil)
    assert heater(folder).passes
    assert not told.exists()


@pytest.mark.parametrize(
    "source",
    [
        "from helper import Heater\n",
        "from helper import Base as Heater\n",
        "from helper import *\n",
        "import helper\nclass Heater(helper.Base): ...\n",
        "from helper import Base\nclass Heater(Base): ...\n",
        "from helper import Base\nHeater = Base\n",
        "from deep.inner import Heater\n",
        "import partitions.sdk\nclass Heater(partitions.sdk.Partition):\n    def window(self, w): ...\n",
        "from partitions import sdk\nclass Heater(sdk.Partition):\n    def window(self, w): ...\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nowhere\n" + FINE,
        FINE + "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nowhere import Heater\n",
        "import os.path, xml.etree.ElementTree\nfrom ipc_schemas import codec\nimport zmq.backend\n" + FINE,
        "from abc import ABCMeta\n" + FINE.replace("(Partition)", "(Partition, metaclass=ABCMeta)"),
        "1 / 0\n" + FINE,
    ],
)
def test_a_partition_is_found_wherever_reading_can_follow_its_name(folder: Path, source: str) -> None:
    image = folder / "images" / "heater"
    (image / "deep").mkdir()
    (image / "deep" / "__init__.py").touch()
    (image / "deep" / "near.py").write_text("x = 1\n")
    (image / "deep" / "inner.py").write_text("from .near import x\nfrom . import near\n" + FINE)
    (image / "helper.py").write_text(FINE + "class Base(Heater): ...\n")
    (image / "main.py").write_text(source)
    found = heater(folder)
    assert (found.sentence, found.passes) == ("; ", True)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None\n" + FINE,
            "whether nowhere, which is not there when the partition starts, is ever imported (main.py, line 2)",
        ),
        (FINE + "def later():\n    import nowhere\n", "is ever imported (main.py, line 5)"),
        ("import os.pth\n" + FINE, "whether there is a module os.pth (main.py, line 1)"),
        ("import sys\nsys.path.append('x')\nimport nowhere\n" + FINE, "is ever imported (main.py, line 3)"),
        ("import vendored\n" + FINE, "whether vendored, which is not there when the partition starts"),
        (
            FINE.replace("class", "@wrapped\nclass"),
            "whether Heater is a partition: what it derives from is made when it runs; whether Heater has",
        ),
        ("Heater = type('Heater', (), {})\n", "what Heater is: main.py, line 1, computes it"),
        ("if True:\n    class Heater: ...\n", "what Heater is: main.py, line 2, binds it only if it runs"),
        ("globals()['Heater'] = 3\n", "what Heater is: main.py makes names when it runs"),
        (
            "from msgspec import Struct as Heater\n",
            "what Heater is: it comes from msgspec: a declared package",
        ),
        (HEAD + "class Heater(Partition): ...\nHeater.window = print\n", "whether Heater has a window"),
        (
            "import fast\n" + "from fast import Heater\n",
            "what Heater is: it comes from fast: it is there, but",
        ),
    ],
)
def test_what_reading_cannot_tell_is_said_so_and_neither_passes_nor_fails(
    folder: Path, source: str, words: str
) -> None:
    image = folder / "images" / "heater"
    (image / "extra").mkdir()
    (image / "extra" / "vendored.py").touch()
    (image / "fast.so").touch()
    (image / "main.py").write_text(source)
    found = heater(folder)
    assert (found.passes, found.fails) == (False, False)
    assert found.sentence.startswith("cannot be told by reading: ")
    assert words in found.sentence


def test_what_reading_cannot_tell_leaves_the_status_0_and_null_in_json(folder: Path, tmp_path: Path) -> None:
    (folder / "images" / "heater" / "main.py").write_text("Heater = make()\n")
    done = commands.run("check", "--design", str(folder), "--json", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "?     heater  main:Heater  cannot be told by reading: what Heater is" in done.stdout
    assert done.stdout.rstrip().endswith(
        "keeps all 19 rules; whether 1 of 2 images can be run cannot be told by reading"
    )
    first, second = json.loads((tmp_path / "out").read_text())["images"]
    assert (first["passes"], second["passes"], len(first["untold"])) == (None, True, 1)


@pytest.mark.parametrize(
    "source",
    [
        "if a: pass\n" + "elif a: pass\n" * 3_000,
        "x = " + "+".join(["a"] * 20_000),
        "x = " + "-" * 20_000 + "a",
        "".join(f"a{n + 1} = a{n}\n" for n in range(3_000)) + "Heater = a3000\n",
        "from main import *\n",
        "class A(B, C): ...\nclass B(C, A): ...\nclass C(A, B): ...\nclass Heater(A, B): ...\n",
        "a\n" * 1_000_000,
    ],
)
def test_code_made_to_wear_a_reader_out_is_told_in_a_sentence(
    folder: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "TIME_S", 2)
    (folder / "images" / "heater" / "main.py").write_text(source)
    found = heater(folder)
    assert not found.passes
    assert len(found.sentence) < 400


def test_schemas_that_need_what_is_not_behind_the_walls_fail_the_image(folder: Path) -> None:
    edit(folder / "schemas.py", "import enum\n", "import enum\nimport click\n")
    for found in image_probe.check_images(load_design(folder, walls.ALL)):
        assert found.problem == (
            "the schemas need what is not behind the walls: design_schemas.py, line 6, imports click"
        )


def test_an_image_that_fails_makes_check_fail(folder: Path) -> None:
    (folder / "images" / "heater" / "main.py").write_text("def f(:\n")
    done = commands.run("check", "--design", str(folder))
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAIL  heater  main:Heater  main.py, line 1: invalid syntax; mend it there" in done.stdout
    assert "pass  telemetry  main:Telemetry, 1 file" in done.stdout
    assert done.stdout.rstrip().endswith("keeps all 19 rules, but 1 of 2 images cannot be run")


# --- the world ---


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "class IncubatorWorld:",
            "class Incubator:",
            "world.py has no class IncubatorWorld; write it, or correct entry",
        ),
        (
            "self, seed: int, patient: int = 0)",
            "self, patient: int = 0)",
            (
                "IncubatorWorld cannot be made as IncubatorWorld(seed=..., patient=...) (got an unexpected keyword "
                "argument 'seed'); write def __init__(self, seed: int, patient: int = 0) -> None"
            ),
        ),
        (
            "self.skin_c = 35.2",
            "1 / 0",
            "making IncubatorWorld(seed=1, patient=0) raised ZeroDivisionError in",
        ),
        (
            "import random\n",
            "import randum\n",
            "loading world.py raised ModuleNotFoundError in line 9 (No mod",
        ),
        ("import random\n", "import (\n", "loading world.py raised SyntaxError in line 9"),
        (
            "import random\n",
            "raise SystemExit(0)\n",
            "loading world.py raised SystemExit in line 9 (0); mend",
        ),
        (
            "def orphaned(",
            "def orphans(",
            "IncubatorWorld has no orphaned; write def orphaned(self, frames: int)",
        ),
        (
            '{"prescription":',
            '{"order":',
            (
                'partition heater names config = "prescription", which IncubatorWorld.configs() does not give '
                "(it gives order); add it there, or correct the name"
            ),
        ),
        (
            "codec.encode(prescr",
            "str(prescr",
            "IncubatorWorld.configs() gives no dict of names and bytes; return",
        ),
        (
            "codec.encode(prescr",
            "codec.encode(None, prescr",
            "IncubatorWorld.configs() raised TypeError in line 4",
        ),
        (
            "import random\n",
            "import os; os._exit(0)\n",
            "it ended the process that ran it (exit status 0); the",
        ),
        ("import random\n", "while True: ...\n", "it did not finish within 2 s; the tools make the world"),
    ],
)
def test_a_world_that_cannot_be_made_is_told_in_one_sentence(
    folder: Path, old: str, new: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "TIME_S", 2)
    edit(folder / "world.py", old, new)
    problem = design_code.problem_of_world(load_design(folder, walls.ALL), folder)
    assert problem.startswith(f'device.toml: [world] entry = "world.py:IncubatorWorld": {words}')
    assert "\n" not in problem
    with pytest.raises(DesignError) as caught:
        jobs.sound_design(folder)
    assert str(caught.value) == problem


def test_a_world_that_cannot_be_made_makes_check_fail_and_run_refuse(folder: Path, tmp_path: Path) -> None:
    edit(folder / "world.py", "class IncubatorWorld:", "class Incubator:")
    done = commands.run("check", "--design", str(folder), "--json", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAIL  world  world.py:IncubatorWorld  device.toml: [world] entry" in done.stdout
    assert done.stdout.rstrip().endswith("keeps all 19 rules, but its world cannot be made")
    world = json.loads((tmp_path / "out").read_text())["world"]
    assert (world["passes"], world["entry"]) == (False, "world.py:IncubatorWorld")
    ran = commands.run("run", "--design", str(folder))
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", f"run_device: {world['problem']}\n")


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
        design_code.require_sound_schemas(design, folder)
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
    design_code.require_sound_schemas(design, folder)
    pid = int(told.read_text())
    until_s = time.monotonic() + 2.0
    while commands.started(pid) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert commands.started(pid) == ""


def test_the_reference_design_starts_no_process_to_load_its_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(design_code, "Child", refuse)
    assert jobs.sound_design(DEFAULT_DESIGN).name == "insulin_pump"
    with pytest.raises(AssertionError, match="a child was started"):
        jobs.sound_design(THERMOSTAT)


# --- the page ---


def shown(design: Design, *, is_ascii: bool = False, width: int = 300) -> str:
    """The page without any colour."""
    console = Console(width=width, color_system=None, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        console.print(design_page.page(design, design_page.Checked(), width, is_ascii=is_ascii))
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
