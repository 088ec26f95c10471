"""All a partition may touch. A partition author writes one class:

    from partitions.sdk import Partition, Setup, Window

    class Heater(Partition):
        def __init__(self, setup: Setup) -> None: ...
        def window(self, window: Window) -> None: ...

``window`` is called once per frame. It reads input ports (``window.latest``, ``window.received``) and sends on
output ports (``window.send``). Standard error is the log.
"""

from ipc_schemas.window import PortMisused, Sample, Setup, Window

__all__ = ["Partition", "PortMisused", "Sample", "Setup", "Window"]


class Partition:
    """Base of all partitions. A fresh object is made for every life; nothing survives a restart."""

    def __init__(self, setup: Setup) -> None:
        """Read the configuration. Runs after the sandbox is sealed; an exception ends the life."""

    def window(self, window: Window) -> None:
        """Do one frame's work and return before the window's budget is over."""
        raise NotImplementedError
