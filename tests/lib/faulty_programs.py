"""Programs with a fault somewhere, most of which the checker has to find: something missing, twice, too early, or elsewhere."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import assume
from hypothesis import strategies as st

from isa.instructions import Instruction, When
from isa.program import Program
from isa.stream import Stream

Fault = Callable[[Instruction, st.DrawFn], list[Instruction]]
"""What stands in place of an instruction."""


def _stream(change: Callable[[Stream, st.DrawFn], Stream]) -> Fault:
    """Change one of the instruction's streams."""

    def apply(instruction: Instruction, draw: st.DrawFn) -> list[Instruction]:
        streams = [name for name, value in instruction.args.items() if isinstance(value, Stream)]
        if not streams:
            return [instruction]
        name = draw(st.sampled_from(streams))
        return [replace(instruction, args=instruction.args | {name: change(instruction[name], draw)})]

    return apply


def _moved(stream: Stream, draw: st.DrawFn) -> Stream:
    return replace(stream, base=stream.base + stream.dtype.size * draw(st.sampled_from([-16, -2, -1, 1, 2, 16])))


def _strided(stream: Stream, draw: st.DrawFn) -> Stream:
    factor = draw(st.sampled_from([-1, 0, 2]))
    return replace(stream, strides=tuple(factor * stride for stride in stream.strides))


def _other_slots(stream: Stream, draw: st.DrawFn) -> Stream:
    ring = stream.ring
    return replace(stream, ring=ring and replace(ring, slots=max(1, ring.slots + draw(st.sampled_from([-1, 1])))))


def _other_flag(instruction: Instruction, draw: st.DrawFn) -> list[Instruction]:
    flags = [name for name, value in instruction.args.items() if isinstance(value, When)]
    if not flags:
        return [instruction]
    name = draw(st.sampled_from(flags))
    when = When(draw(st.sampled_from(["never", "first", "last"])), instruction[name].levels)
    return [replace(instruction, args=instruction.args | {name: when})]


FAULTS: dict[str, Fault] = {
    "missing": lambda instruction, draw: [],
    "twice": lambda instruction, draw: [instruction, instruction],
    "moved": _stream(_moved),
    "strided": _stream(_strided),
    "slots": _stream(_other_slots),
    "flag": _other_flag,
}


@st.composite
def faulty(draw: st.DrawFn, programs: st.SearchStrategy[Program]) -> Program:
    """A program with up to two faults; loops stay as they are."""
    program = draw(programs)
    queues = {queue: list(code) for queue, code in program.queues.items()}
    for _ in range(draw(st.integers(0, 2))):
        code = queues[draw(st.sampled_from(sorted(queues)))]
        assume(code)
        index = draw(st.integers(0, len(code) - 1))
        if code[index].op in ("loop", "end"):
            continue
        if draw(st.booleans()) and index and code[index - 1].op not in ("loop", "end"):
            code[index - 1 : index + 1] = reversed(code[index - 1 : index + 1])
        else:
            code[index : index + 1] = FAULTS[draw(st.sampled_from(sorted(FAULTS)))](code[index], draw)
    semaphores = list(program.semaphores)
    if semaphores and draw(st.booleans()):
        index = draw(st.integers(0, len(semaphores) - 1))
        semaphores[index] = replace(semaphores[index], initial=max(0, semaphores[index].initial + draw(st.sampled_from([-1, 1]))))
    return replace(program, queues=queues, semaphores=semaphores)
