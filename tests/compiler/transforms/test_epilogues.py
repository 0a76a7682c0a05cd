"""What rides on a product: the same values, checked for races, and less that goes to DRAM and comes back."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from math import ceil

import numpy as np
import onnx
import pytest
from lowered import Setting, program, run
from network_check import mismatches
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from compiler.dialects import tile
from compiler.driver import TrainingStep, lower, training_step
from compiler.interpret import interpret_train
from compiler.interpret_tile import interpret_tile
from compiler.schedule.schedules import partitioned
from compiler.transforms import convert_train_to_tile
from compiler.transforms.allocate_memory import ScratchpadError
from compiler.transforms.fuse_epilogues import FuseEpilogues
from compiler.transforms.systolic_streams import Loop, Memory, ring_of
from emulator import Emulator, timing
from emulator.fast import FastEngine
from emulator.memory import Memory as Words
from emulator.report import report
from isa.dtypes import DType
from isa.stream import Space

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
NETS = {
    "layers": """net (float[4, 12] x) => (float[4, 9] y)
        <float[12, 18] w1, float[18] b1, float[18, 9] w2, float[9] b2>
        { [fc1] h = MatMul(x, w1)  [add1] a = Add(h, b1)  [act1] r = Relu(a)
          [fc2] g = MatMul(r, w2)  [add2] c = Add(g, b2)  [act2] y = Tanh(c) }""",
    "padded": """net (float[2, 2, 6, 6] x) => (float[2, 6, 6, 6] y)
        <float[6, 2, 3, 3] w1, float[6] b1, float[6, 6, 3, 3] w2, float[6] b2, float[6, 6, 3, 3] w3>
        { [conv1] a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)  [act1] b = Relu(a)
          [conv2] c = Conv<pads = [1, 1, 1, 1]>(b, w2, b2)  [act2] d = Relu(c)
          [conv3] e = Conv<pads = [1, 1, 1, 1]>(d, w3)      [act3] y = Relu(e) }""",
    "residual": """net (float[2, 6, 4, 4] x) => (float[2, 6, 4, 4] y)
        <float[6, 6, 1, 1] w1, float[6] s1, float[6] b1, float[6] m1, float[6] v1,
         float[6, 6, 3, 3] w2, float[6] s2, float[6] b2, float[6] m2, float[6] v2, float[6, 6, 1, 1] w3>
        { [conv1] a = Conv(x, w1)  [norm1] b = BatchNormalization(a, s1, b1, m1, v1)  [act1] c = Relu(b)
          [conv2] d = Conv<pads = [1, 1, 1, 1]>(c, w2)  [norm2] e = BatchNormalization(d, s2, b2, m2, v2)
          [sum] f = Add(e, x)  [act2] g = Relu(f)
          [conv3] h = Conv(g, w3)  [sum2] i = Add(h, g)  [act3] y = Relu(i) }""",
    "concat": """net (float[2, 3, 4, 4] x) => (float[2, 6, 4, 4] y)
        <float[3, 3, 1, 1] w1, float[3] b1, float[3, 3, 3, 3] w2, float[3] b2, float[6, 6, 1, 1] w3>
        { [conv1] a = Conv(x, w1, b1)  [act1] b = Relu(a)
          [conv2] c = Conv<pads = [1, 1, 1, 1]>(x, w2, b2)  [act2] d = Relu(c)
          [both] e = Concat<axis = 1>(b, d)  [conv3] f = Conv(e, w3)  [act3] y = Relu(f) }""",
}
"""By what they are to show; every array that computes them has tiles that divide some of their channels."""
SCHEDULES = ("interleaved", "sequential", "ws", "is", "os", "tile-interleaved")
FEATURES = {
    "layers": {"epilogue"},
    "padded": {"epilogue", "zeroed", "cleared ahead", "part of a panel", "sums over panels", "around"},
    "residual": {"epilogue", "zeroed", "part of a panel", "comes in", "sums over panels"},
    "concat": {"epilogue", "comes in", "pixels in rows"},
}
PATTERNS = {
    "epilogue": r"tile\.epilogue",
    "pixels in rows": r'tile\.piece [^\n]*\(\d+P\+p\)[a-z]"',
    "zeroed": r"tile\.epilogue zeroed",
    "cleared ahead": r'dX\.panels" ring [23](.|\n)*tile\.epilogue zeroed',
    "part of a panel": r'tile\.slice %\d+ from [^\n]*"spad"> to memref',
    "sums over panels": r'tile\.epilogue[^}]*tile\.reduce "sum"[^}]*tile\.map "add"',
    "around": r'tile\.buffer "[^"]*\.around',
    "comes in": r'tile\.epilogue[^}]*tile\.copy [^\n]*"dram"> to memref<[\dx]+f32, "spad">',
}


@cache
def step_of(name: str) -> TrainingStep:
    model = onnx.parser.parse_model(HEAD + NETS[name])
    inputs = [value.name for value in model.graph.input]
    initial = {"v1": 0.5, "v2": 2.0}
    rng = np.random.default_rng(7)
    for text in re.findall(r"float\[[\d, ]*\] [swbmv]\d", NETS[name]):
        shape, tensor = re.match(r"float\[([\d, ]*)\] (\w+)", text).groups()  # type: ignore[union-attr]
        values = rng.normal(size=[int(n) for n in shape.split(",")]).astype(np.float32)
        if tensor in initial:
            values[...] = initial[tensor]
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, tensor))
    return training_step(model, input_grads=inputs)


def leaves(step: TrainingStep) -> dict[str, np.ndarray]:
    """Values of inputs and weights."""
    rng = np.random.default_rng(11)
    shapes = re.findall(r'train\.leaf "input" "([^"]+)" : tensor<([\dx]+)xf32>', str(step.module))
    return step.weights | {name: rng.normal(size=[int(n) for n in shape.split("x")]).astype(np.float32) for name, shape in shapes}


def ridden(step: TrainingStep, setting: Setting) -> ModuleOp:
    """The tile level with what rides."""
    module = step.module.clone()
    schedule = partitioned(convert_train_to_tile.schedule_of(setting.schedule), setting.partition)
    convert_train_to_tile.lower(
        module, setting.machine, schedule, double_buffer=setting.double_buffer, fused_update=False, dram_above=setting.dram_above
    )
    FuseEpilogues().apply(Context(), module)
    module.verify()
    return module


SETTINGS = [
    Setting(rows, cols, scratchpad, 200, schedule, double_buffer)
    for number, (rows, cols, scratchpad) in enumerate(((3, 3, 1 << 14), (4, 6, 5000), (2, 2, 5000), (3, 3, 2500)))
    for schedule in ("interleaved", SCHEDULES[1 + number])
    for double_buffer in (True, False)
]
"""Small machines on which most tensors live in DRAM."""


SHARED = [
    Setting(rows, cols, scratchpad, 200, schedule, arrays != 4, False, arrays, partition)
    for rows, cols, scratchpad, schedule, arrays, partition in (
        (2, 2, 5000, "interleaved", 2, "columns"), (2, 1, 1 << 14, "sequential", 3, "batch"), (2, 1, 1 << 14, "ws", 2, "rows"),
        (2, 1, 1 << 14, "is", 4, "columns"),
    )
]  # fmt: skip
"""The same with several arrays."""


def shared_features(module: ModuleOp) -> set[str]:
    """How what rides meets the loops that arrays share."""
    found = set()
    for nest in module.walk():
        for op in nest.walk() if isinstance(nest, tile.NestOp) and nest.across is not None else ():
            if isinstance(op, tile.EpilogueOp):
                loops = [loop for loop in nest.walk() if isinstance(loop, tile.ForOp) and loop.axis == nest.across]
                turns = ceil(loops[0].extent.value.data / loops[0].step.value.data)
                kind = "of each" if nest.across.data in op.outside.data else "of all"
                found.add(f"{kind}{', zeroed' if op.zeroed else ''}")
                found.add(f"{kind}, {'unequal' if turns % nest.shared_by else 'equal'} parts")
    return found


SHARED_FEATURES = {
    "layers": {"of all", "of each", "of each, unequal parts"},
    "padded": {"of all, zeroed", "of each, zeroed", "of all, unequal parts", "of each, unequal parts"},
    "residual": {"of all, zeroed", "of each, zeroed", "of all, unequal parts", "of each, unequal parts"},
    "concat": {"of all", "of each"},
}


def check_values(name: str, settings: Sequence[Setting], features: Callable[[ModuleOp], set[str]]) -> set[str]:
    """The tile level computes what the graph says; the program passes the checker, races included, and both engines agree.

    Nothing depends on what the fast one skips. What the programs make use of.
    """
    step = step_of(name)
    given = leaves(step)
    expected = interpret_train(step.module, given)
    seen: set[str] = set()
    for number, setting in enumerate(settings):
        try:
            module = ridden(step, setting)
            found = features(module)
            assert mismatches(expected, interpret_tile(module, given), 1e-9) == [], setting
            made = program(module, step.weights)
        except ScratchpadError:
            continue
        seen |= found
        for outputs in run(made, given, stepped=number % 8 == 0):
            assert mismatches(expected, outputs, 1e-5) == [], setting
        slow = FastEngine(made, values=False, skip=False).run(Words(Space.dram, 0))
        assert timing(made).to_dict() == report(made, slow).to_dict(), setting
    return seen


@pytest.mark.parametrize("name", NETS)
def test_values(name: str) -> None:
    def features(module: ModuleOp) -> set[str]:
        text = str(module)
        return {feature for feature, pattern in PATTERNS.items() if re.search(pattern, text)}

    assert check_values(name, SETTINGS, features) >= FEATURES[name]


@pytest.mark.parametrize("name", NETS)
def test_values_of_several_arrays(name: str) -> None:
    assert check_values(name, SHARED, shared_features) >= {feature for feature in SHARED_FEATURES[name] if feature.startswith("of all")}


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("name", NETS)
def test_values_of_several_arrays_with_panels_of_their_own(name: str) -> None:
    assert check_values(name, SHARED, shared_features) >= SHARED_FEATURES[name]


@pytest.mark.parametrize("turns", [6, 7, 8])
def test_a_ring_serves_one_array_after_the_other(turns: int) -> None:
    """Three arrays share the middle one of three loops; a queue of all serves each in each turn, in the last perhaps fewer."""
    arrays, slots = 3, 5
    ring = Memory(Space.spad, 0, DType.f32, (4,), (4,), "ring", slots, 64)
    least, more = divmod(turns, arrays)
    used = []
    for block in range(2):
        for skipped, count, served in ((0, least, arrays), (least, 1, more)):
            for turn, tile_ in product(range(count if served else 0), range(2)):
                for place in range(served):
                    own = Loop("n", turns, 1, turns=least + (place < more), skipped=skipped, beside=served, place=place)
                    found = ring_of(ring, 0, [Loop("B", 2, 1), own, Loop("k", 2, 1)])
                    assert found is not None
                    steps = (*found.steps, 0, 0, 0)
                    used.append((found.start + block * steps[0] + turn * steps[1] + tile_ * steps[2]) % slots)
    assert used == [number % slots for number in range(2 * turns * 2)]


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize(("name", "rows", "scratchpad"), [("padded", 3, 4000), ("residual", 2, 3500)])
def test_less_goes_to_dram_and_comes_back(name: str, rows: int, scratchpad: int) -> None:
    """As the whole compiler does it, which keeps in the scratchpad what it can."""
    step = step_of(name)
    machine = Setting(rows, 3, scratchpad).machine
    given = leaves(step)
    runs = []
    for epilogues in (True, False):
        made = lower(step, machine, schedule="interleaved", epilogues=epilogues)
        runs.append(Emulator(made).run({symbol.name: given[symbol.name] for symbol in made.named("input")}))
    assert mismatches(runs[1].outputs, runs[0].outputs, 1e-5) == []
    assert runs[0].report.to_dict()["dram_bytes"] < runs[1].report.to_dict()["dram_bytes"]
