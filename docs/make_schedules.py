"""The table of docs/schedules.md on updates, made by timing: ``python docs/make_schedules.py`` prints it, ``--write`` puts it there."""

from pathlib import Path

from compiler.driver import TrainingStep, training_step
from gradweave.reproduce.bench import Bench
from gradweave.reproduce.products import Product, products_step
from gradweave.reproduce.sections import print_or_write
from isa.machine import load_machine

HERE = Path(__file__).parent
PROGRAMS = HERE.parent / "programs"
OPTIMIZERS = {"none": "sgd:lr=0.1", "0.9": "sgd:lr=0.1,momentum=0.9", "0.9, decay": "sgd:lr=0.1,momentum=0.9,weight_decay=0.0005"}
SCHEDULES = ("sequential", "interleaved")


def digits(optimizer: str) -> TrainingStep:
    """A step of a small network."""
    return training_step(PROGRAMS / "digits_mlp.onnxtxt", batch=32, loss="softmax-cross-entropy", optimizer=optimizer)


def layer(optimizer: str) -> TrainingStep:
    """A step of one large layer."""
    return products_step("fc", [Product("fc", "Gemm", (1, 4096), (4096, 4096))], 256, optimizer=optimizer)


def updates() -> str:
    """A row for each step, momentum and schedule: the update by the vector unit, and in the array."""
    rows = [
        "| step, machine | momentum | schedule | cycles | | DRAM bytes | | scratchpad words | |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, machine, make in (("`digits_mlp`, batch 32", "32x32", digits), ("4096×4096, batch 256", "128x128", layer)):
        for momentum, optimizer in OPTIMIZERS.items():
            step = make(optimizer)
            benches = [Bench(step, load_machine(PROGRAMS / "machines" / f"{machine}.toml"), fused_update=fused) for fused in (False, True)]
            for schedule in SCHEDULES:
                apart, fused = (bench.measure(schedule).whole.to_dict() for bench in benches)
                cells = [f"{name}, {machine}", momentum, f"`{schedule}`"]
                for before, after in (
                    (apart["cycles"], fused["cycles"]),
                    (apart["dram_bytes"], fused["dram_bytes"]),
                    tuple(whole["scratchpad_reads"] + whole["scratchpad_writes"] for whole in (apart, fused)),
                ):
                    cells += [f"{before:,} → {after:,}", f"{before / after:.2f}×"]
                rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table, or write it into the page."""
    print_or_write(HERE / "schedules.md", {"updates": updates()})


if __name__ == "__main__":
    main()
