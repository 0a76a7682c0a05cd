"""The array as the fast engine sees it: its registers as whole matrices, a nest of beats as matrix products."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulator.backend import Matmul
from emulator.memory import Memory, convert
from emulator.nest import Nest, Source
from emulator.products import Reshape, as_rows, lanes_apart
from isa.dtypes import DType
from isa.instructions import UPDATES
from isa.machine import Machine

Array = npt.NDArray[Any]


def updated(w: Array, g: Array, lr: float, decay: float) -> tuple[Array, Array]:
    """After `upd` or `mupd`, g + λ·w and the weight w − η·(g + λ·w): operations rounded to fp32, results in the accumulator's type."""
    with np.errstate(all="ignore"):
        wide = w.astype(np.float32)
        step = g.astype(np.float32) + np.float32(decay) * wide
        new = wide - np.float32(lr) * step
    dtype = DType.f32 if w.dtype.kind == "f" else DType.i32
    return convert(step, dtype), convert(new, dtype)


def scaled(words: Array, scale: float | Array) -> Array:
    """What a `gload` makes of words of the accumulator's type: rounded to fp32, then of this type again."""
    with np.errstate(all="ignore"):
        product = words.astype(np.float32) * np.asarray(scale, np.float32)
    return convert(product, DType.f32 if words.dtype.kind == "f" else DType.i32)


@dataclass(frozen=True, slots=True)
class Port:
    """What enters a port in all turns of a nest, one row a turn: ``rows``, or what entered with an earlier ``beat`` of the nest.

    Without either, it is what the beat before the nest left there.
    """

    rows: Array | None
    """[turns, lanes]."""
    beat: int | None = None


@dataclass(frozen=True, slots=True)
class Turns:
    """All turns of a beat: where its operands and its sums are; ``zero``: these begin at 0."""

    op: str
    h: Port | None
    v: Port | None
    sums: Array | None
    dtype: DType
    """Of the sums."""
    zero: bool
    lr: float
    decay: float


class ArrayValues:
    """The R×C registers of one kind are one matrix; what enters a port last stays there for `held`, where any nest ``holds`` that."""

    def __init__(self, machine: Machine, spad: Memory, matmul: Matmul = np.matmul, holds: bool = True) -> None:
        self.spad, self.matmul, self.holds = spad, matmul, holds
        self.shape = (machine.rows, machine.cols)
        self.operand, self.accumulator = machine.operand, machine.accumulator
        self.exact = np.dtype(np.float64 if self.operand is DType.i8 else np.float32)
        """Type of the products: int8 products add exactly in fp64, so that a fast matrix product can be used for them, too."""
        self.clear()

    def clear(self) -> None:
        """As before a run."""
        self.w_next, self.w, self.w_out = (np.zeros(self.shape, self.accumulator.numpy) for _ in range(3))
        self.g_next, self.g, self.g_out = (np.zeros(self.shape, self.accumulator.numpy) for _ in range(3))
        self.multiplier = np.zeros(self.shape, self.exact)
        """``w`` as the multipliers take it."""
        self.port: dict[str, Array] = {port: np.zeros((1, 0), self.accumulator.numpy) for port in ("h", "v")}

    def load(self, words: Array) -> None:
        """The tile of a `wload` into w_next."""
        tile = words.reshape(-1, words.shape[-1])
        if tile.shape == self.shape:
            self.w_next = np.array(convert(tile, self.accumulator))
        else:
            self.put("w_next", convert(tile, self.accumulator))

    def load_scaled(self, words: Array, scale: float) -> None:
        """The tile of a `gload` into g_next."""
        self.put("g_next", convert(words.reshape(-1, words.shape[-1]), self.accumulator))
        self.g_next = scaled(self.g_next, scale)

    def drain(self, register: str, words: Array, dtype: DType) -> None:
        """A register to where a `drain` or `wdrain` puts it."""
        *rows, cols = words.shape
        words[...] = convert(self.registers[register][: math.prod(rows), :cols], dtype).reshape(words.shape)

    def beats(self, nest: Nest, counters: Sequence[int], turns: Sequence[int], zeros: Sequence[bool], reshaped: Reshape) -> list[Turns]:
        """The beats of a nest at certain counters; ``reshaped``: see `as_rows`.

        Raises:
            UserError: a stream leaves the scratchpad.
        """

        def port(source: Source | None) -> Port | None:
            if source is None:
                return None
            stream = source.stream
            if stream is None:
                return Port(None, source.beat)
            return Port(as_rows(self.spad.view(stream, counters, nest.levels, turns), len(stream.dims), reshaped=reshaped))

        found: list[Turns] = []
        for beat, zero in zip(nest.beats, zeros, strict=True):
            sums = None if beat.acc is None else self.spad.view(beat.acc, counters, nest.levels, turns)
            dtype = beat.acc.dtype if beat.acc else self.accumulator
            found.append(Turns(beat.op, port(beat.h), port(beat.v), sums, dtype, zero, beat.lr, beat.decay))
        return found

    def run(self, beats: Sequence[Turns], swap: bool, preload: bool) -> None:
        """All beats of a nest, the exchange of the gradient at its end left out."""
        if swap:
            self.w = self.w_next
            self.multiplier = self.as_operand(self.w)
        if preload:
            self.g = self.g_next.copy()
        on_port: list[dict[str, Array]] = []
        for beat in beats:
            if beat.op in UPDATES:
                self.g, self.w = updated(self.w, self.g, beat.lr, beat.decay)
                self.multiplier = self.as_operand(self.w)
                continue
            rows: dict[str, Array] = {}
            if beat.h:
                rows["h"] = self._fetch("h", beat.h, on_port)
            if beat.v:
                rows["v"] = self._fetch("v", beat.v, on_port)
            on_port.append(rows)
            self._product(beat, rows)

    def take(self, op: str) -> None:
        """g_out ← g (after `upd`: w), after `mupd` w_out ← w as well; g ← 0."""
        self.g_out = self.w if op == "upd" else self.g
        if op == "mupd":
            self.w_out = self.w
        self.g = np.zeros(self.shape, self.accumulator.numpy)

    def _fetch(self, name: str, port: Port, on_port: Sequence[dict[str, Array]]) -> Array:
        """What enters a port, one row a turn of the nest."""
        if port.rows is None:
            return self.port[name] if port.beat is None else on_port[port.beat][name]
        rows = convert(port.rows, self.accumulator)
        if self.holds:
            self.port[name] = rows[-1:].copy()
        return rows

    def _product(self, beat: Turns, rows: dict[str, Array]) -> None:
        sums = beat.sums
        if sums is None:
            h, v = self.as_operand(rows["h"]), self.as_operand(rows["v"])
            self.add(self.g[: h.shape[1], : v.shape[1]], self.matmul(h.T, v))
            return
        lanes = sums.shape[-1]
        if beat.op == "fwd":
            operand, port = self.as_operand(rows["h"]), "v"
            tile = self.multiplier[: operand.shape[1], :lanes]
        else:
            operand, port = self.as_operand(rows["v"]), "h"
            tile = self.multiplier[:lanes, : operand.shape[1]].T
        product = self.matmul(tile.T, operand.T).T if lanes_apart(sums) else self.matmul(operand, tile)
        product = product.reshape(sums.shape)
        if beat.zero:
            if self.holds:
                self.port[port] = np.zeros((1, lanes), self.accumulator.numpy)
            sums[...] = convert(self.summed(product), beat.dtype)
            return
        stays = beat.dtype is self.accumulator
        entering = sums if stays else np.array(convert(sums, self.accumulator))
        if self.holds:
            self.port[port] = entering[(-1,) * (sums.ndim - 1)].reshape(1, lanes).copy()
        self.add(entering, product)
        if not stays:
            sums[...] = convert(entering, beat.dtype)

    @property
    def registers(self) -> dict[str, Array]:
        """By name."""
        return {
            "w_next": self.w_next, "w": self.w, "w_out": self.w_out, "g_next": self.g_next, "g": self.g, "g_out": self.g_out,
        }  # fmt: skip

    def put(self, name: str, tile: Array) -> None:
        """Set a register; what the tile leaves out becomes 0."""
        whole = np.zeros(self.shape, self.accumulator.numpy)
        whole[: tile.shape[0], : tile.shape[1]] = tile
        setattr(self, name, whole)
        if name == "w":
            self.multiplier = self.as_operand(whole)

    def add(self, sums: Array, product: Array) -> None:
        """``sums += product`` in place, wrapping for integers."""
        sums += self.summed(product)

    def summed(self, product: Array) -> Array:
        """A product in the type of the sums, wrapped for integers."""
        return product if self.accumulator.is_float else product.astype(np.int64).astype(np.int32)

    def as_operand(self, values: Array) -> Array:
        """Values as they enter a multiplier."""
        if values.dtype == self.exact and self.operand is DType.f32:
            return values
        return convert(values, self.operand).astype(self.exact, copy=False)
