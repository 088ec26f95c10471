"""Floors under the numbers of revocation lists: what the secure element keeps, and what it was before it had them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from boot.cells import Cells, Disk
from boot.element import Element
from boot.refusal import Refused
from ipc_schemas import codec, element
from tests.boot import elements
from tests.boot.elements import booted_to, make, powered


@pytest.fixture
def operational(tmp_path: Path) -> Path:
    return make(tmp_path / "element", "operational")


def list_floor(name: str, number: int) -> element.ListFloor:
    return element.ListFloor(hashlib.sha256(name.encode()).digest(), number)


def test_floors_of_lists_only_go_up_and_all_at_once_or_not_at_all(operational: Path) -> None:
    with booted_to("confirmed", operational) as e:
        e.raise_list_floors((list_floor("root", 7), list_floor("platform", 2)))
        e.raise_list_floors((list_floor("root", 7),))
        with pytest.raises(Refused, match=r"the floor of the lists of [0-9a-f]{16} is 7, and 6 is below it"):
            e.raise_list_floors((list_floor("platform", 3), list_floor("root", 6)))
    with powered(operational) as link:
        found = {one.authority_key_sha256: one.number for one in Element(link).facts().list_floors}
    assert found == {
        one.authority_key_sha256: one.number for one in (list_floor("root", 7), list_floor("platform", 2))
    }


def test_floors_of_lists_are_closed_until_what_runs_is_confirmed(operational: Path) -> None:
    for phase in element.PHASES[:-1]:
        with (
            booted_to(phase, operational) as e,
            pytest.raises(Refused, match="RaiseListFloors is not open in phase"),
        ):
            e.raise_list_floors((list_floor("root", 1),))


def test_there_is_room_for_the_lists_of_so_many_authorities_and_no_more(operational: Path) -> None:
    """An authority that is replaced keeps its cell: its lists of old must not come back either."""
    with booted_to("confirmed", operational) as e:
        e.raise_list_floors(tuple(list_floor(f"{n}", 1) for n in range(element.LIST_FLOORS_MAX)))
        with pytest.raises(Refused, match="room for no more"):
            e.raise_list_floors((list_floor("0", 2), list_floor("one more", 1)))
        e.raise_list_floors((list_floor("0", 2),))
        assert len(e.facts().list_floors) == element.LIST_FLOORS_MAX


def _as_before(folder: Path) -> element.StateBefore:
    """The element's state as one that was made before there were floors of lists has written it. What it holds."""
    held = Cells(Disk(folder))
    kept = {name: getattr(held.state, name) for name in element.StateBefore.__struct_fields__}
    before = element.StateBefore(**kept | {"format": 1})
    payload = codec.encode(before)
    (folder / "state").write_bytes(b"BHCELL1\n" + hashlib.sha256(payload).digest() + payload)
    held._disk.close()
    return before


def test_an_element_from_before_the_floors_of_lists_keeps_all_that_it_held(operational: Path) -> None:
    with booted_to("confirmed", operational) as e:
        e.raise_floor("therapy", 7)
        e.raise_time_floor(100)
    before = _as_before(operational)
    assert (before.floors, before.time_floor_s) == ((element.Floor("therapy", 7),), 100)
    with booted_to("confirmed", operational) as e:
        facts = e.facts()
        assert (facts.floors, facts.time_floor_s, facts.list_floors) == (before.floors, 100, ())
        e.raise_list_floors((list_floor("root", 7),))
    with powered(operational) as link:
        facts = Element(link).facts()
    assert (facts.floors, facts.list_floors) == (before.floors, (list_floor("root", 7),))
    assert facts.serial == before.serial == elements.SERIAL


def test_an_element_does_not_take_its_new_state_for_one_from_before(operational: Path) -> None:
    """Then its floors of lists would be forgotten."""
    with booted_to("confirmed", operational) as e:
        e.raise_list_floors((list_floor("root", 7),))
    state = codec.decode_any((operational / "state").read_bytes()[40:])
    for changed in ({**state, "format": 1}, {n: v for n, v in state.items() if n != "list_floors"}):
        payload = codec.encode(changed)
        (operational / "state").write_bytes(b"BHCELL1\n" + hashlib.sha256(payload).digest() + payload)
        with powered(operational) as link, pytest.raises(Refused, match="a shape that is not ours"):
            Element(link).facts()
