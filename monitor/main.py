"""What the monitor's image starts as: the monitor, which the bootloader becomes; the nursery; or a template of either.

The template is started before all else, so that it loads its libraries beside the monitor; then the trials of the
host's walls.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from ipc_schemas import interpreter, links
from sandbox.launcher import Launcher, TemplateStart

_TEMPLATE = "template"


def main() -> None:
    """``argv``: the folder of packages and the names of those that were measured, then the handover's descriptor and
    command, or the template's socket.
    """
    *_, first, second = sys.argv
    if first == _TEMPLATE:
        from sandbox import template

        template.main(int(second))
        return
    if second == links.NURSERY:
        from monitor import nursery

        nursery.main()
        return
    launcher = Launcher(start=_template_start())
    try:
        from sandbox import passport

        # Its children wait for the kernel while this process loads its rooms; they need one that is not closed yet.
        host = passport.Begun()
        from boot import stage
        from monitor import flash, power_on

        gc.enable()
        sys.exit(power_on.one_device(stage.handed_over(flash.STAGE), launcher, host))
    finally:
        launcher.close()


def _template_start() -> TemplateStart:
    """Out of this very image: the descriptor of its sealed memory file is handed down."""
    program, packages, names = sys.argv[:3]
    held = program.rpartition("/proc/self/fd/")[2]
    return TemplateStart(
        (sys.executable, *interpreter.FLAGS, program, packages, names, _TEMPLATE),
        (int(held),) if held.isdigit() else (),
        Path("/"),
    )
