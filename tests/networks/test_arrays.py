"""Machines of several arrays: gradients against JAX, both engines, and what holds of the cycles."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from conv_networks import conv_networks
from emulated import conserved, execute, execute_both
from hypothesis import strategies as st
from network_check import check_networks
from random_networks import Case, networks

import gradweave
from compiler.driver import lower, training_step
from compiler.schedule.partition import PARTITIONS
from compiler.schedule.schedules import SCHEDULES, partitioned
from emulator import timing
from isa.errors import UserError
from isa.machine import Array, Dram, Machine, Vector

PROGRAMS = Path(__file__).parents[2] / "programs"


def shared(cases: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    """The same networks on machines of several small arrays."""

    def several(case: Case, side: int, arrays: int, partition: str) -> Case:
        return replace(case, options=replace(case.options, rows=side, cols=max(1, side - 1), arrays=arrays, partition=partition))

    return st.builds(several, cases, st.integers(1, 4), st.sampled_from([2, 3, 4]), st.sampled_from(PARTITIONS))


def test_training_steps_agree_with_jax(network_count: int) -> None:
    check_networks(network_count // 6, execute, cases=shared(networks()))


def test_convolutions_agree_with_jax(network_count: int) -> None:
    check_networks(network_count // 15, execute_both, cases=shared(conv_networks()))


def machine(arrays: int, **parts: object) -> Machine:
    return msgspec.structs.replace(Machine(array=Array(rows=8, cols=8)), arrays=arrays, **parts)


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name not in ("best-sequential", "auto")])
@pytest.mark.parametrize(("model", "batch"), [("digits_mlp.onnxtxt", 32), ("digits_cnn.onnxtxt", 8)])
def test_all_arrays_together_do_the_work_of_one(model: str, batch: int, schedule: str, partition: str) -> None:
    """The same MACs; on a machine where little but the array takes time, more arrays are quicker."""
    step = training_step(PROGRAMS / model, batch=batch, loss="softmax-cross-entropy", optimizer="sgd:lr=0.1,momentum=0.9")
    free = {"dram": Dram(bytes_per_cycle=1e6, latency=0), "vector": Vector(lanes=4096, latency=1)}
    reports = []
    for arrays in (1, 2, 4):
        program = lower(step, machine(arrays, **free), schedule=partitioned(SCHEDULES[schedule], partition))
        reports.append(timing(program))
        conserved(program, reports[-1])
    assert len({report.whole.macs for report in reports}) == 1
    one, two, four = (report.cycles for report in reports)
    assert one == two == four if partition == "none" else four < two < one


def test_a_partition_that_there_is_not() -> None:
    with pytest.raises(UserError, match="--partition: unknown partition 'diagonal'; there are auto, none, batch, rows, columns"):
        gradweave.compile(PROGRAMS / "digits_mlp.onnxtxt", batch=4, partition="diagonal")
