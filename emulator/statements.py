"""The body of a repetition as statements on memories and registers, each with what it reads and the one thing that it writes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emulator.accesses import Access, Register, Unclear, access
from emulator.code import Code
from emulator.costs import reduced_axes, words_of
from emulator.memory import Array, convert
from emulator.nest import Beat, Nest
from emulator.script import Advance, Step
from emulator.tape import Tape
from emulator.vector import bound, elementwise, reduction
from isa.dtypes import DType
from isa.instructions import IMM, Instruction, Queue
from isa.vector import FUNCTIONS

Place = Access | Register


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """dst ← f(reads)."""

    dst: Place
    reads: tuple[Place, ...]

    @property
    def adds_to(self) -> int | None:
        """The number of the read that is dst before, if the rest is added to that."""
        return None

    @property
    def added(self) -> int:
        """Of two reads, the number of the one that is added."""
        return 1 - (self.adds_to or 0)


class Copy(Statement):
    """dst ← the words that it reads."""


class Zero(Statement):
    """dst ← 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Product(Statement):
    """dst ← [dst +] a product of the first two reads; the third, if there is one, is dst.

    ``op`` is that of the beat, ``lanes`` the dimensions of the lanes of its first operand.
    """

    op: str
    lanes: int

    @property
    def adds_to(self) -> int | None:
        return 2 if len(self.reads) > 2 else None


@dataclass(frozen=True, slots=True, eq=False)
class Compute(Statement):
    """dst ← what a `vec` or `red` computes of its operands but the immediate ones."""

    instruction: Instruction

    @property
    def adds_to(self) -> int | None:
        if self.instruction["fn"] != "add" or len(self.reads) != 2 or self.reads.count(self.dst) != 1:
            return None
        number = self.reads.index(self.dst)
        dst, other = self.dst, self.reads[1 - number]
        if not isinstance(dst, Access) or not isinstance(other, Access):
            return None
        return number if (dst.shape, dst.dtype) == (other.shape, other.dtype) else None


def statements(steps: Iterable[Step], turns: Iterable[Advance], codes: Mapping[Queue, Code]) -> list[Statement]:
    """The statements of the steps of one turn, in order; ``turns``: how the queues go on to the next.

    Raises:
        Unclear: there are some that only execution one by one can do.
    """
    advances = {advance.queue: advance for advance in turns}
    found: list[Statement] = []
    for step in steps:
        code, advance = codes[step.queue], advances.get(step.queue)
        if step.queue.unit is Queue.array:
            found += _nest(code.nest(step.instruction), step, advance)
        else:
            found += _instruction(code.sequencer.code[step.instruction], step, advance)
    return found


def _instruction(instruction: Instruction, step: Step, advance: Advance | None) -> list[Statement]:
    args = instruction.args
    match instruction.op:
        case "gload" | "wdrain":
            raise Unclear
        case "ld" | "st":
            return [Copy(access(args["dst"], step, advance), (access(args["src"], step, advance),))]
        case "wload":
            return [Copy(Register("w_next", step.queue.number), (access(args["src"], step, advance),))]
        case "drain":
            return [Copy(access(args["dst"], step, advance), (Register("g_out", step.queue.number),))]
    if not words_of(args["dst"], step.counters):
        return []
    reads = [access(args[name], step, advance) for name in ("a", "b", "c") if args.get(name, IMM) != IMM]
    dst = access(args["dst"], step, advance)
    if instruction.op == "red":
        axes = reduced_axes(args["dst"])
        dims = tuple((1 if axis in axes else count, stride) for axis, (count, stride) in enumerate(dst.dims))
        dst = replace(dst, dims=dims)
    return [Compute(dst, tuple(reads), instruction)]


def _nest(nest: Nest, step: Step, advance: Advance | None) -> list[Statement]:
    w_next, w, g, g_out = (Register(name, step.queue.number) for name in ("w_next", "w", "g", "g_out"))
    take: list[Statement] = [Copy(g_out, (g,)), Zero(g, ())]
    plan = step.plan
    if plan is None:
        return take
    if plan.preload:
        raise Unclear
    loops = list(zip(nest.levels, plan.turns, strict=True))
    found: list[Statement] = [Copy(w, (w_next,))] if plan.swap else []
    for beat, zero in zip(nest.beats, plan.zeros, strict=True):
        operands = [_operand(nest.beats, beat, port, step, advance, loops) for port in _PORTS.get(beat.op, ())]
        if not operands:
            raise Unclear
        lanes = len(operands[0].dims) - len(loops)
        if beat.acc is None:
            found.append(Product(g, (*operands, g), "dw", lanes))
        else:
            acc = access(beat.acc, step, advance, loops)
            found.append(Product(acc, (*operands, w, *(() if zero else (acc,))), beat.op, lanes))
    return found + take if plan.take and plan.tail is None else found


_PORTS = {"fwd": ("h",), "dx": ("v",), "dw": ("h", "v")}


def _operand(beats: Sequence[Beat], beat: Beat, port: str, step: Step, advance: Advance | None, loops: Sequence[tuple[int, int]]) -> Access:
    source = beat.h if port == "h" else beat.v
    while source and source.stream is None and source.beat is not None and source.beat >= 0:
        source = beats[source.beat].h if port == "h" else beats[source.beat].v
    if source is None or source.stream is None:
        raise Unclear
    return access(source.stream, step, advance, loops)


def noted(statement: Compute, operands: Sequence[Array], tape: Tape) -> Array:
    """The same as ``computed``, noted: written where it will lie again, if that is what the function can do."""
    instruction, dst = statement.instruction, statement.dst
    assert isinstance(dst, Access)
    plain = dst.dtype is DType.f32 and all(operand.dtype == np.float32 and operand.shape[1:] == dst.shape for operand in operands)
    if not operands or not plain or instruction.op == "red" or instruction["fn"] == "copy":
        return tape.new(computed, statement, operands)
    out = tape.empty((max(map(len, operands)), *dst.shape), np.float32)
    tape.do(bound(instruction["fn"], _arguments(instruction, operands), out))
    return out


def _arguments(instruction: Instruction, operands: Sequence[Array]) -> list[Array | np.float32]:
    """What a `vec` computes from, immediate values among it."""
    given, imm = iter(operands), np.float32(instruction["imm"])
    values = [imm if instruction[name] == IMM else next(given) for name in ("a", "b", "c")]
    return values[: FUNCTIONS[instruction["fn"]].arity]


def computed(statement: Compute, operands: Sequence[Array]) -> Array:
    """The results of a `vec` or `red` in some turns, as its operands have them: each [turns, …]."""
    instruction = statement.instruction
    assert isinstance(statement.dst, Access)
    shape = statement.dst.shape
    wide = [convert(operand, DType.f32) for operand in operands]
    if instruction.op == "red":
        axes = tuple(axis + 1 for axis in reduced_axes(instruction["dst"]))
        results = reduction(instruction["fn"], wide[0], axes)
    else:
        if any(operand.shape[1:] != shape for operand in wide):
            raise Unclear
        results = elementwise(instruction["fn"], _arguments(instruction, wide))
        if results.ndim == 0:
            results = np.broadcast_to(results, (1, *shape))
    return convert(results, statement.dst.dtype)
