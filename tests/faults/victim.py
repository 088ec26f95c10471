"""A stand-in for therapy, run as a process:
holds a prescription and a secret, and says what it holds when asked.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys

import msgspec

_PR_SET_PTRACER, _ANYBODY = 0x59616D61, ctypes.c_ulong(-1)


class Prescription(msgspec.Struct):
    """As therapy keeps it: float objects on the heap."""

    basal_profile_u_per_h: float
    carb_ratio_g_per_u: float
    correction_mg_dl_per_u: float
    target_mg_dl: float
    basal_max_u_per_h: float
    insulin_on_board_max_u: float


def main() -> None:
    """``victim.py NAME CANARY_HEX``, settings as JSON on the first line of standard input;
    then one answer a line.
    """
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(sys.argv[1])
    with contextlib.suppress(OSError):  # where Yama guards, a test's victim lets itself be examined
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
    secret = bytearray(bytes.fromhex(sys.argv[2]))
    held = msgspec.json.decode(sys.stdin.readline(), type=Prescription)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps({"held": msgspec.to_builtins(held), "secret_bytes": len(secret)}), flush=True)


if __name__ == "__main__":
    main()
