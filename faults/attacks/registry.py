"""Which function is which attack. Modules are imported only when an attack is due."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from faults.implant.foothold import Foothold, Parameters, Report

Attack = Callable[[Foothold, Parameters], Report]

_FUNCTIONS = {
    "C01": "stream:oversized",
    "C03": "stream:unterminated_multipart",
    "C05": "payloads:valid_flood",
    "C06": "payloads:schema_invalid",
    "C07": "payloads:parser_differential",
    "C08": "payloads:value_attack",
    "C10": "payloads:decoder_exception",
    "C14": "headers:replay",
    "C15": "headers:spoofed_sender",
    "C18": "headers:wrong_direction",
    "K01": "memory:overwrite_settings",
    "K02": "memory:read_secrets",
    "K03": "signals:signal_victim",
    "K06": "outward:shared_memory_file",
    "K08": "outward:abstract_socket",
    "K09": "kernel:io_uring",
    "K10": "kernel:user_namespace",
    "K16": "bombs:forks",
    "K17": "bombs:anonymous_memory",
    "K18": "bombs:memfd",
    "K19": "bombs:descriptors_and_files",
    "K21": "signals:renice_victim",
    "K23": "outward:egress",
    "K24": "kernel:exec_dropped",
    "K25": "kernel:outlive_the_kill",
    "F02": "stall:hang",
}

#: Attacks whose message takes the place of the honest one of that port and frame, to stay within the port's
#: rate.
REPLACES = {"C06": "activity", "C07": "activity", "C08": "activity", "C10": "activity"}

#: The attacks that exist as code, by the catalogue's ids.
BUILT = frozenset(_FUNCTIONS)


def attack(attack_id: str) -> Attack:
    """The function of one attack. Raises ``KeyError`` for an id that is not built."""
    module, name = _FUNCTIONS[attack_id].split(":")
    found: Attack = getattr(importlib.import_module(f"faults.attacks.{module}"), name)
    return found
