"""Machines of several arrays: gradients against JAX, both engines, and what holds of the cycles."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
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
from compiler.schedule.search import auto
from emulator import Emulator, draw_inputs, timing
from emulator.fast import FastEngine
from gradweave.scheduling import search_for
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


@pytest.mark.parametrize("partition", ["batch", "rows"])
@pytest.mark.parametrize("schedule", ["sequential", "interleaved"])
def test_what_is_executed_at_once_is_what_one_array_computes(schedule: str, partition: str) -> None:
    """The fast engine takes many turns of loops together, in which all arrays take part; loops of few turns it executes one by one."""
    step = training_step(PROGRAMS / "digits_mlp.onnxtxt", batch=64, loss="softmax-cross-entropy", optimizer="sgd:lr=0.1")
    runs = []
    for arrays, skip in ((1, True), (3, True), (3, False)):
        program = lower(step, machine(arrays), schedule=partitioned(SCHEDULES[schedule], partition))
        emulator = Emulator(program)
        engine = emulator._engine = FastEngine(program, skip=skip)
        runs.append((emulator.run(draw_inputs(program, 0)).outputs, engine.steps))
    (one, _), (three, few), (slow, many) = runs
    assert few < 0.75 * many
    for name, value in one.items():
        for other in (three[name], slow[name]):
            np.testing.assert_allclose(other, value, rtol=0, atol=1e-5 * np.abs(value).max(), err_msg=name)


def test_auto_is_no_slower_than_any_schedule_under_any_partition() -> None:
    step = training_step(PROGRAMS / "torch_mlp.onnx", batch=16, loss="softmax-cross-entropy")
    two = machine(2)
    search = search_for(step, two)
    auto(search, fused_update=False)
    assert search.least is not None
    fixed = [name for name in SCHEDULES if name not in ("best-sequential", "auto")]
    others = [lower(step, two, schedule=partitioned(SCHEDULES[name], partition)) for name in fixed for partition in PARTITIONS]
    assert search.least.cycles <= min(timing(other).cycles for other in others)


def test_a_partition_that_there_is_not() -> None:
    with pytest.raises(UserError, match="--partition: unknown partition 'diagonal'; there are auto, none, batch, rows, columns"):
        gradweave.compile(PROGRAMS / "digits_mlp.onnxtxt", batch=4, partition="diagonal")
