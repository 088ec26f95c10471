"""What the syntax tree of one Python file says: the names it binds and the modules it imports. Nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

#: Whoever uses one of these may bind names that no statement shows.
_NAME_MAKERS = frozenset(("globals", "locals", "vars", "exec", "eval", "setattr"))
#: Whoever touches one of these of ``sys`` may import what lies elsewhere.
_PATHS = frozenset(("path", "modules", "meta_path", "path_hooks"))


class Runs(Enum):
    """Whether a statement runs when its module is imported."""

    SURELY = "surely"
    PERHAPS = "perhaps"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Binding:
    """One statement that binds a name; ``value`` is what a plain assignment gives it."""

    node: ast.stmt
    runs: Runs
    value: ast.expr | None = None


@dataclass(slots=True)
class Module:
    """One file, or the body of one class. ``bindings`` are in the order of the file, the last one counts."""

    name: str = ""
    file: str = ""
    is_package: bool = False
    body: list[ast.stmt] = field(default_factory=list)
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[ast.ImportFrom] = field(default_factory=list)
    is_dynamic: bool = False
    moves_path: bool = False
    gives_window: bool = False

    @classmethod
    def of_class(cls, node: ast.ClassDef) -> Module:
        """The names that a class body binds."""
        found = cls(body=node.body)
        _bind(found)
        return found


def read_module(source: bytes, file: str) -> Module:
    """Raises what ``compile`` raises."""
    tree = ast.parse(source, file)
    module = Module(file=file, body=tree.body)
    _bind(module)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name):
                module.is_dynamic |= name in _NAME_MAKERS
            case ast.FunctionDef(name="__getattr__"):
                module.is_dynamic = True
            case ast.Attribute(value=ast.Name(id="sys"), attr=attribute):
                module.moves_path |= attribute in _PATHS
                module.is_dynamic |= attribute == "modules"
            case ast.Attribute(attr="window", ctx=ast.Store()):
                module.gives_window = True
            case ast.Call(func=ast.Name(id="setattr")):
                module.gives_window = True
            case ast.Global(names=names):
                for name in names:
                    module.bindings.setdefault(name, []).append(Binding(node, Runs.PERHAPS))
    return module


def imports_of(module: Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, Runs]]:
    """Every import of a file, those inside functions too, but for those that only a type checker reads."""
    told: set[int] = set()
    for node, runs in statements(module.body, in_classes=True):
        if isinstance(node, ast.Import | ast.ImportFrom):
            told.add(id(node))
            if runs is not Runs.NEVER:
                yield node, runs
    for top in module.body:
        for inner in ast.walk(top):
            if isinstance(inner, ast.Import | ast.ImportFrom) and id(inner) not in told:
                yield inner, Runs.PERHAPS


def statements(body: list[ast.stmt], *, in_classes: bool = False) -> Iterator[tuple[ast.stmt, Runs]]:
    """The statements of one scope in their order. Without recursion: a chain of ``elif`` nests without end."""
    stack = [(node, Runs.SURELY) for node in reversed(body)]
    while stack:
        node, runs = stack.pop()
        yield node, runs
        for inner, how in reversed(list(_inside(node, in_classes=in_classes))):
            stack.append((inner, how if runs is Runs.SURELY else _weaker(runs, how)))


def _weaker(one: Runs, other: Runs) -> Runs:
    return Runs.NEVER if Runs.NEVER in (one, other) else Runs.PERHAPS


def _inside(node: ast.stmt, *, in_classes: bool) -> Iterator[tuple[ast.stmt, Runs]]:
    """The statements directly inside one, but for those of a function."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    if isinstance(node, ast.ClassDef):
        if in_classes:
            yield from ((inner, Runs.SURELY) for inner in node.body)
        return
    if isinstance(node, ast.If) and _is_for_type_checkers(node.test):
        yield from ((inner, Runs.NEVER) for inner in node.body)
        yield from ((inner, Runs.SURELY) for inner in node.orelse)
        return
    is_bare = isinstance(node, ast.Try) and not node.handlers  # try and finally: all of it runs
    for part in ("body", "handlers", "cases", "orelse", "finalbody"):
        is_sure = is_bare or part == "finalbody"
        for inner in getattr(node, part, ()):
            within = inner.body if isinstance(inner, ast.ExceptHandler | ast.match_case) else [inner]
            yield from ((one, Runs.SURELY if is_sure else Runs.PERHAPS) for one in within)


def _is_for_type_checkers(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def _bind(module: Module) -> None:
    for node, runs in statements(module.body):
        if runs is Runs.NEVER:
            continue
        for name, value in _bound_by(node):
            if name == "*":
                assert isinstance(node, ast.ImportFrom)
                module.stars.append(node)
            else:
                module.bindings.setdefault(name, []).append(Binding(node, runs, value))


def _bound_by(node: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """Every name that a statement binds or deletes by itself, with its value where that is plain to see."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name, None
        case ast.Import(names=names):
            yield from ((one.asname or one.name.partition(".")[0], None) for one in names)
        case ast.ImportFrom(names=names):
            yield from ((one.asname or one.name, None) for one in names)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value
            yield from ((one.target.id, None) for one in ast.walk(value) if isinstance(one, ast.NamedExpr))
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            if value is not None:
                yield name, value
        case _:
            yield from ((name, None) for name in _stored_in(node))


def _stored_in(node: ast.stmt) -> Iterator[str]:
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.stmt):
            continue
        if isinstance(part, ast.ExceptHandler):
            if part.name:
                yield part.name
            continue
        outer = part.pattern if isinstance(part, ast.match_case) else part
        for inner in ast.walk(outer):
            if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
                yield inner.id
            elif isinstance(inner, ast.MatchAs | ast.MatchStar) and inner.name:
                yield inner.name
