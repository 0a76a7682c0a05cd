"""``best-sequential`` is never slower than what it is compared with."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.driver import lower, training_step
from compiler.schedule.schedules import CANDIDATES, SCHEDULES, Schedule
from compiler.schedule.search import best_sequential, key_of
from emulator import cycles
from gradweave.scheduling import resolve
from isa.machine import Array, Machine

FIXED = ("sequential", "ws", "os", "is", "best-sequential")
KEYS = [key_of(product, {"b": 5, "k": 7, "n": n}) for n in (3, 40) for product in ("dx", "dw")]


@settings(deadline=None, derandomize=True)
@given(st.data())
def test_found_is_never_slower_than_any_fixed_schedule(data: st.DataObject) -> None:
    """Cycles drawn at random for every choice as a whole, so that choices may depend on one another."""
    drawn: dict[tuple[object, ...], int] = {}

    def measure(schedule: Schedule) -> int:
        choice = tuple(schedule.mapping(key[0], dict(key[1]), Machine(), double_buffer=True) for key in KEYS)
        if choice not in drawn:
            drawn[choice] = data.draw(st.integers(1, 50))
        return drawn[choice]

    found = measure(best_sequential(KEYS, Machine(), measure, double_buffer=True))
    assert all(found <= measure(SCHEDULES[name]) for name in FIXED)
    assert found == min(drawn.values()), "the quickest of all that was tried"


def test_independent_choices_are_each_the_best() -> None:
    """Where each gradient's cycles do not depend on the others', the local optimum is the global one."""
    cost = {(key, mapping): (7 * i + 5 * j) % 11 for i, key in enumerate(KEYS) for j, mapping in enumerate(CANDIDATES[key[0]])}

    def measure(schedule: Schedule) -> int:
        return sum(cost[key, schedule.mapping(key[0], dict(key[1]), Machine(), double_buffer=True)] for key in KEYS)

    least = sum(min(cost[key, mapping] for mapping in CANDIDATES[key[0]]) for key in KEYS)
    assert measure(best_sequential(KEYS, Machine(), measure, double_buffer=True)) == least


@pytest.mark.parametrize("double_buffer", [True, False])
def test_measured_on_the_machine(double_buffer: bool) -> None:
    model = Path(__file__).parents[3] / "programs" / "digits_mlp.onnxtxt"
    machine = Machine(array=Array(rows=8, cols=24))
    step = training_step(model, batch=6)

    def taken(schedule: str | Schedule) -> int:
        return cycles(lower(step, machine, schedule=schedule, double_buffer=double_buffer))

    best = resolve(step, machine, "best-sequential", double_buffer=double_buffer)
    assert not isinstance(best, str)
    assert not best.interleaves
    assert all(taken(best) <= taken(name) for name in FIXED)
