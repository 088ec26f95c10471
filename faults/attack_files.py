"""Finds attack files: Bulkhead's own, and those in the ``attacks`` folder of a design.

An attack file is called by its id and a name, ``c05_valid_flood.py``, and offers one ``ATTACK`` whose id is the one in
its name. In an image, all attack files lie together in ``faults/attacks``, whichever folder they came from.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType

from faults.attack import Attack

OWN_FOLDER = Path(__file__).parent / "attacks"
#: The folder of a design in which its author may put more attacks.
DESIGN_FOLDER = "attacks"
#: What an attack from outside may strike.
STRUCK = ("world", "monitor")
#: What one with a tamper may strike: the flash of a device that is off, or the whole device in somebody's hand.
FLASH = ("flash", "device")
_NAME = re.compile(r"([a-z]\d{2})_[a-z0-9_]+\.py")


class AttackFileWrong(ValueError):
    """A file in a folder of attacks that is no attack file; the sentence says what is wrong and what to do."""


@cache
def files(folder: Path = OWN_FOLDER) -> Mapping[str, Path]:
    """The attack files of a folder by id, in order. Raises ``AttackFileWrong``."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.py")):
        if path.name == "__init__.py":
            continue
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise AttackFileWrong(f"{path}: call it by its id and a name, such as x01_{path.stem.lower()}.py")
        attack_id = match[1].upper()
        if attack_id in found:
            raise AttackFileWrong(
                f"{path}: {found[attack_id].name} has the id {attack_id}, too; choose another"
            )
        found[attack_id] = path
    return MappingProxyType(found)


@cache
def built(design_folder: Path | None = None) -> Mapping[str, Attack]:
    """All attacks by id: Bulkhead's own and, when a folder is given, the design's. Raises ``AttackFileWrong``."""
    own = {attack_id: _load(attack_id, path, is_own=True) for attack_id, path in files().items()}
    theirs = files(design_folder / DESIGN_FOLDER) if design_folder is not None else {}
    for attack_id, path in theirs.items():
        if attack_id in own:
            raise AttackFileWrong(f"{path}: {attack_id} is an attack of Bulkhead's own; choose another id")
        own[attack_id] = _load(attack_id, path, is_own=False)
    return MappingProxyType(own)


def path_of(attack_id: str, design_folder: Path | None = None) -> Path:
    """The file of one attack. Raises ``KeyError``."""
    theirs = files(design_folder / DESIGN_FOLDER) if design_folder is not None else {}
    return files()[attack_id] if attack_id in files() else theirs[attack_id]


def _load(attack_id: str, path: Path, *, is_own: bool) -> Attack:
    module = importlib.import_module(f"faults.attacks.{path.stem}") if is_own else _load_file(path)
    found = getattr(module, "ATTACK", None)
    if not isinstance(found, Attack):
        raise AttackFileWrong(
            f"{path}: there is no ATTACK = Attack(...); write one, as c18 in faults/attacks has it"
        )
    if found.id != attack_id:
        raise AttackFileWrong(f"{path}: its ATTACK says {found.id}; let file name and id agree")
    if sum(door is not None for door in (found.inject, found.strike, found.tamper)) != 1:
        raise AttackFileWrong(
            f"{path}: an attack has an injector inside (inject) or outside (strike), or one for a device that is "
            "off (tamper), one of them"
        )
    if found.tamper is not None and found.strikes not in FLASH:
        raise AttackFileWrong(
            f"{path}: an attack with a tamper strikes the {' or the '.join(FLASH)}; its ATTACK says {found.strikes!r}"
        )
    if found.tamper is None and found.strikes not in (STRUCK if found.strike is not None else ("",)):
        raise AttackFileWrong(
            f"{path}: an attack with a strike says what it strikes ({' or '.join(STRUCK)}), and no other says that; "
            f"its ATTACK says {found.strikes!r}"
        )
    if found.ends_the_run not in (("", "may", "must") if found.strike is not None else ("",)):
        raise AttackFileWrong(
            f"{path}: an attack with a strike may or must end the run (ends_the_run='may' or 'must'), and no other "
            f"says that; its ATTACK says {found.ends_the_run!r}"
        )
    return found


def _load_file(path: Path) -> ModuleType:
    """A file of a design's author, run as the design's world is. Raises ``AttackFileWrong``."""
    name = f"bulkhead_attack_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise AttackFileWrong(
            f"{path}: running it raised {type(error).__name__} ({error}); mend it"
        ) from None
    return module
