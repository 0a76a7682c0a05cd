"""Cycles against energy of a sweep's points, with the Pareto front: those that no other beats in both."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

from gradweave.extras import need
from gradweave.sweeping.table import Row
from isa.errors import UserError

FORMATS = (".svg", ".png")


def check_format(path: str | Path) -> None:
    """Raises UserError unless the name's end is one of ``FORMATS``, and matplotlib is installed."""
    if Path(path).suffix not in FORMATS:
        raise UserError(str(path), f"the name of a plot ends in {' or '.join(FORMATS)}")
    need("matplotlib", "plot", str(path))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one beats or equals in both figures, from the left to the right; less is better."""
    front: list[tuple[float, float]] = []
    for point in sorted(set(points)):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front


def draw(rows: Sequence[Row], suffix: str) -> bytes:
    """One panel for each model and batch, since only these compare; points without figures are left out."""
    import matplotlib
    from matplotlib.figure import Figure

    panels: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        panels.setdefault((str(row["model"]), str(row["batch"] or "")), []).append(row)
    columns = math.ceil(math.sqrt(len(panels)))
    lines = math.ceil(len(panels) / columns)
    schedules = list(dict.fromkeys(str(row["schedule"]) for row in rows))
    figure = Figure(figsize=(4.5 * columns, 3.6 * lines + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for panel, (model, batch) in zip(axes.flat, panels, strict=False):
        done = [row for row in panels[model, batch] if row["error"] is None]
        places = {id(row): (float(row["cycles"] or 0), float(row["energy_pj"] or 0) / 1e6) for row in done}
        for number, schedule in enumerate(schedules):
            chosen = [places[id(row)] for row in done if row["schedule"] == schedule]
            panel.scatter(*zip(*chosen, strict=True) if chosen else ((), ()), s=16, alpha=0.7, color=f"C{number % 10}", label=schedule)
        front = pareto_front(list(places.values()))
        line = {"color": "black", "linewidth": 0.8, "marker": "o", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 0.8}
        panel.step(*zip(*front, strict=True) if front else ((), ()), where="post", label="Pareto front", **line)
        panel.set(title=f"{Path(model).stem}{batch and f', batch {batch}'}", xlabel="cycles", ylabel="energy (µJ)")
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(schedules) + 1, frameon=False)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "gradweave", "svg.fonttype": "none"}):  # the same points give the same file
        figure.savefig(buffer, format=suffix.removeprefix("."), dpi=150, metadata={"Date": None} if suffix == ".svg" else None)
    return buffer.getvalue()
