"""The Python API: compile a model's training step, run it on the emulated machine, compare schedules, train.

    import gradweave

    program = gradweave.compile("programs/digits_mlp.onnxtxt", batch=32, loss="softmax-cross-entropy", optimizer="sgd:lr=0.1")
    result = gradweave.run(program)
    print(result.report.cycles, result.outputs["grad/fc1.weight"])

A mistake in what is passed in raises :class:`UserError`, whose text is one line for people.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from emulator import Emulator, Result
from emulator.backend import NUMPY
from emulator.run import Runner
from gradweave.cache import Cache
from gradweave.comparison import Comparison, compare
from gradweave.compiling import compile
from gradweave.explaining import Explanation, explain
from gradweave.sweeping import Sweep, sweep
from gradweave.training import Training, train
from isa.check import check
from isa.errors import UserError
from isa.machine import Machine, load_machine
from isa.program import Program

__all__ = [
    "Cache", "Comparison", "Explanation", "Machine", "Program", "Result", "Sweep", "Training", "UserError", "compare", "compile", "explain",
    "load_machine", "run", "sweep", "train",
]  # fmt: skip


def run(
    program: Program | str | Path | onnx.ModelProto,
    inputs: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    engine: Runner = "fast",
    backend: str = NUMPY,
    trace: bool = False,
    **options: Any,
) -> Result:
    """Run a program once, or compile a model with ``options`` (as in :func:`compile`) and run that.

    Args:
        program: a compiled program, or a model.
        inputs: by name; left out: drawn from ``seed``, normal for floats, class numbers for labels.
        seed: of the inputs, and of weights that are drawn.
        engine: ``fast``, ``stepped``, or ``timing`` (no values, so no outputs); all take the same cycles.
        backend: where ``fast`` computes the array's products: ``numpy``, or a library of the array API standard, as ``torch:cuda``.
        trace: whether the result holds the slices of a trace.

    Raises:
        UserError: the inputs do not fit, the program cannot run, or the model or an option cannot be used.
    """
    if isinstance(program, Program):
        check(program, program.name)
        compiled = program
    else:
        compiled = compile(program, seed=seed, **options)
    emulator = Emulator(compiled, engine, backend)
    return emulator.run(emulator.drawn(seed) if inputs is None else inputs, trace=trace)
