"""The options of the verbs that work in a factory's folder, and the opening of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from console import options
from console.failures import Refused
from console.output import Output
from world.factory import development, ledger, manufacture
from world.factory.ledger import Token
from world.factory.maker import Maker

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_FOLDER = Path("factory")
#: Where the PIN of a token comes from; never from the command line, which others can read.
PIN_VARIABLE = "BULKHEAD_TOKEN_PIN"

folder = click.option(
    "--folder",
    type=options.NamedPath(),
    default=DEFAULT_FOLDER,
    show_default=True,
    metavar="FOLDER",
    help="The factory's folder.",
)


def common(function: F) -> F:
    """``--folder``, ``--json`` and ``--quiet``."""
    return folder(written(function))


def written(function: F) -> F:
    """``--json`` and ``--quiet``."""
    return click.option("--quiet", is_flag=True, help="Print one line.")(options.json_option(function))


class Day(click.ParamType[datetime]):
    """``2031-12-31``: the end of that day, UTC."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.strptime(str(value), "%Y-%m-%d").replace(
                hour=23, minute=59, second=59, tzinfo=UTC
            )
        except ValueError:
            self.fail(f"{value!r} is no day; write it as 2031-12-31", param, ctx)


def pin_of(token: Token) -> str:
    """The PIN, out of the environment or asked for on the terminal. Raises ``Refused`` where neither is there."""
    found = os.environ.get(PIN_VARIABLE)
    if found:
        return found
    if not sys.stdin.isatty():
        raise Refused(
            f"the token {token.label} asks for its PIN; put it into the variable {PIN_VARIABLE}, or begin on a terminal"
        )
    return str(click.prompt(f"PIN of the token {token.label}", hide_input=True, err=True))


@contextmanager
def at_work(output: Output, given: Mapping[str, Any], *, creates: bool = False) -> Iterator[Maker]:
    """The factory in ``--folder``, mended if a power cut had left something; what was mended is said.

    Raises ``FactoryRefused``.
    """
    with ledger.opened(given["folder"], creates=creates) as held:
        maker = Maker(held, development.now_utc(), pin_of)
        try:
            manufacture.mend(maker)
            for sentence in held.said:
                output.show_whole(sentence)
            yield maker
            manufacture.publish(held)
        finally:
            maker.close()
