"""S01: whatever a script says, message by message.

It is no row of the catalogue: what it does is decided elsewhere, by a generator of scripts or by hand, so no partition
is named as its target and nothing draws it. A script is a text of steps with "; " between them:

- ``send PORT HEX``         one message of these bytes on a port of the design, by full name, its own or not
- ``flood PORT HEX COUNT``  the same message so many times
- ``silent``                says nothing for a while, not even that its window is over
- ``crash``                 ends its own process, at once
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from faults.attack import Attack, Effect, Injection, Parameters, Report
from faults.implant.foothold import Foothold
from faults.seen import Observations

STEPS_MAX = 64
FLOOD_MESSAGES_MAX = 2_000
PAYLOAD_BYTES_MAX = 65_536
#: Longer than a short window. On a device with longer ones it dawdles, and no window is lost.
SILENT_S = 0.1


class ScriptWrong(ValueError):
    """A text that is no script; the sentence says which step is wrong."""


class Step(NamedTuple):
    """``what`` is ``send`` (``times`` times), ``silent`` or ``crash``."""

    what: str
    port: str = ""
    payload: bytes = b""
    times: int = 1


def told(steps: Iterable[Step]) -> str:
    """Steps as the text from which ``parse`` makes the same steps."""
    return "; ".join(map(_step_told, steps))


def _step_told(step: Step) -> str:
    if step.what != "send":
        return step.what
    payload = step.payload.hex() or "-"
    return f"send {step.port} {payload}" if step.times == 1 else f"flood {step.port} {payload} {step.times}"


def parse(script: str) -> tuple[Step, ...]:
    """The steps of a script. Raises ``ScriptWrong``."""
    steps = tuple(_step(text.strip()) for text in script.split(";") if text.strip())
    if len(steps) > STEPS_MAX:
        raise ScriptWrong(f"{len(steps)} steps, at most {STEPS_MAX}; spread them over more frames")
    return steps


def _step(text: str) -> Step:
    match text.split():
        case ["silent" | "crash" as what]:
            return Step(what)
        case ["send", port, payload]:
            return Step("send", port, _payload(text, payload))
        case ["flood", port, payload, count] if count.isascii() and count.isdigit():
            if not 2 <= int(count) <= FLOOD_MESSAGES_MAX:
                raise ScriptWrong(f"{text!r}: a flood has 2 to {FLOOD_MESSAGES_MAX} messages")
            return Step("send", port, _payload(text, payload), int(count))
    raise ScriptWrong(f"{text!r} is no step; there are send PORT HEX, flood PORT HEX COUNT, silent and crash")


def _payload(text: str, payload: str) -> bytes:
    """Bytes in hex; ``-`` for none."""
    try:
        found = bytes.fromhex(payload) if payload != "-" else b""
    except ValueError:
        raise ScriptWrong(f"{text!r}: {payload!r} are no bytes in hex; write two digits for each") from None
    if len(found) > PAYLOAD_BYTES_MAX:
        raise ScriptWrong(f"a message of {len(found)} bytes, at most {PAYLOAD_BYTES_MAX}; shorten it")
    return found


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """The steps of ``script`` in their order, under the honest headers that the SDK writes."""
    numbers: dict[str, int] = json.loads(str(parameters["port_numbers"]))
    sent = 0
    for step in parse(str(parameters["script"])):
        if step.what == "crash":
            os._exit(1)
        if step.what == "silent":
            time.sleep(SILENT_S)
            continue
        for _ in range(step.times):
            foothold.window._emit(numbers[step.port], step.payload)
            sent += 1
    return {"sent": sent}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A message went through that its port does not carry, that was sent to another's port, or that was too many."""
    steps = parse(str(injection.parameters.get("script", "")))
    foreign = {(step.port, step.payload) for step in steps if step.port not in seen.message_types}
    limits = json.loads(str(injection.parameters.get("port_limits", "{}")))
    for one in seen.admitted_in(injection):
        where = f"went through to {one.port} in frame {one.frame}"
        if any((one.port, payload) in foreign for payload in one.payloads):
            return Effect(True, f"A message of {seen.attacker} {where}, which is not its own.")
        if not one.port.startswith(seen.attacker + "."):
            continue
        for payload in one.payloads:
            reason = seen.refusal(one.port, payload)
            if reason:
                return Effect(True, f"A message that the port does not carry ({reason}) {where}.")
        if len(one.payloads) > limits.get(one.port, len(one.payloads)):
            return Effect(True, f"{len(one.payloads)} messages {where}; {limits[one.port]} are agreed.")
    return Effect(False, "Nothing went through but what its ports carry.")


ATTACK = Attack(
    "S01",
    "It sends what a script says, through its own ports and others', floods, falls silent or crashes.",
    effect,
    inject,
    needs=("port_table",),
    costs_a_restart=True,
    walls=("schema", "range", "canonical", "recheck", "route", "rate"),
    partitions=(),
    name="script",
)
