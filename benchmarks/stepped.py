"""The stepped engine's speed in PE·cycles per second, beside a bare NumPy loop of as many operations on whole arrays.

    python benchmarks/stepped.py

The program is one fully-connected layer of four tiles with its gradients, on a machine whose DRAM hardly makes the array wait: cycles
without a beat cost little.  How much of the array is at work stands beside.  The bare loop does in each cycle what an array of processing
elements with its two chains cannot do without, on registers of the same size: see ``bare_loop``.
"""

import statistics
import time

import click
import numpy as np
from models import fully_connected
from msgspec.structs import replace

import gradweave
from emulator import Emulator, Report, draw_inputs
from isa.machine import Dram, load_machine

SIZES = (8, 32, 128)
TARGET = 130e6
"""PE·cycles/s on 128x128: those of compiled RTL of a like array."""


def stepped(size: int, repeat: int) -> tuple[Report, list[float]]:
    """Report of a run, and seconds of several."""
    machine = replace(load_machine(f"programs/machines/{size}x{size}.toml"), dram=Dram(bytes_per_cycle=2.0**20, latency=0))
    program = gradweave.compile(fully_connected(2 * size, 4 * size), machine=machine, input_grads=("x",))
    inputs = draw_inputs(program, 0)
    emulator = Emulator(program, "stepped")
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        report = emulator.run(inputs).report
        seconds.append(time.process_time() - start)
    return report, seconds


def bare_loop(size: int, cycles: int) -> float:
    """Seconds of 20 operations on whole arrays a cycle.

    Two links move on (2), what each beat is (3), its operands and addend (4), product and sum (2), where the sum goes (3), which MACs count
    and how many (2), and both chains: which rows are enabled, and a step of them (4).
    """
    shape = (size, size)
    h, v, w, g, loaded, drained, east, south = (np.ones(shape, np.float32) for _ in range(8))
    op = np.ones(shape, np.int8)
    row = np.arange(size)[:, None]
    steps = np.full(size, size // 2)
    start = time.process_time()
    for _ in range(cycles):
        east[:, 1:] = h[:, :-1]
        south[1:] = v[:-1]
        fwd, dx, dw = op == 1, op == 2, op == 3
        left, right = np.where(dx, south, east), np.where(dw, south, w)
        addend = np.where(fwd, south, np.where(dx, east, g))
        total = addend + left * right
        h, v, g = np.where(dx, total, east), np.where(fwd, total, south), np.where(dw, total, g)
        np.count_nonzero(op > 0)
        np.copyto(loaded[1:], loaded[:-1], where=(row < steps)[1:])
        np.copyto(drained[1:], drained[:-1], where=(row >= steps)[1:])
    return time.process_time() - start


@click.command()
@click.option("--repeat", default=3, show_default=True)
def main(repeat: int) -> None:
    """Measure the stepped engine."""
    click.echo(f"medians of {repeat}, in million PE·cycles/s; targets: at most 2x the bare loop's time, {TARGET / 1e6:.0f} on 128x128")
    for size in SIZES:
        report, seconds = stepped(size, repeat)
        cycles, busy = report.cycles, report.to_dict()["utilization"]
        bare = statistics.median(bare_loop(size, cycles) for _ in range(repeat))
        ours = statistics.median(seconds)
        rate, bare_rate = (size * size * cycles / taken / 1e6 for taken in (ours, bare))
        rates = f"stepped {rate:8.1f}, bare loop {bare_rate:8.1f}: {ours / bare:6.2f}x the time"
        click.echo(f"{size:4}x{size:<4}{cycles:7,} cycles, {busy:.0%} at work: {rates}")


if __name__ == "__main__":
    main()
