"""What is noted of array operations does them again, on the words that are there then."""

import numpy as np
import pytest

from emulator.gathered import Gathered
from emulator.memory import Array, Memory
from emulator.products import product
from emulator.tape import Scratch, Tape
from emulator.together import together
from isa.stream import Space


@pytest.mark.parametrize("common", ["left", "right"])
@pytest.mark.parametrize("apart", [0, 3])
def test_products_with_a_common_operand_are_one(common: str, apart: int) -> None:
    """Whether the other operands lie side by side in memory or not, in the first run and in the next one."""
    random, calls = np.random.default_rng(0), 0

    def matmul(a: Array, b: Array) -> Array:
        nonlocal calls
        calls += 1
        return np.asarray(np.matmul(a, b))

    whole = [random.integers(-9, 9, (1, 6, 12 + apart)).astype(np.float32) for _ in range(2)]
    shared = [random.integers(-9, 9, (1, 5, 6)).astype(np.float32) for _ in range(2)]
    tiles = [[one[:, :, at : at + 4] for one in whole] for at in (0, 4, 8 + apart)]
    sums = [list(zip(shared, parts, strict=True)) for parts in tiles]
    if common == "right":
        sums = [[(b.transpose(0, 2, 1), a.transpose(0, 2, 1)) for a, b in terms] for terms in sums]
    tape = Tape(Scratch(), matmul)
    found = together(sums, lambda a, b: product(a, b, tape), tape)
    assert calls == 1
    for _ in range(2):
        for result, terms in zip(found, sums, strict=True):
            np.testing.assert_array_equal(result, sum(np.matmul(a, b) for a, b in terms))
        for words in (*whole, *shared):
            words += 1
        for function, arguments in tape.actions:
            function(*arguments)


def test_scratch_memory_is_used_again() -> None:
    scratch = Scratch()
    first, large = scratch.empty((3, 5), np.float32), scratch.empty((1 << 23,), np.float32)
    assert not np.may_share_memory(first, large)
    scratch.clear()
    assert np.shares_memory(first, scratch.empty((3, 5), np.float32))


def test_operands_are_gathered_again_once_somebody_writes_there() -> None:
    spad = Memory(Space.spad, 1024)
    gathered = Gathered(spad)
    words = spad.bytes[128:512].view(np.float32).reshape(4, 4, 6)[:, :3, :5]
    rows = gathered.reshaped(words, (12, 5))
    asked = gathered.asked

    def gather() -> int:
        actions = gathered.missing(asked)
        for function, arguments in actions:
            function(*arguments)
        np.testing.assert_array_equal(rows, words.reshape(12, 5))
        return len(actions)

    words[...] = 1
    assert gather() == 1
    gathered.written([(0, 128), (512, 1024)])
    assert gather() == 0
    for low, high in ((0, 129), (480, 600), (200, 204)):
        words += 1
        gathered.written([(low, high)])
        assert gather() == 1
    words += 1
    gathered.all_written()
    assert gather() == 1


def test_what_lies_in_a_row_is_not_gathered() -> None:
    spad = Memory(Space.spad, 1024)
    gathered = Gathered(spad)
    words = spad.bytes.view(np.float32).reshape(4, 8, 8)
    assert np.shares_memory(gathered.reshaped(words, (32, 8)), words)
    assert gathered.asked == []
