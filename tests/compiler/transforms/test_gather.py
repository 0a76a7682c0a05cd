"""dX of a convolution, gathered: under `os` its sums stay in the array, under `turned` they leave it complete but for what tiles add."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from lowered import Setting, features, program, tiles
from network_check import mismatches
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType, f32

from compiler.dialects import tile, train
from compiler.interpret import interpret_train
from compiler.transforms.allocate_memory import storage
from compiler.transforms.differentiate import Differentiate
from emulator import Emulator
from emulator.report import Report

LAYERS = {  # axes; shapes of X, W and Y; per pixel axis of X: size, stride, taps, dilation
    "stride 1": ("bk(y+r)(x+s),nkrs->bnyx", (2, 5, 6, 9), (7, 5, 3, 2), (2, 7, 4, 8), [(6, 1, 3, 1), (9, 1, 2, 1)]),
    "stride 2": ("bk(2y+r)(2x+s),nkrs->bnyx", (2, 3, 7, 8), (4, 3, 3, 2), (2, 4, 3, 4), [(7, 2, 3, 1), (8, 2, 2, 1)]),
    "dilation": ("b(2y+3r)(x+2s)k,nkrs->bnyx", (2, 9, 8, 3), (4, 3, 3, 2), (2, 4, 2, 6), [(9, 2, 3, 3), (8, 1, 2, 2)]),
    "gaps": ("bk(3y+r)(2x+2s),nkrs->bnyx", (2, 3, 8, 9), (4, 3, 2, 2), (2, 4, 3, 3), [(8, 3, 2, 1), (9, 2, 2, 2)]),
    "groups": ("b(3g+k)(y+r)(x+s),(2g+n)krs->b(2g+n)yx", (2, 6, 5, 4), (4, 3, 2, 2), (2, 4, 4, 3), [(5, 1, 2, 1), (4, 1, 2, 1)]),
    "depthwise": ("b(g+k)(2y+r)(x+s),(g+n)krs->b(g+n)yx", (1, 5, 6, 6), (5, 1, 3, 3), (1, 5, 2, 4), [(6, 2, 3, 1), (6, 1, 3, 1)]),
    "one-dimensional": ("bk(2x+s),nks->bnx", (3, 5, 12), (4, 5, 3), (3, 4, 5), [(12, 2, 3, 1)]),
}


def layer(axes: str, x: Sequence[int], w: Sequence[int], y: Sequence[int], *, wanted: bool) -> tuple[ModuleOp, dict[str, np.ndarray]]:
    """A layer and its gradients; dX is wanted as it is, in DRAM, or only twice it, so that it is made in the scratchpad."""
    rng = np.random.default_rng(0)
    graph = train.GraphOp("layer")
    ops = [train.LeafOp(kind, name, TensorType(f32, shape)) for kind, name, shape in (("input", "x", x), ("param", "w", w))]
    source = ops[0]
    if not wanted:
        source = train.MapOp("tanh", [ops[0].result], "act", "fwd")
        ops.append(source)
    ops.append(train.ProductOp(axes, source.result, ops[1].result, "layer", "fwd", y))
    ops.append(train.OutputOp("output", "y", ops[-1].result))
    graph.body.block.add_ops(ops)
    module = ModuleOp([graph])
    Differentiate(("x",)).apply(Context(), module)
    leaves = {name: rng.normal(size=shape).astype(np.float32) for name, shape in (("x", x), ("w", w), ("grad/y", y))}
    return module, leaves


def run(module: ModuleOp, leaves: dict[str, np.ndarray], setting: Setting) -> Report:
    """Both engines compute what the train level says, in the same cycles and with the same counts."""
    made = program(tiles(module, setting), leaves)
    inputs = {symbol.name: leaves[symbol.name] for symbol in made.named("input")}
    fast, stepped = (Emulator(made, engine).run(inputs) for engine in ("fast", "stepped"))
    assert fast.report.to_dict() == stepped.report.to_dict()
    expected = interpret_train(module, leaves)
    for result in (fast, stepped):
        assert mismatches(expected, result.outputs, 1e-5) == []
    return fast.report


def beats_of_dx(module: ModuleOp) -> set[str]:
    return {op.kind.data for op in module.walk() if isinstance(op, tile.BeatOp) and op.product.data == "dx"}


def reached(dimensions: list[tuple[int, ...]]) -> int:
    """Pixels of dX for which there is a tap, with zeros around dY."""
    return prod(sum(any((q - d * r) % s == 0 for r in range(taps)) for q in range(size)) for size, s, taps, d in dimensions)


@pytest.mark.parametrize("wanted", [True, False], ids=["in DRAM", "in the scratchpad"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_word_is_written_once(name: str, wanted: bool) -> None:
    """The gradient chain writes each word for which there is a tap, and no partial sum comes or goes; zeros fill the others."""
    *shapes, dimensions = LAYERS[name]
    module, leaves = layer(*shapes, wanted=wanted)
    setting = Setting(schedule="os", dram_above=-1)
    assert beats_of_dx(tiles(module, setting)) == {"dw"}
    counted = run(module, leaves, setting).to_dict()["scratchpad_by_operand"]["dX"]
    words = prod(shapes[1]) // prod(size for size, *_ in dimensions) * reached(dimensions)
    assert counted["writes"] == words
    # To DRAM the words pass through tiles, from which they are read once.
    assert counted["reads"] == (words if wanted else 0)


@pytest.mark.parametrize(("schedule", "beat"), [("os", "dw"), ("turned", "fwd")])
@pytest.mark.parametrize(
    ("name", "scratchpad", "parts"),
    [(name, 1 << 20, "panel in") for name in LAYERS] + [("stride 1", 3600, "blocks of a layer"), ("dilation", 2400, "blocks of a layer")],
)
def test_tensors_in_dram(name: str, scratchpad: int, parts: str, schedule: str, beat: str) -> None:
    """All tensors in DRAM: dY comes in panels, among zeros that stay there, or it is padded in DRAM and comes in blocks of pixels."""
    module, leaves = layer(*LAYERS[name][:-1], wanted=False)
    setting = Setting(schedule=schedule, dram_above=0, scratchpad=scratchpad)
    made = tiles(module, setting)
    assert beats_of_dx(made) == {beat}
    assert parts in features(made)
    run(module, leaves, setting)


def test_without_room_for_a_padded_dy_it_is_computed_weight_stationary() -> None:
    """Padding needs an image or a channel at a time, which blocks of a convolution do not."""
    module, leaves = layer("bk(y+r)(x+s),nkrs->bnyx", (2, 2, 22, 22), (3, 2, 3, 3), (2, 3, 20, 20), wanted=True)
    setting = Setting(schedule="os", dram_above=0, scratchpad=3000)
    assert beats_of_dx(tiles(module, setting)) == {"dx"}
    run(module, leaves, setting)


def test_only_the_wanted_part_of_a_padded_input_is_computed() -> None:
    """3x3 with padding 1 takes as many MACs as the other schedules, not those of dX with its padding."""
    x, w = train.LeafOp("input", "x", TensorType(f32, (2, 3, 6, 6))), train.LeafOp("param", "w", TensorType(f32, (4, 3, 3, 3)))
    padded = train.PlaceOp(x.result, [0, 0, 1, 1], [1] * 4, (2, 3, 8, 8), 0.0, "layer", "fwd")
    product = train.ProductOp("bk(y+r)(x+s),nkrs->bnyx", padded.result, w.result, "layer", "fwd", (2, 4, 6, 6))
    graph = train.GraphOp("layer")
    graph.body.block.add_ops([x, w, padded, product, train.OutputOp("output", "y", product.result)])
    module = ModuleOp([graph])
    Differentiate(("x",)).apply(Context(), module)
    rng = np.random.default_rng(0)
    leaves = {"x": (2, 3, 6, 6), "w": (4, 3, 3, 3), "grad/y": (2, 4, 6, 6)}
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in leaves.items()}
    setting = Setting(schedule="os", dram_above=-1)
    assert beats_of_dx(tiles(module, setting)) == {"dw"}
    assert run(module, values, setting).whole.macs == 3 * (2 * 3 * 4 * 6 * 6 * 3 * 3)


def around(module: ModuleOp) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of dY's panels in dX's nests, and of what comes into them."""
    nests = [op for op in module.walk() if isinstance(op, tile.NestOp) and op.product.data == "dx"]
    stages = [op for nest in nests for op in nest.walk() if isinstance(op, tile.StageOp) and op.tag.data == "dY"]
    return [(tile.memref_of(storage(op.panel)).get_shape(), tile.memref_of(op.panel).get_shape()) for op in stages]


@pytest.mark.parametrize("double_buffer", [True, False])
@pytest.mark.parametrize("arrays", [1, 2])
@pytest.mark.parametrize("name", ["stride 1", "stride 2", "groups"])
def test_zeros_stay_around_what_comes_in(name: str, arrays: int, double_buffer: bool) -> None:
    """Panels of single images: transfers leave the zeros in every buffer of the ring alone, and move no more words than dY has."""
    *shapes, dimensions = LAYERS[name]
    module, leaves = layer(*shapes, wanted=True)
    setting = Setting(schedule="turned", dram_above=0, scratchpad=6000 * arrays, arrays=arrays, double_buffer=double_buffer)
    made = tiles(module, setting)
    found = around(made)
    assert any(panel > inside for panel, inside in found), "single taps meet no zeros"
    report = run(module, leaves, setting).to_dict()
    passes = prod(stride for _, stride, *_ in dimensions)
    plain = run(module, leaves, replace(setting, schedule="sequential")).to_dict()
    assert report["dram_bytes"] <= plain["dram_bytes"] + (passes - 1) * 4 * prod(shapes[3]) + 4 * prod(shapes[1])


def test_images_without_room_are_padded_in_dram() -> None:
    """A channel at a time, where the array would want a tile of them."""
    module, leaves = layer("bk(y+r)(x+s),nkrs->bnyx", (1, 2, 14, 14), (4, 2, 3, 3), (1, 4, 12, 12), wanted=True)
    setting = Setting(schedule="turned", dram_above=0, scratchpad=4000)
    made = tiles(module, setting)
    assert all(panel == inside for panel, inside in around(made))
    assert beats_of_dx(made) == {"fwd"}
    run(module, leaves, setting)
