"""Whether an experiment fits its design: the attacks, parameters, partitions and frames that its line names."""

from __future__ import annotations

from evidence.experiment import MARGIN_FRAMES, Experiment, LineWrong
from faults import attack_files, catalogue
from faults.attack import ATTACKED, OFF, Attack, Injection
from faults.attacks import s01_script
from faults.attacks.s01_script import ScriptWrong
from faults.words import some_of
from monitor import schedule
from monitor.design import WORLD, Design, DesignError
from monitor.schedule import ClockRefused


def require_fit(one: Experiment, design: Design) -> None:
    """See that the experiment can be performed on ``design``, which is the one that it names.

    Raises ``LineWrong``, whose sentence has the word that does not fit and what would, and ``AttackFileWrong``.
    """
    attacks = attack_files.built(design.folder)
    if not one.injections:
        raise LineWrong(f"the line names no attack; there are {some_of(attacks)}")
    try:
        schedule.plan(design, schedule.parse_clock(one.clock))
    except ClockRefused as error:
        raise LineWrong(str(error)) from None
    try:
        design.with_walls(one.restored)
    except DesignError as error:
        raise LineWrong(f"restored=: {error}") from None
    for each in one.injections:
        if each.attack_id not in attacks:
            raise LineWrong(
                f"the line names {_unknown(each.attack_id)}; there are {some_of(attacks)} (the verb attack lists all)"
            )
        if attacks[each.attack_id].tamper is not None and len(one.injections) > 1:
            others = " ".join(other.attack_id for other in one.injections if other is not each)
            raise LineWrong(
                f"{each.attack_id} strikes {OFF[attacks[each.attack_id].strikes]}, and an experiment with it has no "
                f"other attack; leave out {others}"
            )
        _require_place(each, attacks[each.attack_id], design, one.frames)
        if attacks[each.attack_id] is s01_script.ATTACK:
            _require_script(each, design)
        else:
            _require_parameters(each, attacks[each.attack_id])


def _unknown(attack_id: str) -> str:
    row = catalogue.rows().get(attack_id)
    return f"{attack_id} ({row.name}), which is in the catalogue but not built" if row else attack_id


def can_be_run_on(attack: Attack, partition: str, design: Design) -> bool:
    """Whether an attack can be tried by whoever holds ``partition``.

    Attacks on the channel send the messages of the partitions that their files name. An attack on the kernel can come
    from any partition but a critical one: it reaches out for that one, and what it does is seen by that one's output,
    which proves nothing where the attacker's own code writes it.
    """
    if partition in attack.partitions or not attack.partitions:
        return True  # an attack that names none speaks whatever it is told to
    return attack.id[0] == "K" and not design.partition(partition).is_critical


def _require_place(each: Injection, attack: Attack, design: Design, frames: int) -> None:
    told = f"{each.attack_id}@{each.frame}"
    if attack.tamper is not None:
        _require_aim(each, design)
        return
    names = [p.name for p in design.partitions if p.name != WORLD]
    if each.partition not in names:
        raise LineWrong(
            f"{told}/{each.partition}: {design.name} has no such partition; it has {', '.join(names)}"
        )
    if not can_be_run_on(attack, each.partition, design):
        fits = [name for name in names if can_be_run_on(attack, name, design)]
        where = f"it can on {', '.join(fits)}" if fits else f"{design.name} has none for it"
        raise LineWrong(f"{told}/{each.partition}: {each.attack_id} cannot be run there; {where}")
    if each.frame + attack.shows_within_frames > frames:
        enough = each.frame + attack.shows_within_frames + MARGIN_FRAMES
        raise LineWrong(
            f"{told}: the run ends after {frames} frames, before its effect could show; write frames={enough}"
        )
    if attack.strike is not None and each.frame == 0:
        raise LineWrong(f"{told}: what comes from outside strikes between two frames, the first time at 1")


def _require_aim(each: Injection, design: Design) -> None:
    """An attack on the flash aims at the critical partition's image, and needs no frame and no partition."""
    if each.partition != ATTACKED:
        raise LineWrong(
            f"{each.attack_id}@{each.frame}/{each.partition}: {each.attack_id} strikes the flash of a device that is "
            f"off, and takes no partition over; leave out /{each.partition}"
        )
    if not any(p.is_critical for p in design.partitions):
        raise LineWrong(
            f"{each.attack_id}@{each.frame}: {each.attack_id} aims at the image of a critical partition, and "
            f"{design.name} has none; name another attack"
        )


def _require_parameters(each: Injection, attack: Attack) -> None:
    for name, value in each.parameters.items():
        told = f"{each.attack_id}@{each.frame}({name}={value})"
        known = attack.parameters.get(name)
        if known is None:
            has = f"it has {', '.join(attack.parameters)}" if attack.parameters else "it has none"
            raise LineWrong(f"{told}: {each.attack_id} has no parameter {name!r}; {has}")
        if not known.has(value):
            raise LineWrong(f"{told}: {name} takes {known}")


def _require_script(each: Injection, design: Design) -> None:
    """What is scripted has one parameter, a text of any length whose ports the design has."""
    told = f"{each.attack_id}@{each.frame}"
    script = each.parameters.get("script")
    if set(each.parameters) != {"script"} or not isinstance(script, str):
        raise LineWrong(
            f'{told}: {each.attack_id} takes a script and nothing else; write {told}(script="crash")'
        )
    try:
        steps = s01_script.parse(script)
    except ScriptWrong as error:
        raise LineWrong(f"{told}: {error}") from None
    ports = [port.full_name for port in design.ports]
    for step in steps:
        if step.port and step.port not in ports:
            raise LineWrong(
                f"{told}: {step.port!r} is not a port; write one in full, of {', '.join(ports) or 'none'}"
            )
