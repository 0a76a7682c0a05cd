"""Programs for single products of a fully-connected layer, tiled in every way, with what they must compute by plain NumPy.

A plan says everything random; `build` makes the program from it, `expected` the values and bounds.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isa.dtypes import DType
from isa.instructions import HELD, NEVER, Instruction, Queue, When, make
from isa.machine import Array, Dram, Machine, Scratchpad, Vector
from isa.program import Program, Provenance, Semaphore, Symbol
from isa.stream import Dim, Operand, Ring, Space, Stream

KINDS = ("fwd", "dx", "dw", "dx+dw", "dw+dx", "upd")


@dataclass(frozen=True)
class Product:
    """X[B×K], W[K×N], dY[B×N]: one product (or interleaved pair; ``upd``: the pair and then the update in place)."""

    kind: str
    batch: int
    k: int
    n: int
    order: tuple[str, str] = ("n", "k")
    batch_tile: int | None = None
    ring: int = 0
    """Weights come tile by tile through a ring of so many buffers, gradients leave through one; 0: they lie in the scratchpad, whole."""
    hold: bool = True
    keep_loops: bool = True
    """Keep loops of one turn."""
    relu: bool = False


@dataclass(frozen=True)
class Plan:
    """A machine and the products that it computes one after the other."""

    rows: int
    cols: int
    operand: str
    products: tuple[Product, ...]
    storage: DType = DType.f32
    bytes_per_cycle: float = 8.0
    latency: int = 10
    burst_bytes: int = 1
    row_bytes: int = 0
    banks: int = 1
    read_ports: int = 0
    write_ports: int = 0

    def machine(self, spad: int) -> Machine:
        """With so many bytes of scratchpad."""
        return Machine(
            array=Array(rows=self.rows, cols=self.cols, operand=self.operand),  # type: ignore[arg-type]
            scratchpad=Scratchpad(max(64, spad), self.banks, self.read_ports, self.write_ports),
            dram=Dram(self.bytes_per_cycle, self.latency, self.burst_bytes, self.row_bytes, row_miss_cycles=7),
            vector=Vector(lanes=3, latency=2),
        )


LR, DECAY = 0.125, 0.25


@dataclass
class _Builder:
    plan: Plan
    queues: dict[Queue, list[Instruction]] = field(default_factory=lambda: {queue: [] for queue in Queue})
    semaphores: list[Semaphore] = field(default_factory=list)
    symbols: list[Symbol] = field(default_factory=list)
    provenance: list[Provenance] = field(default_factory=list)
    top: dict[Space, int] = field(default_factory=lambda: {Space.dram: 0, Space.spad: 0})
    owner: int | None = None

    def place(self, space: Space, words: int, dtype: DType) -> int:
        address = -(-self.top[space] // dtype.size) * dtype.size
        self.top[space] = address + words * dtype.size
        return address

    def symbol(self, name: str, shape: tuple[int, ...], dtype: DType, kind: str) -> int:
        address = self.place(Space.dram, int(np.prod(shape)), dtype)
        self.symbols.append(Symbol(name, Space.dram, address, shape, dtype, kind))
        return address

    def emit(self, queue: Queue, op: str, **args: Any) -> None:
        self.queues[queue].append(make(op, provenance=self.owner, **args))

    def semaphore(self, initial: int = 0) -> int:
        self.semaphores.append(Semaphore(f"s{len(self.semaphores)}", initial))
        return len(self.semaphores) - 1

    def after(self, producer: Queue, consumer: Queue) -> None:
        """The consumer goes on when the producer's work so far is done."""
        semaphore = self.semaphore()
        self.emit(producer, "signal", sem=semaphore)
        self.emit(consumer, "wait", sem=semaphore)

    def copy(self, op: str, dram: int, spad: int, words: int, dtype: DType, operand: Operand) -> None:
        far = Stream(Space.dram, dtype, dram, (Dim(words, dtype.size),), operand=operand)
        near = Stream(Space.spad, dtype, spad, (Dim(words, dtype.size),), operand=operand)
        if op == "ld":
            self.emit(Queue.dma_in, "ld", dst=near, src=far)
        else:
            self.emit(Queue.dma_out, "st", dst=far, src=near)


@dataclass
class _Loops:
    """The loops around a product, outermost first; streams are written by the names of loops."""

    counts: dict[str, int]
    limits: dict[str, tuple[int, str]] = field(default_factory=dict)

    def level(self, name: str) -> int:
        return list(self.counts).index(name)

    def open(self) -> list[Instruction]:
        code = []
        for name, count in self.counts.items():
            limit, of = self.limits.get(name, (0, name))
            code.append(make("loop", name=name, count=count, limit=limit, level=self.level(of) if limit else 0))
        return code

    def strides(self, by_name: dict[str, int]) -> tuple[int, ...]:
        return tuple(by_name.get(name, 0) for name in self.counts)

    def first(self, *names: str) -> When:
        return When("first", tuple(self.level(name) for name in names if name in self.counts))

    def last(self, *names: str) -> When:
        return When("last", tuple(self.level(name) for name in names if name in self.counts))

    def lanes(self, width: int, total: int, name: str, stride: int) -> Dim:
        """``width`` words of ``total``, walked by a loop."""
        if name not in self.counts:
            return Dim(min(width, total), stride)
        return Dim(width, stride, total if total % width else None, self.level(name))


def build(plan: Plan) -> Program:
    """The program of a plan: inputs ``x0``, ``w0``, ``dy0``, … and outputs ``y0``, ``dx0``, ``dw0``, …, one number a product."""
    builder = _Builder(plan)
    for number, product in enumerate(plan.products):
        _product(builder, number, product)
    return Program(
        "random layers", plan.machine(builder.top[Space.spad]), builder.queues, builder.semaphores, builder.symbols, builder.provenance,
        dram_bytes=builder.top[Space.dram],
    )  # fmt: skip


def _product(b: _Builder, number: int, p: Product) -> None:
    plan, kind = b.plan, p.kind
    storage, sums = plan.storage, DType.i32 if plan.operand == "i8" else DType.f32
    rows, cols, size = plan.rows, plan.cols, plan.storage.size
    k_tiles, n_tiles = -(-p.k // rows), -(-p.n // cols)
    has_weights, has_gradient = kind != "dw", kind not in ("fwd", "dx")
    b.provenance.append(Provenance(f"layer{number // 2}", kind if kind in ("fwd", "dx", "dw") else "dx+dw", number, macs=1))
    b.owner = len(b.provenance) - 1

    def load(name: str, shape: tuple[int, int], operand: Operand, *consumers: Queue) -> int:
        dram = b.symbol(f"{name}{number}", shape, storage, "input")
        spad = b.place(Space.spad, shape[0] * shape[1], storage)
        b.copy("ld", dram, spad, shape[0] * shape[1], storage, operand)
        for consumer in consumers:
            b.after(Queue.dma_in, consumer)
        return spad

    def result(name: str, shape: tuple[int, int], operand: Operand) -> int:
        return b.place(Space.spad, shape[0] * shape[1], sums)

    def store(name: str, shape: tuple[int, int], spad: int, operand: Operand, producer: Queue) -> None:
        dram = b.symbol(f"{name}{number}", shape, sums, "output")
        b.after(producer, Queue.dma_out)
        b.copy("st", dram, spad, shape[0] * shape[1], sums, operand)

    tiles = {name: {"n": n_tiles, "k": k_tiles}[name] for name in p.order}
    tiles = {name: count for name, count in tiles.items() if p.keep_loops or count > 1}
    tile_loops = _Loops(tiles)
    bt = p.batch_tile
    beats = dict(tiles) | ({"bt": -(-p.batch // bt), "b": bt} if bt else {"b": p.batch})
    loops = _Loops(beats, {"b": (p.batch, "bt")} if bt and p.batch % bt else {})

    x = load("x", (p.batch, p.k), Operand.X, Queue.array) if kind != "dx" else 0
    dy = load("dy", (p.batch, p.n), Operand.dY, Queue.array) if kind != "fwd" else 0
    if has_weights:
        _weights(b, number, p, tile_loops, load)
    y = result("y", (p.batch, p.n), Operand.Y) if kind == "fwd" else 0
    dx = result("dx", (p.batch, p.k), Operand.dX) if kind not in ("fwd", "dw") else 0

    def rowwise(base: int, width: int, dtype: DType, axis: str, lanes: Dim, operand: Operand) -> Stream:
        """Row b of a [batch × width] tensor, tile by tile along its second axis."""
        tile = rows if axis == "k" else cols
        pitch = width * dtype.size
        strides = {"b": pitch, "bt": pitch * (bt or 0), axis: tile * dtype.size}
        return Stream(Space.spad, dtype, base, (lanes,), loops.strides(strides), operand=operand)

    h = rowwise(x, p.k, storage, "k", loops.lanes(rows, p.k, "k", size), Operand.X)
    v = rowwise(dy, p.n, storage, "n", loops.lanes(cols, p.n, "n", size), Operand.dY)
    swap, take = loops.first("bt", "b"), loops.last("bt", "b")
    body = []
    if kind == "fwd":
        acc = rowwise(y, p.n, sums, "n", loops.lanes(cols, p.n, "n", sums.size), Operand.Y)
        body = [("fwd", {"h": h, "acc": acc, "zero": loops.first("k"), "swap": swap})]
    if kind not in ("fwd", "dw"):
        acc = rowwise(dx, p.k, sums, "k", loops.lanes(rows, p.k, "k", sums.size), Operand.dX)
        body = [("dx", {"v": v, "acc": acc, "zero": loops.first("n"), "swap": swap})]
    if has_gradient:
        held = p.hold and kind in ("dx+dw", "upd")
        dw = ("dw", {"h": h, "v": HELD if held else v, "take": NEVER if kind == "upd" else take})
        body = [dw, *body] if kind == "dw+dx" else [*body, dw]
        if kind == "dw+dx":
            body = [("dw", {**body[0][1], "swap": swap}), ("dx", {**body[1][1], "swap": NEVER})]
    code = b.queues[Queue.array]
    code += loops.open()
    for op, args in body:
        b.emit(Queue.array, op, **args)
    inner = 2 if bt else 1
    code += [make("end")] * inner
    if kind == "upd":
        b.emit(Queue.array, "upd", lr=LR, decay=DECAY)
    code += [make("end")] * (len(beats) - inner)

    if has_gradient:
        _gradient(b, number, p, tile_loops, sums)
    if kind == "fwd" and p.relu:
        b.after(Queue.array, Queue.vector)
        whole = Stream(Space.spad, sums, y, (Dim(p.batch, p.n * sums.size), Dim(p.n, sums.size)), operand=Operand.Y)
        b.emit(Queue.vector, "vec", fn="relu", dst=whole, a=whole)
    if kind == "fwd":
        store("y", (p.batch, p.n), y, Operand.Y, Queue.vector if p.relu else Queue.array)
    if kind not in ("fwd", "dw"):
        store("dx", (p.batch, p.k), dx, Operand.dX, Queue.array)


def _tile(p: Product, plan: Plan, loops: _Loops, base: int, dtype: DType, space: Space, pitch: int, operand: Operand) -> Stream:
    """Tile (k, n) of a [K × N] tensor in rows of ``pitch`` words."""
    dims = (
        loops.lanes(plan.rows, p.k, "k", pitch * dtype.size),
        loops.lanes(plan.cols, p.n, "n", dtype.size),
    )
    strides = loops.strides({"k": plan.rows * pitch * dtype.size, "n": plan.cols * dtype.size})
    return Stream(space, dtype, base, dims, strides, operand=operand)


def _ring(b: _Builder, slots: int, loops: _Loops, whole: Stream, dtype: DType) -> Stream:
    """The stream of the same tiles through a ring of tile buffers."""
    plan = b.plan
    words = plan.rows * plan.cols
    base = b.place(Space.spad, slots * words, dtype)
    counts = list(loops.counts.values())
    steps = [math.prod(counts[level + 1 :]) for level in range(len(counts))]
    dims = tuple(
        Dim(dim.count, dtype.size * plan.cols if axis == 0 else dtype.size, dim.limit, dim.level) for axis, dim in enumerate(whole.dims)
    )
    return Stream(Space.spad, dtype, base, dims, (), Ring(slots, words * dtype.size, 0, tuple(steps)), whole.operand)


def _weights(b: _Builder, number: int, p: Product, loops: _Loops, load: Any) -> None:
    plan, storage = b.plan, b.plan.storage
    if not p.ring:
        base = load("w", (p.k, p.n), Operand.W, Queue.wchain)
        b.queues[Queue.wchain] += loops.open()
        b.emit(Queue.wchain, "wload", src=_tile(p, plan, loops, base, storage, Space.spad, p.n, Operand.W))
        b.queues[Queue.wchain] += [make("end")] * len(loops.counts)
        return
    dram = b.symbol(f"w{number}", (p.k, p.n), storage, "input")
    far = _tile(p, plan, loops, dram, storage, Space.dram, p.n, Operand.W)
    near = _ring(b, p.ring, loops, far, storage)
    full, empty = b.semaphore(), b.semaphore(p.ring)
    b.queues[Queue.dma_in] += [*loops.open(), make("wait", sem=empty)]
    b.emit(Queue.dma_in, "ld", dst=near, src=far)
    b.queues[Queue.dma_in] += [make("signal", sem=full)] + [make("end")] * len(loops.counts)
    b.queues[Queue.wchain] += [*loops.open(), make("wait", sem=full)]
    b.emit(Queue.wchain, "wload", src=near)
    b.queues[Queue.wchain] += [make("signal", sem=empty)] + [make("end")] * len(loops.counts)


def _gradient(b: _Builder, number: int, p: Product, loops: _Loops, dtype: DType) -> None:
    plan = b.plan
    dram = b.symbol(f"dw{number}", (p.k, p.n), dtype, "output")
    if not p.ring:
        base = b.place(Space.spad, p.k * p.n, dtype)
        b.queues[Queue.gchain] += loops.open()
        b.emit(Queue.gchain, "drain", dst=_tile(p, plan, loops, base, dtype, Space.spad, p.n, Operand.dW))
        b.queues[Queue.gchain] += [make("end")] * len(loops.counts)
        b.after(Queue.gchain, Queue.dma_out)
        b.copy("st", dram, base, p.k * p.n, dtype, Operand.dW)
        return
    far = _tile(p, plan, loops, dram, dtype, Space.dram, p.n, Operand.dW)
    near = _ring(b, p.ring, loops, far, dtype)
    full, empty = b.semaphore(), b.semaphore(p.ring)
    b.queues[Queue.gchain] += [*loops.open(), make("wait", sem=empty)]
    b.emit(Queue.gchain, "drain", dst=near)
    b.queues[Queue.gchain] += [make("signal", sem=full)] + [make("end")] * len(loops.counts)
    b.queues[Queue.dma_out] += [*loops.open(), make("wait", sem=full)]
    b.emit(Queue.dma_out, "st", dst=far, src=near)
    b.queues[Queue.dma_out] += [make("signal", sem=empty)] + [make("end")] * len(loops.counts)


def expected(plan: Plan, inputs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """For each output its value in fp64 (or int64), and how far from it rounding may lead.

    With u = 2⁻²⁴, a sum of n products in fp32, added in any order, lies within n·u/(1−n·u) · Σ|products| of the exact sum
    (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); n+2 leaves room for two more roundings of the result.
    """
    unit = 2.0**-24
    wanted: dict[str, tuple[Any, Any]] = {}

    def operand(name: str) -> Any:
        stored = inputs[name].astype(plan.storage.numpy)
        return stored if plan.operand == "i8" else stored.astype(DType[plan.operand].numpy)

    def product(name: str, a: Any, b: Any) -> tuple[Any, Any]:
        wide = np.int64 if plan.operand == "i8" else np.float64
        a, b = a.astype(wide), b.astype(wide)
        terms = a.shape[1] + 2
        return a @ b, 0 if plan.operand == "i8" else terms * unit / (1 - terms * unit) * (np.abs(a) @ np.abs(b))

    for number, p in enumerate(plan.products):
        if p.kind == "fwd":
            y, bound = product("y", operand(f"x{number}"), operand(f"w{number}"))
            wanted[f"y{number}"] = (np.maximum(y, 0) if p.relu else y, bound)
        if p.kind not in ("fwd", "dw"):
            wanted[f"dx{number}"] = product("dx", operand(f"dy{number}"), operand(f"w{number}").T)
        if p.kind not in ("fwd", "dx"):
            dw, bound = product("dw", operand(f"x{number}").T, operand(f"dy{number}"))
            if p.kind == "upd":
                w = inputs[f"w{number}"].astype(plan.storage.numpy).astype(np.float64)
                rounding = 4 * unit * (np.abs(w) + LR * (np.abs(dw) + DECAY * np.abs(w)))
                wanted[f"dw{number}"] = (w - LR * (dw + DECAY * w), LR * bound + rounding)
            else:
                wanted[f"dw{number}"] = (dw, bound)
    return wanted


def macs(plan: Plan) -> int:
    """MACs that a plan's products need: B·K·N for each."""
    return sum(p.batch * p.k * p.n * (1 if p.kind in ("fwd", "dx", "dw") else 2) for p in plan.products)


def dram_bytes(plan: Plan) -> tuple[int, int]:
    """Bytes read and written: every operand and every result moves once."""
    size, result = plan.storage.size, 4
    read = written = 0
    for p in plan.products:
        x, w, y = p.batch * p.k, p.k * p.n, p.batch * p.n
        read += size * {"fwd": x + w, "dx": y + w, "dw": x + y}.get(p.kind, x + w + y)
        written += result * {"fwd": y, "dx": x, "dw": w}.get(p.kind, x + w)
    return read, written
