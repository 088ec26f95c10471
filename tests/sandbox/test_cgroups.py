"""Control groups of both versions. Version 2 is laid out in a folder where this host does not carry it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import cgroups, walls


def _v2(folder: Path, groups: dict[str, dict[str, str]], own: str) -> cgroups.Hierarchy:
    """A version 2 tree as plain files: group -> file -> text."""
    for group, files in groups.items():
        path = folder / group.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        for name, text in {"cgroup.procs": "", "cgroup.subtree_control": "", **files}.items():
            (path / name).write_text(text)
    return cgroups.Hierarchy(folder, 2, frozenset({""}), folder / own.lstrip("/"))


_ALL = {"cgroup.controllers": "cpu memory pids"}
_INNER = {**_ALL, "cgroup.type": "domain"}


def test_a_group_that_hands_the_controller_down_is_the_home(tmp_path: Path) -> None:
    tree = _v2(tmp_path, {"/": _INNER, "/app": {**_INNER, "cgroup.subtree_control": "memory pids"}}, "/app")
    assert cgroups.find_home("memory", [tree]) == cgroups.Home(tmp_path / "app", 2)


def test_after_the_move_to_the_leaf_the_home_is_its_parent(tmp_path: Path) -> None:
    leaf = f"/app/{cgroups.HOST_LEAF}"
    groups = {"/": _INNER, "/app": {**_INNER, "cgroup.subtree_control": "pids"}, leaf: _INNER}
    assert cgroups.find_home("pids", [_v2(tmp_path, groups, leaf)]) == cgroups.Home(tmp_path / "app", 2)


def test_a_delegated_group_is_cleared_before_it_hands_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_is_delegated", lambda _folder: True)
    tree = _v2(tmp_path, {"/": _INNER, "/app": _INNER}, "/app")
    assert cgroups.find_home("memory", [tree]).folder == tmp_path / "app"
    assert (tmp_path / "app" / cgroups.HOST_LEAF).is_dir()
    assert (tmp_path / "app/cgroup.subtree_control").read_text() == "+memory"


def test_a_group_that_is_not_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    tree = _v2(tmp_path, {"/": _INNER, "/session": _INNER}, "/session")
    with pytest.raises(cgroups.NoHome, match="is not delegated"):
        cgroups.find_home("memory", [tree])
    assert not (tmp_path / "session" / cgroups.HOST_LEAF).exists()


def test_the_root_group_hands_down_with_processes_in_it(tmp_path: Path) -> None:
    tree = _v2(tmp_path, {"/": _ALL, "/session": _INNER}, "/session")
    assert cgroups.find_home("cpu", [tree]) == cgroups.Home(tmp_path, 2)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"


def test_a_hierarchy_without_the_controller_is_passed_over(tmp_path: Path) -> None:
    tree = _v2(tmp_path, {"/": {"cgroup.controllers": "hugetlb"}}, "/")
    with pytest.raises(cgroups.NoHome, match="no cgroup hierarchy with memory is mounted"):
        cgroups.find_home("memory", [tree])


def _proc(folder: Path, mounts: str, groups: str) -> Path:
    (folder / "mounts").write_text(mounts)
    (folder / "cgroup").write_text(groups)
    return folder


def test_hierarchies_are_read_with_the_own_group(tmp_path: Path) -> None:
    point = tmp_path / "with space"
    (point / "mine").mkdir(parents=True)
    escaped = str(point).replace(" ", "\\040")
    mounts = f"cgroup {escaped} cgroup rw,memory 0 0\ncgroup2 {tmp_path} cgroup2 rw 0 0\nx / ext4 rw 0 0\n"
    found = cgroups.hierarchies(_proc(tmp_path, mounts, "4:memory:/mine\n0::/../outside\n"))
    assert found[0] == cgroups.Hierarchy(point, 1, frozenset({"rw", "memory"}), point / "mine")
    assert found[1] == cgroups.Hierarchy(tmp_path, 2, frozenset({""}), tmp_path)


@pytest.mark.root
def test_a_real_version_2_tree_hands_down_after_the_move() -> None:
    """The mechanics on whatever controller this host's version 2 carries;
    hybrid hosts leave it a minor one.
    """
    tree = next((each for each in cgroups.hierarchies() if each.version == 2), None)
    if tree is None:
        pytest.skip("no version 2 hierarchy is mounted")
    controllers = (tree.point / "cgroup.controllers").read_text().split()
    if not controllers:
        pytest.skip("the version 2 hierarchy carries no controller")
    cgroups._hand_down(tree.point, controllers[0])
    group = tree.point / cgroups.title("v2")
    group.mkdir()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read_end, 1)
        os._exit(0)
    try:
        (group / "cgroup.procs").write_text(str(child))
        with pytest.raises(OSError, match="busy"):
            cgroups._hand_down(group, controllers[0])
        cgroups._clear(group)
        assert (group / cgroups.HOST_LEAF / "cgroup.procs").read_text().split() == [str(child)]
        cgroups._hand_down(group, controllers[0])
        assert controllers[0] in (group / "cgroup.subtree_control").read_text()
    finally:
        os.write(write_end, b"x")
        os.waitpid(child, 0)
        os.close(read_end)
        os.close(write_end)
        (group / cgroups.HOST_LEAF).rmdir()
        group.rmdir()


def test_what_needs_a_fallen_wall_falls_with_it() -> None:
    assert "procfs" not in walls.standing(frozenset({"mntns"}), is_root=True)
    assert "pidns" in walls.standing(frozenset({"userns"}), is_root=True)
    assert "pidns" not in walls.standing(frozenset({"userns"}), is_root=False)
    assert "procfs" not in walls.standing(frozenset({"userns"}), is_root=False)
    assert "landlock" in walls.standing(frozenset({"nnp", "seccomp"}), is_root=False)


def test_walls_are_left_out_by_name() -> None:
    assert walls.parse_without(" seccomp, netns ") == {"seccomp", "netns"}
    assert walls.parse_without("all") == walls.ALL
    with pytest.raises(walls.UnknownWall, match="no wall is called 'secomp'"):
        walls.parse_without("secomp")
