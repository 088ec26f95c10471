"""C10: bytes that make a decoder raise what its user did not expect."""

from __future__ import annotations

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.effects import lost_a_life
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import codec

#: Deeper than the decoder goes, and as deep as a request's size allows.
NESTING, NESTING_OF_REQUEST = 3_000, 180


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """Bad UTF-8 in a key, and arrays in arrays, ``depth`` (3,000) deep in an upload."""
    minute = codec.encode("at_min") + codec.encode(messages.minute_now(foothold))
    bad_text = b"\xad" + b"steps_per_mi\xff"
    foothold.emit(messages.HINT, messages.MAP_OF_TWO + minute + bad_text + codec.encode(1.0))
    depth_of_upload = min(int(parameters.get("depth", NESTING)), NESTING)
    for port, depth in ((messages.REQUEST, NESTING_OF_REQUEST), (messages.UPLOAD, depth_of_upload)):
        nested = codec.encode("steps") + b"\x91" * depth + b"\xc0"
        foothold.emit(port, messages.MAP_OF_TWO + minute + nested)
    return {"sent": 3}


def effect(seen: Observations, injection: Injection) -> Effect:
    """Bytes that no strict reader accepts went through, or therapy lost a life over them."""
    for one, payload in seen.payloads(injection):
        if seen.refusal(one.port, payload) == "schema":
            return Effect(
                True, f"{len(payload)} undecodable bytes went through to {one.port} in frame {one.frame}."
            )
    return lost_a_life(seen, injection) or Effect(
        False, f"No undecodable bytes went through, and {seen.victim} lived on."
    )


ATTACK = Attack(
    "C10",
    "It sends bytes that are built to crash the program that decodes them.",
    effect,
    inject,
    parameters={"depth": Between(1, NESTING, by_factor=True)},
    replaces=messages.HINT,
    walls=("schema",),
)
