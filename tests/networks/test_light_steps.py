"""A full training step of the nine networks that ONNX brings along, as they are: it compiles, runs, and does all of the graph's MACs.

``pytest -m "slow or not slow" tests/networks/test_light_steps.py`` runs all nine on both machines, and prints cycles and seconds.  Values
are not computed (``test_light_networks.py`` compares those): no cycle and no count depends on any.
"""

import time
from collections.abc import Callable
from math import prod
from pathlib import Path

import onnx
import pytest
from light_models import NAMES, light_model
from onnx import numpy_helper

from compiler.driver import lower, training_step
from emulator import timing
from isa.machine import load_machine

MACHINES = Path(__file__).parents[2] / "programs/machines"
CASES = [
    pytest.param(name, machine, marks=[] if name == "squeezenet" else pytest.mark.slow, id=f"{name}-{machine}")
    for machine in ("32x32", "128x128")
    for name in NAMES
]


def graph_macs(model: onnx.ModelProto) -> int:
    """MACs of a training step, from the ONNX graph: each layer's product forward, for dW, and for dX unless it reads the image."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    } | {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    filled = {node.output[0]: stored[node.input[0]] for node in graph.node if node.op_type == "ConstantOfShape"}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            per_output = prod(filled[node.input[1]][1:])
        elif node.op_type == "Gemm":
            per_output = shapes[node.input[0]][1]
        else:
            continue
        reads_image = node.input[0] in {value.name for value in graph.input}
        total += int(prod(shapes[node.output[0]]) * per_output) * (2 if reads_image else 3)
    return total


@pytest.mark.parametrize(("name", "machine"), CASES)
def test_training_step(name: str, machine: str, tell: Callable[[str], None]) -> None:
    model = light_model(name)
    start = time.perf_counter()
    step = training_step(model, loss="softmax-cross-entropy", optimizer="sgd:lr=0.01,momentum=0.9", init="he")
    program = lower(step, load_machine(str(MACHINES / f"{machine}.toml")), schedule="interleaved")
    compiled = time.perf_counter()
    figures = timing(program).to_dict()
    seconds = f"compiled in {compiled - start:.0f} s, timed in {time.perf_counter() - compiled:.0f} s"
    tell(f"{name} on {machine}: {figures['cycles']:,} cycles, {figures['utilization']:.1%} of the array, {seconds}")
    assert sum(entry.macs for entry in program.provenance) == graph_macs(model)
    if name == "shufflenet":  # groups of its depthwise convolutions share the array with zeros between them
        assert figures["macs"] > graph_macs(model)
    else:
        assert figures["macs"] == graph_macs(model)
    assert figures["cycles"] >= figures["bound_cycles"]
