"""The command line: ``python run_device.py [VERB]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from console import VERSION, failures, jobs, options
from console.output import Output

_EPILOG = """\b
Examples:
  run_device.py                          the main job: a day under attack, judged
  run_device.py --seed 7 --patient 3     another day, another patient
  run_device.py run --days 2             two days, nobody attacks
  run_device.py attack K01 C05@09:30     two attacks, judged
  run_device.py check --design DIR       does this design keep the rules?
\b
Exit status: 0 it held, 1 it did not, 2 it was refused, 130 it was interrupted.
"""


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@options.common
@options.patient
@click.version_option(VERSION, prog_name="bulkhead")
@click.pass_context
def cli(context: click.Context, **given: Any) -> int:
    """Emulate a partitioned medical device, attack it, and judge what reached the patient.

    Without a verb this is the main job: check the design, print the passport, boot, one simulated day with the
    networked partition taken over at 08:00, the same day replayed without the attacker, calm, and once more with every
    wall left out; then one page of verdict.
    """
    if context.invoked_subcommand is None:
        with Output.open(given) as output:
            return jobs.story(output, given)
    for name in given:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"options stand after the verb: write {context.invoked_subcommand} --...", context)
    return failures.HELD


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    failures.listen_for_stops()

    def command() -> int:
        status = cli.main(arguments, prog_name="run_device.py", standalone_mode=False)
        return status if isinstance(status, int) else failures.HELD

    return failures.guarded(command)
