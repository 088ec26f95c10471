"""What is counted is told in the right number, and long lists are cut."""

from __future__ import annotations

from faults.words import counted, some_of


def test_one_is_not_told_as_several() -> None:
    assert [counted(number, "frame") for number in (0, 1, 2, 2_995)] == [
        "0 frames",
        "1 frame",
        "2 frames",
        "2,995 frames",
    ]


def test_a_list_is_cut_where_the_rest_is_longer_than_its_count() -> None:
    names = [f"C{number:02}" for number in range(20)]
    assert some_of(names[:3]) == "C00, C01, C02"
    assert some_of(names[:4], 3) == "C00, C01, C02, C03"
    assert some_of(names, 3) == "C00, C01, C02 and 17 more"
    assert some_of([]) == ""
