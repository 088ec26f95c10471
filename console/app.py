"""The command line: ``python run_device.py [VERB]``."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from console import (
    VERSION,
    ablation_job,
    as_json,
    attest_job,
    boot_job,
    campaign_job,
    failures,
    jobs,
    lateness_job,
    options,
    provision_verbs,
    rejudge_job,
    shrink_job,
    sign_verb,
)
from console.failures import Refused
from console.output import Output
from console.shown import ShownGroup
from evidence import command as called
from evidence.lateness_runs import FRAMES_MAX, KINDS

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
_RUN_EPILOG = """\b
Examples:
  run_device.py run                                    one day on the virtual clock
  run_device.py run --attack K01@08:30 --attack C05    two attacks
  run_device.py run --attack K01 --without all --twin  what the attack does to a patient
  run_device.py run --clock 60x --days 0.05            on a clock 60 times faster than real
  run_device.py run --design examples/thermostat       another device
  run_device.py run --device factory/devices/SN-0001   a device that provision has made
"""
_BOOT_EPILOG = """\b
Examples:
  run_device.py boot
  run_device.py boot --explain
  run_device.py boot --device factory/devices/SN-0001
  run_device.py boot --settings          one device, started four times: who opens what was sealed
  run_device.py boot --attack B05                    somebody had the flash: who refuses it, by which rule
  run_device.py boot --attack B05 --without digest   and without that rule
  run_device.py boot --attack 'B09(signer=revoked)'  an attack with a parameter
\b
Exit status: 0 it is on with its own programs or, attacked, a rule kept it off; 1 otherwise.
"""
_ATTEST_EPILOG = """\b
Examples:
  run_device.py attest
  run_device.py attest --device factory/devices/SN-0001
  run_device.py attest --keep runs/attested
  run_device.py attest --verify runs/attested --root SHA256 --nonce HEX
\b
Status 0 only for AFFIRMING, by a verifier that asks everything. --root is the SHA-256 of the root's key
as its maker publishes it, --nonce the one that you drew; without them the verdict over what was kept is
no better than WARNING.
"""
_ATTACK_EPILOG = """\b
Examples:
  run_device.py attack                 list all
  run_device.py attack K01             reach into therapy's memory at 08:00
  run_device.py attack C03 K16@09:30   two attacks in one day
"""
_CHECK_EPILOG = """\b
Examples:
  run_device.py check
  run_device.py check --design my_device --json findings.json
"""
_PASSPORT_EPILOG = """\b
Examples:
  run_device.py passport
  run_device.py passport --without seccomp,netns
"""
_VERIFY_EPILOG = """\b
Examples:
  run_device.py --keep runs/today && run_device.py journal verify runs/today/attacked.bhj
  run_device.py journal verify runs/today/attacked.bhj --expect CHAIN   (as the run printed it)
\b
A chain alone shows that nothing was changed by accident, or by someone who did not chain it anew.
"""
_REPLAY_EPILOG = """\b
Example:
  run_device.py replay 'design=designs/insulin_pump frames=19 without=recheck,schema C06@14'
"""
_REJUDGE_EPILOG = """\b
Examples:
  run_device.py --keep runs/today && cp -r designs/insulin_pump designs/stricter   (then edit its device.toml)
  run_device.py rejudge runs/today/attacked.bhj --design designs/stricter
\b
Exit status: 0 nothing would differ, 1 something would or cannot be told, 2 it was refused.
"""
_SHRINK_EPILOG = """\b
Example:
  run_device.py shrink 'design=designs/insulin_pump frames=40 without=recheck,schema,rate C06@14 C18@20'
"""
_ABLATE_EPILOG = """\b
Examples:
  run_device.py ablate K01 C07
  run_device.py ablate --html walls.html --resume walls.jsonl
"""
_CAMPAIGN_EPILOG = """\b
Examples:
  run_device.py campaign                                   2,995 trials on all cores
  run_device.py campaign C05 K16 --trials 100              two attacks
  run_device.py campaign --keep runs/july                  kept as it goes; the same again goes on with it
  run_device.py campaign --walls all,one-out --trials 5000 with one wall left out in turn, too
  run_device.py campaign --scheduler tcp://127.0.0.1:8786  on a Dask cluster
\b
Status 0 only if every trial behind all walls has an answer and none is a breach.
"""
_LATENESS_EPILOG = """\b
Examples:
  run_device.py lateness --priority both --html late.html
  run_device.py lateness --attack cpu --attack memory --rounds 2
  run_device.py lateness --design examples/thermostat
"""

_SHOW_EPILOG = """\b
Examples:
  run_device.py journal show runs/today/attacked.bhj --frames 96-98
  run_device.py journal show runs/today/attacked.bhj --port pump_command
"""


@click.group(
    cls=ShownGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@options.common
@options.patient
@click.version_option(VERSION, prog_name="bulkhead")
@click.pass_context
def cli(context: click.Context, /, **given: Any) -> int:
    """Emulate a partitioned medical device, attack it, and judge what reached the patient.

    Without a verb this is the main job: check the design, print the passport, boot, one simulated day with
    the networked partition taken over at 08:00, the same day replayed without the attacker, calm, and once
    more with every wall left out; then one page of verdict.
    """
    if context.invoked_subcommand is None:
        return _do(jobs.story, given)
    for name in given:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            verb = context.invoked_subcommand
            option = next(p.opts[0] for p in context.command.params if p.name == name)
            raise click.UsageError(f"options stand after the verb: {verb} {option} VALUE", context)
    return failures.HELD


def _do(job: Callable[[Output, Mapping[str, Any]], int], given: Mapping[str, Any]) -> int:
    with Output.open(given) as output:
        return job(output, given)


without_option = click.option(
    "--without",
    type=options.Walls(),
    default=frozenset(),
    metavar="WALL[,WALL]|all",
    help="Leave these walls out; the output is then labelled DEGRADED.",
)


device_option = click.option(
    "--device",
    type=options.NamedPath(),
    metavar="FOLDER",
    help="Switch on this device, which provision has made, with what sign has put into its flash.",
)


@cli.command(epilog=_RUN_EPILOG)
@options.common
@options.patient
@click.option(
    "--clock",
    type=options.Clock(),
    default="virtual",
    show_default=True,
    metavar="virtual|real|Nx",
    help="How fast, e.g. 60x.",
)
@click.option(
    "--attack", multiple=True, metavar="ID[@HH:MM]", help="Attack then (at 08:00 without a time); repeatable."
)
@without_option
@device_option
@click.option("--twin", is_flag=True, help="Run the unattacked twin too, and grade the harm against it.")
def run(**given: Any) -> int:
    """Run the device once, attacked or not, and show what happened. Nothing is judged but that it ran."""
    return _do(jobs.run, given)


@cli.command(epilog=_BOOT_EPILOG)
@options.common
@click.option("--explain", is_flag=True, help="Show the whole measured log and every check.")
@click.option(
    "--settings",
    is_flag=True,
    help="Start one device four times, and show which release opens its sealed settings.",
)
@click.option(
    "--attack",
    metavar="ID[(NAME=VALUE)]",
    help="Before it is switched on, somebody who has its flash does this to it: one of the B rows of the catalogue.",
)
@without_option
@click.option(
    "--degraded", is_flag=True, help="Run although this host lacks a wall that the design requires."
)
@device_option
def boot(**given: Any) -> int:
    """Switch a device on through its chain of trust, show what each stage verified, switch it off.

    Without --device one is made for this, in a throw-away factory.
    """
    return _do(boot_job.boot, given)


@cli.command(epilog=_ATTEST_EPILOG)
@options.common
@click.option(
    "--keep", type=options.NamedPath(), metavar="FOLDER", help="Keep all that somebody else needs there."
)
@click.option(
    "--verify", type=options.NamedPath(), metavar="FOLDER", help="Appraise what was kept; start nothing."
)
@click.option(
    "--root",
    type=options.Digest(),
    metavar="SHA256",
    help="With --verify: of the root's key, from elsewhere.",
)
@click.option("--nonce", type=options.Digest(), metavar="HEX", help="With --verify: the nonce that you drew.")
@device_option
@without_option
@click.option(
    "--degraded", is_flag=True, help="Run although this host lacks a wall that the design requires."
)
def attest(**given: Any) -> int:
    """Challenge a device while it starts, and appraise what it says of its own boot against its signed release."""
    return _do(attest_job.attest, given)


@cli.command(epilog=_ATTACK_EPILOG)
@click.argument("attacks", nargs=-1, metavar="[ID[@HH:MM]]...")
@options.common
@options.patient
def attack(**given: Any) -> int:
    """Try attacks and judge them: behind the walls, replayed, calm, and with every wall left out.

    Without an ID: list the catalogue.
    """
    return _do(jobs.attack, given)


@cli.command(epilog=_ABLATE_EPILOG)
@click.argument("attacks", nargs=-1, metavar="[ID]...")
@options.common
@click.option(
    "--patient", type=click.IntRange(0, 1_000_000), default=0, help="Who of the cohort.", hidden=True
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the picture, too."
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=None, help="Devices at a time.  [default: one a core]"
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep what is found in FILE; what is there already is not searched again.",
)
def ablate(**given: Any) -> int:
    """Find which smallest sets of walls must fall before each attack gets through. Without an ID: all of them."""
    return _do(ablation_job.ablate, given)


@cli.command(epilog=_CAMPAIGN_EPILOG)
@click.argument("attacks", nargs=-1, metavar="[ID]...")
@options.common
@click.option(
    "--trials", type=click.IntRange(1, 1_000_000), default=2_995, show_default=True, help="How many."
)
@click.option(
    "--walls",
    type=options.WallSets(),
    default=("all",),
    metavar="all|one-out|none[,...]",
    help="What stands: all walls, all but one in turn, none.  [default: all]",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Keep results (SQLite, Parquet, HTML) there; a campaign that was stopped goes on.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=None, help="Devices at a time.  [default: one a core]"
)
@click.option(
    "--scheduler", metavar="tcp://HOST:PORT", callback=options.not_empty, help="A Dask cluster's address."
)
@click.option("--plan", is_flag=True, help="Only show what would be tried.")
def campaign(**given: Any) -> int:
    """Try thousands of experiments, spread evenly over attacks and phases of the therapy, and count honestly."""
    return _do(campaign_job.campaign, given)


@cli.command(epilog=_REPLAY_EPILOG)
@click.argument("line", metavar="LINE")
@options.common
def replay(**given: Any) -> int:
    """Run one experiment again from the line that was printed for it. Status 0 only if it held."""
    return _do(ablation_job.replay, given)


@cli.command(epilog=_SHRINK_EPILOG)
@click.argument("line", metavar="LINE")
@options.common
@click.option(
    "--test", type=options.NamedPath(), metavar="FILE", help="Write the test to FILE, too: test_....py."
)
@click.option("--workers", type=click.IntRange(1, 16), default=None, help="Devices at a time.  [default: 1]")
def shrink(**given: Any) -> int:
    """Make an experiment in which something got through as small as it gets, and print a test of it."""
    return _do(shrink_job.shrink, given)


@cli.command(epilog=_REJUDGE_EPILOG)
@click.argument("file", type=options.NamedPath(), metavar="JOURNAL")
@options.common
def rejudge(**given: Any) -> int:
    """Judge a recorded journal again under --design: which verdicts would differ, and what cannot be told.

    Nothing is run: every message that the journal holds is put to the design's contracts once more, and every event
    to its health tables.
    """
    return _do(rejudge_job.rejudge, given)


@cli.command(epilog=_LATENESS_EPILOG)
@options.common
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="Pairs of runs, attacked and unattacked, for each attack.",
)
@click.option(
    "--frames",
    type=click.IntRange(20, FRAMES_MAX),
    default=500,
    show_default=True,
    help="Frames in each run, of 20 ms or the design's own if they are as short.",
)
@click.option(
    "--attack",
    multiple=True,
    type=click.Choice(tuple(KINDS)),
    help="Only this pressure; repeatable.  [default: all]",
)
@click.option(
    "--priority",
    type=click.Choice(tuple(lateness_job.PRIORITIES)),
    default="none",
    show_default=True,
    help="rt: real-time priority and processors of its own for what is critical, as far as the host grants it.",
)
@click.option("--html", type=options.NamedPath(), metavar="FILE", help="Write a page with the curves there.")
def lateness(**given: Any) -> int:
    """Measure on the real clock how late the critical partition's windows open, attacked beside unattacked.

    Status 0 only if each attack was at work, p99.9 is at most twice the unattacked device's, and no deadline was
    missed under attack.
    """
    return _do(lateness_job.lateness, given)


@cli.command(epilog=_CHECK_EPILOG)
@options.common
def check(**given: Any) -> int:
    """Check a design against the rules, read its partitions' code, make its world, and draw it.

    Nothing of a partition's code is run. Status 1 when something fails.
    """
    return _do(jobs.check, given)


@cli.command(epilog=_PASSPORT_EPILOG)
@options.common
@without_option
def passport(**given: Any) -> int:
    """Probe this host, wall by wall. Status 1 when it lacks a wall that the design requires."""
    return _do(jobs.passport, given)


@cli.group(invoke_without_command=True, subcommand_metavar="COMMAND [ARGS]...")
@click.pass_context
def journal(context: click.Context) -> int:
    """Check or read a journal that a run left with --keep."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        return failures.REFUSED
    return failures.HELD


_FILE = click.argument("file", type=options.NamedPath(), metavar="FILE")


@journal.command(epilog=_VERIFY_EPILOG)
@_FILE
@options.common
@click.option(
    "--expect",
    type=options.ChainValue(),
    metavar="CHAIN",
    help="The chain value that the run printed, or its first 16 digits or more: is it this journal?",
)
def verify(**given: Any) -> int:
    """Check the hash chain: every record, whether the end is there, and --expect. Status 1 when one fails."""
    return _do(jobs.journal_verify, given)


@journal.command(epilog=_SHOW_EPILOG)
@_FILE
@options.common
@click.option("--frames", metavar="A[-B]", help="Only these frames.")
@click.option(
    "--partition", metavar="NAME", callback=options.not_empty, help="Only what belongs to this partition."
)
@click.option(
    "--port",
    metavar="PORT",
    callback=options.not_empty,
    help="Only messages of this port: cgm, or world.cgm.",
)
def show(**given: Any) -> int:
    """Show a journal's messages, refusals, rulings and lives, decoded."""
    return _do(jobs.journal_show, given)


cli.add_command(provision_verbs.provision)
cli.add_command(sign_verb.sign)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    failures.listen_for_stops()

    def command() -> int:
        status = cli.main(arguments, prog_name=called.name(), standalone_mode=False)
        return status if isinstance(status, int) else failures.HELD

    given = sys.argv[1:] if arguments is None else arguments

    def tell_json(sentence: str) -> None:
        name = json_named_in(given)
        # If it is this very file that cannot be written, the sentence on standard error says so already.
        with contextlib.suppress(Refused, OSError), Output.open({"json_file": name}) as output:
            output.write_json(as_json.refused(verb_of(given), failures.REFUSED, sentence))

    return failures.guarded(command, tell_json)


def verb_of(arguments: Sequence[str]) -> str:
    """The verb that a command line names, as ``docs/json.md`` spells it; what a refused one cannot tell itself."""
    first = arguments[0] if arguments and arguments[0] in cli.commands else ""
    within = cli.commands.get(first)
    if isinstance(within, click.Group) and len(arguments) > 1 and arguments[1] in within.commands:
        return f"{first} {arguments[1]}"
    return first or "story"


def json_named_in(arguments: Sequence[str]) -> str | None:
    """The file that ``--json`` names, also on a command line that click refused to read to its end."""
    found = None
    for before, word in itertools.pairwise(["", *arguments]):
        if before == "--json":
            found = word
        elif word.startswith("--json="):
            found = word.removeprefix("--json=")
    return found
