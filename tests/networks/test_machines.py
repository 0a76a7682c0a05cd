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
from isa.machine import Machine, Scratchpad

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


def ports(banks: int, read_ports: int, write_ports: int) -> Scratchpad:
    return msgspec.structs.replace(Machine().scratchpad, banks=banks, read_ports=read_ports, write_ports=write_ports)


def waits(report: Report) -> int:
    """Cycles for which queues wait for what others use."""
    causes = [report.causes.index(cause) for cause in ("DRAM channel", "scratchpad ports")]
    return int(report.whole.stalls[:, causes].sum())


def test_ports_that_all_units_can_use_at_once_are_as_good_as_any(case: Case) -> None:
    """A beat reads two operands, a vector instruction three, dma_out and wchain one each; each of four units writes one."""
    figures = [case.report(scratchpad=ports(banks, 7, 4)).to_dict() for banks in (1, 4)]
    assert figures == [case.report().to_dict()] * 2


def test_fewer_ports_cost_at_most_what_is_waited_for(case: Case) -> None:
    """What an instruction waits for is another's end, a port or the channel; all but the latter two it waits for with any ports.

    So a run is longer than with ports enough by no more than these waits and what instructions themselves take longer.  It could be
    quicker (`test_fewer_ports_can_be_quicker`), but none of these is.
    """
    enough = case.report()
    queues = tuple(Queue)
    for banks, read_ports, write_ports in ((1, 3, 2), (1, 2, 1), (1, 1, 1), (4, 1, 1)):
        few = case.report(scratchpad=ports(banks, read_ports, write_ports))
        assert enough.cycles <= few.cycles <= enough.cycles + waits(few) + busy(few, *queues) - busy(enough, *queues)
        assert (few.whole.macs, few.whole.words.tolist()) == (enough.whole.macs, enough.whole.words.tolist())
        if banks == 1:
            assert busy(few, Queue.wchain, Queue.dma_out) <= read_ports * few.cycles, "each has a port for as long as it is busy"
            assert busy(few, Queue.dma_in, Queue.gchain, Queue.vector) <= write_ports * few.cycles


def test_as_many_ports_in_more_banks_cost_no_more(case: Case) -> None:
    one, two, four = (case.report(scratchpad=ports(banks, 1, 1)) for banks in (1, 2, 4))
    assert four.cycles <= two.cycles <= one.cycles


def test_a_quarter_of_the_array_takes_at_most_four_times_as_long(case: Case) -> None:
    """Four tiles for each one, none of which takes longer than it did; what bounds the step below is four times the MACs' time."""
    array = Machine().array
    large, small = (case.report(array=msgspec.structs.replace(array, rows=side, cols=side)) for side in (32, 16))
    assert small.whole.macs == large.whole.macs
    assert small.cycles <= 4 * large.cycles
    assert small.cycles >= -(-small.whole.macs // 256)
