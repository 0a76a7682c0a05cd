"""The values of a run: the steps that the timing engine found, in its order, on the memories and the array's registers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from emulator.accesses import Access, Unclear
from emulator.backend import Matmul
from emulator.batch import Batch
from emulator.beats import ArrayValues
from emulator.code import Code
from emulator.costs import words_of
from emulator.flow import Flow
from emulator.loops import Loop, length, moved, unrolled
from emulator.memory import Memory, convert
from emulator.script import Step
from emulator.statements import statements
from emulator.vector import execute
from isa.instructions import Queue
from isa.machine import Machine
from isa.stream import Space

_FEW = 3
"""Fewer turns than that are executed one by one."""
_LARGE = 1 << 15
"""So does what writes more words a turn: it takes longer than the way to it, and its words stay in the processor's caches."""
_LONG = 400
"""Longer bodies, their inner repetitions unrolled, are executed turn by turn, and the inner repetitions at once."""
_WIDE = 32
"""So are those with more than so many steps to each turn: finding out who reads what takes longer the more statements there are."""
_ROOM = 1 << 24
"""Words that are written at once, at most."""
_KEPT = 1 << 16
"""Statements that are kept for further runs, at most."""


class Known:
    """How runs of one script execute its loops, in the order in which they come to them; None: that is to be found out again."""

    def __init__(self) -> None:
        self.flows: list[list[Flow] | None] = []
        self._room = _KEPT

    def add(self, flows: list[Flow]) -> None:
        """Of the next loop."""
        self._room -= sum(len(flow.body) for flow in flows)
        self.flows.append(flows if self._room >= 0 else None)


class Values:
    """Memories and registers of one run, from an empty scratchpad on; ``known`` is what runs before found out."""

    def __init__(self, machine: Machine, codes: Mapping[Queue, Code], dram: Memory, matmul: Matmul, known: Known) -> None:
        self.codes, self.known = codes, known
        self.memories = {Space.dram: dram, Space.spad: Memory(Space.spad, machine.scratchpad.bytes)}
        self.arrays = [
            ArrayValues(
                machine, self.memories[Space.spad], matmul, any(nest.holds for nest in codes[Queue.array.of(number)].nests.values() if nest)
            )
            for number in range(machine.arrays)
        ]
        self.holds = any(array.holds for array in self.arrays)
        self.loops = self.steps = 0
        """Loops that it came to so far, and steps that it executed one by one."""

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
                self.step(step)

    def _batch(self, loop: Loop) -> int:
        """Execute the turns of a loop at once, or as many at a time as there is room for; how many were done.

        Those are left where it cannot be shown that they leave the same when they are executed at once; and the last one, where any beat
        might want what stays on the ports for `held`.
        """
        is_new = self.loops == len(self.known.flows)
        known = None if is_new else self.known.flows[self.loops]
        flows: list[Flow] = []
        with suppress(Unclear, RecursionError):  # the way from source to source may be long
            for flow in self._flows(loop) if known is None else known:
                Batch(flow, self.memories, self.arrays).run()
                flows.append(flow)
        if is_new:
            self.known.add(flows)
        self.loops += 1
        return sum(flow.turns for flow in flows)

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

    def step(self, step: Step) -> None:
        """Execute one instruction or beat nest."""
        self.steps += 1
        code, counters, array = self.codes[step.queue], step.counters, self.arrays[step.queue.number]
        if step.queue.unit is Queue.array:
            nest = code.nest(step.instruction)
            if step.plan is None:
                array.take(nest.beats[-1].op == "upd")
            else:
                plan = step.plan
                array.run(nest, counters, plan.turns, plan.swap, plan.zeros)
                if plan.take and plan.tail is None:
                    array.take(nest.beats[0].op == "upd")
            return
        instruction = code.sequencer.code[step.instruction]
        match instruction.op:
            case "ld" | "st":
                dst, src = instruction["dst"], instruction["src"]
                words = self.memories[src.space].view(src, counters)
                self.memories[dst.space].view(dst, counters)[...] = convert(words, dst.dtype)
            case "wload":
                array.load(instruction["src"], counters)
            case "drain":
                array.drain(instruction["dst"], counters)
            case _ if words_of(instruction["dst"], counters):
                execute(instruction, self.memories[Space.spad], counters)
