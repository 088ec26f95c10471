"""Hands a campaign's trials to Dask, on its own LocalCluster or on a cluster by address, and takes the results."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from evidence.campaign import remote
from evidence.campaign.results import Result
from evidence.campaign.strata import Sampler, Trial
from evidence.outcome import Outcome
from evidence.workers import Summary

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
#: Trials handed out and not yet answered, for each worker: one that runs and one that waits.
IN_FLIGHT_PER_WORKER = 2
CONNECT_S = 10.0
#: Nothing is tried twice: a worker that dies over a trial costs that trial its answer.
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.comm.timeouts.connect": f"{CONNECT_S:g}s",
    "distributed.admin.log-length": 0,
    # Dask insists on an HTTP server; it is on loopback, and serves nothing.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # What a worker of ours has to say comes back as a result. What Dask says of tasks that were cancelled, and of a
    # scheduler that has gone, is what an interrupted campaign looks like from there. Heeded at a worker's start only
    # here: its own ``env`` comes after Dask has set up its log.
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",
}


class ClusterWrong(ValueError):
    """The cluster cannot be reached, has no worker, or is not this Bulkhead on such a host; the sentence says which."""


@contextmanager
def cluster(address: str | None, workers: int) -> Iterator[Client]:
    """A Dask client: of the cluster at ``address``, or of one of ``workers`` processes that ends with the block.

    Raises ``ClusterWrong``.
    """
    import dask
    import distributed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(_SETTINGS):
        if address is not None:
            try:
                client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
            except (OSError, ValueError, TimeoutError) as error:
                raise ClusterWrong(
                    f"--scheduler {address}: {_first_line(error)}; start one with dask scheduler, and workers "
                    "with dask worker, from Bulkhead's folder"
                ) from None
            with client:
                yield client
            return
        # Whoever can speak to a scheduler can have any code run. So only who holds this key can, which is made anew for
        # each campaign and written nowhere: not another user of this host, nor an attacker whose walls are left out.
        security = distributed.Security.temporary()
        own = _deaf_to_interrupts(
            lambda: distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                protocol="tls://",
                security=security,
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
            )
        )
        with own, distributed.Client(own, security=security, set_as_default=False) as client:
            yield client


def _deaf_to_interrupts(start: Callable[[], T]) -> T:
    """What ``start`` makes. Processes that it starts inherit that they do not heed a Ctrl-C.

    On a terminal that goes to all of them, and only the campaign itself is to heed it.
    """
    if threading.current_thread() is not threading.main_thread():
        return start()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return start()
    finally:
        signal.signal(signal.SIGINT, before)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def agreed(client: Client, mine: remote.Here, design_folder: str) -> int:
    """How many workers there are, all of which have the same design, code and host walls as this process.

    Raises ``ClusterWrong``.
    """
    try:
        answers: dict[str, bytes] = client.run(remote.here, design_folder)
    except Exception as error:  # whatever it was that failed over there, it comes back as its own kind
        raise ClusterWrong(
            f"a worker of the cluster has no such Bulkhead or design: {_first_line(error)}"
        ) from None
    if not answers:
        raise ClusterWrong("the cluster has no worker; start one with dask worker, from Bulkhead's folder")
    for name, told in answers.items():
        theirs = msgspec.json.decode(told, type=remote.Here)
        if theirs != mine:
            differs = [
                field for field in mine.__struct_fields__ if getattr(theirs, field) != getattr(mine, field)
            ]
            raise ClusterWrong(
                f"the worker {name} differs in {' and '.join(differs)} from this process; give both the same files "
                "and the same kind of host"
            )
    return len(answers)


def perform(
    client: Client,
    sampler: Sampler,
    numbers: Sequence[int],
    workers: int,
    unavailable: Sequence[str],
    on_result: Callable[[Result], None],
) -> None:
    """Have these trials performed. ``on_result`` hears each result as it comes, in whatever order."""
    from distributed import as_completed

    told = msgspec.json.encode(sampler.campaign)
    waiting = iter(numbers)

    handed_out: dict[int, Any] = {}

    def submit(number: int) -> Any:
        key = f"trial-{number}"
        handed_out[number] = client.submit(
            remote.perform, told, number, tuple(unavailable), key=key, retries=0, pure=False
        )
        return handed_out[number]

    first = [
        submit(number) for _, number in zip(range(workers * IN_FLIGHT_PER_WORKER), waiting, strict=False)
    ]
    running = as_completed(first, loop=client.loop)
    try:
        for future in running:
            number = int(future.key.removeprefix("trial-"))
            on_result(_result(future, sampler.trial(number)))
            del handed_out[number]
            following = next(waiting, None)
            if following is not None:
                running.add(submit(following))
    except BaseException:
        client.cancel([future for future in handed_out.values() if not future.done()], force=True)
        with suppress(Exception):  # a worker that cannot be reached any more has nothing that goes on
            client.run(remote.abandon)
        raise


def _result(future: Any, trial: Trial) -> Result:
    """What came back, read strictly; or NO-REPLY, with the reason."""
    try:
        return msgspec.json.decode(future.result(), type=Result)
    except Exception as error:  # a worker that died, was lost, or answered nonsense
        why = f"its Dask worker gave no answer: {_first_line(error)}"
    summary = Summary(trial.experiment.line, Outcome.NO_REPLY.value, (), (why,))
    stratum = trial.stratum
    return Result(
        trial.number, stratum.attack_id, stratum.walls, stratum.phase, summary.outcome, why, summary
    )
