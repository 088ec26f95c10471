"""Runs import-linter on the contracts of pyproject.toml, over the rooms that exist.

import-linter refuses a contract that names a module which is not there. The contracts state the whole house
from the first day, so this leaves out what is still to come and says so; it never leaves out what is there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULE_LISTS = ("root_packages", "source_modules", "forbidden_modules")


def exists(module: str, root: Path) -> bool:
    """Whether ``module`` is in the tree, or is not one of our rooms at all (the standard library's, say)."""
    path = root.joinpath(*module.split("."))
    if "." not in module:
        return path.is_dir() and any(path.rglob("*.py"))
    return path.is_dir() or path.with_suffix(".py").is_file()


def present(settings: dict[str, Any], root: Path) -> tuple[dict[str, Any], list[str]]:
    """``settings`` ([tool.importlinter]) without what is not in the tree, and the names left out."""
    rooms = set(settings["root_packages"])
    missing: set[str] = set()

    def keep(module: str) -> bool:
        if module.partition(".")[0] not in rooms or exists(module, root):
            return True
        missing.add(module)
        return False

    def shorten(table: dict[str, Any]) -> dict[str, Any]:
        short = {k: [m for m in v if keep(m)] if k in MODULE_LISTS else v for k, v in table.items()}
        if "layers" in table:
            split = [[m for m in map(str.strip, layer.split("|")) if keep(m)] for layer in table["layers"]]
            short["layers"] = [" | ".join(layer) for layer in split if layer]
        return short

    def has_two_sides(contract: dict[str, Any]) -> bool:
        if contract["type"] == "layers":
            return len(contract["layers"]) > 0
        return bool(contract["source_modules"] and contract["forbidden_modules"])

    contracts = [shorten(contract) for contract in settings["contracts"]]
    short = shorten(settings) | {"contracts": [c for c in contracts if has_two_sides(c)]}
    return short, sorted(missing)


def to_ini(settings: dict[str, Any]) -> str:
    """import-linter's own file format."""
    lines = ["[importlinter]", *_fields({k: v for k, v in settings.items() if k != "contracts"})]
    for index, contract in enumerate(settings["contracts"]):
        lines += ["", f"[importlinter:contract:{index}]", *_fields(contract)]
    return "\n".join(lines) + "\n"


def _fields(table: dict[str, Any]) -> list[str]:
    def value(v: Any) -> str:
        return "\n    ".join(["", *v]) if isinstance(v, list) else str(v)

    return [f"{key} = {value(v)}" for key, v in table.items()]


def run(root: Path, settings: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """import-linter's verdict on ``root`` under ``settings``, which must name modules that exist."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "contracts.ini"
        config.write_text(to_ini(settings))
        program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
        command = [sys.executable, "-c", program, "--no-cache", "--config", str(config)]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def main() -> int:
    """Print import-linter's report. Returns its exit status."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    settings, missing = present(settings, ROOT)
    result = run(ROOT, settings)
    print(result.stdout + result.stderr)
    if missing:
        print("Not in the tree yet, so not judged:", ", ".join(missing))
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
