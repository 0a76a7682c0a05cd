"""What a machine's parts are worth: less of one never helps, and never costs more than the work that it does."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from compiler.driver import TrainingStep, lower, training_step
from compiler.schedule.schedules import SCHEDULES
from emulator import timing
from emulator.report import Report
from isa.instructions import Queue
from isa.machine import Machine

PROGRAMS = Path(__file__).parents[2] / "programs"
FIXED = [name for name in SCHEDULES if name not in ("best-sequential", "auto")]
MODELS = [("digits_mlp.onnxtxt", 32), ("digits_mlp.onnxtxt", 256), ("deep_mlp.onnxtxt", 16), ("digits_cnn.onnxtxt", 32)]


@dataclass(frozen=True)
class Case:
    """One training step under one schedule."""

    step: TrainingStep
    schedule: str

    def report(self, **parts: object) -> Report:
        """Figures on the default machine with some parts replaced."""
        return timing(lower(self.step, msgspec.structs.replace(Machine(), **parts), schedule=self.schedule))


@pytest.fixture(params=[(model, batch, name) for model, batch in MODELS for name in FIXED], ids=lambda p: f"{p[0]}-{p[1]}-{p[2]}")
def case(request: pytest.FixtureRequest) -> Case:
    model, batch, schedule = request.param
    step = training_step(PROGRAMS / model, batch=batch, loss="softmax-cross-entropy", optimizer="sgd:lr=0.1")
    return Case(step, schedule)


def busy(report: Report, *queues: Queue) -> int:
    return sum(int(report.whole.busy[queue]) for queue in queues)


def test_half_the_bandwidth_takes_at_most_twice_as_long(case: Case) -> None:
    """As on a machine all of which is half as fast.

    It can be a little more than the transfers' own time: which of two transfers has the channel first is another matter when they take
    longer, and what waits for the one may have longer to wait.
    """
    dram = Machine().dram
    reports = [case.report(dram=msgspec.structs.replace(dram, bytes_per_cycle=dram.bytes_per_cycle / by)) for by in (1, 2, 4)]
    for more, less in pairwise(reports):
        assert busy(less, Queue.dma_in, Queue.dma_out) > busy(more, Queue.dma_in, Queue.dma_out)
        assert more.cycles <= less.cycles <= 2 * more.cycles


def test_less_latency_never_costs(case: Case) -> None:
    dram = Machine().dram
    near, far = (case.report(dram=msgspec.structs.replace(dram, latency=latency)) for latency in (0, 100))
    assert near.cycles <= far.cycles


def test_fewer_lanes_cost_at_most_the_vector_units_own_time(case: Case) -> None:
    vector = Machine().vector
    more, less = (case.report(vector=msgspec.structs.replace(vector, lanes=lanes)) for lanes in (32, 16))
    assert more.cycles <= less.cycles <= more.cycles + busy(less, Queue.vector) - busy(more, Queue.vector)


def test_a_quarter_of_the_array_takes_at_most_four_times_as_long(case: Case) -> None:
    """Four tiles for each one, none of which takes longer than it did; what bounds the step below is four times the MACs' time."""
    array = Machine().array
    large, small = (case.report(array=msgspec.structs.replace(array, rows=side, cols=side)) for side in (32, 16))
    assert small.whole.macs == large.whole.macs
    assert small.cycles <= 4 * large.cycles
    assert small.cycles >= -(-small.whole.macs // 256)
