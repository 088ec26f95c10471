"""How a verb shows its help: its examples begin with the name by which the program was called."""

from __future__ import annotations

import click

from evidence import command as called


class Shown(click.Command):
    """A verb whose examples begin with the name by which the program was called."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does it, with that name."""
        written = self.epilog
        self.epilog = written and written.replace(called.BUTTON, ctx.find_root().info_name or called.BUTTON)
        try:
            super().format_epilog(ctx, formatter)
        finally:
            self.epilog = written


class ShownGroup(Shown, click.Group):
    """The program itself, and a verb that has verbs."""

    command_class = Shown
    group_class = type
