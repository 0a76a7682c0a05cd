"""Tensors that the scratchpad does not hold: tile level and programs compute what the graph says, whatever lives where."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations, pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from ir_text import parse
from lowered import SETTINGS, Setting, features, program, run, tiles, wanted
from network_check import mismatches
from train_graphs import Graph, layer_graph, train_graphs
from xdsl.context import Context
from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.interpret import interpret_train
from compiler.interpret_tile import interpret_tile
from compiler.transforms import allocate_memory
from compiler.transforms.allocate_memory import AllocateMemory
from compiler.transforms.spill import Spill
from isa.errors import UserError
from isa.instructions import Queue
from isa.program import Program
from isa.stream import Space

RANDOM = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "report_multiple_bugs": False,
    "phases": (Phase.generate, Phase.shrink),
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(autouse=True)
def dram_is_used_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else these small programs are over before it is."""
    monkeypatch.setattr(allocate_memory, "DRAM_REST", 0)


def check_tiles(graph: Graph, setting: Setting) -> Mapping[str, np.ndarray]:
    """The tile level, interpreted, agrees with the train level; returns what is expected of the program."""
    expected = interpret_train(graph.module, graph.leaves)
    got = interpret_tile(tiles(graph.module, setting), graph.leaves)
    expected = wanted(expected, got, setting)
    assert mismatches(expected, got, 1e-9) == [], f"{setting}\n{graph.module}"
    return expected


def check_program(graph: Graph, setting: Setting, *, stepped: bool = True) -> Program:
    """The program passes the checker, its values come near the train level, and the stepped engine agrees with the fast one."""
    expected = check_tiles(graph, setting)
    made = program(tiles(graph.module, setting), graph.leaves)
    for outputs in run(made, graph.leaves, stepped=stepped):
        assert mismatches(expected, outputs, 1e-5) == [], f"{setting}\n{graph.module}"
    return made


def shares_dram(made: Program) -> bool:
    """Whether tensors that no user sees lie in the same place."""
    published = {symbol.address for symbol in made.symbols if symbol.kind == "output"}
    own = [s for s in made.symbols if s.space is Space.dram and s.kind == "scratch" and s.nbytes and s.address not in published]
    ends = sorted((symbol.address, symbol.address + symbol.nbytes) for symbol in own)
    return any(end > start for (_, end), (start, _) in pairwise(ends))


def test_tiles_compute_what_the_graph_says(network_count: int) -> None:
    refused = 0

    @settings(max_examples=network_count, **RANDOM)
    @given(train_graphs(), SETTINGS)
    def check(graph: Graph, setting: Setting) -> None:
        nonlocal refused
        try:
            check_tiles(graph, setting)
        except UserError as error:
            assert "no part of" in str(error)
            refused += 1

    check()
    assert refused < network_count / 4


def test_programs_compute_what_the_graph_says(network_count: int) -> None:
    refused = shared = 0

    @settings(max_examples=network_count // 5, **RANDOM)
    @given(train_graphs(), SETTINGS)
    def check(graph: Graph, setting: Setting) -> None:
        nonlocal refused, shared
        try:
            shared += shares_dram(check_program(graph, setting))
        except UserError as error:
            assert "no part of" in str(error) or "is too small for this network" in str(error)
            refused += 1

    check()
    assert refused < network_count / 10
    assert shared > network_count / 50


def test_tensors_in_one_place_are_not_needed_at_one_time(network_count: int) -> None:
    """What an operation reads and what it writes lie apart, too."""
    shared = 0

    @settings(max_examples=network_count // 2, **RANDOM)
    @given(train_graphs(), SETTINGS)
    def check(graph: Graph, setting: Setting) -> None:
        nonlocal shared
        try:
            module = tiles(graph.module, setting)
            for each in (Spill(), AllocateMemory()):
                each.apply(Context(), module)
        except UserError:
            return
        (made,) = (op for op in module.body.block.ops if isinstance(op, tile.ProgramOp))
        work = [op for op in made.body.block.ops if isinstance(op, tile.TileOp)]
        needed = {
            op: [index for index, user in enumerate(work) if any(home(v) is op for inner in user.walk() for v in inner.operands)]
            for op in made.body.block.ops
            if isinstance(op, tile.TensorOp)
        }
        for one, other in combinations([op for op, at in needed.items() if at], 2):
            (low, high), (other_low, other_high) = place(one), place(other)
            if low < other_high and other_low < high:
                shared += 1
                assert max(needed[one]) < min(needed[other]) or max(needed[other]) < min(needed[one]), module

    check()
    assert shared > network_count / 10


def home(value: SSAValue) -> Operation:
    """The tensor or buffer that a value is a part of."""
    owner = value.owner
    assert isinstance(owner, Operation)
    return owner if isinstance(owner, tile.TensorOp | tile.BufferOp) else home(owner.operands[0])


def place(op: tile.TensorOp) -> tuple[int, int]:
    """First byte in DRAM, and one after the last."""
    assert op.address is not None
    first = op.address.value.data
    return first, first + 4 * prod(op.result.type.get_shape())


LAYERS = {  # axes; shapes of X, W and Y; bytes of a scratchpad that holds parts of them
    "fully connected": ("bk,kn->bn", (24, 7), (7, 5), (24, 5), 1000),
    "convolution": ("bk(y+r)(x+s),nkrs->bnyx", (2, 5, 4, 5), (4, 5, 2, 2), (2, 4, 3, 4), 900),
    "strided": ("bk(2y+r)(2x+s),nkrs->bnyx", (2, 3, 7, 6), (4, 3, 3, 2), (2, 4, 3, 3), 900),
    "groups": ("b(3g+k)(y+r)(x+s),(2g+n)krs->b(2g+n)yx", (2, 6, 4, 4), (4, 3, 2, 2), (2, 4, 3, 3), 700),
    "transposed": ("bkyx,knrs->bn(2y+r)(2x+s)", (2, 3, 3, 3), (3, 4, 3, 2), (2, 4, 7, 7), 1200),
    "one-dimensional": ("bk(x+2s),nks->bnx", (3, 5, 12), (4, 5, 3), (3, 4, 8), 900),
    "volumes": ("bk(z+t)(y+r)(x+s),nktrs->bnzyx", (2, 2, 3, 3, 4), (4, 2, 2, 2, 2), (2, 4, 2, 2, 3), 900),
    "batched": ("gbk,gkn->gbn", (3, 12, 5), (3, 5, 4), (3, 12, 4), 700),
}
IN_BLOCKS = {"blocks of a layer", "gradients added", "panel in"}


@pytest.mark.parametrize("double_buffer", [True, False])
@pytest.mark.parametrize("schedule", ["interleaved", "ws", "os", "is"])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer: str, schedule: str, double_buffer: bool) -> None:
    """One layer with its gradients and its update, all of it in DRAM, in a scratchpad that holds parts of it."""
    *shapes, scratchpad = LAYERS[layer]
    graph = layer_graph(*shapes)
    setting = Setting(scratchpad=scratchpad, schedule=schedule, double_buffer=double_buffer)
    if schedule == "interleaved" and double_buffer:
        found = features(tiles(graph.module, setting))
        assert found >= IN_BLOCKS or found >= IN_BLOCKS - {"gradients added"} | {"gradients kept"}
    check_in_enough(graph, setting, stepped=schedule == "interleaved")


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_whose_gradients_are_added_in_dram(layer: str) -> None:
    *shapes, scratchpad = LAYERS[layer]
    graph = layer_graph(*shapes)
    setting = Setting(scratchpad=scratchpad)
    assert features(tiles(graph.module, setting)) >= IN_BLOCKS
    check_in_enough(graph, setting, stepped=True)


def check_in_enough(graph: Graph, setting: Setting, *, stepped: bool) -> None:
    """The program in the first scratchpad that holds it: some dataflows hold more at a time than others."""
    for scratchpad in (setting.scratchpad, 2 * setting.scratchpad, 4 * setting.scratchpad, 8 * setting.scratchpad):
        try:
            check_program(graph, replace(setting, scratchpad=scratchpad), stepped=stepped)
            return
        except UserError as error:
            failure = error
    raise failure


@pytest.mark.parametrize("schedule", ["ws", "is"])
def test_streams_that_nothing_is_summed_over_go_in_blocks(schedule: str) -> None:
    """dW of a layer of many inputs (ws: k streams) or outputs (is: n streams), of which even one tile's panel is too much."""
    wide = {"ws": ((3, 240), (240, 4), (3, 4)), "is": ((3, 4), (4, 240), (3, 240))}[schedule]
    graph = layer_graph("bk,kn->bn", *wide)
    setting = Setting(scratchpad=1800, schedule=schedule)
    loops = {op.axis.data for op in tiles(graph.module, setting).walk() if isinstance(op, tile.ForOp)}
    assert {"ws": "K", "is": "N"}[schedule] in loops
    check_program(graph, setting, stepped=True)


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("schedule", ["interleaved", "sequential", "ws"])
@pytest.mark.parametrize(("layer", "scratchpad"), [("convolution", 1300), ("strided", 1700), ("transposed", 1200), ("groups", 900)])
def test_sums_that_meet_start_from_zeros_in_the_scratchpad(layer: str, scratchpad: int, schedule: str) -> None:
    """Where blocks share no words with each other; words between them, and behind the last tap, are zeros in DRAM."""
    graph = layer_graph(*LAYERS[layer][:-1])
    setting = Setting(scratchpad=scratchpad, schedule=schedule)
    assert "sums from zeros" in features(tiles(graph.module, setting))
    check_in_enough(graph, setting, stepped=schedule == "interleaved")


@pytest.mark.parametrize("schedule", ["interleaved", "sequential", "os"])
@pytest.mark.parametrize(
    ("layer", "scratchpad", "weights"), [("fully connected", 2000, True), ("convolution", 2700, False), ("one-dimensional", 1800, True)]
)
def test_what_all_blocks_need_stays_in_the_scratchpad(layer: str, scratchpad: int, weights: bool, schedule: str) -> None:
    """Weights come in once, and gradients are summed there, where activations go by in blocks and there is room for both."""
    graph = layer_graph(*LAYERS[layer][:-1])
    setting = Setting(scratchpad=scratchpad, schedule=schedule)
    found = features(tiles(graph.module, setting))
    assert found >= ({"gradients kept", "weights kept"} if weights else {"gradients kept"})
    check_program(graph, setting)


def test_panels_of_five_dimensions() -> None:
    """Of every other word a stream has four dimensions at most: the transfer is in a loop over the outermost."""
    text = """builtin.module { train.graph @cut {
      %x = train.leaf "input" "x" : tensor<3x3x3x3x3xf32>
      %w = train.leaf "param" "w" : tensor<4x2xf32>
      %p = train.slice %x from [0, 0, 0, 0, 0] by [2, 2, 2, 2, 2] layer "cut" role "fwd" : (tensor<3x3x3x3x3xf32>) -> tensor<2x2x2x2x2xf32>
      %y = train.product "bkzyx,nk->bnzyx"(%p, %w) layer "fc" role "fwd" : (tensor<2x2x2x2x2xf32>, tensor<4x2xf32>) -> tensor<2x4x2x2x2xf32>
      train.output "output" "y" %y : tensor<2x4x2x2x2xf32>
    } }"""
    rng = np.random.default_rng(0)
    leaves = {"w": rng.normal(size=(4, 2)).astype(np.float32), "x": rng.normal(size=(3,) * 5).astype(np.float32)}
    made = program(tiles(parse(text), Setting(double_buffer=False)), leaves)
    assert [i.op for i in made.queues[Queue.dma_in][:5]] == ["wait", "loop", "ld", "end", "signal"]
    (outputs,) = run(made, leaves, stepped=False)
    np.testing.assert_allclose(outputs["y"], np.einsum("bkzyx,nk->bnzyx", leaves["x"][::2, ::2, ::2, ::2, ::2], leaves["w"]), rtol=1e-5)


def test_operands_that_cannot_be_in_the_scratchpad_are_refused_before_anything_is_placed() -> None:
    """X has 1200 bytes; what is larger than the scratchpad has to live in DRAM."""
    text = """builtin.module { train.graph @fc {
      %x = train.leaf "input" "x" : tensor<60x5xf32>
      %w = train.leaf "param" "w" : tensor<5x3xf32>
      %y = train.product "bk,kn->bn"(%x, %w) layer "fc" role "fwd" : (tensor<60x5xf32>, tensor<5x3xf32>) -> tensor<60x3xf32>
      %z = train.map "neg"(%y) layer "act" role "fwd" : (tensor<60x3xf32>) -> tensor<60x3xf32>
      train.output "output" "z" %z : tensor<60x3xf32>
    } }"""
    for setting in (Setting(scratchpad=1200, dram_above=-1), Setting(scratchpad=1196, dram_above=0)):
        tiles(parse(text), setting)
    with pytest.raises(UserError, match="no part of it fits"):
        tiles(parse(text), Setting(scratchpad=1196, dram_above=-1))


@pytest.mark.parametrize("dram_above", [-1, 0])
def test_updates_with_part_of_another_gradient(dram_above: int) -> None:
    """What concat hands to its operands are slices: their words do not lie side by side, as those of the weights do."""
    text = """builtin.module { train.graph @cut {
      %w = train.leaf "param" "w" : tensor<3x2xf32>
      %dy = train.leaf "input" "grad/y" : tensor<3x5xf32>
      %dw = train.slice %dy from [0, 1] by [1, 2] layer "concat" role "grad" : (tensor<3x5xf32>) -> tensor<3x2xf32>
      %new = train.update(%w, %dw) lr 0.5 momentum 0.0 decay 0.0 layer "sgd" role "update" : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
      train.output "param" "param/w" %new : tensor<3x2xf32>
    } }"""  # noqa: E501
    rng = np.random.default_rng(0)
    leaves = {"w": rng.normal(size=(3, 2)).astype(np.float32), "grad/y": rng.normal(size=(3, 5)).astype(np.float32)}
    (outputs,) = run(program(tiles(parse(text), Setting(dram_above=dram_above)), leaves), leaves, stepped=False)
    np.testing.assert_allclose(outputs["param/w"], leaves["w"] - 0.5 * leaves["grad/y"][:, 1:5:2], rtol=1e-6)


@pytest.mark.parametrize("dram_above", [-1, 0])
def test_slices_backwards(dram_above: int) -> None:
    """A slice with a negative step, as an operand of the vector unit and of the array, and copied for a reshape."""
    text = """builtin.module { train.graph @cut {
      %x = train.leaf "input" "x" : tensor<4x5xf32>
      %w = train.leaf "param" "w" : tensor<5x3xf32>
      %s = train.slice %x from [3, 4] by [-2, -1] layer "cut" role "fwd" : (tensor<4x5xf32>) -> tensor<2x5xf32>
      %t = train.map "neg"(%s) layer "act" role "fwd" : (tensor<2x5xf32>) -> tensor<2x5xf32>
      %y = train.product "bk,kn->bn"(%s, %w) layer "fc" role "fwd" : (tensor<2x5xf32>, tensor<5x3xf32>) -> tensor<2x3xf32>
      %r = train.reshape %s layer "flat" role "fwd" : (tensor<2x5xf32>) -> tensor<10xf32>
      %u = train.map "neg"(%r) layer "act" role "fwd" : (tensor<10xf32>) -> tensor<10xf32>
      train.output "output" "t" %t : tensor<2x5xf32>
      train.output "output" "y" %y : tensor<2x3xf32>
      train.output "output" "u" %u : tensor<10xf32>
    } }"""
    rng = np.random.default_rng(0)
    leaves = {"x": rng.normal(size=(4, 5)).astype(np.float32), "w": rng.normal(size=(5, 3)).astype(np.float32)}
    back = leaves["x"][[3, 1], ::-1]
    for outputs in run(program(tiles(parse(text), Setting(dram_above=dram_above)), leaves), leaves):
        np.testing.assert_array_equal(outputs["t"], -back)
        np.testing.assert_array_equal(outputs["u"], -back.reshape(10))
        np.testing.assert_allclose(outputs["y"], back @ leaves["w"], rtol=1e-5)


@pytest.mark.parametrize("double_buffer", [True, False])
def test_images_and_channels_as_one_dimension(double_buffer: bool) -> None:
    """Padding, pools and their gradients of images so large that neither all images of a channel fit nor all channels of an image."""
    text = """builtin.module { train.graph @large {
      %x = train.leaf "input" "x" : tensor<4x3x8x8xf32>
      %dy = train.leaf "input" "grad/y" : tensor<4x3x5x5xf32>
      %p = train.place %x at [0, 0, 1, 1] by [1, 1, 1, 1] in -1.0 layer "pad" role "fwd" : (tensor<4x3x8x8xf32>) -> tensor<4x3x10x10xf32>
      %r = train.map "relu"(%p) layer "act" role "fwd" : (tensor<4x3x10x10xf32>) -> tensor<4x3x10x10xf32>
      %y = train.pool "max" %r kernel [1, 1, 2, 2] strides [1, 1, 2, 2] dilations [1, 1, 1, 1] layer "pool" role "fwd" : (tensor<4x3x10x10xf32>) -> tensor<4x3x5x5xf32>
      %dx = train.pool_grad "max" (%r, %y, %dy) kernel [1, 1, 2, 2] strides [1, 1, 2, 2] dilations [1, 1, 1, 1] layer "pool" role "grad" : (tensor<4x3x10x10xf32>, tensor<4x3x5x5xf32>, tensor<4x3x5x5xf32>) -> tensor<4x3x10x10xf32>
      train.output "output" "y" %y : tensor<4x3x5x5xf32>
      train.output "grad" "grad/p" %dx : tensor<4x3x10x10xf32>
    } }"""  # noqa: E501
    rng = np.random.default_rng(0)
    leaves = {name: rng.normal(size=shape).astype(np.float32) for name, shape in (("x", (4, 3, 8, 8)), ("grad/y", (4, 3, 5, 5)))}
    graph = Graph(parse(text), leaves)
    setting = Setting(scratchpad=3600, double_buffer=double_buffer)
    counts = [op.count.value.data for op in tiles(graph.module, setting).walk() if isinstance(op, tile.BlocksOp)]
    assert 12 in counts
    check_program(graph, setting)


@pytest.mark.parametrize(("double_buffer", "cut"), [(True, False), (False, False), (False, True)])
def test_rows_and_columns_as_one_dimension(double_buffer: bool, cut: bool) -> None:
    """A bias on images so large that no channel, image, row or column of all the others fits; of part of a tensor too."""
    slice = """%a = train.slice %x from [0, 0, 0, 0] by [1, 1, 1, 1] layer "cut" role "fwd" :
        (tensor<4x3x9x8xf32>) -> tensor<4x3x8x8xf32>"""
    text = f"""builtin.module {{ train.graph @large {{
      %x = train.leaf "input" "x" : tensor<4x3x{9 if cut else 8}x8xf32>
      %b = train.leaf "param" "b" : tensor<3x1x1xf32>
      {slice if cut else ""}
      %y = train.map "add"({"%a" if cut else "%x"}, %b) layer "bias" role "fwd" :
        (tensor<4x3x8x8xf32>, tensor<3x1x1xf32>) -> tensor<4x3x8x8xf32>
      train.output "output" "y" %y : tensor<4x3x8x8xf32>
    }} }}"""
    rng = np.random.default_rng(0)
    leaves = {name: rng.normal(size=shape).astype(np.float32) for name, shape in (("x", (4, 3, 9 if cut else 8, 8)), ("b", (3, 1, 1)))}
    graph = Graph(parse(text), leaves)
    setting = Setting(scratchpad=600, double_buffer=double_buffer)
    assert any(
        tile.memref_of(op.input).get_shape() == (4, 3, 1, 64) for op in tiles(graph.module, setting).walk() if isinstance(op, tile.WindowOp)
    )
    check_program(graph, setting)
