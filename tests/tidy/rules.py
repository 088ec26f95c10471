"""The tidy rules. Each is a function from sources to complaints: one line each, none when all is well."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.tidy.tree import OUTSIDE, TRUSTED, Source, siblings_of

Rule = Callable[[list[Source]], list[str]]

FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MAX_TRUSTED = 60
FILE_LINES_MAX = 600
FILE_LINES_MAX_TRUSTED = 450
#: Left for later, or hidden from measurement. Written so that this file does not match itself.
UNFINISHED = re.compile(r"TOD[O]|FIXM[E]|\bXX[X]|pragma: no[ ]cover")
#: Folders of one machine, and addresses of a registry.
PLACES = re.compile(r"/wor[k]/|/roo[t]/|/tm[p]/w\b|pypi[.]org|files[.]pythonhosted")
#: Files that must not name any address at all.
NO_ADDRESS = re.compile(r"^(requirements\.lock|Makefile|pyproject\.toml|\.ci/.*)$")

#: What each room may import from outside the standard library; a longer path adds to what its room may.
THIRD_PARTY: dict[str, frozenset[str]] = {
    "ipc_schemas": frozenset({"msgspec"}),
    "boot": frozenset({"msgspec", "cryptography"}),
    "boot/attestation.py": frozenset({"cbor2"}),
    "boot/authority.py": frozenset({"OpenSSL"}),
    "sandbox": frozenset({"msgspec", "pyseccomp"}),
    "sandbox/stub.py": frozenset({"zmq"}),
    "monitor": frozenset({"msgspec"}),
    "monitor/gate.py": frozenset({"zmq"}),
    "partitions": frozenset({"msgspec"}),
    "partitions/sdk": frozenset({"zmq"}),
    "partitions/therapy": frozenset({"cryptography"}),
    "partitions/transfer": frozenset({"cryptography"}),
    "designs": frozenset({"msgspec", "cryptography"}),
    # A design's own schemas are importable as design_schemas in its world and its images.
    "examples": frozenset({"msgspec", "design_schemas"}),
    "examples/thermostat/tests": frozenset({"hypothesis", "pytest"}),
    "world": frozenset({"msgspec", "cryptography"}),
    "world/bench.py": frozenset({"zmq"}),
    "world/factory/bills.py": frozenset({"cyclonedx", "packageurl"}),
    "world/factory/keys.py": frozenset({"pkcs11"}),
    "faults": frozenset({"msgspec", "zmq", "cryptography"}),
    "evidence": frozenset({"msgspec", "cryptography", "rich"}),
    "evidence/identity.py": frozenset({"OpenSSL"}),
    "evidence/campaign": frozenset({"scipy", "pyarrow", "dask", "distributed"}),
    "evidence/testing": frozenset({"hypothesis", "pytest"}),
    "console": frozenset({"msgspec", "click", "rich"}),
    "benchmarks": frozenset({"msgspec", "zmq", "click", "rich"}),
    "run_device.py": frozenset(),
}
#: What a confined file may import of ours, whatever else its image holds.
CONFINED_MAY_IMPORT = ("ipc_schemas", "partitions.sdk")


def without_docstring(everything: list[Source]) -> list[str]:
    """Every file says what it is for."""
    return [f"{s.path}: no module docstring" for s in everything if not ast.get_docstring(s.tree)]


def too_long(everything: list[Source]) -> list[str]:
    """Files and functions that no longer fit in a head."""
    complaints = []
    for s in everything:
        trusted = s.room in TRUSTED
        lines, limit = s.text.count("\n"), FILE_LINES_MAX_TRUSTED if trusted else FILE_LINES_MAX
        if lines > limit:
            complaints.append(f"{s.path}: {lines} lines, more than {limit}")
        limit = FUNCTION_LINES_MAX_TRUSTED if trusted else FUNCTION_LINES_MAX
        for node in ast.walk(s.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > limit:
                    complaints.append(
                        f"{s.path}:{node.lineno}: {node.name} has {lines} lines, more than {limit}"
                    )
    return complaints


def printing(everything: list[Source]) -> list[str]:
    """Trusted rooms have a journal, not a screen."""
    return [
        f"{s.path}:{node.lineno}: prints"
        for s in everything
        if s.room in TRUSTED
        for node in ast.walk(s.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def packages_of_tests(everything: list[Source]) -> list[str]:
    """``__init__.py`` under tests, which would make pytest take tests/monitor for the package ``monitor``."""
    inits = [s.path for s in everything if s.room == "tests" and s.path.name == "__init__.py"]
    return [
        f"{path}: a test folder is no package; import its helpers as tests.folder.module" for path in inits
    ]


def matching(pattern: re.Pattern[str], texts: Mapping[Path, str]) -> list[str]:
    """Lines that hold ``pattern``."""
    return [
        f"{path}:{number}: {found.group()!r}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (found := pattern.search(line))
    ]


def addresses(texts: Mapping[Path, str]) -> list[str]:
    """Addresses in the files that must have none."""
    held = {path: text for path, text in texts.items() if NO_ADDRESS.match(str(path))}
    return matching(re.compile(r"https?://|--(index|extra-index|find-links|trusted-host)"), held)


def allowed_third_party(path: Path) -> frozenset[str] | None:
    """What the file at ``path`` may import from outside the standard library; None when no room says."""
    keys = [str(Path(*path.parts[: n + 1])) for n in range(len(path.parts))]
    rows = [THIRD_PARTY[key] for key in keys if key in THIRD_PARTY]
    return frozenset().union(*rows) if rows else None


def third_party_out_of_place(everything: list[Source]) -> list[str]:
    """Imports from outside the standard library that the file's room does not allow."""
    complaints = []
    for s in everything:
        if s.room == "tests":
            continue
        allowed = allowed_third_party(s.path)
        if allowed is None:
            complaints.append(f"{s.path}: {s.room} has no row in THIRD_PARTY")
        else:
            extra = s.third_party(siblings_of(s, everything)) - allowed
            complaints += [f"{s.path}: imports {name}, which its room may not" for name in sorted(extra)]
    return complaints


def undeclared(everything: list[Source], declared: frozenset[str]) -> list[str]:
    """Third-party imports whose package pyproject.toml does not declare. ``declared`` holds import names."""
    return [
        f"{s.path}: imports {name}, which pyproject.toml does not declare"
        for s in everything
        for name in sorted(s.third_party(siblings_of(s, everything)) - declared)
    ]


def confined_reaching_out(everything: list[Source]) -> list[str]:
    """Partition code that imports something of ours which does not exist behind its walls.

    import-linter cannot see this in an image: its modules are top-level names at run time.
    """
    rooms = (*TRUSTED, *OUTSIDE, "partitions", "designs", "tests", "run_device")
    complaints = []
    for s in everything:
        if s.room != "partitions":
            continue
        own_image = ".".join(s.image.parts) if s.image else "partitions.sdk"
        fine = (*CONFINED_MAY_IMPORT, own_image)
        ours = [n for n in s.imports if n.partition(".")[0] in rooms and n != "partitions"]
        out = {n for n in ours if not any(n == f or n.startswith(f + ".") for f in fine)}
        out -= {n for n in out if n.rpartition(".")[0] in out}
        complaints += [f"{s.path}: imports {name}, which its walls keep out" for name in sorted(out)]
    return complaints


_ATTACK_FILE = re.compile(r"[a-z]\d{2}_[a-z0-9_]+\.py")


def dead(everything: list[Source], other_texts: Mapping[Path, str]) -> list[str]:
    """Modules that no other code imports and no other file names. Documentation does not count.

    A module is named where its dotted name or its path stands; beside it, where ``module:function`` does (a
    register); a module of an image where ``module:Class`` does (an entry point), or its bare file name; and a program
    where a neighbour has its file name in quotes. Attack files are found by their names, and offer an ``ATTACK``.
    """
    spoken = {p: t for p, t in other_texts.items() if p.suffix != ".md" and p.name != "pyproject.toml"}
    complaints = []
    for s in everything:
        if s.path.stem.startswith(("__", "test_", "conftest")) or s.room == "run_device.py":
            continue
        if s.path.parent.name == "attacks" and _ATTACK_FILE.fullmatch(s.path.name):
            continue
        is_imported = any(_imports(other, s) for other in everything if other.path != s.path)
        if not is_imported and not any(_names(p, t, s) for p, t in spoken.items() if p != s.path):
            complaints.append(f"{s.path}: nothing imports or names it")
    return complaints


def _names(path: Path, text: str, module: Source) -> bool:
    names = [re.escape(module.module), re.escape(str(module.path))]
    if path.parent == module.path.parent or module.image is not None:
        names.append(rf"{re.escape(module.path.stem)}:[A-Za-z]\w*")
    if path.parent == module.path.parent.parent and path.suffix == ".py":
        names.append(rf"{re.escape(module.path.stem)}:[A-Z]\w*")  # an image below the file that hands it out
    if path.parent in (module.path.parent, module.path.parent.parent) and path.suffix == ".py":
        names.append(rf'"{re.escape(module.path.name)}"')  # a program that a neighbour starts
    if module.image is not None:
        names.append(re.escape(module.path.name))
    return re.search(rf"(?<![\w./])({'|'.join(names)})(?!\w)", text) is not None


def _imports(importer: Source, module: Source) -> bool:
    if module.module in importer.imports:
        return True
    if module.image is None or importer.image != module.image:
        return False
    local = ".".join(module.path.relative_to(module.image).with_suffix("").parts)
    return local.removesuffix(".__init__") in importer.imports
