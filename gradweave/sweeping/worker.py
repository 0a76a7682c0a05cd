"""What Dask loads into the workers of a sweep's own cluster."""

import signal


def dask_setup(worker: object) -> None:
    """Leave Ctrl-C to the sweep, which ends its workers: they have nothing to say about it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
