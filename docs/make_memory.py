"""The table of docs/memory.md, made by compiling and running: ``python docs/make_memory.py`` prints it, ``--write`` puts it there."""

from pathlib import Path

from compiler.driver import lower, training_step
from emulator import Emulator, draw_inputs
from gradweave.reproduce.sections import print_or_write
from isa.machine import Array, Machine, Scratchpad

HERE = Path(__file__).parent
MODEL = HERE.parent / "programs" / "digits_cnn.onnxtxt"
KIBIBYTES = (1024, 512, 256, 64, 32)


def costs() -> str:
    """A row for each size of the scratchpad."""
    step = training_step(MODEL, batch=64, loss="softmax-cross-entropy", optimizer="sgd:lr=0.1")
    rows = ["| scratchpad | cycles | DRAM bytes |", "|---|---|---|"]
    for size in KIBIBYTES:
        machine = Machine(array=Array(rows=8, cols=8), scratchpad=Scratchpad(bytes=size << 10))
        program = lower(step, machine, schedule="interleaved")
        report = Emulator(program).run(draw_inputs(program, 0)).report.to_dict()
        rows.append(f"| {size} KiB | {report['cycles']:,} | {report['dram_bytes']:,} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table, or write it into the page."""
    print_or_write(HERE / "memory.md", {"costs": costs()})


if __name__ == "__main__":
    main()
