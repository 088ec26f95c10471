"""Reads the code of a partition's image and runs none of it: would the device find the entry that the design names?

Every file is compiled. Then the syntax trees are followed from the entry's module: which modules it imports, and
whether the entry is a class that derives from ``partitions.sdk.Partition`` and has a ``window``. What depends on
running code (a condition, a decorator, a name that is made up at run time) is reported as untold, never guessed.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path

from console.syntax import Binding, Module, Runs, imports_of, read_module

SAID_CHARS_MAX = 300
UNTOLD_MAX = 8
#: How many names lead from one to the next before they count as endless.
_HOPS_MAX = 64
_SDK = "partitions.sdk"
_COMPILED = (*EXTENSION_SUFFIXES, ".pyc")
#: Decorators that give the class back that they are given.
_HARMLESS = frozenset(("dataclass", "final"))


class Problem(Exception):
    """What would keep the partition from running: one report."""

    def __init__(self, kind: str, said: str = "", file: str = "", line: int = 0) -> None:
        super().__init__(kind)
        self.report = {"kind": kind, "said": said[:SAID_CHARS_MAX], "file": file, "line": line}


class Origin(Enum):
    """Where a module comes from at run time."""

    OWN = "a file of the image"
    OURS = "a file that every image is given"
    OPAQUE = "it is there, but not as source"
    STANDARD = "the standard library"
    PACKAGE = "a declared package"
    MISSING = "nowhere"
    UNTOLD = "the standard library, perhaps"


@dataclass(frozen=True, slots=True)
class Found:
    """A module, with its syntax where it stands in a file that can be read."""

    name: str
    origin: Origin
    module: Module | None = None


class Truth(Enum):
    """What can be said of a class by reading it."""

    NO = 0
    UNTOLD = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name stands for: a class (``node`` in ``module``), a module, or no more than ``kind`` says.

    ``kind`` is ``class``, ``module``, ``value`` (certainly no class), ``foreign`` (of the standard library),
    ``missing`` or ``untold``, and then ``why`` is a clause.
    """

    kind: str
    module: Module | None = None
    node: ast.ClassDef | None = None
    found: Found | None = None
    why: str = ""


def read(folder: Path, schemas: str, entry: str, packages: Sequence[str]) -> dict[str, object]:
    """The report on the image in ``folder``, laid out in ``app`` and ``lib`` as the monitor packs it."""
    try:
        reader = Reader(folder, packages)
        reader.follow_imports(schemas, entry.partition(":")[0])
        reader.judge_entry(entry)
    except Problem as problem:
        return problem.report
    except (RecursionError, MemoryError):
        return {"kind": "untold", "untold": ["it is too large, or nested too deeply, to be read here"]}
    if reader.untold:
        return {"kind": "untold", "untold": reader.untold}
    return {"kind": "ok"}


class Reader:
    """One image, and what could not be told of it. Raises ``Problem`` for what would keep it from running."""

    def __init__(self, folder: Path, packages: Sequence[str]) -> None:
        self._app, self._lib = folder / "app", folder / "lib"
        self._packages = frozenset(packages)
        self._read: dict[Path, Module] = {}
        self._found: dict[str, Found] = {}
        self._stems: set[str] = set()
        self._moves_path = self._gives_window = False
        self.untold: list[str] = []
        for path in sorted(self._app.rglob("*")):
            self._stems.add(path.name.partition(".")[0])
            if path.suffix == ".py":
                self._compile(path)

    def _compile(self, path: Path) -> None:
        file = path.relative_to(self._app).as_posix()
        source = path.read_bytes()
        try:
            compile(source, file, "exec", dont_inherit=True)
            module = self._module(path, file, "")
        except SyntaxError as error:
            raise Problem("syntax", str(error.msg), file, error.lineno or 0) from None
        except (ValueError, RecursionError, MemoryError) as error:
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise Problem("syntax", f"it cannot be compiled ({said})", file) from None
        self._moves_path |= module.moves_path
        self._gives_window |= module.gives_window

    def _module(self, path: Path, file: str, name: str) -> Module:
        if path not in self._read:
            self._read[path] = read_module(path.read_bytes(), file)
        module = self._read[path]
        module.name = name or module.name
        return module

    # --- where a module is ---

    def find(self, name: str) -> Found:
        """The module that ``import name`` would load, looked for in the order of the device's own path."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Found:
        top = name.partition(".")[0]
        if self._below(self._lib, top).origin is not Origin.MISSING:
            return self._below(self._lib, name)
        if top == "__main__" or _is_standard(top):
            return _standard(name)
        if top in self._packages:
            return Found(name, Origin.PACKAGE)
        return self._below(self._app, name)

    def _below(self, root: Path, name: str) -> Found:
        origin = Origin.OWN if root == self._app else Origin.OURS
        folder, path = root, None
        for number, part in enumerate(parts := name.split("."), start=1):
            inner = folder / part
            is_last = number == len(parts)
            if any(
                (folder / f"{part}{end}").is_file() or (inner / f"__init__{end}").is_file()
                for end in _COMPILED
            ):
                return Found(name, Origin.OPAQUE)
            if (inner / "__init__.py").is_file():
                path = inner / "__init__.py"
            elif (folder / f"{part}.py").is_file() and is_last:
                path = folder / f"{part}.py"
            elif inner.is_dir() and not (folder / f"{part}.py").is_file():
                path = None
            else:
                return Found(name, Origin.MISSING)
            folder = inner
        if path is None:
            return Found(name, origin, Module(name=name, file=name.replace(".", "/"), is_package=True))
        module = self._module(path, path.relative_to(root).as_posix(), name)
        module.is_package = path.name == "__init__.py"
        return Found(name, origin, module)

    # --- what is imported ---

    def follow_imports(self, schemas: str, entry: str) -> None:
        """Look for every module that is imported on the way from the entry, and for the names taken from ours."""
        surely = [self.find(schemas), *(self._entry_module(one) for one in _upwards(entry))]
        perhaps: list[Found] = []
        done: set[str] = set()
        while surely or perhaps:
            # What runs for certain comes first, so that a module is judged by that.
            runs = Runs.SURELY if surely else Runs.PERHAPS
            found = (surely or perhaps).pop(0)
            if found.module is None or found.name in done:
                continue
            done.add(found.name)
            for node, how in imports_of(found.module):
                is_sure = runs is how is Runs.SURELY
                reached = self._imported(found, node, Runs.SURELY if is_sure else Runs.PERHAPS)
                (surely if is_sure else perhaps).extend(reached)

    def _entry_module(self, name: str) -> Found:
        found = self.find(name)
        if found.origin not in (Origin.OWN, Origin.OPAQUE, Origin.MISSING):
            raise Problem("shadowed", found.origin.value)
        return found

    def _imported(self, by: Found, node: ast.Import | ast.ImportFrom, runs: Runs) -> Iterator[Found]:
        assert by.module is not None
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from self._chain(by, node, alias.name, runs)
            return
        base = _base(by.module, node)
        if base is None:
            self._missing(by, node, "." * node.level + (node.module or ""), runs)
            return
        yield from self._chain(by, node, base, runs)
        source = self.find(base)
        for alias in node.names:
            inner = self.find(f"{base}.{alias.name}") if source.module is not None else None
            if inner is not None and inner.origin in (Origin.OWN, Origin.OURS) and alias.name != "*":
                yield inner
            elif source.module is not None and self._has(source, alias.name) is Truth.NO:
                self._no_name(by, node, source, alias.name, runs)

    def _chain(self, by: Found, node: ast.stmt, name: str, runs: Runs) -> Iterator[Found]:
        for one in _upwards(name):
            found = self.find(one)
            if found.origin is Origin.MISSING:
                self._missing(by, node, one, runs)
                return
            if found.origin is Origin.UNTOLD:
                self._doubt(by, node, f"whether there is a module {one}")
                return
            yield found

    def _missing(self, by: Found, node: ast.stmt, name: str, runs: Runs) -> None:
        assert by.module is not None
        is_elsewhere = self._moves_path or (
            self.find(name.partition(".")[0]).origin is Origin.MISSING
            and name.partition(".")[0] in self._stems
        )
        if runs is Runs.SURELY and not is_elsewhere:
            if by.origin is Origin.OURS:
                raise Problem("before", f"{by.module.file}, line {node.lineno}, imports {name}")
            raise Problem("import", name, by.module.file, node.lineno)
        self._doubt(
            by, node, f"whether {name}, which is not there when the partition starts, is ever imported"
        )

    def _no_name(self, by: Found, node: ast.stmt, source: Found, name: str, runs: Runs) -> None:
        assert by.module is not None
        assert source.module is not None
        if runs is Runs.SURELY:
            known = " ".join(sorted(source.module.bindings))
            raise Problem("name", f"{source.name} {name} {known}", by.module.file, node.lineno)
        self._doubt(by, node, f"whether {name}, which {source.name} does not have, is ever imported")

    def _doubt(self, by: Found, node: ast.stmt, what: str) -> None:
        assert by.module is not None
        if len(self.untold) < UNTOLD_MAX:
            self.untold.append(f"{what} ({by.module.file}, line {node.lineno})"[:SAID_CHARS_MAX])

    def _has(self, found: Found, name: str, hops: int = 0) -> Truth:
        """Whether a module has a name after it was imported."""
        module = found.module
        if module is None or hops > _HOPS_MAX:
            return Truth.UNTOLD
        if name == "*" or name in module.bindings or (name.startswith("__") and name.endswith("__")):
            return Truth.YES
        if module.is_dynamic:
            return Truth.UNTOLD
        stars = [self._has(self._source(module, star), name, hops + 1) for star in module.stars]
        return max(stars, key=lambda truth: truth.value, default=Truth.NO)

    def _source(self, module: Module, node: ast.ImportFrom) -> Found:
        base = _base(module, node)
        return Found("", Origin.MISSING) if base is None else self.find(base)

    # --- what the entry is ---

    def judge_entry(self, entry: str) -> None:
        """Whether the entry is a partition. Raises ``Problem``."""
        module_name, _, name = entry.partition(":")
        found = self.find(module_name)
        module = found.module
        if module is None:
            self.untold.append(f"what {module_name} is: {found.origin.value}")
            return
        meaning = self._meaning(found, name)
        if meaning.kind == "missing":
            classes = [n for n, found in module.bindings.items() if isinstance(found[-1].node, ast.ClassDef)]
            raise Problem("missing", " ".join(classes), module.file)
        if meaning.kind == "untold":
            self.untold.append(f"what {name} is: {meaning.why}")
            return
        if meaning.node is None or meaning.module is None:
            raise Problem("not_partition", file=module.file)
        self._judge_class(name, meaning.module, meaning.node)

    def _judge_class(self, name: str, module: Module, node: ast.ClassDef) -> None:
        derives, window = self._class(module, node, 0)
        if derives is Truth.NO:
            raise Problem("not_partition", file=module.file, line=node.lineno)
        if derives is Truth.UNTOLD:
            self.untold.append(f"whether {name} is a partition: what it derives from is made when it runs")
        if window is Truth.NO and not self._gives_window:
            raise Problem("no_window", file=module.file, line=node.lineno)
        if window is not Truth.YES:
            self.untold.append(f"whether {name} has a window")

    def _class(self, module: Module, node: ast.ClassDef, hops: int) -> tuple[Truth, Truth]:
        """Whether a class derives from the SDK's Partition, and whether it or a base in the image has a window."""
        if module.name == _SDK and node.name == "Partition":
            return Truth.YES, Truth.NO
        if hops > _HOPS_MAX or not _is_plain(node):
            return Truth.UNTOLD, Truth.UNTOLD
        derives, window = Truth.NO, Truth.YES if "window" in Module.of_class(node).bindings else Truth.NO
        for base in node.bases:
            meaning = self._base_class(module, base)
            if meaning.node is not None and meaning.module is not None:
                answer = self._class(meaning.module, meaning.node, hops + 1)
            else:
                answer = (Truth.UNTOLD,) * 2 if meaning.kind == "untold" else (Truth.NO,) * 2
            derives = max(derives, answer[0], key=lambda truth: truth.value)
            window = max(window, answer[1], key=lambda truth: truth.value)
        return derives, window

    def _base_class(self, module: Module, node: ast.expr) -> Meaning:
        if isinstance(node, ast.Subscript):
            node = node.value
        words: list[str] = []
        while isinstance(node, ast.Attribute):
            words.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return Meaning("untold", why="it is computed")
        if node.id not in module.bindings and not module.stars and node.id in vars(builtins):
            return Meaning("foreign")
        return self._dotted(Found(module.name, Origin.OWN, module), [node.id, *words])

    def _dotted(self, found: Found, words: Sequence[str]) -> Meaning:
        meaning = Meaning("module", found=found)
        for word in words:
            if meaning.kind != "module" or meaning.found is None:
                return Meaning("untold", why="an attribute is made when it runs")
            meaning = self._meaning(meaning.found, word)
        return meaning

    def _meaning(self, found: Found, name: str, hops: int = 0) -> Meaning:
        """What ``name`` stands for in a module that has been imported."""
        module = found.module
        if found.origin is Origin.STANDARD:
            return Meaning("foreign")
        if module is None or hops > _HOPS_MAX:
            return Meaning("untold", why=f"it comes from {found.name}: {found.origin.value}")
        bound = module.bindings.get(name, [])
        if bound:
            return self._bound(module, bound[-1], name, hops)
        inner = self.find(f"{found.name}.{name}") if module.is_package else Found("", Origin.MISSING)
        if inner.origin in (Origin.OWN, Origin.OURS):
            return Meaning("module", found=inner)
        for star in reversed(module.stars):
            meaning = self._meaning(self._source(module, star), name, hops + 1)
            if meaning.kind != "missing":
                return Meaning("untold", why="it comes with a *") if meaning.kind == "foreign" else meaning
        if module.is_dynamic:
            return Meaning("untold", why=f"{module.file} makes names when it runs")
        return Meaning("missing")

    def _bound(self, module: Module, last: Binding, name: str, hops: int) -> Meaning:
        node, here = last.node, Found(module.name, Origin.OWN, module)
        if last.runs is not Runs.SURELY:
            return Meaning("untold", why=f"{module.file}, line {node.lineno}, binds it only if it runs")
        if isinstance(node, ast.ClassDef):
            return Meaning("class", module, node)
        if isinstance(node, ast.Import):
            alias = next(one for one in node.names if (one.asname or one.name.partition(".")[0]) == name)
            return Meaning("module", found=self.find(alias.name if alias.asname else name))
        if isinstance(node, ast.ImportFrom):
            alias = next(one for one in node.names if (one.asname or one.name) == name)
            base = _base(module, node)
            inner = self.find(f"{base}.{alias.name}")
            source = self._source(module, node)
            if (
                source.module is not None
                and alias.name not in source.module.bindings
                and inner.module is not None
            ):
                return Meaning("module", found=inner)
            return self._meaning(source, alias.name, hops + 1)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return Meaning("value")
        value = last.value
        if isinstance(value, ast.Constant):
            return Meaning("value")
        if isinstance(value, ast.Name) and value.id != name:
            return self._meaning(here, value.id, hops + 1)
        return Meaning("untold", why=f"{module.file}, line {node.lineno}, computes it")


def _is_plain(node: ast.ClassDef) -> bool:
    """Whether the class is what its body and its bases say."""
    metaclasses = [word.value for word in node.keywords if word.arg in (None, "metaclass")]
    called = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
    return all(_last(one) == "ABCMeta" for one in metaclasses) and all(
        _last(one) in _HARMLESS for one in called
    )


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _upwards(name: str) -> list[str]:
    """``a``, ``a.b`` and ``a.b.c``: what an import of the last one runs."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _base(module: Module, node: ast.ImportFrom) -> str | None:
    """The absolute name of the module that names are taken from; None when a relative one leads out of the image."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    drop = node.level - (1 if module.is_package else 0)
    if drop >= len(parts):
        return None
    kept = parts[: len(parts) - drop]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _is_standard(top: str) -> bool:
    """Whether this interpreter's library has it; looked for, never imported."""
    try:
        return top in sys.stdlib_module_names and importlib.util.find_spec(top) is not None
    except (ValueError, ImportError):
        return False


def _standard(name: str) -> Found:
    """A module of the standard library, found step by step, because finding ``a.b`` at once would import ``a``."""
    top, *rest = name.split(".")
    if name == "os.path" or not rest:
        return Found(name, Origin.STANDARD)
    spec = importlib.util.find_spec(top) if top != "__main__" else None
    so_far = top
    for part in rest:
        places = spec.submodule_search_locations if spec is not None else None
        if places is None:  # a module may put others under its own name when it runs
            return Found(name, Origin.UNTOLD)
        so_far = f"{so_far}.{part}"
        spec = PathFinder.find_spec(so_far, list(places))
        if spec is None:
            return Found(name, Origin.MISSING)
    return Found(name, Origin.STANDARD)
