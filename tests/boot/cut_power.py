"""Cuts an element's power, by SIGKILL, before each step of a life, and says what the next start finds.

``python cut_power.py FOLDER LOSSES`` prints one JSON line for each cut: the step, the change that it interrupted, and
whether the state found is the ``old`` one, the ``new`` one, or what else.

At the cut the disk also loses what was not synchronised, of the kinds in LOSSES: ``contents`` are cut to half, new
``names`` are taken back; ``-`` loses nothing. A killed process alone would not show that a synchronisation is missing,
because its writes live on in the kernel. Names may reach a disk before contents, so the two are also lost apart.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from boot import cells
from boot.cells import Cells, Disk
from boot.chip import Chip
from boot.element_process import make_blank
from boot.refusal import Refused
from ipc_schemas import codec, element
from ipc_schemas.element import State
from tests.boot import elements

CHANGES_AFTER_IDEVID: list[element.Command] = [
    element.AdvanceLifecycle("provisioned"),
    element.StoreChain("ldevid", (b"owner",)),
    element.AdvanceLifecycle("operational"),
    element.SpendAttempt("b"),
    element.DeriveLayer("bootloader", elements.BOOTLOADER),
    element.MeasureNext(elements.MONITOR),
    element.Confirm(),
    element.RaiseFloor("therapy", 3),
    element.RaiseFloor("therapy", 4),
    element.RaiseListFloors((element.ListFloor(elements.ROOT_KEY_SHA256, 3),)),
    element.RaiseListFloors(
        (element.ListFloor(elements.ROOT_KEY_SHA256, 4), element.ListFloor(elements.MONITOR, 2))
    ),
    element.RaiseTimeFloor(1_000),
    element.ArmSlot("a"),
    element.AuthoriseSuccessor(elements.MONITOR),
    element.AdvanceLifecycle("decommissioned"),
]
IS_ASKED = (element.DeriveLayer, element.MeasureNext)


class FailingDisk(Disk):
    """Runs out of power before step ``steps_left``; a write counts twice, once for its first half."""

    def __init__(self, folder: Path, steps_left: int, *, losses: str) -> None:
        super().__init__(folder)
        self._path = folder
        self._steps_left = steps_left
        self._losses = losses
        self._dirty: list[int] = []
        self._undo: list[Callable[[], None]] = []

    def _step(self) -> None:
        if self._steps_left == 0:
            self._forget()
            os.kill(os.getpid(), signal.SIGKILL)
        self._steps_left -= 1

    def _forget(self) -> None:
        if "contents" in self._losses:
            for file in self._dirty:
                os.ftruncate(file, os.fstat(file).st_size // 2)
        if "names" in self._losses:
            for undo in reversed(self._undo):
                undo()

    def create(self, name: str) -> int:
        self._step()
        return super().create(name)

    def open_over(self, name: str) -> int:
        self._step()
        return super().open_over(name)

    def write(self, file: int, data: bytes) -> None:
        self._step()
        self._dirty.append(os.dup(file))
        super().write(file, data[: len(data) // 2])
        self._step()
        super().write(file, data[len(data) // 2 :])

    def sync(self, file: int) -> None:
        self._step()
        super().sync(file)
        for dirty in [d for d in self._dirty if os.path.sameopenfile(d, file)]:
            self._dirty.remove(dirty)
            os.close(dirty)

    def rename(self, old: str, new: str) -> None:
        self._step()
        held = self._keep(new)
        moved = self._keep(old)
        super().rename(old, new)

        def undo() -> None:
            self._put_back(held, new)
            self._put_back(moved, old)

        self._undo.append(undo)

    def unlink(self, name: str) -> None:
        self._step()
        held = self._keep(name)
        super().unlink(name)
        self._undo.append(lambda: self._put_back(held, name))

    def sync_folder(self) -> None:
        self._step()
        super().sync_folder()
        self._undo.clear()

    def _keep(self, name: str) -> int | None:
        return os.open(self._path / name, os.O_RDWR) if (self._path / name).exists() else None

    def _put_back(self, held: int | None, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)
        if held is not None:
            (self._path / name).write_bytes(os.pread(held, 1 << 20, 0))


class Notes:
    """Tells the one who cuts the power what is on its way to the disk, and what has arrived."""

    def __init__(self, file: int) -> None:
        self._file = file

    def note(self, kind: str, name: str, state: State) -> None:
        """One line."""
        os.write(self._file, json.dumps([kind, name, codec.encode(state).hex()]).encode() + b"\n")


def live(folder: Path, steps: int, notes: Notes, *, losses: str) -> None:
    """A whole life, in this process, up to the cut."""
    held = Cells(FailingDisk(folder, steps, losses=losses))
    chip = Chip(held, bytes(32))
    name = ""
    replace = held.replace

    def noted_replace(state: State) -> None:
        notes.note("begins", name, state)
        replace(state)
        notes.note("is kept", name, state)

    held.replace = noted_replace  # type: ignore[method-assign]

    def ask(request: element.Command) -> bytes:
        nonlocal name
        name = type(request).__name__
        notes.note("asked", name, held.state)
        answer = chip.answer(codec.encode(request))
        if b"denied" in answer:
            raise AssertionError(answer)
        return answer

    ask(element.BurnFuse("root_key_sha256", elements.ROOT_KEY_SHA256))
    ask(element.BurnFuse("hardware_id", elements.HARDWARE_ID))
    ask(element.BurnFuse("serial", elements.SERIAL))
    ask(element.Manufacture())
    request = codec.Codec(element.Der).decode(ask(element.RequestCertificate())).der
    ask(element.StoreChain("idevid", (elements.certificate_for(request),)))
    for change in CHANGES_AFTER_IDEVID:
        ask(change)


def in_a_child(work: Callable[[int], None]) -> tuple[bytes, int]:
    """What ``work`` wrote to the descriptor it got, in a process of its own, and how that ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            work(writer)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    return said, os.waitpid(child, 0)[1]


def found_by_next_start(folder: Path) -> str:
    """The state that a new process reads in the folder, in hexadecimal, or why it refuses."""

    def start(writer: int) -> None:
        try:
            held = Cells(Disk(folder))
        except Refused as refusal:
            os.write(writer, refusal.sentence.encode())
        else:
            has_secret = held.state.lifecycle not in ("blank", "decommissioned")
            assert bool(held.secret) == has_secret
            leftovers = {p.name for p in folder.iterdir()} - {cells.STATE_FILE, cells.SECRET_FILE}
            assert not leftovers, leftovers
            os.write(writer, codec.encode(held.state).hex().encode())

    said, status = in_a_child(start)
    return said.decode() if status == 0 else f"the next start ended with status {status}"


def judge(said: bytes, found: str) -> tuple[str, str]:
    """The change that was on its way, and which state was found."""
    old = new = codec.encode(State()).hex()
    name = ""
    for line in said.splitlines():
        kind, name, state = json.loads(line)
        old, new = {"asked": (state, state), "begins": (old, state), "is kept": (state, state)}[kind]
    if found == old:
        return name, "old"
    return name, "new" if found == new else found


def main(folder: Path, *, losses: str) -> None:
    """Cut before step 0, 1, 2 and so on, until a life goes through."""
    for step in range(10_000):
        shutil.rmtree(folder, ignore_errors=True)
        make_blank(folder)
        said, status = in_a_child(
            lambda writer, step=step: live(folder, step, Notes(writer), losses=losses)  # type: ignore[misc]
        )
        was_cut = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        name, found = judge(said, found_by_next_start(folder))
        print(json.dumps({"step": step, "cut": was_cut, "during": name, "found": found}), flush=True)
        if not was_cut:
            sys.exit(0 if status == 0 else f"the life ended with status {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), losses=sys.argv[2])
