"""Reports are arithmetic: parts add up to the whole, energy is counts times the table, and known counts are known."""

import math
from typing import Any

import layer_programs
import pytest
from hand_programs import Spad, wide_machine
from layer_programs import Plan, Product

from emulator import Emulator, draw_inputs
from emulator.trace import trace_events
from isa.instructions import Queue, When, make
from isa.machine import EnergyTable, Machine
from isa.program import Program, Provenance

REQUIRED = (
    "cycles", "macs", "utilization", "bound_cycles", "dram_bytes", "scratchpad_reads", "scratchpad_writes", "energy_pj", "schedule",
)  # fmt: skip
ADDING = (
    "cycles", "macs", "dram_bytes", "dram_read_bytes", "dram_write_bytes", "scratchpad_reads", "scratchpad_writes",
    "scratchpad_read_bytes", "scratchpad_write_bytes", "vector_ops",
)  # fmt: skip
PLAN = Plan(4, 3, "f32", tuple(Product(kind, 5, 6, 7, relu=True) for kind in ("fwd", "dx+dw", "upd", "dw", "dx")))


def plan_program() -> Program:
    program = layer_programs.build(PLAN)
    program.schedule = "interleaved"
    return program


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    program = plan_program()
    return Emulator(program).run(draw_inputs(program, 1)).report.to_dict()


def test_required_keys_for_the_whole_and_each_layer(figures: dict[str, Any]) -> None:
    assert [layer["layer"] for layer in figures["layers"]] == ["layer0", "layer1", "layer2"]
    for part in (figures, *figures["layers"]):
        assert all(key in part for key in REQUIRED)
        assert part["schedule"] == "interleaved"


def test_layers_add_up_to_the_whole_and_products_to_their_layer(figures: dict[str, Any]) -> None:
    for key in ADDING:
        assert sum(layer[key] for layer in figures["layers"]) == figures[key], key
        for layer in figures["layers"]:
            assert sum(product[key] for product in layer["products"]) == layer[key], key
    for queue, whole in figures["queues"].items():
        assert sum(layer["queues"][queue]["busy"] for layer in figures["layers"]) == whole["busy"]
        assert whole["busy"] + sum(whole["stalls"].values()) + whole["idle"] == figures["cycles"]
    names = [product["product"] for layer in figures["layers"] for product in layer["products"]]
    assert names == ["fwd", "dx+dw", "dx+dw", "dw", "dx"]


def test_accesses_add_up_by_operand_and_by_unit(figures: dict[str, Any]) -> None:
    for table in ("scratchpad_by_operand", "scratchpad_by_unit"):
        assert sum(entry["reads"] for entry in figures[table].values()) == figures["scratchpad_reads"]
        assert sum(entry["write_bytes"] for entry in figures[table].values()) == figures["scratchpad_write_bytes"]


def test_energy_is_counts_times_the_table() -> None:
    program = plan_program()
    table = EnergyTable(source="made up", mac=2.0, scratchpad_byte=3.0, dram_byte=5.0, vector_op=7.0)
    program.machine = Machine(array=program.machine.array, dram=program.machine.dram, vector=program.machine.vector, energy=table)
    figures = Emulator(program).run(draw_inputs(program, 1)).report.to_dict()
    for part in (figures, *figures["layers"]):
        moved = part["scratchpad_read_bytes"] + part["scratchpad_write_bytes"]
        by_level = {"mac": 2 * part["macs"], "scratchpad": 3 * moved, "dram": 5 * part["dram_bytes"], "vector": 7 * part["vector_ops"]}
        assert part["energy_by_level_pj"] == by_level
        assert part["energy_pj"] == sum(by_level.values())
    assert figures["energy_source"] == "made up"


def test_utilization_and_bound(figures: dict[str, Any]) -> None:
    assert figures["utilization"] == figures["macs"] / (4 * 3 * figures["cycles"])
    program = Program("bound", Machine(), {queue: [] for queue in Queue})
    program.provenance = [Provenance("a", "fwd", 0, macs=32 * 32 * 7), Provenance("b", "dw", 1, macs=1, dram_bytes=1000)]
    figures = Emulator(program).run({}).report.to_dict()
    assert figures["bound_cycles"] == math.ceil(1000 / 32)  # 32 bytes a cycle against 8 cycles of MACs
    assert [layer["bound_cycles"] for layer in figures["layers"]] == [7, 32]


def test_known_counts_of_one_forward_tile() -> None:
    """B = 2, K = 3, N = 2 on a 4×4 array; sums enter as 0."""
    spad = Spad(X=(2, 3), W=(3, 2), Y=(2, 2))
    beat = {"h": spad.stream("X", [(3, 1)], [3]), "acc": spad.stream("Y", [(2, 1)], [2])}
    code = {
        Queue.wchain: [make("wload", src=spad.stream("W", [(3, 2), (2, 1)]))],
        Queue.array: [
            make("loop", name="b", count=2),
            make("fwd", **beat, zero=When("first"), swap=When("first", (0,))),
            make("end"),
            make("fwd", **beat),  # once more onto row 0, whose sums are read
        ],
    }
    program = spad.program(wide_machine(4, 4), code)
    figures = Emulator(program).run(draw_inputs(program, 0)).report.to_dict()
    assert figures["macs"] == 3 * 3 * 2
    by_operand = figures["scratchpad_by_operand"]
    assert by_operand["X"] == {"reads": 9, "writes": 0, "read_bytes": 36, "write_bytes": 0}
    assert by_operand["W"] == {"reads": 6, "writes": 0, "read_bytes": 24, "write_bytes": 0}
    assert by_operand["Y"] == {"reads": 2, "writes": 6, "read_bytes": 8, "write_bytes": 24}
    words = 6 + 6 + 4
    assert by_operand["none"] == {"reads": words, "writes": words, "read_bytes": 4 * words, "write_bytes": 4 * words}
    assert figures["dram_read_bytes"] == figures["dram_write_bytes"] == 4 * words


@pytest.mark.parametrize("engine", ["fast", "stepped"])
def test_trace_spans_what_the_queues_did(engine: Any) -> None:
    program = plan_program()
    result = Emulator(program, engine).run(draw_inputs(program, 1), trace=True)
    assert result.slices is not None
    trace = trace_events(program, result.slices)
    tracks = {event["tid"]: event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
    assert list(tracks.values()) == [queue.name for queue in Queue]
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert all(event["ts"] >= 0 and event["ts"] + event["dur"] <= result.report.cycles for event in spans)
    loads = [event for event in spans if event["name"] == "layer0 fwd: wload"]
    assert len(loads) == math.ceil(6 / 4) * math.ceil(7 / 3)
    assert {event["dur"] for event in loads} == {4}, "R steps"


def test_no_trace_unless_asked_for() -> None:
    program = plan_program()
    assert Emulator(program).run(draw_inputs(program, 1)).slices is None


def test_area_is_what_the_machine_file_says(figures: dict[str, Any]) -> None:
    assert not {"area_mm2", "cycles_mm2"} & figures.keys(), "not given"
    program = plan_program()
    program.machine = Machine(array=program.machine.array, dram=program.machine.dram, vector=program.machine.vector, area_mm2=2.5)
    found = Emulator(program).run(draw_inputs(program, 1)).report.to_dict()
    assert (found["area_mm2"], found["cycles_mm2"]) == (2.5, 2.5 * figures["cycles"])
