"""The verb ``provision`` and its sub-verbs, as ``click`` reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from console import factory_options, failures, options, provision_job
from console.output import Output
from console.shown import ShownGroup
from world.factory.maker import AUTHORITY_YEARS, SIGNER_YEARS, YEARS_MAX
from world.factory.manufacture import DEVICES_MAX, UNLOCK_MINUTES_MAX

_EPILOG = """\b
A whole factory, in ./factory:
  run_device.py provision root --maker "Example Devices"
  run_device.py provision factory Lyon
  run_device.py provision supplier "Loops Ltd" --partition therapy --class C
  run_device.py provision devices 2 --factory Lyon
  run_device.py sign --device SN-0001
  run_device.py boot --device factory/devices/SN-0001
  run_device.py provision show
"""
_ROOT_EPILOG = f"""\b
Examples:
  run_device.py provision root --maker "Example Devices"
  run_device.py provision root --maker "Example Devices" --token /usr/lib/softhsm/libsofthsm2.so --token-label maker
\b
The PIN of a token is asked for, or taken from the variable {factory_options.PIN_VARIABLE}.
"""
_SUPPLIER_EPILOG = """\b
Examples:
  run_device.py provision supplier "Loops Ltd" --partition therapy --class C
  run_device.py provision key loops.pem          (at the subcontractor's, who hands out loops.pem.pub)
  run_device.py provision supplier "Loops Ltd" --partition therapy --class C --public-key loops.pem.pub
"""


def _do(job: Callable[[Output, Mapping[str, Any]], int], given: Mapping[str, Any]) -> int:
    with Output.open(given) as output:
        return job(output, given)


_YEARS = click.IntRange(1, YEARS_MAX)
_SERIALS = click.argument("serials", nargs=-1, required=True, metavar="SERIAL...")


@click.group(
    cls=ShownGroup, invoke_without_command=True, subcommand_metavar="COMMAND [ARGS]...", epilog=_EPILOG
)
@click.pass_context
def provision(context: click.Context) -> int:
    """Be the factory: keys and certificates, devices and their lives, in a folder that stays."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        return failures.REFUSED
    return failures.HELD


@provision.command(epilog=_ROOT_EPILOG)
@factory_options.common
@click.option(
    "--maker", required=True, metavar="NAME", help="Who makes the devices: the O of every certificate."
)
@click.option(
    "--token",
    type=options.NamedPath(),
    metavar="MODULE",
    help="Keep the keys of authorities in a token (PKCS#11).",
)
@click.option(
    "--token-label", metavar="LABEL", callback=options.not_empty, help="Which token behind that module."
)
def root(**given: Any) -> int:
    """Hold the root ceremony: the maker's root, its platform authority, its signers of releases and of unlocks."""
    return _do(provision_job.root, given)


@provision.command()
@click.argument("name")
@factory_options.common
@click.option("--years", type=_YEARS, default=AUTHORITY_YEARS, show_default=True, help="How long it counts.")
def factory(**given: Any) -> int:
    """Open a factory, which names devices in a name space of its own and signs nothing else."""
    return _do(provision_job.factory, given)


@provision.command(epilog=_SUPPLIER_EPILOG)
@click.argument("name")
@factory_options.common
@click.option(
    "--partition",
    "partitions",
    multiple=True,
    required=True,
    metavar="NAME",
    help="May sign this partition's images; repeatable.",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    required=True,
    type=click.Choice(("A", "B", "C")),
    help="Of this safety class (IEC 62304); repeatable.",
)
@click.option(
    "--public-key",
    type=options.NamedPath(),
    metavar="FILE",
    help="Its public key.  [default: a new key, in suppliers/NAME]",
)
@click.option("--years", type=_YEARS, default=SIGNER_YEARS, show_default=True, help="How long it counts.")
@click.option("--until", type=factory_options.Day(), metavar="DAY", help="Until then and no longer.")
def supplier(**given: Any) -> int:
    """Enrol a subcontractor, who signs the named partitions of the named safety classes and nothing else."""
    return _do(provision_job.supplier, given)


@provision.command()
@click.argument("file", type=options.NamedPath(), metavar="FILE")
@factory_options.written
def key(**given: Any) -> int:
    """Make a subcontractor's key at its side: FILE is for nobody else, FILE.pub is for the maker."""
    return _do(provision_job.key, given)


@provision.command()
@click.argument("count", type=click.IntRange(1, DEVICES_MAX), metavar="N")
@factory_options.common
@click.option("--factory", required=True, metavar="NAME", help="The factory that names them.")
@click.option(
    "--serial",
    metavar="SERIAL",
    callback=options.not_empty,
    help="Of the first one; the others count on.  [default: SN-0001, or the next]",
)
@click.option(
    "--life",
    type=click.Choice(("manufactured", "provisioned", "operational")),
    default="provisioned",
    show_default=True,
    help="How far to lead them. Only a manufactured one can be debugged freely.",
)
def devices(**given: Any) -> int:
    """Manufacture N devices: each an element of its own, which makes its key, and an IDevID for that key."""
    return _do(provision_job.devices, given)


@provision.command()
@_SERIALS
@factory_options.common
@click.option(
    "--to",
    required=True,
    type=click.Choice(("provisioned", "operational", "decommissioned")),
    help="The next step, or the last, which wipes the device's secret.",
)
def life(**given: Any) -> int:
    """Take devices to a later step of their life: one way only."""
    return _do(provision_job.life, given)


@provision.command()
@click.argument("name")
@factory_options.common
@click.option("--years", type=_YEARS, default=AUTHORITY_YEARS, show_default=True, help="How long it counts.")
def operator(**given: Any) -> int:
    """Enrol an operator, a hospital say, with a root of its own for its devices."""
    return _do(provision_job.operator, given)


@provision.command()
@_SERIALS
@factory_options.common
@click.option("--operator", required=True, metavar="NAME", help="Who takes them in.")
@click.option("--years", type=_YEARS, default=SIGNER_YEARS, show_default=True, help="How long it counts.")
def enrol(**given: Any) -> int:
    """Give devices the LDevID of their operator."""
    return _do(provision_job.enrol, given)


@provision.command()
@click.argument("serial")
@factory_options.common
@click.option(
    "--factory", metavar="NAME", help="Which factory names it from now on.  [default: the same as before]"
)
@click.option(
    "--new-element",
    is_flag=True,
    help="Wipe its element and put a new one in its place: the only way once it is provisioned.",
)
def renew(**given: Any) -> int:
    """Provision a device anew, with another IDevID; the one that it had is revoked."""
    return _do(provision_job.renew, given)


@provision.command()
@click.argument("name")
@factory_options.common
def revoke(**given: Any) -> int:
    """Revoke a signer, a factory or a device, by a new list of a higher number."""
    return _do(provision_job.revoke, given)


@provision.command()
@click.argument("serials", nargs=-1, metavar="[SERIAL]...")
@factory_options.common
def lists(**given: Any) -> int:
    """Bring the latest revocation lists into the flash of these devices. Without a SERIAL: of all."""
    return _do(provision_job.lists, given)


@provision.command()
@click.argument("serial")
@factory_options.common
@click.option(
    "--minutes",
    type=click.IntRange(1, UNLOCK_MINUTES_MAX),
    default=30,
    show_default=True,
    help="When the unlock ends, if the power does not go before.",
)
@click.option("--restore", type=click.Choice(("a", "b")), help="Give this slot all its attempts again.")
def unlock(**given: Any) -> int:
    """Unlock a device for debugging in one boot of its element, and show its cells."""
    return _do(provision_job.unlock, given)


@provision.command()
@factory_options.common
def show(**given: Any) -> int:
    """Show who may do what until when, what was revoked, and every device."""
    return _do(provision_job.show, given)
