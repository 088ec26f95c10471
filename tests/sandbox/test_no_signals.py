"""Two cells that may read the same files cannot signal each other through them.

All partitions map the standard library. What the kernel keeps by file and not by process (shared futexes, locks)
would be a channel past every gate. Each is tried by two real cells, and again without the filter, where it works.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.confined import Yard
from tests.support.walls import require_wall

pytestmark = pytest.mark.walls
LISTEN_S = 3

#: (way, facts)
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "futex": ("futex", {}),
    "flock": ("flock", {}),
    "record lock": ("record_lock", {"set_command": 6, "get_command": 5}),
    "record lock of an open file": ("record_lock", {"set_command": 37, "get_command": 36}),
}


def heard(yard: Yard, way: str, off: frozenset[str], facts: dict[str, Any]) -> list[dict[str, Any]]:
    """What listener and speaker say of their attempt. Both are sealed before the first begins."""
    facts = facts | {"seconds": LISTEN_S}
    with (
        yard.confined(f"listen_by_{way}", off, **facts) as listener,
        yard.confined(f"speak_by_{way}", off, **facts) as speaker,
    ):
        listener.nascent.go()
        listener.read_until(b"\n")
        speaker.finish()
        listener.wait()
    return [*listener.said, *speaker.said]


@pytest.mark.parametrize(("way", "facts"), WAYS.values(), ids=list(WAYS))
def test_two_cells_cannot_signal_through_a_file_that_both_read(
    yard: Yard, way: str, facts: dict[str, Any]
) -> None:
    require_wall("seccomp")
    said = heard(yard, way, frozenset(), facts)
    assert [(each["ok"], each["said"].split(":")[0]) for each in said] == [(False, "PermissionError")] * 2


@pytest.mark.parametrize(("way", "facts"), WAYS.values(), ids=list(WAYS))
def test_without_the_filter_they_can(yard: Yard, way: str, facts: dict[str, Any]) -> None:
    require_wall("userns", "seccomp")
    said = heard(yard, way, frozenset({"seccomp"}), facts)
    assert [each["ok"] for each in said] == [True, True], said


def test_a_cell_can_still_give_its_own_memory_back(yard: Yard) -> None:
    with yard.confined("release_own_memory") as process:
        process.finish()
    assert [each["ok"] for each in process.said] == [True], process.said
