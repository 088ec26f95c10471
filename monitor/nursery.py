"""The nursery: forks a monitor for each of many runs. The bootloader becomes it, where it is told to.

It holds nothing but the monitor's own modules, what it found out about the host, and by what images are judged. Each
request on its socket brings two descriptors: the control socket of the new monitor, and a pipe into which that
monitor's exit status goes (as text, negative for a signal). The answer is the new process's id, with a pidfd. A monitor
made here forks its template from itself before it is given an order, so nothing of one run is in the memory of another;
the bootloader gives a nursery no secret.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from boot import stage
from boot.refusal import Refused
from monitor import power_on as monitor
from monitor.flash import Flash
from sandbox import linux, passport, template
from sandbox.launcher import Launcher

_REQUEST_BYTES = 16


class Nursery:
    """``serve`` until the socket is closed; then whatever still lives is killed with its parent."""

    def __init__(self, control: socket.socket, flash: Flash) -> None:
        self._control = control
        self._flash = flash
        self._host = passport.probe()
        self._living: dict[int, tuple[int, int]] = {}  # pidfd -> pid, and where its status goes

    def serve(self) -> None:
        """Answer requests, and pass on how monitors ended."""
        while True:
            poll = select.poll()
            poll.register(self._control, select.POLLIN)
            for pidfd in self._living:
                poll.register(pidfd, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll()}
            for pidfd in ready & self._living.keys():
                self._bury(pidfd)
            if self._control.fileno() in ready and not self._take():
                return

    def _take(self) -> bool:
        try:
            request, descriptors, _, _ = socket.recv_fds(self._control, _REQUEST_BYTES, 2)
        except ConnectionResetError:
            return False
        if not request:
            return False
        orders, status = descriptors
        pid = os.fork()
        if pid == 0:
            self._become_monitor(orders, status)
        os.close(orders)
        pidfd = os.pidfd_open(pid)
        self._living[pidfd] = (pid, status)
        socket.send_fds(self._control, [str(pid).encode()], [pidfd])
        return True

    def _become_monitor(self, orders: int, status: int) -> NoReturn:
        """In the child: let go of what is the nursery's, then be a monitor like any other."""
        code = 1
        try:
            linux.die_with_parent()
            self._control.close()
            for pidfd, (_, other) in self._living.items():
                os.close(pidfd)
                os.close(other)
            self._living.clear()  # partitions are forked below this frame
            os.close(status)
            os.setsid()
            monitor.prepare()
            launcher = Launcher(is_warm=True)
            try:
                code = monitor.stand_by(socket.socket(fileno=orders), launcher, self._host, self._flash, None)
            finally:
                launcher.close()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException as error:  # the nursery's loop, whose frames are below, must never run here
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(code)

    def _bury(self, pidfd: int) -> None:
        pid, status = self._living.pop(pidfd)
        _, how = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):  # whoever asked for it may not want to know any more
            os.write(status, str(os.waitstatus_to_exitcode(how)).encode())
        os.close(status)
        os.close(pidfd)


def main() -> None:
    """Serve until the socket is closed or the parent dies. A refusal is told, and ends it with status 2."""
    # Its monitors are forked from it, and their partitions from them; the bootloader gives it no secret.
    handover = stage.handed_over("nursery", holds_secret=False)
    linux.die_with_parent()
    linux.set_name("bh-nursery")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=handover.control)
    try:
        chip = stage.element_of(handover)
        flash = Flash(handover, chip.facts())
        chip.confirm()
    except Refused as refused:
        monitor.tell_refusal(monitor.Speaker(control), handover.slot, refused)
        sys.exit(2)
    os.close(handover.element)
    chip.close()
    template.warm_up()
    nursery = Nursery(control, flash)
    gc.collect()
    gc.freeze()
    nursery.serve()
