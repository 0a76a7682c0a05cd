"""Translation validation: random networks compute at the tile level what they compute at the train level, on every schedule."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from interpreted import training_step
from network_check import mismatches
from random_networks import SCHEDULES, Case, networks
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType, f32

from compiler.dialects import train
from compiler.interpret import interpret_train
from compiler.interpret_tile import interpret_tile
from compiler.transforms import convert_train_to_tile
from compiler.transforms.differentiate import Differentiate
from isa.machine import Array, Machine


def check_schedule(case: Case, schedule: str) -> None:
    """Lowers the case's training step under a schedule and compares all results."""
    options = case.options
    module, weights = training_step(case.model, options, simplify=True)
    leaves = weights | case.inputs
    expected = interpret_train(module, leaves)
    assume(all(np.all(np.isfinite(value)) for value in expected.values()))
    machine = Machine(array=Array(rows=options.rows, cols=options.cols))
    convert_train_to_tile.lower(
        module, machine, schedule, double_buffer=options.double_buffer, fused_update=options.fused_update and bool(options.optimizer)
    )
    module.verify()
    got = interpret_tile(module, leaves)
    # A weight that was updated inside the array leaves no gradient behind.
    unseen = {f"grad/{name}" for name in weights} if options.fused_update else set()
    wanted = {name: value for name, value in expected.items() if name in got or name not in unseen}
    wrong = mismatches(wanted, got, 1e-9)
    assert not wrong, "\n".join([*wrong, repr(replace(case, options=replace(options, schedule=schedule)))])


def test_tiles_compute_what_the_graph_says(network_count: int) -> None:
    @settings(
        max_examples=network_count // 8,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(networks())
    def check(case: Case) -> None:
        for schedule in SCHEDULES:
            check_schedule(case, schedule)

    check()


LAYERS = {  # axes, shapes of X, W and Y
    "convolution": ("bk(y+r)(x+s),nkrs->bnyx", (2, 3, 6, 7), (4, 3, 3, 2), (2, 4, 4, 6)),
    "strided, dilated": ("b(2y+2r)(2x+s)k,nkrs->bnyx", (2, 9, 8, 3), (4, 3, 2, 3), (2, 4, 4, 3)),
    "groups": ("b(3g+k)(y+r)(x+s),(2g+n)krs->b(2g+n)yx", (2, 6, 5, 4), (4, 3, 2, 2), (2, 4, 4, 3)),
    "transposed": ("bkyx,knrs->bn(y+r)(x+s)", (2, 3, 3, 4), (3, 4, 2, 2), (2, 4, 4, 5)),
    "pointwise": ("bkyx,nk->bnyx", (2, 5, 3, 4), (6, 5), (2, 6, 3, 4)),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("rows", "cols"), [(2, 3), (8, 8)])
def test_convolutions(layer: str, schedule: str, rows: int, cols: int) -> None:
    """Forward product and both gradients of one layer, through all taps and groups."""
    axes, x, w, y = LAYERS[layer]
    rng = np.random.default_rng(0)
    graph = train.GraphOp("layer")
    leaves = {"x": rng.normal(size=x), "w": rng.normal(size=w)}
    ops = [train.LeafOp(kind, name, TensorType(f32, leaves[name].shape)) for kind, name in (("input", "x"), ("param", "w"))]
    ops.append(train.ProductOp(axes, ops[0].result, ops[1].result, "layer", "fwd", y))
    ops.append(train.OutputOp("output", "y", ops[2].result))
    graph.body.block.add_ops(ops)
    module = ModuleOp([graph])
    Differentiate(("x",)).apply(Context(), module)
    module.verify()
    leaves["grad/y"] = rng.normal(size=y)
    expected = interpret_train(module, leaves)
    assert expected.keys() == {"y", "grad/x", "grad/w"}
    convert_train_to_tile.lower(module, Machine(array=Array(rows=rows, cols=cols)), schedule, double_buffer=True, fused_update=False)
    module.verify()
    assert mismatches(expected, interpret_tile(module, leaves), 1e-12) == []
