"""How one stage starts the next: with the sealed bytes that it verified, one sealed handover, and nothing else."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import msgspec

from boot import authority, image, measured, platform, process
from boot.admission import Rules
from boot.authority import Trust
from boot.element import Element
from boot.forgetting import read_once
from boot.image import Sealed
from boot.refusal import ALWAYS, RULES, Refused
from ipc_schemas import codec, element, interpreter, links, release
from ipc_schemas.release import Handover, Manifest

#: Exit status of a device that does not start.
EXIT_SAFE_STATE = 3
TRUST_FOLDER, ROOT_FILE = "trust", "root.der"
_HANDOVER_BYTES_MAX = 4 << 20
_HANDOVERS: codec.Codec[Handover] = codec.Codec(Handover)


def handed_over(stage: str, *, holds_secret: bool = True) -> Handover:
    """What this stage was started with: ``argv`` is the folder of packages, the names of those that were measured,
    then the descriptor of the handover, and what the device is to be.

    Before it is read, this process is closed to others, unless it holds no secret. Whoever starts a stage with anything
    but a handover cannot be told by a note: that is a line on standard error, and exit status 1.
    """
    if holds_secret:
        process.close_memory(f"bh-{stage}")
    descriptor = int(sys.argv[3])
    try:
        if not image.is_sealed(descriptor):
            raise Refused("swap", "it is not sealed", "start the device by its own power supply")
        return read_once(_HANDOVERS, os.pread(descriptor, _HANDOVER_BYTES_MAX, 0))
    except (Refused, codec.Refused, OSError) as error:
        sys.exit(f"{stage} takes no such handover: {error}")
    finally:
        os.close(descriptor)


def element_of(handover: Handover) -> Element:
    """This stage's own way to the secure element. The descriptor stays open, to be inherited."""
    return Element(socket.socket(fileno=os.dup(handover.element)))


def rules_for(handover: Handover, facts: element.Facts) -> Rules:
    """By what this device judges images: fuses and floors of its element, root and lists in its flash.

    The time is the host's, but never before the element's floor. Raises ``Refused`` (``form``).
    """
    folder = Path(handover.flash) / TRUST_FOLDER
    # One too many is read, too, to be refused and not passed over.
    lists = sorted(folder.glob("*.crl"))[: authority.LISTS_MAX + 1]
    trust = Trust(
        facts.root_key_sha256,
        _read(folder / ROOT_FILE, authority.CERTIFICATE_BYTES_MAX),
        tuple(_read(path, authority.LIST_BYTES_MAX) for path in lists),
        {floor.authority_key_sha256: floor.number for floor in facts.list_floors},
    )
    now = max(datetime.now(UTC), datetime.fromtimestamp(facts.time_floor_s, UTC))
    return Rules(
        trust,
        facts.hardware_id.decode("ascii", "replace"),
        now,
        {floor.image: floor.counter for floor in facts.floors},
        frozenset(handover.without) & (RULES - ALWAYS),
    )


def _read(path: Path, bytes_max: int) -> bytes:
    file = image.taken(path, bytes_max)
    try:
        return file.content()
    finally:
        file.close()


def slot_of(handover: Handover) -> Path:
    """The folder of the slot from which this boot goes on."""
    return Path(handover.flash) / f"slot_{handover.slot}"


def with_platform(stage: str, manifest: Manifest, handover: Handover, rules: Rules) -> Handover:
    """The same with the parts of the platform that this manifest pins in the log: each is measured once in a boot.

    Raises ``Refused`` (``platform``) for a part that is not the one that the manifest names, whoever measured it.
    """
    known = measured.replay(handover.log).platform
    looks = {
        part: platform.look(part, handover.packages) for part, _ in manifest.platform if part not in known
    }
    for part, wanted in manifest.platform:
        if "platform" not in rules.without:
            try:
                platform.require(part, known[part] if part in known else looks[part].digest, wanted)
            except Refused as refused:
                refused.image = manifest.image
                raise
    return noted(stage, looks, handover)


def noted(stage: str, looks: Mapping[str, platform.Look], handover: Handover) -> Handover:
    """The same with more parts of the platform in the log, and the states in which they were measured."""
    log = measured.replay(handover.log)
    for part, look in looks.items():
        log = log.appended(stage, "platform", part, "", look.digest, "")
    states = (*handover.states, *((part, look.state) for part, look in looks.items()))
    return msgspec.structs.replace(handover, log=log.lines, states=states)


def require_mapped(handover: Handover) -> None:
    """Raises ``Refused`` (``platform``) when this stage has code mapped of which the log has no measurement."""
    if "platform" not in handover.without:
        platform.require_measured("self", measured.replay(handover.log).platform, handover.packages)


def start(name: str, file: Sealed, handover: Handover, path: Path) -> NoReturn:
    """Become the next stage, which finds the packages that are in the log. ``path`` is where the image came from.

    Without the wall ``swap`` that file is started as it is now, whatever was verified before.
    """
    tell(handover, "stage", name, {"monotonic_s": time.monotonic()})
    paper = image.sealed(codec.encode(handover))
    program = f"/proc/self/fd/{file.descriptor}" if "swap" not in handover.without else str(path)
    for descriptor in (file.descriptor, paper.descriptor, handover.element, handover.control):
        os.set_inheritable(descriptor, True)
    # The interpreter finds its library by the name that it is started under.
    names = ",".join(measured.replay(handover.log).platform)
    arguments = [sys.executable, *interpreter.FLAGS, program, handover.packages, names]
    arguments += [str(paper.descriptor), handover.command]
    os.execve(sys.executable, arguments, interpreter.ENVIRONMENT)


def tell(handover: Handover, kind: str, text: str, facts: Mapping[str, str | float]) -> None:
    """A note to whoever switched the device on, as the monitor sends them. Nobody there is nobody told."""
    note = links.Note(0, kind, "", _plain(text, 4_000), dict(facts))
    try:
        with socket.socket(fileno=os.dup(handover.control)) as control:
            control.send(codec.encode(note), socket.MSG_DONTWAIT)
    except OSError:
        return


def tell_refusal(handover: Handover, stage: str, refused: Refused) -> None:
    """That this stage does not go on with its slot, and why."""
    said = msgspec.to_builtins(refusal_of(stage, refused))
    tell(handover, "boot_refused", f"slot {handover.slot}: {refused}", said)


def refusal_of(stage: str, refused: Refused) -> release.Refusal:
    """The same as a value, to be shown and kept."""
    return release.Refusal(
        stage,
        refused.image,
        refused.signer[:200],
        refused.rule,
        _plain(refused.sentence, 1_000),
        refused.remedy[:1_000],
    )


def _plain(text: str, letters_max: int) -> str:
    """At most so many letters, also of a name in the flash that is no text."""
    return text[:letters_max].encode("utf-8", "backslashreplace").decode()[:letters_max]
