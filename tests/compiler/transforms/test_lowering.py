"""The lower half of the compiler as a whole: mistakes in one line, and what reaches the program."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from ir_text import parse
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from compiler.emit import emit_program
from compiler.schedule.schedules import SCHEDULES
from compiler.transforms import convert_train_to_tile
from compiler.transforms.allocate_memory import AllocateMemory
from compiler.transforms.convert_tile_to_systolic import ConvertTileToSystolic
from compiler.transforms.convert_train_to_tile import ConvertTrainToTile
from emulator import Emulator
from isa.check import check
from isa.dtypes import DType
from isa.errors import UserError
from isa.instructions import Queue
from isa.machine import Array, Machine, Scratchpad
from isa.program import Program

LAYER = """builtin.module { train.graph @net {
  %x = train.leaf "input" "x" : tensor<9x7xf32>
  %w = train.leaf "param" "w" : tensor<7x5xf32>
  %labels = train.leaf "labels" "labels" classes 3 : tensor<9xi32>
  %c = train.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0]> : tensor<5xf32>
  %two = train.constant dense<2.0> : tensor<9x5xf32>
  %y = train.product "bk,kn->bn"(%x, %w) layer "fc" role "fwd" : (tensor<9x7xf32>, tensor<7x5xf32>) -> tensor<9x5xf32>
  %z = train.map "fma"(%y, %c, %two) layer "act" role "fwd" : (tensor<9x5xf32>, tensor<5xf32>, tensor<9x5xf32>) -> tensor<9x5xf32>
  %dw = train.product "bk,bn->kn"(%x, %z) layer "fc" role "dw" : (tensor<9x7xf32>, tensor<9x5xf32>) -> tensor<7x5xf32>
  %new = train.update(%w, %dw) lr 0.5 momentum 0.0 decay 0.0 layer "sgd" role "update" : (tensor<7x5xf32>, tensor<7x5xf32>) -> tensor<7x5xf32>
  train.output "output" "z" %z : tensor<9x5xf32>
  train.output "param" "param/w" %new : tensor<7x5xf32>
} }"""  # noqa: E501
SMALL = Machine(name="small", array=Array(rows=4, cols=3))


def to_systolic(machine: Machine = SMALL, schedule: str = "interleaved", layer: str = LAYER, **options: bool) -> ModuleOp:
    module = parse(layer)
    convert_train_to_tile.lower(module, machine, schedule, **{"double_buffer": True, "fused_update": False} | options)
    AllocateMemory().apply(Context(), module)
    ConvertTileToSystolic().apply(Context(), module)
    module.verify()
    return module


def program(weights: np.ndarray, **options: bool) -> Program:
    return emit_program(to_systolic(**options), {"w": weights})


def test_an_unknown_schedule_is_told_with_those_there_are() -> None:
    with pytest.raises(UserError, match=f"unknown schedule 'fast'; there are {', '.join(SCHEDULES)}"):
        ConvertTrainToTile(schedule="fast").apply(Context(), parse(LAYER))


def test_a_machine_for_integers_cannot_train() -> None:
    with pytest.raises(UserError, match="machine ints: its array computes i8; training needs f32 or bf16 operands"):
        to_systolic(Machine(name="ints", array=Array(operand="i8")))


def test_too_small_a_scratchpad_is_told_with_what_is_needed() -> None:
    with pytest.raises(UserError, match=r"its scratchpad of 512 bytes is too small .* bytes are needed, .* layer .* larger scratchpad"):
        to_systolic(Machine(name="tiny", array=Array(rows=4, cols=3), scratchpad=Scratchpad(bytes=512)))


def test_addresses_come_before_instructions() -> None:
    module = parse(LAYER)
    ConvertTrainToTile().apply(Context(), module)
    with pytest.raises(UserError, match="has no address yet; run allocate-memory before convert-tile-to-systolic"):
        ConvertTileToSystolic().apply(Context(), module)


def test_what_a_program_holds() -> None:
    """Symbols with types, kinds and classes; weights and constants in the data section; a published weight where the weight is."""
    weights = np.arange(35.0).reshape(7, 5)
    made = program(weights)
    assert (made.name, made.machine, made.schedule) == ("net", SMALL, "interleaved, double buffer on, fused update off")
    labels = made.symbol("labels")
    assert (labels.kind, labels.classes, labels.dtype, labels.shape) == ("input", 3, DType.i32, (9,))
    w, out = made.symbol("w"), made.symbol("param/w")
    assert (w.kind, out.kind, out.address, out.shape) == ("param", "output", w.address, (7, 5))
    data = dict(made.data)
    np.testing.assert_array_equal(np.frombuffer(data[w.address], np.float32).reshape(7, 5), weights)
    constants = {np.frombuffer(data[s.address], np.float32).tobytes() for s in made.named("constant")}
    assert constants == {np.arange(1, 6, dtype=np.float32).tobytes(), np.full(45, 2.0, np.float32).tobytes()}
    assert made.dram_bytes == max(s.address + s.nbytes for s in made.symbols if s.space.name == "dram")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("double_buffer", [True, False])
@pytest.mark.parametrize("fused_update", [True, False])
@pytest.mark.parametrize(("rows", "cols"), [(4, 3), (8, 2)])
def test_programs_pass_the_checker_and_compute(schedule: str, double_buffer: bool, fused_update: bool, rows: int, cols: int) -> None:
    """On 8×2 the nests have an odd number of tiles, so that the next one begins in the middle of the rings."""
    machine = Machine(array=Array(rows=rows, cols=cols))
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(7, 5)), rng.normal(size=(9, 7))
    made = emit_program(to_systolic(machine, schedule, double_buffer=double_buffer, fused_update=fused_update), {"w": w})
    check(made, "test")
    outputs = Emulator(made).run({"x": x, "labels": np.zeros(9, np.int32)}).outputs
    z = (x @ w) * np.arange(1, 6) + 2
    np.testing.assert_allclose(outputs["z"], z, rtol=0, atol=1e-6 * np.abs(z).max())
    new = w - 0.5 * (x.T @ z)
    np.testing.assert_allclose(outputs["param/w"], new, rtol=0, atol=1e-6 * np.abs(new).max())


@pytest.mark.parametrize("schedule", ["sequential", "interleaved"])
@pytest.mark.parametrize("double_buffer", [True, False])
@pytest.mark.parametrize(("rows", "cols"), [(4, 3), (8, 2)])
def test_velocities_updated_in_the_array_are_those_of_the_vector_unit(schedule: str, double_buffer: bool, rows: int, cols: int) -> None:
    """In three steps, with less traffic: the gradient does not go to DRAM and back, which is all that is saved where no dX needs W."""
    machine, rng = Machine(array=Array(rows=rows, cols=cols)), np.random.default_rng(0)
    w, v, x = rng.normal(size=(7, 5)), rng.normal(size=(7, 5)), rng.normal(size=(9, 7))
    inputs = {"x": x, "labels": np.zeros(9, np.int32)}
    layer, leaves = changed(MOMENTUM).replace("decay 0.0", "decay 0.25"), {"w": w, "velocity/w": v}
    emulators = []
    for fused in (True, False):
        made = emit_program(to_systolic(machine, schedule, layer, double_buffer=double_buffer, fused_update=fused), leaves)
        check(made, "test")
        emulators += [Emulator(made, engine) for engine in (("fast", "stepped") if fused else ("fast",))]
    for _ in range(3):
        results = [emulator.run(inputs) for emulator in emulators]
        z = (x @ w) * np.arange(1, 6) + 2
        v = 0.75 * v + (x.T @ z + 0.25 * w)
        w = w - 0.5 * v
        for name, value in (("param/w", w), ("param/velocity/w", v)):
            for result in results:
                np.testing.assert_allclose(result.outputs[name], value, rtol=0, atol=1e-5 * np.abs(value).max())
    fast, stepped, apart = (result.report for result in results)
    assert fast.to_dict() == stepped.to_dict()
    moved = apart.whole.to_dict()["dram_bytes"] - fast.whole.to_dict()["dram_bytes"]
    # 7×5 words.  The graph has no dX: so the update alone reads W, in either program.
    assert moved == 2 * 4 * 7 * 5
    # The chain and the DMA read each once.
    assert fast.whole.to_dict()["scratchpad_by_operand"]["velocity"]["reads"] == 2 * 7 * 5


@pytest.mark.parametrize("shapes", [((2, 0), (0, 3), (2, 3)), ((2, 4), (4, 0), (2, 0))])
def test_products_without_elements_are_refused(shapes: tuple[tuple[int, int], ...]) -> None:
    x, w, y = (f"tensor<{rows}x{cols}xf32>" for rows, cols in shapes)
    module = parse(f"""train.graph @net {{
      %x = train.leaf "input" "x" : {x}
      %w = train.leaf "param" "w" : {w}
      %y = train.product "bk,kn->bn"(%x, %w) layer "fc" role "fwd" : ({x}, {w}) -> {y}
      train.output "output" "y" %y : {y}
    }}""")
    with pytest.raises(UserError, match='node "fc": multiplies a tensor without elements'):
        ConvertTrainToTile().apply(Context(), module)


def test_programs_do_not_grow_with_the_tensors() -> None:
    """Loops stay loops: larger batch and layers, the same instructions. Below 2048 words an update needs no loop."""

    def lengths(scale: int) -> list[int]:
        text = re.sub(r"(?<=[<x])\d+(?=x)", lambda size: str(int(size[0]) * scale), LAYER.replace("[1.0, 2.0, 3.0, 4.0, 5.0]", "1.0"))
        module = parse(text)
        convert_train_to_tile.lower(module, SMALL, "interleaved", double_buffer=True, fused_update=False)
        AllocateMemory().apply(Context(), module)
        ConvertTileToSystolic().apply(Context(), module)
        made = emit_program(module, {"w": np.zeros((7 * scale, 5 * scale))})
        return [len(made.queues[queue]) for queue in Queue]

    assert lengths(8) == lengths(20)


MOMENTUM = (
    '%labels =', '%v = train.leaf "param" "velocity/w" : tensor<7x5xf32>\n  %labels =',
), ("%dw) lr 0.5 momentum 0.0", "%dw, %v) lr 0.5 momentum 0.75"), (
    "(tensor<7x5xf32>, tensor<7x5xf32>) -> tensor<7x5xf32>",
    "(tensor<7x5xf32>, tensor<7x5xf32>, tensor<7x5xf32>) -> (tensor<7x5xf32>, tensor<7x5xf32>)",
), ("%new =", "%new, %next ="), (
    'train.output "param" "param/w"', 'train.output "param" "param/velocity/w" %next : tensor<7x5xf32>\n  train.output "param" "param/w"',
)  # fmt: skip
NO_VELOCITY = (*MOMENTUM[:1], ("%dw) lr 0.5 momentum 0.0", "%dw, %w) lr 0.5 momentum 0.9"), *MOMENTUM[2:])
"""The weight is its own."""


def changed(changes: Sequence[tuple[str, str]]) -> str:
    """The layer with other words in some places."""
    text = LAYER
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


LAST = 'train.output "output" "z" %z : tensor<9x5xf32>'
READER = """%u = train.map "neg"({}) layer "u" role "grad" : (tensor<7x5xf32>) -> tensor<7x5xf32>
  train.output "grad" "u" %u : tensor<7x5xf32>"""
READ_LATER, USED_TWICE, VELOCITY_READ = ((LAST, READER.format(value)) for value in ("%w", "%dw", "%v"))


@pytest.mark.parametrize(
    ("schedule", "changes", "fused"),
    [
        ("interleaved", (), True),
        ("sequential", (), True),
        ("os", (), True),
        ("ws", (), False),
        ("is", (), False),
        ("interleaved", MOMENTUM, True),
        ("sequential", MOMENTUM, True),
        ("ws", MOMENTUM, False),
        ("interleaved", NO_VELOCITY, False),
        ("interleaved", (*MOMENTUM, VELOCITY_READ), False),
        ("interleaved", (READ_LATER,), False),
        ("interleaved", (USED_TWICE,), False),
    ],
)
def test_updates_happen_in_the_array_only_where_they_can(schedule: str, changes: tuple[tuple[str, str], ...], fused: bool) -> None:
    module = parse(changed(changes))
    convert_train_to_tile.lower(module, SMALL, schedule, double_buffer=True, fused_update=True)
    names = [op.name for op in module.walk()]
    assert ("tile.update" in names, "tile.sgd" in names) == (fused, not fused)
