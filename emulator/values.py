"""The values of a run: the steps that the timing engine found, in its order, on the memories and the array's registers."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from emulator.accesses import Access, Unclear
from emulator.backend import Matmul
from emulator.batch import Batch
from emulator.beats import ArrayValues
from emulator.code import Code, streams
from emulator.costs import words_of
from emulator.flow import Flow
from emulator.gathered import Gathered, Span
from emulator.loops import Loop, length, moved, unrolled
from emulator.memory import Array, Memory, convert
from emulator.script import Step
from emulator.statements import statements
from emulator.tape import Action, Scratch, Tape
from emulator.together import Words
from emulator.vector import prepared
from isa.dtypes import DType
from isa.instructions import Instruction, Queue
from isa.machine import Machine
from isa.stream import Space, Stream

_FEW = 3
"""Fewer turns than that are executed one by one."""
_LARGE = 1 << 15
"""So does what writes more words a turn: it takes longer than the way to it, and its words stay in the processor's caches."""
_LONG = 1200
"""Longer bodies, their inner repetitions unrolled, are executed turn by turn, and the inner repetitions at once."""
_WIDE = 100
"""So are those with more than so many steps to each turn: finding out who reads what takes longer the more statements there are."""
_ROOM = 1 << 24
"""Words that are written at once, at most."""
_LENGTH = 1 << 20
"""So many actions are kept, at most."""


class Values:
    """Memories and registers of one program, and what its run does to them, which further runs do again."""

    def __init__(self, machine: Machine, codes: Mapping[Queue, Code], dram: Memory, matmul: Matmul) -> None:
        self.codes = codes
        self.memories = {Space.dram: dram, Space.spad: Memory(Space.spad, machine.scratchpad.bytes)}
        self.arrays = [
            ArrayValues(machine, self.memories[Space.spad], matmul, _holds(codes[Queue.array.of(number)]))
            for number in range(machine.arrays)
        ]
        self.holds = any(array.holds for array in self.arrays)
        self.steps = 0
        """Those that it executes one by one."""
        self.actions: list[Action] | None = []
        """All that a run does, in order, if that is not too long to be kept."""
        self._alike: dict[tuple[object, ...], tuple[Action, list[Words], list[Span]]] = {}
        """Steps that are the same instruction at the same addresses are the same action, need the same operands gathered, and write to
        the same bytes of the scratchpad."""
        self._gathered = Gathered(self.memories[Space.spad])
        self._scratch = Scratch()

    def run(self, steps: Sequence[Step | Loop]) -> None:
        """Execute steps one after the other.

        Raises:
            UserError: a stream leaves its memory.
        """
        for step in steps:
            if isinstance(step, Loop):
                for turn in range(self._batch(step), step.turns):
                    self.run(step.turn(turn))
            else:
                self.steps += 1
                self._execute(step)

    def again(self) -> None:
        """Do all that was done since the beginning once more, from an empty scratchpad on."""
        assert self.actions is not None
        self._alike.clear()
        self.memories[Space.spad].bytes[:] = 0
        for array in self.arrays:
            array.clear()
        for function, arguments in self.actions:
            function(*arguments)

    def _do(self, action: Action) -> None:
        function, arguments = action
        function(*arguments)
        self._keep(action)

    def _keep(self, action: Action) -> None:
        if self.actions is not None:
            self.actions.append(action)
            if len(self.actions) > _LENGTH:
                self.actions = None
                self._alike.clear()

    def _batch(self, loop: Loop) -> int:
        """Execute the turns of a loop at once, or as many at a time as there is room for; how many were done.

        Those are left where it cannot be shown that they leave the same when they are executed at once; and the last one, where any beat
        might want what stays on the ports for `held`.
        """
        done = 0
        with suppress(Unclear, RecursionError):  # the way from source to source may be long
            for flow in self._flows(loop):
                self._scratch.clear()
                tape = Tape(self._scratch, self.arrays[0].matmul)
                Batch(flow, self.memories, self.arrays, tape).run()
                self._gathered.all_written()
                for action in tape.actions:
                    self._keep(action)
                done += flow.turns
        return done

    def _flows(self, loop: Loop) -> Iterator[Flow]:
        """The turns that may be executed at once."""
        done, turns = 0, loop.turns - self.holds
        if turns < _FEW or length(loop.steps) > min(_LONG, _WIDE * turns):
            return
        flat = unrolled(loop.steps)
        while turns - done >= _FEW:
            steps = unrolled(moved(step, loop.advances, done) for step in flat) if done else flat
            body = statements(steps, loop.advances, self.codes)
            words = [math.prod(statement.dst.shape) for statement in body if isinstance(statement.dst, Access)]
            if max(words, default=0) > _LARGE:
                return
            many = min(turns - done, max(_FEW, _ROOM // (1 + sum(words))))
            yield Flow(body, many, self.arrays[0].accumulator)
            done += many

    def _execute(self, step: Step) -> None:
        """One instruction or beat nest."""
        code, counters, plan, array = self.codes[step.queue], step.counters, step.plan, self.arrays[step.queue.number]
        if step.queue.unit is not Queue.array:
            instruction = code.sequencer.code[step.instruction]
            self._once(step, streams(instruction), (), lambda: self._instruction(instruction, counters, array))
            return
        nest = code.nest(step.instruction)
        if plan is None:
            self._do((array.take, (nest.beats[-1].op,)))
            return
        if self._gathered.full:
            self._gathered.forget()
            self._alike.clear()
        turns, swap, preload, zeros = plan.turns, plan.swap, plan.preload, plan.zeros
        used = [stream for beat in nest.beats for stream in beat.streams]

        def make() -> tuple[Action, Sequence[Array]]:
            beats = array.beats(nest, counters, turns, zeros, self._gathered.reshaped)
            return (array.run, (beats, swap, preload)), [beat.sums for beat in beats if beat.sums is not None]

        self._once(step, used, (turns, swap, preload, zeros), make)
        if plan.take and plan.tail is None:
            self._do((array.take, (nest.beats[0].op,)))

    def _once(
        self, step: Step, streams: Sequence[Stream], how: tuple[object, ...], make: Callable[[], tuple[Action, Sequence[Array]]]
    ) -> None:
        """Do what a step does ``how`` where its streams are now; made only once, with what it writes to the scratchpad."""
        counters = step.counters
        where = [(stream.address(counters), *stream.shape(counters)) for stream in streams]
        key = step.queue, step.instruction, how, *where
        made = self._alike.get(key)
        if made is None:
            self._gathered.asked = []
            action, written = make()
            made = action, self._gathered.asked, [self._gathered.span(words) for words in written if words.size]
            if self.actions is not None:
                self._alike[key] = made
        action, asked, spans = made
        for gather in self._gathered.missing(asked):
            self._do(gather)
        self._do(action)
        self._gathered.written(spans)

    def _instruction(self, instruction: Instruction, counters: Sequence[int], array: ArrayValues) -> tuple[Action, Sequence[Array]]:
        """What an instruction does, and the words of the scratchpad that it writes."""
        spad = self.memories[Space.spad]
        match instruction.op:
            case "ld" | "st":
                to, words = (self.memories[stream.space].view(stream, counters) for stream in (instruction["dst"], instruction["src"]))
                return (_copy, (to, words, instruction["dst"].dtype)), [to] if instruction["dst"].space is Space.spad else []
            case "wload":
                return (array.load, (spad.view(instruction["src"], counters),)), []
            case "gload":
                return (array.load_scaled, (spad.view(instruction["src"], counters), instruction["scale"])), []
            case "drain" | "wdrain":
                to, register = spad.view(instruction["dst"], counters), "g_out" if instruction.op == "drain" else "w_out"
                return (array.drain, (register, to, instruction["dst"].dtype)), [to]
            case _ if words_of(instruction["dst"], counters):
                return (prepared(instruction, spad, counters), ()), [spad.view(instruction["dst"], counters)]
        return (_nothing, ()), []


def _holds(code: Code) -> bool:
    """Whether any nest that is executed as such, and not within a larger one, wants what the beat before it left on the ports."""
    inner = {index for index in code.nests if any(code.nests[loop] for loop in code.sequencer.enclosing[index])}
    return any(nest.holds for index, nest in code.nests.items() if nest and index not in inner)


def _copy(to: Array, words: Array, dtype: DType) -> None:
    to[...] = convert(words, dtype)


def _nothing() -> None:
    """What an instruction does whose clip leaves no words."""
