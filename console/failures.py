"""Every way in which a command ends early: one sentence on standard error, and a status.

0 it held, 1 it did not hold, 2 it was refused or could not be done, 130 it was interrupted.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click

from boot.refusal import Refused as ChainRefused
from evidence.campaign.hands import ClusterWrong
from evidence.campaign.store import StoreWrong
from faults.catalogue import UnknownAttack
from monitor.design import DesignError
from monitor.journal import JournalBroken
from sandbox.walls import UnknownWall
from world.bench import BenchError
from world.factory.certificates import RequestRefused
from world.factory.keys import KeyRefused
from world.factory.ledger import FactoryRefused
from world.factory.packing import ImageError

HELD, NOT_HELD, REFUSED, INTERRUPTED = 0, 1, 2, 130
_ROOT = Path(__file__).resolve().parent.parent
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Refused(Exception):
    """What was asked for cannot be done; the sentence says why and what to do."""


#: Whose message is a sentence for people already.
SPOKEN = (
    Refused,
    DesignError,
    BenchError,
    FactoryRefused,
    KeyRefused,
    RequestRefused,
    ImageError,
    ChainRefused,
    UnknownAttack,
    UnknownWall,
    JournalBroken,
    StoreWrong,
    ClusterWrong,
)


def listen_for_stops() -> None:
    """Turn the first SIGINT, SIGTERM or SIGHUP into ``KeyboardInterrupt``, so that everything is put away.

    Further ones are ignored: putting away is bounded in time, and must not be cut short halfway.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _STOPPING:
        signal.signal(number, stop)


def guarded(command: Callable[[], int], on_refusal: Callable[[str], None] = lambda _: None) -> int:
    """Run ``command`` and give its status; whatever it raises becomes a sentence and a status.

    ``on_refusal`` hears the sentence of everything that ends with ``REFUSED``.
    """
    try:
        return command()
    except (KeyboardInterrupt, click.Abort):
        say("stopped as asked; all that the wall lifeline ties has ended")
        return INTERRUPTED
    except click.ClickException as error:
        sentence = _usage(error)
    except SPOKEN as error:
        sentence = str(error)
    except OSError as error:
        sentence = sentence_of(error)
    except Exception as error:  # a defect of ours: still one sentence, with where to look
        sentence = (
            f"a defect in Bulkhead: {type(error).__name__}: {error} ({_place(error)}); please report it"
        )
    say(sentence)
    on_refusal(one_line(sentence))
    return REFUSED


def sentence_of(error: OSError) -> str:
    """``reports/day.json: Permission denied``, without an error number."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def say(sentence: str) -> None:
    """One line on standard error that cannot act on a terminal."""
    print(f"run_device: {one_line(sentence)}", file=sys.stderr, flush=True)


def one_line(sentence: str) -> str:
    """The sentence without line ends, and without characters that act on a terminal."""
    return "".join(c if c.isprintable() else " " for c in " ".join(sentence.split()))


def _usage(error: click.ClickException) -> str:
    text = error.format_message()
    context = getattr(error, "ctx", None)
    if not isinstance(error, click.UsageError) or context is None:
        return text
    return f"{text.rstrip('.')}; see {context.command_path} --help"


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    path = Path(last.filename)
    shown = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else Path(path.name)
    return f"{shown}:{last.lineno}"
