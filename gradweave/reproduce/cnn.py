"""Convolutional networks against ``ws``, ``os`` and ``sequential``, beside InterGrad (Unnikrishnan and Parhi, IEEE TCAS-I 70(5), 2023).

Nothing is measured here: the rows are those of ``benchmarks/networks.py``.
"""

from pathlib import Path

from gradweave.reproduce.results import Row, read

FILES = "networks-*.json"
BASELINES = ("ws", "os", "sequential")
OURS = "interleaved"
PUBLISHED = {
    "any baseline, CNNs, up to": {"cycles": "25", "scratchpad_words": "25", "energy_pj": "16"},
    "ws, iso-area, Inception-v4": {"cycles": "4", "scratchpad_words": "17", "energy_pj": "12"},
    "ws, iso-area, DenseNet-264": {"cycles": "27", "scratchpad_words": "26", "energy_pj": "18"},
}
"""Percent less, from its abstract; of which memory the accesses are it does not say."""


def rows(folder: Path) -> list[Row]:
    """One row for each network, batch and schedule in the files of the folder, with the file's name for the machine."""
    found = []
    for file in sorted(folder.glob(FILES)):
        for row in read(file):
            words = row["scratchpad_reads"] + row["scratchpad_writes"]
            found.append(row | {"machine": file.stem.split("-")[1], "scratchpad_words": words})
    return found


def saves(rows: list[Row], baseline: str, metric: str, ours: str = OURS) -> dict[tuple[str, str, int], float]:
    """By how many percent a schedule needs less than a baseline: {(network, machine, batch): percent}, where both are measured."""
    by = {(row["network"], row["machine"], row["batch"], row["schedule"]): row[metric] for row in rows}
    points = dict.fromkeys(key[:3] for key in by)
    return {key: 100 * (1 - by[*key, ours] / by[*key, baseline]) for key in points if (*key, ours) in by and (*key, baseline) in by}
