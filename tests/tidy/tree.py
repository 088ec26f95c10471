"""The project's own files, and what their code imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRUSTED = ("ipc_schemas", "boot", "sandbox", "monitor")
OUTSIDE = ("world", "faults", "evidence", "console", "benchmarks")
ROOMS = (*TRUSTED, "partitions", *OUTSIDE)
NOT_OURS = {".git", ".venv", "__pycache__", "build", "runs"}


def files(root: Path = ROOT) -> list[Path]:
    """Every file that belongs to the project, relative to ``root``: what git tracks or would track.

    Without git (a copy of the tree), everything but what the tools leave behind.
    """
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (root / ".git").exists():
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        return sorted(Path(name) for name in listed if name and (root / name).is_file())
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(path for path in found if not _is_left_behind(path))


def _is_left_behind(path: Path) -> bool:
    return any(part in NOT_OURS or part.endswith(("_cache", ".egg-info")) for part in path.parts) or (
        path.name in {".venv.lock", ".coverage"} or path.parts[0] == ".hypothesis"
    )


@dataclass(frozen=True)
class Source:
    """One Python file of the project. ``path`` is relative to ``root``."""

    root: Path
    path: Path

    @cached_property
    def text(self) -> str:
        return (self.root / self.path).read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @property
    def room(self) -> str:
        """The top-level folder, or the file itself when it stands at the top."""
        return self.path.parts[0]

    @cached_property
    def image(self) -> Path | None:
        """The folder on the path when this file runs by itself: a partition's image, or a design's folder."""
        folders = [Path(*self.path.parts[:n]) for n in range(len(self.path.parts) - 1, 0, -1)]
        for folder in folders:
            is_image = folder.parent == Path("partitions") and folder.name != "sdk"
            is_design = (self.root / folder / "device.toml").is_file()
            is_image_of_design = (
                folder.name == "image" and (self.root / folder.parent / "device.toml").is_file()
            )
            if is_image or is_design or is_image_of_design:
                return folder
        return None

    @property
    def module(self) -> str:
        """The dotted name from the root of the tree."""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def imports(self) -> frozenset[str]:
        """Dotted names imported anywhere in the file; ``from a import b`` gives ``a`` and ``a.b``."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                names.add(origin)
                names.update(f"{origin}.{alias.name}" for alias in node.names)
        return frozenset(names)

    def _origin(self, node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        is_package = self.path.name == "__init__.py"
        package = self.module.split(".") if is_package else self.module.split(".")[:-1]
        base = package[: len(package) - node.level + 1]
        return ".".join([*base, *([node.module] if node.module else [])])

    def third_party(self, siblings: frozenset[str]) -> frozenset[str]:
        """Top-level names imported that are neither the standard library's, nor ours, nor in ``siblings``."""
        tops = {name.partition(".")[0] for name in self.imports}
        ours = {*ROOMS, "tests", "run_device", *siblings}
        return frozenset(tops - set(sys.stdlib_module_names) - ours - {""})


def sources(root: Path = ROOT) -> list[Source]:
    """All Python files of the project."""
    return [Source(root, path) for path in files(root) if path.suffix == ".py"]


def siblings_of(source: Source, everything: list[Source]) -> frozenset[str]:
    """Modules and packages in the image of ``source``, importable there by their bare names."""
    if source.image is None:
        return frozenset()
    inside = (s.path.relative_to(source.image).parts[0] for s in everything if s.image == source.image)
    return frozenset(name.removesuffix(".py") for name in inside)
