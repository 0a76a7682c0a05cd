"""Programs that repeat themselves: random code again and again, and random layers of many tiles."""

from dataclasses import replace
from typing import Any

from beat_programs import DATA, GRADIENTS, PITCH, REGION, SPAD, beat_programs
from hypothesis import strategies as st
from layer_programs import KINDS, Plan, Product

from isa.dtypes import DType
from isa.instructions import Instruction, Queue, When, make
from isa.machine import Dram, Machine
from isa.program import Program, Semaphore
from isa.stream import Space, Stream


def _deeper(value: Any, draw: st.DrawFn, zero: bool, pitch: int) -> Any:
    """An argument inside one more loop around everything."""
    if isinstance(value, When):
        return _when_deeper(value, zero and draw(st.booleans()))
    if isinstance(value, Stream):
        sums = value.space is Space.spad and DATA + REGION <= value.base % SPAD < GRADIENTS
        stride = draw(st.sampled_from([pitch] * 9 + [PITCH])) if sums else 8 * draw(st.integers(0, 2))
        return _stream_deeper(value, stride, draw(st.integers(0, 2)))
    return value


def _again(value: Any, draw: st.DrawFn, zero: bool, turns: int) -> Any:
    """An argument inside one more loop around that of so many turns: the streams go on as they did, as a rule."""
    if isinstance(value, When):
        return _when_deeper(value, zero and draw(st.integers(0, 4)) == 0)
    if isinstance(value, Stream):
        other = draw(st.sampled_from([0] * 9 + [PITCH]))
        return _stream_deeper(value, turns * value.strides[0] + other, turns * value.ring.steps[0] + other if value.ring else 0)
    return value


def _when_deeper(value: When, outermost: bool) -> When:
    levels = tuple(level + 1 for level in value.levels)
    return When(value.kind, (0, *levels) if outermost else levels)


def _stream_deeper(value: Stream, stride: int, steps: int) -> Stream:
    ring = value.ring and replace(value.ring, steps=(steps, *value.ring.steps))
    dims = tuple(replace(dim, level=dim.level + 1) if dim.limit is not None else dim for dim in value.dims)
    return replace(value, strides=(stride, *value.strides), ring=ring, dims=dims)


@st.composite
def repeated(draw: st.DrawFn, most: int, arrays: int = 1) -> Program:
    """A program that makes no sense, again and again, in one loop or in one inside another."""
    program = draw(beat_programs(arrays))
    turns, again = draw(st.integers(2, most)), draw(st.sampled_from([0, 0, 1, 2, 5]))
    pitch = draw(st.sampled_from([0, PITCH, -PITCH]))

    def deeper(instruction: Instruction) -> Instruction:
        args = {name: _deeper(value, draw, name == "zero", pitch) for name, value in instruction.args.items()}
        if again:
            args = {name: _again(value, draw, name == "zero", turns) for name, value in args.items()}
        if instruction.op == "loop" and args["limit"]:
            args["level"] += 2 if again else 1
        return replace(instruction, args=args)

    # The loads and the vector unit begin a turn when the others have ended the one before, or the one before that.
    semaphores = list(program.semaphores)

    def semaphore(initial: int) -> int:
        semaphores.append(Semaphore(f"turn {len(semaphores)}", initial))
        return len(semaphores) - 1

    ended = {queue: semaphore(draw(st.integers(1, 2))) for queue, code in program.queues.items() if code and queue is not Queue.dma_in}
    begun = semaphore(0)
    first = {Queue.vector: [make("wait", sem=begun)]}
    first[Queue.dma_in] = [
        *(make("wait", sem=end) for end in ended.values()),
        *([make("signal", sem=begun)] if Queue.vector in ended else []),
    ]
    queues = {}
    for queue, code in program.queues.items():
        last = [make("signal", sem=ended[queue])] if queue in ended else []
        body = [*first.get(queue, []), *map(deeper, code), *last]
        inner = [make("loop", name="all", count=turns), *body, make("end")] if code else []
        queues[queue] = [make("loop", name="more", count=again), *inner, make("end")] if code and again else inner
    dram = _other_dram(program.machine, draw)
    return replace(program, queues=queues, semaphores=semaphores, machine=dram, dram_bytes=program.dram_bytes + 1024)


def _other_dram(machine: Machine, draw: st.DrawFn) -> Machine:
    """The machine with another channel."""
    bursts = {"burst_bytes": draw(st.sampled_from([1, 1, 8, 64])), "row_bytes": draw(st.sampled_from([0, 0, 0, 256]))}
    dram = Dram(machine.dram.bytes_per_cycle, machine.dram.latency, **bursts, row_miss_cycles=draw(st.sampled_from([0, 3])))
    return Machine(array=machine.array, arrays=machine.arrays, scratchpad=machine.scratchpad, dram=dram, vector=machine.vector)


@st.composite
def long_plans(draw: st.DrawFn, operand: str = "f32") -> Plan:
    """Products of many tiles."""
    sizes = st.integers(1, 120)
    kinds = [kind for kind in KINDS if kind != "upd" or operand == "f32"]
    products = [
        Product(
            kind=draw(st.sampled_from(kinds)), batch=draw(st.integers(1, 20)), k=draw(sizes), n=draw(sizes),
            order=draw(st.sampled_from([("n", "k"), ("k", "n")])), batch_tile=draw(st.none() | st.integers(1, 3)),
            ring=draw(st.sampled_from([0, 2, 3, 4, 6])), hold=draw(st.booleans()), keep_loops=draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 2)))
    ]  # fmt: skip
    return Plan(
        storage=DType.i8 if operand == "i8" else DType.f32,
        rows=draw(st.integers(1, 6)), cols=draw(st.integers(1, 6)), operand=operand,
        products=tuple(replace(product, batch_tile=min(product.batch_tile or 1, product.batch)) for product in products),
        bytes_per_cycle=draw(st.sampled_from([0.7, 8.0, 64.0])), latency=draw(st.integers(0, 200)),
        burst_bytes=draw(st.sampled_from([1, 4, 16])), row_bytes=draw(st.sampled_from([0, 0, 256])),
        banks=draw(st.sampled_from([1, 1, 2, 3, 4])), read_ports=draw(st.integers(0, 3)), write_ports=draw(st.integers(0, 3)),
    )  # fmt: skip
