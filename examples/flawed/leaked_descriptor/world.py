"""The insulin pump's world; the service log is among the secrets that must not come out."""

from __future__ import annotations

from pathlib import Path

from world.insulin import InsulinWorld


class ServicedWorld(InsulinWorld):
    """One patient whose pump has been serviced."""

    def configs(self) -> dict[str, bytes]:
        """As the insulin pump's, and the service log, which no partition asks for."""
        return super().configs() | {"service_log": (Path(__file__).parent / "service.log").read_bytes()}
