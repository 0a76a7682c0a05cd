"""Several arrays, by hand: Y = X·W of 3 rows, 2 inputs and 2 outputs, one output an array, or both on one array after the other."""

import re
from typing import Any

import numpy as np
import pytest

from emulator import Emulator, timing
from emulator.run import Engine
from emulator.trace import trace_events
from isa.asm import assemble, disassemble
from isa.binary import read_program, write_program
from isa.check import check
from isa.errors import UserError
from isa.instructions import Queue

HEAD = """
.program "columns"
.machine arrays = {arrays}
.machine array = {{ rows = 2, cols = 1 }}
.machine dram = {{ bytes_per_cycle = 4.0, latency = 0 }}
.dram 64
.semaphore x
.semaphore x.1
.semaphore w
.semaphore w.1
.semaphore y
.semaphore y.1
.symbol x = input dram.f32[0] (3, 2)
.symbol w = input dram.f32[24] (2, 2)
.symbol y = output dram.f32[40] (3, 2)
.queue dma_in
  ld dst=@spad.f32[0] x6 src=@dram.f32[x] x6                    ; cycles 0 to 5
  signal x                                                      ; seen from 7
{more}
  ld dst=@spad.f32[64] x2 src=@dram.f32[w] x2:8                 ; 6 and 7
  signal w                                                      ; seen from 9
  ld dst=@spad.f32[72] x2 src=@dram.f32[w + 4] x2:8             ; 8 and 9
  signal {second}                                               ; seen from 11
"""
BEATS = """
  loop b, 3
    fwd h=@spad.f32[0 + 8*b] x2 acc=@spad.f32[{y} + 8*b] x1 zero swap.first(b)
  end
"""
TWO = (
    HEAD.format(arrays=2, more="  signal x.1", second="w.1")
    + f"""
.queue wchain
  wait w
  wload src=@spad.f32[64] x2 x1                                 ; 9: an exchange from 11 on
.queue wchain.1
  wait w.1
  wload src=@spad.f32[72] x2 x1                                 ; 11: an exchange from 13 on
.queue array
  wait x {BEATS.format(y=128)}                                  ; 11, 12, 13: done in 15
  signal y                                                      ; seen from 15
.queue array.1
  wait x.1 {BEATS.format(y=132)}                                ; 13, 14, 15: done in 17
  signal y.1                                                    ; seen from 17
.queue dma_out
  wait y
  wait y.1
  st dst=@dram.f32[y] x6 src=@spad.f32[128] x6                  ; 17 to 22
"""
)
ONE = (
    HEAD.format(arrays=1, more="", second="w")
    + f"""
.queue wchain
  wait w
  wload src=@spad.f32[64] x2 x1                                 ; 9
  wait w
  wload src=@spad.f32[72] x2 x1                                 ; 12, after the exchange: the next from 14 on
.queue array
  wait x {BEATS.format(y=128)} {BEATS.format(y=132)}            ; 11 to 13, 14 to 16: done in 18
  signal y                                                      ; seen from 18
.queue dma_out
  wait y
  st dst=@dram.f32[y] x6 src=@spad.f32[128] x6                  ; 18 to 23
"""
)


@pytest.mark.parametrize("engine", ["fast", "stepped"])
@pytest.mark.parametrize(("text", "cycles", "busy"), [(TWO, 23, {"array": 3, "array.1": 3}), (ONE, 24, {"array": 6})])
def test_as_counted_by_hand(text: str, cycles: int, busy: dict[str, int], engine: Engine) -> None:
    program = assemble(text, "columns")
    check(program, "columns")
    x, w = np.arange(6.0).reshape(3, 2), np.array([[1.0, 10.0], [100.0, 1000.0]])
    result = Emulator(program, engine).run({"x": x, "w": w})
    np.testing.assert_array_equal(result.outputs["y"], x @ w)
    report = result.report.to_dict()
    assert report["cycles"] == cycles == timing(program).cycles
    assert {name: figures["busy"] for name, figures in report["queues"].items() if name.startswith("array")} == busy
    assert report["macs"] == 12
    assert report["utilization"] == 12 / (cycles * 2 * len(busy)), "of the MACs that all arrays could have done"


def test_binary_and_assembly_are_the_same_program() -> None:
    program = assemble(TWO, "columns")
    binary = write_program(program)
    again = read_program(binary, "columns")
    assert again == program
    text = disassemble(again)
    assert [line.split()[1] for line in text.splitlines() if line.startswith(".queue")] == [
        "dma_in", "dma_out", "wchain", "array", "wchain.1", "array.1",
    ]  # fmt: skip
    assert write_program(assemble(text, "columns")) == binary


def test_the_trace_has_a_track_for_each_queue() -> None:
    program = assemble(TWO, "columns")
    slices = Emulator(program).run({"x": np.zeros((3, 2)), "w": np.zeros((2, 2))}, trace=True).slices
    events: list[dict[str, Any]] = trace_events(program, slices or [])["traceEvents"]
    tracks = {event["args"]["name"]: event["tid"] for event in events if event["name"] == "thread_name"}
    assert len(tracks) == 9
    spans = {tid: (event["ts"], event["dur"]) for event in events if event["ph"] == "X" for tid in [event["tid"]]}
    assert spans[tracks["array"]] == (11, 3)
    assert spans[tracks["array.1"]] == (13, 3)


def wrong(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (wrong(TWO, ("arrays = 2", "arrays = 1")), r"queue wchain\.1: the machine's arrays are 1"),
        (wrong(TWO, ("arrays = 2", "arrays = 9")), r"arrays"),
        (wrong(TWO, (".queue array.1", ".queue array.8")), r"no queue `array\.8`; .* wchain\.1, array\.1, gchain\.1 to 7"),
        (wrong(TWO, ("[132 + 8*b]", "[128 + 8*b]")), r"writes what array 2: .* writes, and nothing orders the two"),
        (wrong(TWO, ("  wait y.1\n", "")), r"reads what array\.1 2: .* writes, and nothing orders the two"),
        (wrong(TWO, ("  wload src=@spad.f32[72] x2 x1", "")), r"array\.1 .*: deadlock: waits for the load of the weights"),
        (wrong(ONE, ("  wait x ", "  wait x\n dw h=@spad.f32[0] x2 v=@spad.f32[0] x1 take\n")), r"1 × take, but 0 × drain"),
        (wrong(TWO, ("  wait x.1 ", "  wait x.1\n dw h=@spad.f32[0] x2 v=@spad.f32[0] x1 take\n")), r"1 × take of array 1, but 0 × drain"),
    ],
)  # fmt: skip
def test_what_cannot_be_right(text: str, message: str) -> None:
    with pytest.raises(UserError) as found:
        check(assemble(text, "columns"), "columns")
    assert re.search(message, str(found.value)), str(found.value)


def test_queues_are_units_with_a_number() -> None:
    third = Queue.array.of(2)
    assert (third.name, third.unit, third.number, third.shared, int(third)) == ("array.2", Queue.array, 2, False, 10)
    assert third is Queue(10) is third.unit.of(2)
    assert Queue.vector.of(2) is Queue.vector
    with pytest.raises(ValueError, match="27 is not a valid Queue"):
        Queue(27)
