"""What an attack's injector does where a parameter is not given: read from its source, which says it once.

``parameters.get("count", 200)`` names the parameter and its usual value. What stands there as an expression of literals
and of names of the file is understood, nothing else is.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType

from faults.attack import Attack, Value


def of(attack: Attack) -> Mapping[str, Value]:
    """The usual value of each parameter that the attack's file reads with one."""
    return _usual(_file(attack))


def reads(attack: Attack) -> frozenset[str]:
    """The parameters that the attack's injector reads, with a usual value or without; not what its detector does."""
    return frozenset(_names(_tree(_file(attack))))


def _file(attack: Attack) -> str:
    act = attack.inject or attack.strike or attack.tamper
    assert act is not None
    return act.__module__


@cache
def _tree(module: str) -> ast.Module:
    path = inspect.getsourcefile(sys.modules[module])
    assert path is not None
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _names(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        key: ast.expr | None = None
        if isinstance(node, ast.Call) and _is_get(node.func):
            key = node.args[0] if node.args else None
        elif isinstance(node, ast.Subscript) and _is_parameters(node.value):
            key = node.slice
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found.append(key.value)
    return found


def _is_get(called: ast.expr) -> bool:
    return isinstance(called, ast.Attribute) and called.attr == "get" and _is_parameters(called.value)


def _is_parameters(node: ast.expr) -> bool:
    """What an injector calls them; a detector has them of its ``injection``."""
    return isinstance(node, ast.Name) and node.id == "parameters"


@cache
def _usual(module: str) -> Mapping[str, Value]:
    found: dict[str, Value] = {}
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Call) and _is_get(node.func) and len(node.args) == 2:
            key, default = node.args
            value = _value(default, sys.modules[module])
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and value is not None:
                found.setdefault(key.value, value)
    return MappingProxyType(found)


def _value(node: ast.expr, module: ModuleType) -> Value | None:
    """``200``, ``MEMORY_BYTES_MAX``, ``WAYS[0]`` or ``1 << 20``; ``None`` for anything else."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name):
            named = getattr(module, name, None)
            return named if isinstance(named, bool | int | float | str) else None
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=int() as place)):
            values = getattr(module, name, ())
            return values[place] if isinstance(values, tuple) and place < len(values) else None
        case ast.BinOp(left=left, op=ast.LShift(), right=right):
            low, by = _value(left, module), _value(right, module)
            return low << by if isinstance(low, int) and isinstance(by, int) else None
    return None
