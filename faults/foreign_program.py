"""The foreign program of attacks on the flash: the device's own, changed so that it does what harm its ports allow.

It travels in the image of the partition that is aimed at, so it imports nothing that an image lacks. What it sends is
well-formed and within the bounds of its type: no gate has a reason to refuse it.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

import msgspec


def greedy(message: msgspec.Struct) -> msgspec.Struct:
    """The same message, each of its quantities (real numbers with an upper bound) at the most that its type allows."""
    kind = msgspec.inspect.type_info(type(message))
    most = {
        one.name: one.type.le
        for one in getattr(kind, "fields", ())
        if isinstance(one.type, msgspec.inspect.FloatType) and one.type.le is not None
    }
    return msgspec.structs.replace(message, **most) if most else message


class _Greedy:
    """The window, but that what it sends to the outside is greedy."""

    def __init__(self, window: Any, ports: Collection[str]) -> None:
        self._window, self._ports = window, ports

    def __getattr__(self, name: str) -> Any:
        return getattr(self._window, name)

    def send(self, port: str, message: msgspec.Struct) -> None:
        """As the window does it."""
        self._window.send(port, greedy(message) if port in self._ports else message)


def take_over(partition: type[Any], ports: Collection[str], mark: str) -> None:
    """Have the class of a partition send the most of everything to these output ports, and say ``mark`` in the log."""
    print(mark, file=sys.stderr, flush=True)
    own = partition.window

    def window(self: Any, given: Any) -> None:
        own(self, _Greedy(given, ports))

    partition.window = window
