"""Which glucose therapy aims at: the prescription's, a clinician's temporary one, and a raise while active.

The rules for a request from outside. All must hold; the signature comes last because it costs the most:

1. its counter is above every counter accepted in this life
2. it has not expired, and its time is not over
3. its target and its duration are inside the prescription's bounds
4. it is signed by the clinician's key

A hint from the wearable can only raise the target, by a bounded amount, and only while it is fresh.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ipc_schemas.insulin_pump import ActivityHint, TargetRequest
from ipc_schemas.prescription import Prescription

#: A hint counts from a slow walk on and in full at a brisk one.
STEPS_PER_MIN_FROM = 40.0
STEPS_PER_MIN_FULL = 100.0
HINT_AGE_MAX_MIN = 15
STARTS_AHEAD_MAX_MIN = 1440


class Targets:
    """The requests accepted in this life. A new life starts from the prescription."""

    def __init__(self, settings: Prescription) -> None:
        self._settings = settings
        self._counter = 0
        self._request: TargetRequest | None = None
        try:
            self._key: Ed25519PublicKey | None = Ed25519PublicKey.from_public_bytes(
                settings.targets.clinician_key
            )
        except Exception:  # a key that is no key accepts nobody
            self._key = None

    def offer(self, request: TargetRequest, now_min: int) -> str | None:
        """Accept a request, or say in one word which rule it breaks."""
        bounds = self._settings.targets
        if request.counter <= self._counter:
            return "counter"
        if now_min > request.expires_at_min or now_min >= request.starts_at_min + request.duration_min:
            return "expired"
        if request.starts_at_min > now_min + STARTS_AHEAD_MAX_MIN:
            return "early"
        if not bounds.lowest_mg_dl <= request.target_mg_dl <= bounds.highest_mg_dl:
            return "target"
        if request.duration_min > bounds.duration_max_min:
            return "duration"
        if self._key is None or not _is_signed(self._key, request):
            return "signature"
        self._counter = request.counter
        self._request = request
        return None

    def at(self, now_min: int, hint: ActivityHint | None) -> float:
        """The target in mg/dL at this minute."""
        base = self._settings.target_mg_dl
        request = self._request
        if (
            request is not None
            and request.starts_at_min <= now_min < request.starts_at_min + request.duration_min
        ):
            base = request.target_mg_dl
        return base + self._raise_for(hint, now_min)

    def _raise_for(self, hint: ActivityHint | None, now_min: int) -> float:
        if hint is None or not 0 <= now_min - hint.at_min <= HINT_AGE_MAX_MIN:
            return 0.0
        part = (hint.steps_per_min - STEPS_PER_MIN_FROM) / (STEPS_PER_MIN_FULL - STEPS_PER_MIN_FROM)
        return max(0.0, min(1.0, part)) * self._settings.targets.activity_raise_max_mg_dl


def _is_signed(key: Ed25519PublicKey, request: TargetRequest) -> bool:
    try:
        key.verify(request.signature, request.signed_bytes())
    except InvalidSignature:
        return False
    return True
