"""The nonces that a verifier hands out: each for one device, for a short time, good once."""

from __future__ import annotations

import secrets
from collections.abc import Callable

NONCE_BYTES = 32
VALID_S = 60
OPEN_MAX = 4_096


class TooManyOpen(Exception):
    """So many challenges are open that no more is handed out until some have run out."""


class Challenges:
    """Which nonces are open. Time is an argument, in seconds, and may not go back."""

    def __init__(
        self,
        valid_s: float = VALID_S,
        open_max: int = OPEN_MAX,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._valid_s = valid_s
        self._open_max = open_max
        self._draw = draw
        #: nonce -> whose, until when, and whether it was used. Used ones stay until they have run out.
        self._handed_out: dict[bytes, tuple[str, float, bool]] = {}

    def fresh(self, serial: str, now_s: float) -> bytes:
        """A nonce for the device ``serial``. Raises ``TooManyOpen``."""
        self._forget(now_s)
        if len(self._handed_out) >= self._open_max:
            raise TooManyOpen(
                f"{self._open_max} challenges are open; one is free in {self._valid_s} s at most"
            )
        nonce = self._draw(NONCE_BYTES)
        assert nonce not in self._handed_out
        self._handed_out[nonce] = (serial, now_s + self._valid_s, False)
        return nonce

    def use(self, nonce: bytes, serial: str, now_s: float) -> str:
        """Use ``nonce`` up, whatever comes of it. Returns why it does not count; nothing when it does."""
        whose, until_s, is_used = self._handed_out.get(nonce, ("", 0.0, False))
        if not whose:
            return "nobody was asked with this nonce, or too long ago"
        self._handed_out[nonce] = (whose, until_s, True)
        if is_used:
            return "this nonce was used before: a replay"
        if now_s > until_s:
            return f"the answer came {now_s - until_s:.0f} s too late"
        if whose != serial:
            return f"this nonce was for {whose}, not for {serial}"
        return ""

    def _forget(self, now_s: float) -> None:
        """Those that ran out a whole lifetime ago: until then a late answer is told from an unknown one."""
        old = [n for n, (_, until_s, _) in self._handed_out.items() if now_s > until_s + self._valid_s]
        for nonce in old:
            del self._handed_out[nonce]
