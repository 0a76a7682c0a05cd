"""Executes the ``tile`` level in float64, tile by tile: what ``convert-train-to-tile`` made must compute what the graph says.

Everything runs in the order in which it is written, so a ring of buffers is one buffer here.  Memory that was never written holds NaN.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from xdsl.dialects.builtin import BFloat16Type, Float16Type, IntegerType, ModuleOp
from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.dialects.dense import Array, numpy_type, to_array
from compiler.dialects.tile import memref_of
from compiler.dialects.train import to_ints
from compiler.interpret import FUNCTIONS, REDUCTIONS, region
from compiler.interpret_windows import Window, pool, pool_grad
from compiler.schedule.axes import parse_axes, strides_of
from compiler.transforms.allocate_memory import storage

Memories = dict[SSAValue, Array]
Position = dict[str, slice]
"""Where the loops stand: the piece of each axis that is being worked on."""


def interpret_tile(module: ModuleOp, leaves: Mapping[str, Array]) -> dict[str, Array]:
    """What the module's ``tile.program`` publishes, for the given value of each input and param.

    Raises:
        KeyError: an input or a param has no value.
    """
    program = next(op for op in module.walk() if isinstance(op, tile.ProgramOp))
    memories: Memories = {}
    published: dict[str, Array] = {}
    with np.errstate(all="ignore"):
        for op in program.body.block.ops:
            match op:
                case tile.PublishOp():
                    published[op.target.data] = memories[op.input]
                case tile.TensorOp() | tile.BufferOp():
                    memories[op.result] = _memory(op, leaves)
                case tile.NestOp():
                    _Nest(op, memories).run(op.body.block.ops, {})
                case tile.BlocksOp():
                    for turn in range(op.count.value.data):
                        for inner in op.body.block.ops:
                            _execute(inner, memories, turn)
                case _:
                    _execute(op, memories)
    return published


def _memory(op: tile.TensorOp | tile.BufferOp, leaves: Mapping[str, Array]) -> Array:
    """The words of a tensor or a buffer, to be written in place."""
    type = memref_of(op.result)
    shape = type.get_shape()
    words = np.zeros(shape, np.int64) if isinstance(type.element_type, IntegerType) else np.full(shape, np.nan)
    if isinstance(op, tile.TensorOp) and op.kind.data in ("input", "param"):
        words[...] = np.asarray(leaves[op.symbol.data]).reshape(shape)
    elif isinstance(op, tile.TensorOp) and op.value is not None:
        words[...] = to_array(op.value).reshape(shape)
    return words


def _store(memories: Memories, value: SSAValue, result: Array) -> None:
    """Write a whole memory, with the precision of its 16-bit floats."""
    element = memref_of(value).element_type
    if isinstance(element, Float16Type | BFloat16Type):
        result = result.astype(np.float32).astype(numpy_type(element))
    memories[value][...] = result


def _execute(op: Operation, memories: Memories, turn: int = 0) -> None:
    """A part of a tensor, a copy, or the vector unit's work; ``turn``: of the block that it is in."""
    match op:
        case tile.ViewOp():
            memories[op.result] = memories[op.input].reshape(memref_of(op.result).get_shape())
            assert np.shares_memory(memories[op.result], memories[op.input]), "a view of words that do not lie side by side"
        case tile.SliceOp():
            memories[op.result] = memories[op.input][region(op.starts, op.steps, memref_of(op.result).get_shape())]
        case tile.WindowOp():
            axis, size = op.axis.value.data, memref_of(op.result).get_shape()[op.axis.value.data]
            part = [slice(None)] * axis + [slice(turn * size, (turn + 1) * size)]
            memories[op.result] = memories[op.input][tuple(part)]
        case tile.CopyOp():
            _store(memories, op.dst, memories[op.src])
        case tile.MapOp():
            operands: list[Any] = [memories[v] for v in op.ins]
            for index in to_ints(op.imm_at) if op.imm_at and op.imm else ():
                operands.insert(index, op.imm.value.data if op.imm else None)
            _store(memories, op.out, np.asarray(FUNCTIONS[op.fn.data](*operands)))
        case tile.ReduceOp():
            axes = tuple(i for i, n in enumerate(memories[op.out].shape) if n == 1)
            _store(memories, op.out, REDUCTIONS[op.fn.data](memories[op.input], axis=axes, keepdims=True))
        case tile.TransposeOp():
            _store(memories, op.out, memories[op.input].transpose(to_ints(op.perm)))
        case tile.PoolOp():
            _store(memories, op.out, pool(op.fn.data, memories[op.input], _window(op)))
        case tile.PoolGradOp():
            operands = [memories[v] for v in op.ins][: 3 if op.fn.data == "max" else 1]
            memories[op.out] += pool_grad(op.fn.data, operands, _window(op), memories[op.out].shape)
        case tile.SgdOp():
            weight, *velocity = [memories[v] for v in op.weights]
            step = memories[op.grad].reshape(weight.shape) + op.decay.value.data * weight
            if velocity:
                step = velocity[0][...] = op.momentum.value.data * velocity[0] + step
            weight -= op.lr.value.data * step
        case _:
            raise AssertionError(f"{op.name} is no operation of the tile level")


def _window(op: tile.PoolOp | tile.PoolGradOp) -> Window:
    return Window(to_ints(op.kernel), to_ints(op.strides), to_ints(op.dilations))


class _Nest:
    """An array with its stationary tile ``w`` and its accumulators ``g``, both oriented (rows, cols)."""

    def __init__(self, op: tile.NestOp, memories: Memories) -> None:
        self.memories = memories
        self.rows, self.cols = op.rows.data, op.cols.data
        self.panels = {storage(inner.panel): inner.outside.data for inner in op.walk() if isinstance(inner, tile.StageOp | tile.EpilogueOp)}
        self.w: Array = np.full((1, 1), np.nan)
        self.g: Array | float = 0.0
        self.updated = False

    def run(self, ops: Iterable[Operation], at: Position) -> None:
        ops = list(ops)
        stages = [op for op in ops if isinstance(op, tile.StageOp)]
        for stage in stages:
            if stage.way.data == "zeroed":
                self.memories[stage.panel].fill(0)
            elif stage.way.data != "out":
                self.stage(stage, at, out=False)
        for op in ops:
            if isinstance(op, tile.EpilogueOp) and op.zeroed:
                self.memories[op.panel].fill(0)
        for op in ops:
            if isinstance(op, tile.ForOp):
                extent, step = op.extent.value.data, op.step.value.data
                for start in range(0, extent, step):
                    self.run(op.body.block.ops, {**at, op.axis.data: slice(start, min(start + step, extent))})
            elif not isinstance(op, tile.StageOp):
                self.execute(op, at)
        for stage in stages:
            if stage.way.data != "in":
                self.stage(stage, at, out=True)

    def execute(self, op: Operation, at: Position) -> None:
        match op:
            case tile.ResidentOp():
                resident = self.part(op.src, op.axes.data, at, self.rows + self.cols)
                self.w = resident.reshape(-1, resident.shape[-1]).copy()
            case tile.PreloadOp():
                preloaded = self.part(op.src, op.axes.data, at, self.rows + self.cols)
                self.g = op.scale.value.data * preloaded.reshape(-1, preloaded.shape[-1])
            case tile.BeatOp():
                self.beat(op, at)
            case tile.EpilogueOp():
                for inner in op.body.block.ops:
                    if isinstance(inner, tile.PieceOp):
                        self.memories[inner.result] = self.piece(inner, at)
                    else:
                        _execute(inner, self.memories)
            case tile.UpdateOp():
                step = self.g + op.decay.value.data * self.w
                self.w = self.w - op.lr.value.data * step
                if op.velocity:
                    self.g = step
                else:
                    self.updated = True
            case tile.DrainWeightsOp():
                part = self.part(op.dst, op.axes.data, at, self.rows + self.cols)
                part[...] = self.w.reshape(part.shape)
            case tile.DrainOp():
                part = self.part(op.dst, op.axes.data, at, self.rows + self.cols)
                drained = np.asarray(self.w if self.updated else self.g).reshape(part.shape)
                part[...] = drained + (part if op.before or op.adds else 0.0)
                self.g, self.updated = 0.0, False
            case _:
                raise AssertionError(f"{op.name} is no operation of a nest")

    def stage(self, op: tile.StageOp, at: Position, *, out: bool) -> None:
        """What a panel has of its tensor: the piece in hand of the axes outside, all of every other."""
        tensor, panel = self.memories[op.tensor], self.memories[op.panel]
        source, target = [], []
        for terms, size in zip(parse_axes(op.axes.data), panel.shape, strict=True):
            start = sum(factor * at[axis].start for axis, factor in terms if axis in op.outside.data)
            tiles = [at[axis].stop - at[axis].start for axis, _ in terms if axis in self.rows + self.cols and axis in op.outside.data]
            extent = tiles[0] if tiles else size
            source.append(slice(start, start + extent))
            target.append(slice(0, extent))
        if out:
            tensor[tuple(source)] = panel[tuple(target)]
        else:
            panel[tuple(target)] = tensor[tuple(source)]

    def piece(self, op: tile.PieceOp, at: Position) -> Array:
        """What belongs to the panel in hand, in place."""
        part = []
        shapes = memref_of(op.input).get_shape(), memref_of(op.result).get_shape()
        for terms, whole, size in zip(parse_axes(op.axes.data), *shapes, strict=True):
            start = sum(factor * at[axis].start for axis, factor in terms if axis in op.outside.data) if whole > 1 else 0
            part.append(slice(start, start + size))
        return self.memories[op.input][tuple(part)]

    def beat(self, op: tile.BeatOp, at: Position) -> None:
        kind = op.kind.data
        lanes = (self.cols, self.rows) if kind == "dx" else (self.rows, self.cols)
        first = self.part(op.first, op.first_axes.data, at, lanes[0]).reshape(-1)
        second = self.part(op.second, op.second_axes.data, at, lanes[1])
        if kind == "dw":
            self.g = self.g + first[:, None] * second[None, :]
            return
        product = first @ self.w if kind == "fwd" else self.w @ first
        fresh = op.sums is not None and all(at[axis].start == 0 for axis in op.sums.data)
        second[...] = product if fresh else second + product

    def part(self, value: SSAValue, axes: str, at: Position, order: str) -> Array:
        """The piece of a memory where the loops stand, in place: the wanted axes in the wanted order, at the first entry of all others.

        A panel begins where its tile does.
        """
        memory = self.memories[value]
        chosen = self.panels.get(value, "")
        starts = [sum(factor * at[axis].start for axis, factor in terms if axis not in chosen) for terms in parse_axes(axes)]
        extents = {axis: at[axis].stop - at[axis].start for axis in order}
        for terms, start, size in zip(parse_axes(axes), starts, memory.shape, strict=True):
            assert start + sum(factor * (extents.get(axis, 1) - 1) for axis, factor in terms) < size, f"{axes} leaves {memory.shape}"
        strides = strides_of(axes, memory.strides)
        origin = memory[tuple(slice(start, None) for start in starts)]
        return as_strided(origin, [extents[axis] for axis in order], [strides[axis] for axis in order])
