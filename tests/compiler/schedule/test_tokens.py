"""Tokens order whatever conflicts: checked against the transitive closure of what the machine promises."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.schedule.tokens import Access, Pair, Tokens, order
from isa.instructions import Queue
from isa.stream import Space

QUEUES = list(Queue)


@st.composite
def accesses(draw: st.DrawFn) -> Access:
    queue = draw(st.sampled_from(QUEUES))
    low = draw(st.integers(0, 5))
    writes = draw(st.booleans())
    sums = writes and queue is Queue.array and draw(st.booleans())
    return Access(queue, draw(st.sampled_from(Space)), low, low + draw(st.integers(1, 3)), writes, sums)


programs = st.lists(st.lists(accesses(), max_size=3), max_size=12)


def closure(program: list[list[Access]], tokens: list[Tokens]) -> np.ndarray:
    """``after[i, p, j, q]``: all that operation i does in queue p is over before operation j begins in queue q.

    Promised are: a queue's operations begin in order; a token is given once all that its queue did before is over; the n-th wait on
    a semaphore takes the n-th token.
    """
    count, queues = len(program), len(QUEUES)
    signals: dict[Pair, list[int]] = defaultdict(list)
    waits: dict[Pair, list[int]] = defaultdict(list)
    for index, own in enumerate(tokens):
        for pair in own.signals:
            signals[pair].append(index)
        for pair in own.waits:
            waits[pair].append(index)
    # Nodes: (operation, queue, begun or over). An edge means "happens before".
    before = np.zeros((count, queues, 2, count, queues, 2), bool)
    for queue, i in product(range(queues), range(count)):
        before[i, queue, 0, i, queue, 1] = True
        before[i, queue, 0, i + 1 :, queue, 0] = True
    for pair in waits:
        assert len(waits[pair]) <= len(signals[pair]), "a wait without a token would never end"
        for given_at, taken_at in zip(signals[pair], waits[pair], strict=False):
            for i, j in product(range(given_at + 1), range(taken_at, count)):
                before[i, pair[0], 1, j, pair[1], 0] = True
    reach = before.reshape(count * queues * 2, count * queues * 2)
    for middle in range(len(reach)):
        reach |= reach[:, middle, None] & reach[None, middle, :]
    return reach.reshape(before.shape)[:, :, 1, :, :, 0]


def conflicts(program: list[list[Access]]) -> Iterator[tuple[int, Access, int, Access]]:
    """Pairs of accesses that must not overlap in time: the same bytes, one of them written.

    Within a queue the machine keeps order itself, but for the array, whose beats overlap; there only sums of the same rows are kept.
    """
    for j, later in enumerate(program):
        for i, earlier in enumerate(program[:j]):
            for old, new in product(earlier, later):
                apart = old.space != new.space or old.high <= new.low or new.high <= old.low
                same_sums = old.sums and new.sums and (old.low, old.high) == (new.low, new.high)
                kept = old.queue is new.queue and (old.queue is not Queue.array or same_sums)
                if not apart and not kept and (old.writes or new.writes):
                    yield i, old, j, new


@settings(deadline=None, derandomize=True, max_examples=300)
@given(programs)
def test_whatever_conflicts_is_ordered(program: list[list[Access]]) -> None:
    tokens = order(program)
    after = closure(program, tokens)
    for i, old, j, new in conflicts(program):
        assert after[i, old.queue, j, new.queue], (i, old, j, new, tokens)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(programs)
def test_tokens_are_few_and_balanced(program: list[list[Access]]) -> None:
    """No token waits for nobody, none is waited for twice, and none is spent where nothing conflicts."""
    tokens = order(program)
    handed: dict[Pair, int] = defaultdict(int)
    taken: dict[Pair, int] = defaultdict(int)
    for own in tokens:
        assert len(set(own.waits)) == len(own.waits)
        assert len(set(own.signals)) == len(own.signals)
        for pair in own.waits:
            taken[pair] += 1
            assert taken[pair] <= handed[pair], "the token is given by an earlier operation"
        for pair in own.signals:
            handed[pair] += 1
    assert handed == taken
    if not list(conflicts(program)):
        assert not handed


def test_one_token_serves_all_that_came_before() -> None:
    """Three loads, then a beat that reads what all three brought: one wait."""
    loads = [[Access(Queue.dma_in, Space.spad, i, i + 1, writes=True)] for i in range(3)]
    tokens = order([*loads, [Access(Queue.array, Space.spad, 0, 3, writes=False)]])
    pair = (Queue.dma_in, Queue.array)
    assert [own.signals for own in tokens] == [[], [], [pair], []]
    assert [own.waits for own in tokens] == [[], [], [], [pair]]
