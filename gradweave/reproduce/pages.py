"""What the studies print: Markdown tables, made from rows alone."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from gradweave.reproduce import cnn, fc, order
from gradweave.reproduce.results import Row, select

METRICS = {
    "cycles": "cycles of the step",
    "backward_cycles": "cycles of the backward pass and the update",
    "backward_scratchpad_words": "scratchpad words, backward pass and update",
    "backward_dram_bytes": "DRAM bytes, backward pass and update",
    "energy_pj": "energy of the step",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]], text: int = 1) -> str:
    """A Markdown table whose first ``text`` columns are text, the others numbers."""
    lines = [head, ["---"] * text + ["--:"] * (len(head) - text), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# -- fully-connected layers -------------------------------------------------------------------------------------------


def held(metric: str, ratio: float) -> bool:
    """Whether a ratio is what the abstract claims of cycles or of accesses, to the digits it states; for energy it claims nothing."""
    if "cycles" in metric:
        return fc.CYCLES_BAND[0] <= round(ratio, 1) <= fc.CYCLES_BAND[1]
    return "energy" not in metric and round(ratio, 1) >= fc.ACCESSES


CLAIMED = ("cycles", "backward_cycles", "backward_scratchpad_words", "backward_dram_bytes")
"""Metrics that the abstract may mean."""


def fc_overview(rows: list[Row]) -> str:
    """In how many points a published figure holds, and the least and the greatest ratio, matched options and unmatched ones apart."""
    head = ["figure", "published", "baseline ÷ interleaved", "matched: holds in", "ratios", "unmatched: holds in", "ratios"]
    lines = []
    for metric in CLAIMED:
        for baseline in fc.BASELINES:
            found = fc.ratios(rows, metric, baseline, "interleaved")
            cells = [METRICS[metric], _claim(metric), baseline]
            for matched in (True, False):
                own = [r for (_, _, sides), ratios in found.items() if sides.matched == matched for r in ratios if r is not None]
                holds = sum(held(metric, ratio) for ratio in own)
                cells += [f"{holds} of {len(own)}", f"{min(own):.2f}–{max(own):.2f}"]
            lines.append(cells)
    return table(head, lines, 3)


def _claim(metric: str) -> str:
    return f"{fc.CYCLES_BAND[0]}–{fc.CYCLES_BAND[1]}×" if "cycles" in metric else f"{fc.ACCESSES}×"


def fc_summary(rows: list[Row]) -> str:
    """For each baseline and each pair of options: the range of each metric's ratio, and where the published figures hold."""
    parts = []
    for metric in CLAIMED:
        found = {baseline: fc.ratios(rows, metric, baseline, "interleaved") for baseline in fc.BASELINES}
        cases = list(dict.fromkeys((machine, tiles) for machine, tiles, _ in next(iter(found.values()))))
        head = ["baseline ÷ interleaved", "options", *(f"{machine}, {tiles}×{tiles} tiles" for machine, tiles in cases)]
        lines = [
            [baseline, str(sides), *(_range(metric, ratios[*case, sides]) for case in cases)]
            for baseline, ratios in found.items()
            for sides in fc.SIDES
        ]
        parts.append(f"### {METRICS[metric]}: {_claim(metric)} and where\n\n{table(head, lines, 2)}")
    return "\n\n".join(parts)


def _range(metric: str, ratios: Sequence[float | None]) -> str:
    known = [ratio for ratio in ratios if ratio is not None]
    if not known:
        return ""
    where = [str(batch) for batch, ratio in zip(fc.RATIOS, ratios, strict=True) if ratio is not None and held(metric, ratio)]
    return f"{min(known):.2f}–{max(known):.2f}" + (f" **B/S {', '.join(where)}**" if where else "")


def fc_page(rows: list[Row]) -> str:
    """Where the published figures hold, against every baseline; all ratios of ``interleaved`` to two of them, and of ``auto`` in cycles."""
    parts = ["## Where the published figures hold", fc_overview(rows), fc_summary(rows), "## All ratios"]
    parts += [fc_pair(rows, baseline, "interleaved") for baseline in ("sequential", "best-sequential")]
    parts += [_matrix(rows, "cycles", baseline, "auto") for baseline in ("best-sequential", "tile-interleaved", "interleaved")]
    parts.append(f"### {METRICS['cycles']}: auto ÷ lower bound\n\n{_over_bound(rows)}")
    return "\n\n".join(parts) + "\n"


def fc_pair(rows: list[Row], baseline: str, ours: str) -> str:
    """All ratios of one schedule to another."""
    return "\n\n".join(_matrix(rows, metric, baseline, ours) for metric in METRICS)


def _matrix(rows: list[Row], metric: str, baseline: str, ours: str) -> str:
    head = ["machine", "tiles", "options", *(f"B/S {ratio}" for ratio in fc.RATIOS)]
    lines = [
        [machine, f"{tiles}×{tiles}", str(sides), *(_cell(metric, ratio) for ratio in ratios)]
        for (machine, tiles, sides), ratios in fc.ratios(rows, metric, baseline, ours).items()
    ]
    return f"### {METRICS[metric]}: {baseline} ÷ {ours}\n\n{table(head, lines, 3)}"


def _cell(metric: str, ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"**{ratio:.2f}**" if held(metric, ratio) else f"{ratio:.2f}"


def _over_bound(rows: list[Row]) -> str:
    head = ["machine", "tiles", "options", *(f"B/S {ratio}" for ratio in fc.RATIOS)]
    auto = select(rows, schedule="auto")
    cases: dict[tuple[str, int, bool, bool], list[str]] = {}
    for row in sorted(auto, key=lambda row: row["batch"]):
        case = (row["machine"], row["tiles"], row["double_buffer"], row["fused_update"])
        cases.setdefault(case, []).append(f"{row['cycles'] / row['bound_cycles']:.2f}")
    lines = [[m, f"{t}×{t}", fc.describe((double, fused)), *cells] for (m, t, double, fused), cells in cases.items()]
    return table(head, lines, 3)


# -- convolutional networks -------------------------------------------------------------------------------------------

CNN_METRICS = {"cycles": "cycles", "scratchpad_words": "scratchpad words", "dram_bytes": "DRAM bytes", "energy_pj": "energy"}


def cnn_page(rows: list[Row]) -> str:
    """Percent less of ``interleaved``, against each baseline, and InterGrad's figures below."""
    parts = []
    for baseline in cnn.BASELINES:
        saved = {metric: cnn.saves(rows, baseline, metric) for metric in CNN_METRICS}
        auto = cnn.saves(rows, baseline, "cycles", "auto")
        head = ["network", "machine", "batch", *(f"{name}, % less" for name in CNN_METRICS.values()), "auto: cycles, % less"]
        lines = [
            [key[0], key[1], str(key[2]), *(f"{own[key]:.1f}" for own in saved.values()), f"{auto[key]:.1f}" if key in auto else ""]
            for key in saved["cycles"]
        ]
        parts.append(f"### interleaved against {baseline}\n\n{table(head, lines, 3)}")
    head = ["against", *(f"{name}, % less" for name in CNN_METRICS.values())]
    lines = [[name, *(own.get(metric, "") for metric in CNN_METRICS)] for name, own in cnn.PUBLISHED.items()]
    note = "Which memory its accesses are is not known; here they stand under scratchpad words."
    parts.append(f"### InterGrad, as published\n\n{table(head, lines)}\n\n{note}")
    return "\n\n".join(parts) + "\n"


# -- the interleaved gradient order -----------------------------------------------------------------------------------


def order_page(rows: list[Row]) -> str:
    """Percent of cycles saved against ``sequential``, a table for each machine."""
    parts = []
    for machine, batch in order.BATCH.items():
        falls = {network: own for (on, network), own in order.falls(rows).items() if on == machine}
        if not falls:
            continue
        ours = [name for name in order.SCHEDULES if name != order.BASELINE]
        head = ["network", "batch", "sequential, cycles", *(f"{name}, % fewer" for name in ours)]
        head += ["auto ÷ lower bound", "auto, DRAM bytes a cycle"]
        lines = [_network(select(rows, machine=machine, network=network), own, ours) for network, own in falls.items()]
        over = [row["cycles"] / row["bound_cycles"] for row in select(rows, machine=machine, schedule="auto")]
        means = [f"{mean(own[name] for own in falls.values()):.1f}" for name in ours]
        lines.append([f"mean of these {len(falls)}", "", "", *means, f"{mean(over):.2f}", ""])
        steps = " / ".join(f"{percent}" for percent in order.PUBLISHED[machine])
        note = f"Published, mean of nine networks at batch {batch}: {steps} % (interleaved by tile / and ordered / and partitioned)."
        parts.append(f"### {machine}\n\n{table(head, lines)}\n\n{note}")
    return "\n\n".join(parts) + "\n"


def _network(rows: list[Row], falls: Mapping[str, float], ours: Sequence[str]) -> list[str]:
    by = {row["schedule"]: row for row in rows}
    base, auto = by[order.BASELINE], by["auto"]
    over = f"{auto['cycles'] / auto['bound_cycles']:.2f}"
    traffic = f"{auto['dram_bytes'] / auto['cycles']:.1f}"
    return [base["network"], str(base["batch"]), f"{base['cycles']:,}", *(f"{falls[name]:.1f}" for name in ours), over, traffic]
