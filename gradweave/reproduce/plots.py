"""What the studies draw, as SVG; matplotlib is imported when something is drawn."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gradweave.reproduce import cnn, fc, order
from gradweave.reproduce.results import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FC_METRICS = {
    "cycles": "cycles",
    "backward_cycles": "cycles, backward and update",
    "backward_scratchpad_words": "words, backward and update",
}


def draw_fc(rows: list[Row]) -> bytes:
    """Sequential ÷ interleaved over batch ÷ array size: a line of panels for each metric, a column for each machine and layer."""
    cases = list(dict.fromkeys((row["machine"], row["tiles"]) for row in rows))
    figure = _figure(3.2 * len(cases), 3 * len(FC_METRICS))
    panels = figure.subplots(len(FC_METRICS), len(cases), squeeze=False, sharex=True, sharey="row")
    for line, (metric, name) in zip(panels, FC_METRICS.items(), strict=True):
        found = fc.ratios(rows, metric, "sequential", "interleaved")
        for panel, (machine, tiles) in zip(line, cases, strict=True):
            _over_batch(panel, metric, {sides: found[machine, tiles, sides] for sides in fc.SIDES})
            panel.set_title(f"{machine}\n{tiles}×{tiles} tiles", fontsize=9)
        line[0].set_ylabel(f"{name}\nsequential ÷ interleaved")
    for panel in panels[-1]:
        panel.set_xlabel("batch ÷ array size")
    legend = {label: handle for panel in panels[:, 0] for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(list(legend.values()), list(legend), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return _svg(figure)


def _over_batch(panel: "Axes", metric: str, lines: Mapping[fc.Sides, Sequence[float | None]]) -> None:
    for number, (sides, ratios) in enumerate(lines.items()):
        points = [(float(x), y) for x, y in zip(fc.RATIOS, ratios, strict=True) if y is not None]
        style = "-" if sides.matched else "--"
        panel.plot([x for x, _ in points], [y for _, y in points], style, marker="o", markersize=3, color=f"C{number}", label=str(sides))
    if "cycles" in metric:
        panel.axhspan(*fc.CYCLES_BAND, color="0.9", label="published: 1.4–2.2× fewer cycles")
    else:
        panel.axhline(fc.ACCESSES, color="0.6", label="published: 1.9× fewer accesses")
    panel.set_xscale("log", base=2)


def draw_cnn(rows: list[Row]) -> bytes:
    """Percent of cycles that ``interleaved`` saves, a group of bars for each network and batch."""
    saved = {baseline: cnn.saves(rows, baseline, "cycles") for baseline in cnn.BASELINES}
    keys = list(dict.fromkeys(key for own in saved.values() for key in own))
    figure = _figure(max(6.0, 0.8 * len(keys) + 2), 3.6)
    panel = figure.subplots()
    labels = [f"{network}\n{machine}\nbatch {batch}" for network, machine, batch in keys]
    _bars(panel, labels, {f"against {name}": [own.get(key, 0.0) for key in keys] for name, own in saved.items()})
    panel.axhline(25, color="0.6", linestyle="--", label="InterGrad: up to 25 %")
    panel.set_ylabel("% fewer cycles")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return _svg(figure)


def draw_order(rows: list[Row]) -> bytes:
    """Percent of cycles saved against ``sequential``, a panel for each machine, the published means as lines."""
    falls = order.falls(rows)
    figure = _figure(max(6.0, 1.1 * len({network for _, network in falls}) + 2), 6.4)
    panels = figure.subplots(len(order.BATCH), 1, squeeze=False)[:, 0]
    for panel, machine in zip(panels, order.BATCH, strict=True):
        own = {network: values for (on, network), values in falls.items() if on == machine}
        names = [name for name in order.SCHEDULES if name != order.BASELINE]
        _bars(panel, list(own), {name: [values[name] for values in own.values()] for name in names})
        for percent, style in zip(order.PUBLISHED[machine], (":", "-.", "--"), strict=True):
            panel.axhline(percent, color="0.6", linestyle=style)
        panel.set_title(f"{machine}; lines: published means, {' / '.join(map(str, order.PUBLISHED[machine]))} %", fontsize=9)
        panel.set_ylabel("% fewer cycles than sequential")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return _svg(figure)


def _bars(panel: "Axes", groups: Sequence[str], series: dict[str, list[float]]) -> None:
    """A group of bars for each of ``groups``, one bar in it for each series."""
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        left = [place + (number - (len(series) - 1) / 2) * width for place in range(len(groups))]
        panel.bar(left, values, width, label=name, color=f"C{number}")
    panel.set_xticks(range(len(groups)), groups, fontsize=8)
    panel.axhline(0, color="black", linewidth=0.6)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: "Figure") -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "gradweave", "svg.fonttype": "none"}):  # the same rows give the same file
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
