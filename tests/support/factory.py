"""A factory's folder for tests: a maker, a factory, two subcontractors and a device, made once and copied."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from boot.scope import Scope
from world.factory import ledger, manufacture, signing
from world.factory import maker as makers
from world.factory.keys import KeyFiles
from world.factory.ledger import FactoryRefused, Token
from world.factory.maker import Maker

MAKER, FACTORY, SERIAL = "Example Devices", "Lyon", "SN-0001"
THERAPY, TRANSFER = "Loops Ltd", "Pipes Ltd"
PARTITIONS = {
    THERAPY: Scope(("partition",), ("therapy",), ("C",)),
    TRANSFER: Scope(("partition",), ("transfer",), ("A",)),
}


def no_pin(token: Token) -> str:
    """For factories without a token."""
    raise FactoryRefused(f"{token.label}: nobody here knows a PIN")


@contextmanager
def at_work(path: Path, *, creates: bool = False) -> Iterator[Maker]:
    """The factory in ``path``, mended."""
    with ledger.opened(path, creates=creates) as folder:
        maker = Maker(folder, datetime.now(UTC).replace(microsecond=0), no_pin)
        try:
            manufacture.mend(maker)
            yield maker
            manufacture.publish(folder)
        finally:
            maker.close()


def enrol_subcontractor(maker: Maker, name: str, scope: Scope) -> None:
    """With a key at its side."""
    side = maker.folder.path / ledger.SUPPLIERS / name
    public = KeyFiles(side).provide_signing_key(signing.SIGNING)
    makers.enrol_subcontractor(maker, name, public, scope, maker.years(5, maker.ledger.platform))


@functools.cache
def _template() -> Path:
    above = Path(tempfile.mkdtemp(prefix="factory-"))
    atexit.register(shutil.rmtree, above, ignore_errors=True)
    with at_work(above / "factory", creates=True) as maker:
        makers.hold_root_ceremony(maker, MAKER)
        makers.open_factory(maker, FACTORY)
        for name, scope in PARTITIONS.items():
            enrol_subcontractor(maker, name, scope)
        manufacture.manufacture(maker, FACTORY, [SERIAL])
    return above / "factory"


def make(path: Path) -> Path:
    """One of the test's own."""
    shutil.copytree(_template(), path)
    return path
