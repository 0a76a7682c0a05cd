"""Points on all cores, or on a cluster, through Dask."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gradweave.extras import need
from gradweave.program_key import code_digest
from gradweave.sweeping.points import Outcome, Point, measure
from isa.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

SECONDS_TO_CONNECT = 15
RETRIES = 2
"""More tries for a point that fails with what another try may mend; one whose worker dies gets as many as Dask's allowed-failures."""


@contextmanager
def connected(scheduler: str | None, workers: int | None, tell: Callable[[str], None]) -> Iterator["Client"]:
    """A client of the scheduler at this address, or of a cluster of this computer's own: ``workers`` processes, one for each core.

    ``tell`` gets a line if there is no worker to begin with.

    Raises:
        UserError: Dask is not installed, the scheduler does not answer, or its workers do not have this very gradweave.
    """
    need("distributed", "sweep", "gradweave sweep")
    if scheduler is None:
        with _own_cluster(workers) as client:
            yield client
        return
    from distributed import Client

    try:
        client = Client(scheduler, timeout=SECONDS_TO_CONNECT)
    except (OSError, ValueError, TypeError) as error:
        start = "start one with `dask scheduler` and give its address, tcp://host:8786"
        raise UserError(f"--scheduler {scheduler}", f"no Dask scheduler answers there; {start}") from error
    with client:
        _check(client, scheduler)
        if not client.scheduler_info()["workers"]:
            tell(f"no workers at {scheduler} yet; waiting for some: dask worker {scheduler}")
        yield client


@contextmanager
def _own_cluster(workers: int | None) -> Iterator["Client"]:
    import dask
    from distributed import Client, LocalCluster

    # One point at a time for each worker: if it dies, no waiting point is blamed.  Memory has no limit but the computer's: a worker
    # that Dask pauses at a limit would never go on.
    with (
        dask.config.set({"distributed.scheduler.worker-saturation": 1.0}),
        LocalCluster(
            n_workers=workers or dask.system.CPU_COUNT, threads_per_worker=1, memory_limit=0, dashboard_address=":0",
            silence_logs=logging.CRITICAL, preload="gradweave.sweeping.worker",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


def _check(client: "Client", scheduler: str) -> None:
    """Raises UserError unless all workers that are there have the same code, without which the table would depend on chance."""
    try:
        others = [worker for worker, digest in client.run(code_digest).items() if digest != code_digest()]
    except Exception as error:  # whatever keeps the worker from importing it
        raise UserError(f"--scheduler {scheduler}", f"a worker cannot run gradweave: {error}; install it there") from error
    if others:
        raise UserError(f"--scheduler {scheduler}", f"another gradweave is installed on worker {others[0]}; install the same one there")


def outcomes(
    client: "Client", points: Sequence[Point], cache: str | None, said: Callable[[str], None]
) -> Iterator[tuple[Point, Outcome, bool]]:
    """Each point with its outcome, as they are done, and whether the outcome is final: not what another try may mend.

    Args:
        client: where to run.
        points: what to run.
        cache: folder for programs.
        said: gets what workers' caches say.

    Raises:
        UserError: the scheduler is gone.
    """
    from distributed import as_completed

    futures = {
        client.submit(measure, point, str(Path(point.model).absolute()), cache, key=f"gradweave-{point.key}", retries=RETRIES): point
        for point in points
    }
    completed = as_completed(list(futures))
    for future in completed:
        if future.status in ("lost", "pending"):  # it was done, but its worker died before the result was fetched: Dask does it again
            completed.add(future)
            continue
        try:
            outcome, lines = future.result()
        except CancelledError as error:
            text = "the Dask scheduler is gone; run the same command again to go on with the points that are left"
            raise UserError("--scheduler", text) from error
        except Exception as error:  # whatever the worker raised
            yield futures.pop(future), Outcome(error=_reason(error)), False
            continue
        for line in lines:
            said(line)
        yield futures.pop(future), outcome, True


def _reason(error: Exception) -> str:
    """Why a point has no figures, in one line."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return f"{error.allowed_failures + 1} workers died of this point, perhaps for want of memory"
    if isinstance(error, MemoryError):
        return "out of memory: try a smaller --batch"
    return " ".join(f"{type(error).__name__}: {error}".split())
