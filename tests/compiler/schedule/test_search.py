"""``best-sequential`` and ``auto`` are never slower than what they are compared with."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.driver import lower, training_step
from compiler.schedule.schedules import CANDIDATES, SCHEDULES, Choice, Schedule
from compiler.schedule.search import MOST_SHAPES, Measured, Search, auto, best_sequential, by_layer
from emulator import cycles
from gradweave.scheduling import resolve
from isa.errors import UserError
from isa.machine import Array, Machine

FIXED = ("sequential", "turned", "ws", "os", "is", "best-sequential")
LAYERS = {"a": {"b": 5, "k": 7, "n": 3}, "c": {"b": 5, "k": 7, "n": 40}, "d": {"b": 5, "k": 7, "n": 3}}


def choices(schedule: Schedule) -> tuple[Choice, ...]:
    return tuple(schedule.choose(name, sizes, Machine(), True) for name, sizes in LAYERS.items())


@pytest.mark.parametrize("search", ["best-sequential", "auto", "auto, updates fused"])
@settings(deadline=None, derandomize=True, max_examples=30)
@given(data=st.data())
def test_found_is_never_slower_than_any_other_schedule(search: str, data: st.DataObject) -> None:
    """Cycles drawn at random for every choice as a whole, so that choices may depend on one another."""
    drawn: dict[tuple[tuple[Choice, ...], int], Measured] = {}

    def measure(schedule: Schedule) -> Measured:
        choice = choices(schedule), schedule.ahead
        if choice not in drawn:
            layers = {name: data.draw(st.integers(1, 50)) for name in LAYERS}
            drawn[choice] = Measured(data.draw(st.integers(1, 50)), 0, layers)
        return drawn[choice]

    made = Search(LAYERS, Machine(), True, measure)
    found = best_sequential(made) if search == "best-sequential" else auto(made, fused_update="fused" in search)
    names = FIXED if search == "best-sequential" else tuple(SCHEDULES)
    assert all(measure(found).cycles <= measure(SCHEDULES[name]).cycles for name in names)
    assert measure(found).cycles == min(measured.cycles for measured in drawn.values()), "the quickest of all that was tried"
    assert [measured for _, measured in made.tried] == list(drawn.values()), "nothing is measured twice"


def test_independent_choices_are_each_the_best() -> None:
    """Where each gradient's cycles do not depend on the others', the local optimum is the global one."""
    keys = [(name, product, mapping) for product in ("dx", "dw") for name in "ac" for mapping in CANDIDATES[product]]
    cost = {key: 7 * i % 11 for i, key in enumerate(keys)}
    cost |= {("d", product, mapping): cycles for (name, product, mapping), cycles in cost.items() if name == "a"}

    def measure(schedule: Schedule) -> Measured:
        own = dict(zip(LAYERS, choices(schedule), strict=True))
        layers = {name: cost[name, "dx", choice.dx] + cost[name, "dw", choice.dw] for name, choice in own.items()}
        return Measured(sum(layers.values()), 0, layers)

    least = sum(min(cost[name, p, m] for m in CANDIDATES[p]) for name in LAYERS for p in ("dx", "dw"))
    assert measure(best_sequential(Search(LAYERS, Machine(), True, measure))).cycles == least


def test_many_shapes_take_each_layers_quickest() -> None:
    """No search shape by shape: each layer gets the schedule under which it was quickest, if all of them together are quickest."""
    layers = {f"l{n}": {"b": 1, "k": 1, "n": n} for n in range(MOST_SHAPES + 1)}
    quickest = {name: ("ws", "os")[n % 2] for n, name in enumerate(layers)}

    def measure(schedule: Schedule) -> Measured:
        own = {name: schedule.choose(name, sizes, Machine(), True) for name, sizes in layers.items()}
        taken = {name: 1 if choice == SCHEDULES[quickest[name]].choose("", {}, Machine(), True) else 5 for name, choice in own.items()}
        return Measured(sum(taken.values()), 0, taken)

    search = Search(layers, Machine(), True, measure)
    assert measure(best_sequential(search)).cycles == len(layers)
    assert len(search.tried) <= len(FIXED) + 2


def test_search_ends_at_the_lower_bound() -> None:
    tried = []

    def measure(schedule: Schedule) -> Measured:
        tried.append(schedule.name)
        return Measured(10, 10, dict.fromkeys(LAYERS, 1))

    best_sequential(Search(LAYERS, Machine(), True, measure))
    assert len(tried) <= len(FIXED) + 1


@pytest.mark.parametrize("double_buffer", [True, False])
@pytest.mark.parametrize("fused_update", [True, False])
def test_measured_on_the_machine(double_buffer: bool, fused_update: bool) -> None:
    model = Path(__file__).parents[3] / "programs" / "digits_mlp.onnxtxt"
    machine = Machine(array=Array(rows=8, cols=24))
    step = training_step(model, batch=6, optimizer="sgd")
    options = {"double_buffer": double_buffer, "fused_update": fused_update}

    def taken(schedule: str | Schedule) -> int:
        return cycles(lower(step, machine, schedule=schedule, **options))

    best, quickest = (resolve(step, machine, name, **options) for name in ("best-sequential", "auto"))
    assert not isinstance(best, str)
    assert not any(best.choose(name, {}, machine, True).by for name in ("fc1", "fc2", "fc3"))
    assert all(taken(best) <= taken(name) for name in FIXED)
    assert all(taken(quickest) <= taken(name) for name in (*SCHEDULES, best))


def test_choice_without_updates_in_the_array_has_none() -> None:
    step = training_step(Path(__file__).parents[3] / "programs" / "digits_mlp.onnxtxt", batch=6, optimizer="sgd")
    same = {name: SCHEDULES["interleaved"].choose(name, {}, Machine(), True) for name in ("fc1", "fc2", "fc3")}
    one = same | {"fc2": replace(same["fc2"], fuses=False)}
    programs = {
        number: lower(step, Machine(), schedule=by_layer("by hand", own), fused_update=True) for number, own in ((3, same), (2, one))
    }
    for number, program in programs.items():
        updates = [i for queue in program.queues.values() for i in queue if i.op == "upd"]
        assert len(updates) == number


def test_what_does_not_fit_is_not_chosen() -> None:
    """Only what holds X or W for the first layer fits: the others are passed over; where nothing fits, the machine is too small."""

    def measure(schedule: Schedule) -> Measured:
        if choices(schedule)[0].dw not in (CANDIDATES["dw"][2], SCHEDULES["ws"].choose("", {}, Machine(), True).dw):
            raise UserError("machine", "too small")
        return Measured(10, 0, dict.fromkeys(LAYERS, 3))

    assert measure(best_sequential(Search(LAYERS, Machine(), True, measure))).cycles == 10

    def never(schedule: Schedule) -> Measured:
        raise UserError("machine", "too small")

    with pytest.raises(UserError, match="too small"):
        best_sequential(Search(LAYERS, Machine(), True, never))
