"""The insulin pump's world; the service log is among the secrets that must not come out."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
from pathlib import Path

from world.insulin import InsulinWorld

OWN_LOG = Path(__file__).parent / "service.log"
#: Where a technician would leave it: on the host, open to everybody, under a name that is known.
PLACE = Path("/tmp/bulkhead-serviced")


def _lay_out() -> None:
    """Put the log there as long as some process needs it; each says so by a file with its process id."""
    with contextlib.suppress(PermissionError):  # another user's, with the same log in it
        PLACE.mkdir(mode=0o755, exist_ok=True)
        (PLACE / str(os.getpid())).touch()
        beside = PLACE / f"{os.getpid()}.log"
        shutil.copyfile(OWN_LOG, beside)
        beside.chmod(0o644)
        beside.rename(PLACE / "service.log")
    atexit.register(_clear_away)


def _clear_away() -> None:
    """The last one takes the log away. Those that were killed need it no more."""
    with contextlib.suppress(OSError):
        (PLACE / str(os.getpid())).unlink()
        needed = [one for one in PLACE.iterdir() if one.name.isdigit() and Path(f"/proc/{one.name}").exists()]
        if not needed:
            shutil.rmtree(PLACE)


_lay_out()


class ServicedWorld(InsulinWorld):
    """One patient whose pump has been serviced."""

    def configs(self) -> dict[str, bytes]:
        """As the insulin pump's, and the service log, which no partition asks for."""
        return super().configs() | {"service_log": OWN_LOG.read_bytes()}
