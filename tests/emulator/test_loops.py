"""Repetitions of a script made loops: the same steps, in the same order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from emulator.loops import Loop, length, loops, unrolled
from emulator.script import Advance, Script, Step
from isa.instructions import Queue

QUEUES = (Queue.dma_in, Queue.array)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[Script, list[Step]]:
    """A script of repetitions inside each other, cut anywhere into what is taken from it, and all its steps one by one."""
    script, steps = Script(), []
    marks = [(0, 0)]
    for number in range(draw(st.integers(1, 25))):
        since, first = draw(st.sampled_from(marks))
        if draw(st.booleans()) or since < script.start or since == script.position:
            step = Step(draw(st.sampled_from(QUEUES)), number, (draw(st.integers(0, 9)), number))
            script.entries.append(step)
            steps.append(step)
        else:
            times, pace = draw(st.integers(1, 3)), draw(st.integers(1, 2))
            script.repeat(since, times, [Advance(Queue.array, 0, pace)])
            body = steps[first:]
            for turn in range(1, times + 1):
                for step in body:
                    outer, inner = step.counters
                    ahead = turn * pace if step.queue is Queue.array else 0
                    steps.append(step._replace(counters=(outer + ahead, inner)))
            if len(steps) > 2000:
                break
        marks.append((script.position, len(steps)))
    return script, steps


@given(made=scripts())
def test_loops_are_the_same_steps(made: tuple[Script, list[Step]]) -> None:
    script, steps = made
    found = loops(script.take())
    assert unrolled(found) == steps
    assert length(found) == len(steps)


def test_the_turn_that_comes_again_is_the_first_of_its_loop() -> None:
    script = Script()
    step: Any = Step(Queue.array, 3, (5,))
    script.entries.append(step)
    script.repeat(0, 6, [Advance(Queue.array, 0, 2)])
    assert loops(script.take()) == [Loop((step,), 7, (Advance(Queue.array, 0, 2),))]
    # The turn before is gone already when the repetition comes:
    script.entries.append(step)
    script.repeat(2, 1, [Advance(Queue.array, 0, 2)])
    again = script.take()[1]
    assert loops([again]) == [Loop((Step(Queue.array, 3, (7,)),), 1, (Advance(Queue.array, 0, 2),))]
