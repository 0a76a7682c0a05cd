"""What each pass of one compilation takes, for ``gradweave compile --time-passes``, in the manner of MLIR's ``-mlir-timing``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter


@dataclass(slots=True)
class PassTime:
    """Seconds that all runs of one pass took."""

    seconds: float = 0.0
    runs: int = 0


@dataclass(slots=True)
class PassTimes:
    """Recorder of one compilation: whoever compiles makes one and hands it down; it counts time from then on."""

    passes: dict[str, PassTime] = field(default_factory=dict)
    """By name, in the order of their first runs."""
    clock: Callable[[], float] = perf_counter
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Book the time of the block, which must not measure itself in turn, under this name; also if it raises."""
        start = self.clock()
        try:
            yield
        finally:
            entry = self.passes.setdefault(name, PassTime())
            entry.seconds += self.clock() - start
            entry.runs += 1

    def table(self) -> str:
        """Seconds, share and runs of each pass, of what lies between them, and of all up to now, as aligned text."""
        total = self.clock() - self._start
        rest = total - sum(entry.seconds for entry in self.passes.values())
        rows = [(name, entry.seconds, str(entry.runs)) for name, entry in self.passes.items()]
        width = max(len(name) for name in [*self.passes, "total"])
        lines = [f"{'pass':<{width}}  {'seconds':>9}  {'share':>6}  {'runs':>4}"]
        for name, seconds, runs in [*rows, ("rest", rest, ""), ("total", total, "")]:
            lines.append(f"{name:<{width}}  {seconds:>9.4f}  {seconds / total:>6.1%}  {runs:>4}".rstrip())
        return "\n".join(lines)
