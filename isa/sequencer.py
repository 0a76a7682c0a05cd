"""Walking one queue: hardware loops in their exact order, with the counters that streams and flags depend on."""

from collections.abc import Callable, Iterator, Sequence

from isa.chains import steps_of
from isa.instructions import Instruction
from isa.stream import MAX_LOOPS

Step = tuple[int, list[int], list[int]]
"""(index of the instruction, counters, turns) of the enclosing loops, outermost first; the lists change as the walk goes on."""


class LoopError(Exception):
    """Loops that do not nest: ``index`` is the instruction at fault."""

    def __init__(self, index: int, message: str) -> None:
        self.index = index
        super().__init__(message)


def turns(loop: Instruction, counters: Sequence[int]) -> int:
    """Turns that a ``loop`` takes at the counters of the loops around it; not above 0 where its clip leaves none."""
    count: int = loop.args["count"]
    limit: int = loop.args["limit"]
    return min(count, limit - count * counters[loop.args["level"]]) if limit else count


def synchronises(instruction: Instruction) -> bool:
    """Whether other queues can notice when this instruction is executed: semaphores, and what the array and its chains hand each other."""
    return instruction.op in ("wait", "signal") or bool(steps_of(instruction))


class Sequencer:
    """The code of one queue with its loops matched.

    ``partner[i]`` is the index of the ``end`` of loop i, of the ``loop`` of end i, else -1; ``enclosing[i]`` are the indices
    of the loops around instruction i, outermost first.

    Raises:
        LoopError: a loop without end, an end without loop, or more than ``MAX_LOOPS`` loops inside each other.
    """

    def __init__(self, code: Sequence[Instruction]) -> None:
        self.code = code
        self.partner = [-1] * len(code)
        self.enclosing: list[tuple[int, ...]] = []
        self._syncs = [0]
        around: tuple[int, ...] = ()
        for index, instruction in enumerate(code):
            if instruction.op == "end":
                if not around:
                    raise LoopError(index, "end without a loop")
                self.partner[index], self.partner[around[-1]] = around[-1], index
                around = around[:-1]
            self.enclosing.append(around)
            if instruction.op == "loop":
                if len(around) == MAX_LOOPS:
                    raise LoopError(index, f"more than {MAX_LOOPS} loops inside each other")
                around = (*around, index)
            self._syncs.append(self._syncs[-1] + synchronises(instruction))
        if around:
            raise LoopError(around[-1], "loop without an end")

    def has_sync(self, loop: int) -> bool:
        """Whether the body of the loop at this index contains anything that :func:`synchronises`."""
        return self._syncs[self.partner[loop]] > self._syncs[loop]

    def steps(self, whole: Callable[[int], bool] | None = None) -> Iterator[Step]:
        """Every instruction but ``loop`` and ``end``, in the order of execution.

        A loop at whose index ``whole`` is true is yielded once, as itself, in place of its turns: the caller takes care of them.
        """
        code, partner = self.code, self.partner
        ops = [instruction.op for instruction in code]
        counters: list[int] = []
        counts: list[int] = []
        index, length = 0, len(code)
        while index < length:
            op = ops[index]
            if op == "loop":
                count = turns(code[index], counters)
                if whole is not None and whole(index):
                    yield index, counters, counts
                    index = partner[index]
                elif count > 0:
                    counters.append(0)
                    counts.append(count)
                else:
                    index = partner[index]
            elif op == "end":
                counters[-1] += 1
                if counters[-1] < counts[-1]:
                    index = partner[index]
                else:
                    counters.pop()
                    counts.pop()
            else:
                yield index, counters, counts
            index += 1


def walk(code: Sequence[Instruction]) -> Iterator[tuple[Instruction, list[int], list[int]]]:
    """(instruction, counters, turns) of everything that a queue executes, ``loop`` and ``end`` left out."""
    for index, counters, counts in Sequencer(code).steps():
        yield code[index], counters, counts
