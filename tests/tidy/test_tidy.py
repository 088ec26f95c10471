"""The source itself is tested: short, explained, finished, alive, and importing only what its room may."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.tidy import rules
from tests.tidy.tree import ROOT, Source, files, sources

SOURCES = sources()
#: Where the name to import is not the name of the package.
IMPORTED_AS = {
    "cyclonedx-python-lib": "cyclonedx",
    "packageurl-python": "packageurl",
    "pyzmq": "zmq",
    "import-linter": "importlinter",
    "pytest-xdist": "xdist",
    "pyOpenSSL": "OpenSSL",
    "python-pkcs11": "pkcs11",
}


def texts() -> dict[Path, str]:
    """All files that are text. LICENSE is somebody else's."""
    found = {}
    for path in files():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content and path.name != "LICENSE":
            found[path] = content.decode()
    return found


def declared_imports() -> frozenset[str]:
    """The import names of everything that pyproject.toml declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return imported_as(project["dependencies"] + project["optional-dependencies"]["dev"])


def imported_as(listed: list[str]) -> frozenset[str]:
    """The import names of requirements."""
    names = [re.split(r"[<>=!~ \[;]", requirement, maxsplit=1)[0] for requirement in listed]
    return frozenset(IMPORTED_AS.get(name, name.replace("-", "_")) for name in names)


def test_every_file_says_what_it_is_for() -> None:
    assert rules.without_docstring(SOURCES) == []


def test_files_and_functions_are_short() -> None:
    assert rules.too_long(SOURCES) == []


def test_trusted_rooms_do_not_print() -> None:
    assert rules.printing(SOURCES) == []


def test_nothing_is_left_for_later() -> None:
    assert rules.matching(rules.UNFINISHED, texts()) == []


def test_no_file_names_a_machine_or_a_registry() -> None:
    assert rules.matching(rules.PLACES, texts()) == []
    assert rules.addresses(texts()) == []


def test_third_party_imports_stay_in_their_rooms() -> None:
    assert rules.third_party_out_of_place(SOURCES) == []


def test_third_party_imports_are_declared() -> None:
    of_designs = {"design_schemas"}  # the name that a design's own schemas have in its world and its images
    assert rules.undeclared(SOURCES, declared_imports() | of_designs) == []


#: Named in the project's commission, so it stays; no room uses it yet (docs/ROADMAP.md).
COMMISSIONED = frozenset({"multiprocessing_logging"})


def test_what_an_installation_brings_along_is_imported_by_some_room() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    used = {name.partition(".")[0] for s in SOURCES if s.room != "tests" for name in s.imports}
    assert imported_as(project["dependencies"]) - used == COMMISSIONED


def test_partition_code_imports_nothing_its_walls_keep_out() -> None:
    assert rules.confined_reaching_out(SOURCES) == []


def test_test_folders_are_not_packages() -> None:
    assert rules.packages_of_tests(SOURCES) == []


def test_no_file_is_dead() -> None:
    # Rooms arrive one by one; from the day the power button does, each module must have a user.
    if (ROOT / "run_device.py").exists():
        assert rules.dead(SOURCES, texts()) == []


def house(root: Path, contents: dict[str, str]) -> list[Source]:
    """A small tree to break rules in."""
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [Source(root, Path(name)) for name in contents if name.endswith(".py")]


LONG_FUNCTION = "def long() -> None:\n" + "    pass\n" * 60


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("world/a.py", "x = 1\n", rules.without_docstring),
        ("monitor/a.py", LONG_FUNCTION, rules.too_long),
        ("world/a.py", LONG_FUNCTION + "    pass\n" * 10, rules.too_long),
        ("monitor/a.py", "x = 1\n" * 451, rules.too_long),
        ("world/a.py", "x = 1\n" * 601, rules.too_long),
        ("sandbox/a.py", "print(1)\n", rules.printing),
        ("ipc_schemas/a.py", "import zmq\n", rules.third_party_out_of_place),
        ("monitor/judge.py", "from zmq import Context\n", rules.third_party_out_of_place),
        ("monitor/gate.py", "import pyseccomp\n", rules.third_party_out_of_place),
        ("world/a.py", "def late():\n    import rich.console\n", rules.third_party_out_of_place),
        ("attic/a.py", "import os\n", rules.third_party_out_of_place),
        ("partitions/therapy/main.py", "import monitor.design\n", rules.confined_reaching_out),
        ("partitions/sdk/run.py", "from world import patient\n", rules.confined_reaching_out),
        ("partitions/transfer/main.py", "from partitions.therapy import m\n", rules.confined_reaching_out),
        ("partitions/sdk/run.py", "from ..therapy import main\n", rules.confined_reaching_out),
        ("tests/monitor/__init__.py", "", rules.packages_of_tests),
    ],
)
def test_each_rule_turns_red(tmp_path: Path, name: str, text: str, rule: rules.Rule) -> None:
    complaints = rule(house(tmp_path, {name: text}))
    assert len(complaints) == 1
    assert complaints[0].startswith(name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("monitor/gate.py", '"""Doc."""\nimport os, zmq, msgspec\nfrom ipc_schemas import wire\n'),
        (
            "partitions/therapy/main.py",
            '"""Doc."""\nimport dosing, cryptography\nfrom partitions.sdk import run\n',
        ),
        (
            "partitions/sdk/run.py",
            '"""Doc."""\nimport zmq\nfrom . import window\nfrom ipc_schemas import codec\n',
        ),
        ("console/main.py", '"""Doc."""\nimport click\nprint(1)\n'),
    ],
)
def test_sound_code_draws_no_complaint(tmp_path: Path, name: str, text: str) -> None:
    everything = house(tmp_path, {name: text, "partitions/therapy/dosing.py": '"""Doc."""\n'})
    every_rule = [
        rules.without_docstring,
        rules.too_long,
        rules.printing,
        rules.third_party_out_of_place,
        rules.confined_reaching_out,
    ]
    assert [complaint for rule in every_rule for complaint in rule(everything)] == []


def test_an_undeclared_package_is_seen(tmp_path: Path) -> None:
    everything = house(tmp_path, {"tests/test_a.py": "import numpy, zmq, pytest\n"})
    assert len(rules.undeclared(everything, declared_imports())) == 1


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME: x", "# XX" + "X", "# pragma: no" + " cover"])
def test_unfinished_work_is_seen(word: str) -> None:
    assert rules.matching(rules.UNFINISHED, {Path("a.py"): f"x = 1  # {word}\n"})


@pytest.mark.parametrize("place", ["/roo" + "t/.cache", "/wor" + "k/x", "cd /tm" + "p/w/v", "pypi" + ".org"])
def test_a_machine_or_registry_is_seen(place: str) -> None:
    assert rules.matching(rules.PLACES, {Path("README.md"): f"see {place}\n"})


@pytest.mark.parametrize("name", ["requirements.lock", "Makefile", "pyproject.toml", ".ci/run"])
def test_an_address_is_seen(name: str) -> None:
    assert rules.addresses({Path(name): "a\nhttps://example.org/simple\n"}) != []
    assert rules.addresses({Path("docs/a.md"): "https://example.org/simple\n"}) == []


def test_a_dead_file_is_seen_and_a_named_one_is_not(tmp_path: Path) -> None:
    everything = house(
        tmp_path,
        {
            "monitor/used.py": "",
            "monitor/user.py": "from monitor import used\n",
            "monitor/started.py": "",
            "sandbox/launch.py": "ARGV = ['-m', 'monitor.started', 'monitor.user']\n",
            "partitions/therapy/main.py": "import dosing\n",
            "partitions/therapy/dosing.py": "",
            "partitions/therapy/old.py": "",
            "faults/register.py": "ATTACKS = {'C01': 'stream:flood'}\n",
            "faults/stream.py": "",
            "faults/user.py": "import faults.register\n",
            "designs/d/device.toml": "",
            "designs/d/schemas.py": "",
            "designs/d/image/main.py": "import rhythm\n",
            "designs/d/image/rhythm.py": "",
            "world/documented.py": "",
        },
    )
    named = {s.path: s.text for s in everything} | {
        Path("designs/d/device.toml"): 'entry = "main:Therapy"\nschemas = "schemas.py"\n',
        Path("Makefile"): "python sandbox/launch.py -m faults.user\n",
        Path("docs/ARCHITECTURE.md"): "`world/documented.py`\n",
    }
    complaints = [line.partition(":")[0] for line in rules.dead(everything, named)]
    assert complaints == ["partitions/therapy/old.py", "world/documented.py"]
