"""A sweep from its grid to its table."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler.schedule.schedules import SCHEDULES
from gradweave.cache import Cache
from gradweave.compiling import StepOptions
from gradweave.sweeping import plot as plotting
from gradweave.sweeping import table
from gradweave.sweeping.cluster import connected, outcomes
from gradweave.sweeping.grid import load_grid
from gradweave.sweeping.journal import Journal
from gradweave.sweeping.points import Lowering, Outcome, points
from isa.errors import UserError
from isa.files import write

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found."""

    rows: list[table.Row]
    resumed: int
    """How many programs the journal had before."""
    cache: Counter[str]
    """How often the cache said ``hit``, ``stored``, …"""

    @property
    def failed(self) -> list[table.Row]:
        """Rows with an error."""
        return [row for row in self.rows if row["error"] is not None]


def sweep(
    models: Sequence[str | Path],
    machine_grid: str | Path,
    output: str | Path,
    *,
    schedules: Sequence[str] = ("interleaved",),
    batches: Sequence[int | None] = (None,),
    loss: str | None = None,
    optimizer: str | None = None,
    double_buffer: bool = True,
    fused_update: bool = False,
    input_grads: Sequence[str] = (),
    init: str | None = None,
    seed: int = 0,
    cache: Cache | str | Path | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    plot: str | Path | None = None,
    each: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Sweep:
    """Compile and time every model at every batch size under every schedule on every machine, and write the table.

    Points that are done are appended to a journal beside the table, ``<output>.journal``; they are not done again, whatever ended the
    sweep, nor in a later one that contains them.

    Args:
        models: paths, as in ``compile``; so are ``loss`` to ``seed``.
        machine_grid: path of a grid, see ``gradweave.sweeping.grid``.
        output: path of the table, ``.csv`` or ``.parquet``.
        schedules: names in ``compiler.schedule.SCHEDULES``.
        batches: sizes; None leaves a model as it is.
        cache: where programs are kept, as in ``compile``; only its folder counts.
        scheduler: address of a Dask scheduler; None: processes of this computer.
        workers: how many of these; None: as many as there are cores.
        plot: path of a picture, ``.svg`` or ``.png``.
        each: called with the number of points that are done and that of all, at the start and after each point.
        tell: gets lines for people, where something is to be waited for.

    Raises:
        UserError: a file cannot be read or written, an option cannot be used, a package is missing, or the scheduler is gone.
            A point that cannot be compiled raises none: its error is in the table.
    """
    table.check_format(output)
    if plot is not None:
        plotting.check_format(plot)
    if unknown := [name for name in schedules if name not in SCHEDULES]:
        raise UserError("--schedule", f"unknown schedule {unknown[0]!r}; there are {', '.join(SCHEDULES)}")
    grid = load_grid(machine_grid)
    step = StepOptions(None, loss, optimizer, tuple(input_grads), init, seed)
    lowering = Lowering("", double_buffer, fused_update)
    everything = list(dict.fromkeys(points([str(model) for model in models], batches, schedules, grid.machines, step, lowering)))
    unique = {point.key: point for point in everything}  # two files may hold the same model
    kept = Cache.of(cache)
    said: Counter[str] = Counter()
    failed: dict[str, Outcome] = {}
    with Journal(f"{output}.journal") as journal:
        todo = [point for key, point in unique.items() if key not in journal.done]
        done = resumed = len(unique) - len(todo)
        each = each or (lambda done, total: None)
        each(done, len(unique))
        if todo:
            with connected(scheduler, workers, tell or (lambda line: None)) as client:
                folder = None if kept is None else str(kept.folder.absolute())
                for point, outcome, final in outcomes(client, todo, folder, lambda line: said.update([line.split()[1]])):
                    if final:
                        journal.add(point.key, outcome)
                    else:
                        failed[point.key] = outcome
                    done += 1
                    each(done, len(unique))
        found = journal.done | failed
    rows = [table.row(point, grid, found[point.key]) for point in everything]
    write(output, table.encode(rows, Path(output).suffix))
    if plot is not None:
        write(plot, plotting.draw(rows, Path(plot).suffix))
    return Sweep(rows, resumed, said)
