"""Executes networks on the emulated machine: the whole way from ONNX to the binary and back."""

from collections.abc import Mapping

import numpy as np
import onnx
from random_networks import Options
from visited import watch

from compiler.driver import lower, training_step
from compiler.schedule.schedules import SCHEDULES, partitioned
from emulator import Emulator
from emulator.report import Report
from isa.asm import assemble, disassemble
from isa.binary import read_program, write_program
from isa.check import check
from isa.machine import Array, Machine
from isa.program import Program


def compiled(model: onnx.ModelProto, options: Options, machine: Machine | None = None, watched: bool = False) -> Program:
    """The program of a network, checked, and gone through its binary and its assembly; the machine is that of the options by default.

    ``watched``: with what goes into kinked operators among its outputs.
    """
    sgd = options.optimizer
    optimizer = None if sgd is None else "sgd:" + ",".join(f"{name}={value}" for name, value in sgd.items())
    step = training_step(model, loss=options.loss, optimizer=optimizer, input_grads=options.input_grads)
    if watched:
        watch(step, model)
    machine = machine or Machine(name="random", array=Array(rows=options.rows, cols=options.cols), arrays=options.arrays)
    schedule = partitioned(SCHEDULES[options.schedule], options.partition)
    program = lower(step, machine, schedule=schedule, double_buffer=options.double_buffer, fused_update=options.fused_update)
    check(program, "random")
    binary = write_program(program)
    text = disassemble(read_program(binary, "random"))
    assert write_program(assemble(text, "random")) == binary
    return program


def conserved(program: Program, report: Report) -> None:
    """No run does less than its work: the graph's MACs, each input and weight from DRAM once, each output to it, at the machine's rates."""
    least = sum(entry.macs for entry in program.provenance), sum(entry.dram_bytes for entry in program.provenance)
    figures = report.to_dict()
    assert report.whole.macs >= least[0]
    assert figures["dram_bytes"] >= least[1]
    assert figures["cycles"] >= figures["bound_cycles"]
    units = figures["scratchpad_by_unit"]
    assert figures["dram_read_bytes"] == units.get("dma_in", {}).get("write_bytes", 0), "what is loaded is written"
    assert figures["dram_write_bytes"] == units.get("dma_out", {}).get("read_bytes", 0), "what is stored is read"


def execute(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], options: Options, watched: bool = False) -> dict[str, np.ndarray]:
    """One training step on the fast engine."""
    program = compiled(model, options, watched=watched)
    result = Emulator(program, "fast").run(inputs)
    conserved(program, result.report)
    return result.outputs


def execute_both(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], options: Options) -> dict[str, np.ndarray]:
    """One training step on both engines: cycles and every count are equal; the values are the stepped engine's."""
    program = compiled(model, options)
    fast, stepped = (Emulator(program, engine).run(inputs) for engine in ("fast", "stepped"))
    assert fast.report.to_dict() == stepped.report.to_dict()
    conserved(program, fast.report)
    return stepped.outputs
