"""Programs for the tests of the instruction set: one small interleaved tile, and random ones."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import strategies as st

from isa.dtypes import DType
from isa.instructions import ALWAYS, HELD, IMM, INSTRUCTIONS, NEVER, Field, FieldKind, Instruction, Queue, When, make
from isa.machine import Array, Dram, EnergyTable, Machine, Scratchpad, Vector
from isa.program import Program, Provenance, Semaphore, Symbol
from isa.stream import Dim, Operand, Ring, Space, Stream
from isa.vector import FUNCTIONS, REDUCTIONS

I64 = st.integers(-(1 << 63), (1 << 63) - 1)
SMALL = st.integers(-600, 600)
NATURAL = st.integers(0, 1 << 40)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.sampled_from(["n", "b", "k", "", "x32", "held", "loop", "a b", '"', "n.k", "end", "mod"])


def spad(base: int, *dims: Dim, strides: tuple[int, ...] = (), symbol: str | None = None, operand: str = "none") -> Stream:
    """A float stream in the scratchpad."""
    return Stream(Space.spad, DType.f32, base, dims, strides, None, Operand[operand], symbol)


def dram(base: int, *dims: Dim, strides: tuple[int, ...] = (), symbol: str | None = None, operand: str = "none") -> Stream:
    """A float stream in DRAM."""
    return Stream(Space.dram, DType.f32, base, dims, strides, None, Operand[operand], symbol)


def build_tile() -> Program:
    """dX[3×4] and dW[4×2] of one tile on an array of 4 rows and 2 columns, batch 3, interleaved and updated in place nowhere."""
    lanes_k, lanes_n = Dim(4, 4), Dim(2, 4)
    spad_at = {"X": (0, (3, 4)), "W": (64, (4, 2)), "dY": (96, (3, 2)), "dX": (128, (3, 4)), "dW": (192, (4, 2))}
    dram_at = {"x": (0, (3, 4), "input"), "w": (64, (4, 2), "param"), "grad/y": (128, (3, 2), "input"),
               "grad/x": (192, (3, 4), "output"), "grad/w": (256, (4, 2), "output")}  # fmt: skip

    def block(make_stream: Callable[..., Stream], name: str, at: dict[str, tuple[int, tuple[int, int]]], operand: str) -> Stream:
        base, (rows, cols) = at[name][:2]
        return make_stream(base, Dim(rows, 4 * cols), Dim(cols, 4), symbol=name, operand=operand)

    def load(name: str, source: str) -> Instruction:
        return make("ld", dst=block(spad, name, spad_at, name), src=block(dram, source, dram_at, name), provenance=0)

    def store(name: str, target: str) -> Instruction:
        return make("st", dst=block(dram, target, dram_at, name), src=block(spad, name, spad_at, name), provenance=0)

    def wait(semaphore: int) -> Instruction:
        return make("wait", sem=semaphore, provenance=0)

    def signal(semaphore: int) -> Instruction:
        return make("signal", sem=semaphore, provenance=0)

    queues = {
        Queue.dma_in: [load("W", "w"), signal(0), load("X", "x"), load("dY", "grad/y"), signal(1)],
        Queue.dma_out: [wait(2), store("dX", "grad/x"), wait(3), store("dW", "grad/w")],
        Queue.wchain: [wait(0), make("wload", src=block(spad, "W", spad_at, "W"), provenance=0)],
        Queue.array: [
            wait(1),
            make("loop", name="b", count=3, provenance=0),
            make(
                "dx",
                v=spad(96, lanes_n, strides=(8,), symbol="dY", operand="dY"),
                acc=spad(128, lanes_k, strides=(16,), symbol="dX", operand="dX"),
                zero=ALWAYS,
                swap=When("first", (0,)),
                provenance=0,
            ),
            make("dw", h=spad(0, lanes_k, strides=(16,), symbol="X", operand="X"), v=HELD, take=When("last", (0,)), provenance=0),
            make("end"),
            signal(2),
        ],
        Queue.gchain: [make("drain", dst=block(spad, "dW", spad_at, "dW"), provenance=0), signal(3)],
        Queue.vector: [],
    }
    symbols = [Symbol(name, Space.spad, base, shape, DType.f32) for name, (base, shape) in spad_at.items()]
    symbols += [Symbol(name, Space.dram, base, shape, DType.f32, kind) for name, (base, shape, kind) in dram_at.items()]
    return Program(
        "tile",
        Machine(name="4x2", array=Array(rows=4, cols=2), scratchpad=Scratchpad(bytes=256)),
        queues,
        [Semaphore(name) for name in ("w.full", "x.full", "dx.full", "dw.full")],
        symbols,
        [Provenance("fc1", "dx+dw", 0, "Gemm", 48, 176)],
        [(64, np.arange(8, dtype=np.float32).tobytes())],
        288,
        "interleaved",
    )


@pytest.fixture
def tile() -> Program:
    """A fresh copy of the interleaved tile."""
    return build_tile()


LEVELS = st.integers(0, 7)
DIMS = st.one_of(
    st.builds(Dim, NATURAL, SMALL),
    st.builds(Dim, NATURAL, I64, NATURAL, LEVELS),
    st.builds(Dim, st.integers(1, 64), st.sampled_from([1, 2, 4, 128])),
)


def _trimmed(values: list[int]) -> tuple[int, ...]:
    while values and not values[-1]:
        values = values[:-1]
    return tuple(values)


FACTORS = st.lists(st.one_of(SMALL, I64), max_size=8).map(_trimmed)
RINGS = st.none() | st.builds(Ring, st.integers(1, (1 << 32) - 1), I64, I64, FACTORS)


@st.composite
def streams(draw: st.DrawFn, symbols: list[Symbol]) -> Stream:
    """Any stream; half of them in a symbol of the program."""
    symbol = draw(st.none() | (st.sampled_from([s.name for s in symbols]) if symbols else TEXT) | TEXT)
    return Stream(
        draw(st.sampled_from(Space)), draw(st.sampled_from(DType)), draw(st.one_of(SMALL, I64)),
        tuple(draw(st.lists(DIMS, max_size=4))), draw(FACTORS), draw(RINGS), draw(st.sampled_from(Operand)), symbol,
    )  # fmt: skip


WHENS = st.just(NEVER) | st.builds(
    When, st.sampled_from(["first", "last"]), st.lists(LEVELS, unique=True).map(lambda levels: tuple(sorted(levels)))
)
FLOATS = st.floats(width=32, allow_nan=False)


def field_values(field: Field, pool: list[Stream], semaphores: int) -> st.SearchStrategy[object]:
    """Any value that the field can hold."""
    return {
        FieldKind.STREAM: st.sampled_from(pool),
        FieldKind.OPERAND: st.sampled_from([HELD, IMM, *pool]),
        FieldKind.WHEN: WHENS,
        FieldKind.COUNT: st.integers(0, (1 << 32) - 1),
        FieldKind.LEVEL: LEVELS,
        FieldKind.NAME: NAMES,
        FieldKind.SEMAPHORE: st.integers(0, semaphores - 1),
        FieldKind.FLOAT: FLOATS,
        FieldKind.FUNCTION: st.sampled_from(sorted(FUNCTIONS)),
        FieldKind.REDUCTION: st.sampled_from(sorted(REDUCTIONS)),
        FieldKind.FLAG: st.booleans(),
    }[field.kind]


@st.composite
def codes(draw: st.DrawFn, pool: list[Stream], semaphores: int, origins: int) -> list[Instruction]:
    """Code of any instructions whose loops nest."""
    code: list[Instruction] = []
    depth = 0
    for op in draw(st.lists(st.sampled_from(sorted(INSTRUCTIONS)), max_size=10)):
        if (op == "end" and not depth) or (op == "loop" and depth == 8):
            continue
        depth += {"loop": 1, "end": -1}.get(op, 0)
        args = {f.name: draw(field_values(f, pool, semaphores)) for f in INSTRUCTIONS[op].fields}
        origin = draw(st.none() | st.integers(0, origins - 1)) if origins and op != "end" else None
        code.append(make(op, provenance=origin, **args))
    return [*code, *[make("end")] * depth]


SIZES = st.integers(1, 1024)
ENERGIES = st.floats(0, 1e6)
MACHINES = st.builds(
    Machine,
    name=TEXT,
    array=st.builds(Array, st.integers(1, 1024), st.integers(1, 1024), st.sampled_from(["f32", "bf16", "i8"])),
    scratchpad=st.builds(Scratchpad, st.integers(64, 1 << 30)),
    dram=st.builds(Dram, st.floats(1e-2, 1e5), st.integers(0, 1 << 15)),
    vector=st.builds(Vector, SIZES, st.integers(0, 1 << 15)),
    energy=st.builds(EnergyTable, TEXT, ENERGIES, ENERGIES, ENERGIES, ENERGIES),
)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Any program that can be encoded, most of them senseless."""
    semaphores = draw(st.lists(st.builds(Semaphore, TEXT, NATURAL), min_size=1, max_size=3, unique_by=lambda s: s.name))
    symbols = draw(st.lists(st.builds(
        Symbol, TEXT, st.sampled_from(Space), NATURAL, st.lists(st.integers(0, 9), max_size=3).map(tuple), st.sampled_from(DType),
        st.sampled_from(["input", "param", "constant", "output", "scratch"]), st.none() | st.integers(1, 1000),
        st.none() | st.integers(-1000, 1000),
    ), max_size=4))  # fmt: skip
    origins = draw(st.lists(st.builds(Provenance, TEXT, TEXT, NATURAL, TEXT, NATURAL, NATURAL), max_size=3))
    pool = draw(st.lists(streams(symbols), min_size=1, max_size=4))
    queues = {queue: draw(codes(pool, len(semaphores), len(origins))) for queue in Queue}
    data = draw(st.lists(st.tuples(NATURAL, st.binary(max_size=100)), max_size=2))
    return Program(draw(TEXT), draw(MACHINES), queues, semaphores, symbols, origins, data, draw(st.integers(0, 1 << 34)), draw(TEXT))


@pytest.fixture(scope="session")
def any_program() -> st.SearchStrategy[Program]:
    """Strategy: any program that can be encoded."""
    return programs()
