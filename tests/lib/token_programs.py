"""Programs of all queues that touch a few words between tokens: a random run is drawn, and each queue's part of it is its code.

So nothing ever waits for what does not come, and nothing is read that was not written earlier in that run; but who is surely ordered
after whom is up to chance.  They are for the checker alone: loads of weights read DRAM where no word was written.
"""

from collections import Counter
from random import Random

from isa.dtypes import DType
from isa.instructions import ALWAYS, HELD, NEVER, Instruction, Queue, When, make
from isa.machine import Machine
from isa.program import Program, Semaphore
from isa.stream import Dim, Space, Stream

_PAIRS = [(giver, taker) for giver in Queue for taker in Queue]
"""A semaphore for each."""
_LOADS, _DRAINS = (("wload", "swap"), ("gload", "preload")), (("take", "drain"), ("mupd", "wdrain"))
"""What comes into the array and who gets it, what is put for whom to take out."""
_DRAM = Stream(Space.dram, DType.f32, 0, (Dim(1, 4),))


def token_program(seed: int) -> Program:
    """One of up to 24 steps."""
    run = _Run(Random(seed))
    for _ in range(run.random.randint(4, 24)):
        run.step()
    run.end()
    semaphores = [Semaphore(f"{giver.name}.{taker.name}") for giver, taker in _PAIRS]
    return Program("tokens", Machine(), run.code, semaphores, dram_bytes=64)


class _Run:
    """A run under way: the code of each queue, and what has happened so far."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.code: dict[Queue, list[Instruction]] = {queue: [] for queue in Queue}
        self.tokens: Counter[int] = Counter()
        self.done: Counter[str] = Counter()
        self.written: set[int] = set()
        self.words = random.randint(2, 8)
        """Words that are fought for."""
        self.queues = random.sample(list(Queue), random.randint(1, 4))
        """The queues that do something."""

    def step(self) -> None:
        """A queue signals, waits for a token that is there, or does its work."""
        queue, what = self.random.choice(self.queues), self.random.choice(("work", "work", "signal", "wait"))
        if what == "work":
            self.work(queue)
        elif what == "signal":
            self.code[queue].append(self.signal(queue, 1))
        elif there := [n for n, (_, taker) in enumerate(_PAIRS) if taker is queue and self.tokens[n]]:
            semaphore = self.random.choice(there)
            self.tokens[semaphore] -= 1
            self.code[queue].append(make("wait", sem=semaphore))

    def signal(self, queue: Queue, times: int) -> Instruction:
        """One that is executed so many times."""
        semaphore = _PAIRS.index((queue, self.random.choice(self.queues)))
        self.tokens[semaphore] += times
        return make("signal", sem=semaphore)

    def work(self, queue: Queue) -> None:
        """One instruction that touches a word, if the chains let it; or two beats."""
        code, done = self.code[queue], self.done
        match queue:
            case Queue.dma_in:
                code.append(make("ld", dst=self.word(), src=_DRAM))
            case Queue.dma_out:
                code.append(make("st", dst=_DRAM, src=self.old_word()))
            case Queue.wchain if loads := [load for load, got in _LOADS if done[load] == done[got]]:
                load = self.random.choice(loads)
                done[load] += 1
                code.append(make(load, src=self.old_word()))
            case Queue.gchain if drains := [drain for put, drain in _DRAINS if done[put] > done[drain]]:
                drain = self.random.choice(drains)
                done[drain] += 1
                code.append(make(drain, dst=self.word()))
            case Queue.array if self.random.random() < 0.2 and all(done[put] == done[drain] for put, drain in _DRAINS):
                done["take"] += 1
                done["mupd"] += 1
                code.append(make("mupd", lr=1.0))
            case Queue.array:
                flags = {got: done[load] > done[got] for load, got in _LOADS} | {"take": done["take"] == done["drain"]}
                code += self.beats({flag for flag, can in flags.items() if can and self.random.random() < 0.9})
            case Queue.vector:
                code.append(make("vec", fn="copy", dst=self.word(), imm=1.0))

    def word(self, loops: int = 0) -> Stream:
        """One to write, or two."""
        first, count = self.random.randrange(self.words), self.random.randint(1, 2)
        self.written |= set(range(first, first + count))
        return Stream(Space.spad, DType.f32, 4 * first, (Dim(count, 4),), (self.random.choice((0, 4)),) * loops)

    def old_word(self) -> Stream:
        """One to read."""
        return Stream(Space.spad, DType.f32, 4 * self.random.choice(sorted(self.written)), (Dim(1, 4),)) if self.written else _DRAM

    def beats(self, flags: set[str]) -> list[Instruction]:
        """Two beats, or a loop of them, some of which the checker cannot take as one step; with these flags, each raised once."""
        self.done.update(flags)
        loops, turns = self.random.randint(0, 1), self.random.randint(1, 3)
        once = When(self.random.choice(("first", "last")), (0,)) if loops else ALWAYS
        zero = self.random.choice([ALWAYS, When("first", (0,)) if loops else ALWAYS] + [NEVER] * bool(self.written))
        sums = self.word(loops) if zero is not NEVER else self.old_word()
        swap, preload, take = (once if flag in flags else NEVER for flag in ("swap", "preload", "take"))
        inside = [
            make("dx", v=HELD, acc=sums, zero=zero, swap=swap),
            make("dw", h=self.random.choice((HELD, self.old_word())), v=HELD, take=take, preload=preload),
            *([self.signal(Queue.array, turns)] if loops and self.random.random() < 0.5 else []),
        ]
        self.random.shuffle(inside)
        return [make("loop", name="b", count=turns), *inside, make("end")] if loops else inside

    def end(self) -> None:
        """What the chains still miss."""
        for put, drain in _DRAINS:
            if self.done[put] > self.done[drain]:
                self.work(Queue.gchain)
        for load, got in _LOADS:
            if self.done[load] > self.done[got]:
                self.code[Queue.array].append(make("dw", h=HELD, v=HELD, **{got: ALWAYS}))
