"""Telemetry: shows the ward how the heater stands, and carries the ward's wishes to it."""

from __future__ import annotations

from partitions.sdk import Partition, Window

UPLOAD_EVERY_FRAMES = 50


class Telemetry(Partition):
    """Carries messages both ways and keeps nothing."""

    def window(self, window: Window) -> None:
        """Pass on one request, if there is one, and the status once a second."""
        for request in window.received("ward_requests")[:1]:
            window.send("setpoint", request)
        status = window.latest("status")
        if status is not None and window.frame % UPLOAD_EVERY_FRAMES == 0:
            window.send("upload", status.value)
