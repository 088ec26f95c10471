"""The verb ``sign``: builds the images of a design, signs each by whoever may, and writes a slot of a flash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console import factory_options, failures, jobs, options
from console.as_json import head
from console.failures import Refused
from console.output import Output
from console.shown import Shown
from ipc_schemas.release import COUNTER_MAX
from world import devices
from world.factory import manufacture, signing
from world.factory.maker import Maker
from world.factory.signing import Order, Written

_EPILOG = """\b
Examples:
  run_device.py sign --device SN-0001
  run_device.py sign --flash release --version 1.1 --security-counter 3
  run_device.py sign --device SN-0001 --image therapy --signer therapy="Loops Ltd"
  run_device.py sign --device SN-0001 --signer therapy="Pipes Ltd" --force    (the device refuses it)
"""


class Pairs(click.ParamType[tuple[str, str]]):
    """``NAME=VALUE``."""

    name = "pair"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Both."""
        if isinstance(value, tuple):
            return value
        before, sign, after = str(value).partition("=")
        if not (before and sign and after):
            self.fail(f"{value!r} is no pair; write it as NAME=VALUE", param, ctx)
        return before, after


@click.command(cls=Shown, epilog=_EPILOG)
@click.option(
    "--design",
    type=options.NamedPath(),
    default=options.DEFAULT_DESIGN,
    metavar="FOLDER",
    help="What is built: a folder with a device.toml.  [default: the insulin pump]",
)
@factory_options.common
@click.option(
    "--device", "serials", multiple=True, metavar="SERIAL", help="Into the flash of this device; repeatable."
)
@click.option("--flash", type=options.NamedPath(), metavar="FOLDER", help="Into this folder.")
@click.option(
    "--slot", type=click.Choice(("a", "b")), default="a", show_default=True, help="Which slot of the flash."
)
@click.option(
    "--version",
    metavar="VERSION",
    default=devices.VERSION,
    show_default=True,
    callback=options.not_empty,
    help="Of the release and its images.",
)
@click.option(
    "--security-counter",
    type=click.IntRange(0, COUNTER_MAX),
    default=devices.SECURITY_COUNTER,
    show_default=True,
    help="Of each image: a device that has confirmed one starts none below it.",
)
@click.option(
    "--image",
    metavar="NAME",
    callback=options.not_empty,
    help="Only sign this one anew, as it lies in the slot; nothing is built.",
)
@click.option(
    "--signer",
    "signers",
    multiple=True,
    type=Pairs(),
    metavar="IMAGE=NAME",
    help="Who signs that image; repeatable.  [default: the subcontractor for its partition, else the maker]",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=Pairs(),
    metavar="NAME=FILE",
    help="The private key of that subcontractor; repeatable.",
)
@click.option(
    "--force", is_flag=True, help="For experiments: sign also what the signer may not. The device refuses it."
)
def sign(**given: Any) -> int:
    """Build all images of a design, sign each, and write them as a slot of a flash, with a bill of materials of each.

    The same sources give the same bytes.
    """
    with Output.open(given) as output:
        return _sign(output, given)


def _sign(output: Output, given: Mapping[str, Any]) -> int:
    if not given["serials"] and given["flash"] is None:
        raise Refused("sign where to? name a device with --device SERIAL, or a folder with --flash FOLDER")
    order = Order(
        given["version"],
        given["security_counter"],
        given["slot"],
        dict(given["signers"]),
        {name: Path(file) for name, file in given["keys"]},
        given["force"],
    )
    with factory_options.at_work(output, given) as maker:
        flashes = _flashes(maker, given)
        if given["image"] is None:
            design = jobs.sound_design(given["design"], 1)
            written = signing.sign_release(maker, design, flashes, order)
        else:
            written = _anew(maker, flashes, given["image"], order)
    output.show(_page(written, flashes, order))
    output.verdict(_closing(written, flashes))
    output.write_json(head("sign", failures.HELD) | as_json(written, flashes, order))
    return failures.HELD


def _flashes(maker: Maker, given: Mapping[str, Any]) -> list[Path]:
    found = [maker.folder.device(serial) / manufacture.FLASH_FOLDER for serial in given["serials"]]
    if given["flash"] is not None:
        flash: Path = given["flash"]
        if flash.exists() and not signing.is_flash(flash):
            raise Refused(f"--flash {flash}: something else is there; name a folder that is empty or a flash")
        found.append(flash)
    return found


def _anew(maker: Maker, flashes: list[Path], name: str, order: Order) -> list[Written]:
    if set(order.signers) != {name}:
        raise Refused(f"--image {name}: who is to sign it? say --signer {name}=NAME, and for no other image")
    return [signing.sign_image(maker, flash, name, order.signers[name], order) for flash in flashes][:1]


def _page(written: list[Written], flashes: list[Path], order: Order) -> Group:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("image", "version", "counter", "SHA-256", "bill of materials", "signed by"):
        table.add_column(name, no_wrap=name != "signed by")
    for one in written:
        table.add_row(
            one.image,
            one.version,
            str(one.security_counter),
            one.sha256.hex()[:16],
            one.bill_sha256.hex()[:16],
            one.signer,
        )
    rows: list[RenderableType] = [table, Text(_closing(written, flashes))]
    if order.force:
        rows.append(
            Text(
                "signed without asking who may: a device with all its walls judges that", style="bold yellow"
            )
        )
    return Group(*rows)


def _closing(written: list[Written], flashes: list[Path]) -> str:
    return f"{len(written)} images signed, in {', '.join(map(str, flashes))}"


def as_json(written: list[Written], flashes: list[Path], order: Order) -> dict[str, Any]:
    """The object that ``docs/json.md`` describes."""
    return {
        "flashes": [str(flash) for flash in flashes],
        "slot": order.slot,
        "forced": order.force,
        "images": [
            {
                "image": one.image,
                "role": one.role,
                "version": one.version,
                "security_counter": one.security_counter,
                "sha256": one.sha256,
                "bill_sha256": one.bill_sha256,
                "signer": one.signer,
            }
            for one in written
        ],
    }
