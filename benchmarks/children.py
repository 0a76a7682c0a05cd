"""What a piece of work takes when a process of its own does it: its result and the peak of its memory."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def peak_bytes() -> int:
    """Most memory that this process has had; unlike ``ru_maxrss``, nothing of whoever started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def _with_peak(function: Callable[[], R]) -> tuple[R, int]:
    return function(), peak_bytes()


def in_child(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> tuple[R, int]:
    """The result of a function of a module or of the script, and the peak memory of the fresh process that it ran in."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_with_peak, partial(function, *args, **kwargs)).result()
