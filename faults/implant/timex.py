"""adjtimex(2) as far as it can be called without moving a clock: the estimate of the clock's error."""

from __future__ import annotations

import ctypes
import os

ADJ_MAXERROR = 0x0004
#: By so much the kernel itself lets the estimate grow each second (ntp.c, MAXFREQ).
GROWTH_US = 500


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def _call(request: _Timex) -> None:
    if _libc.adjtimex(ctypes.byref(request)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def maximum_error_us() -> int:
    """The estimate as it is. Raises ``OSError``."""
    request = _Timex()
    _call(request)
    return int(request.maxerror)


def set_maximum_error(value_us: int) -> None:
    """Raises ``OSError``: only who may set the clock may do this."""
    request = _Timex(modes=ADJ_MAXERROR, maxerror=value_us)
    _call(request)


def mark_us(token: str) -> int:
    """By how much the attack with this token moves the estimate: below 6 ms, and by no multiple of ``GROWTH_US``."""
    number = sum((i + 1) * ord(letter) for i, letter in enumerate(token))
    return 1_001 + GROWTH_US * (number % 9) + number % 499
