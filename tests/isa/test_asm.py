"""The assembly by example: its text, what it means, and its error messages."""

from dataclasses import replace

import pytest

from isa.asm import assemble, disassemble
from isa.binary import write_program
from isa.dtypes import DType
from isa.errors import UserError
from isa.instructions import ALWAYS, HELD, IMM, Queue, When, make
from isa.machine import Machine
from isa.program import Program, Provenance, Semaphore
from isa.stream import Dim, Operand, Ring, Space, Stream
from isa.stream_syntax import format_stream, parse_stream

ARRAY_QUEUE = """\
.queue array                            ; the beats of the array, 6 instructions
  @0                                    ; fc1 · dx+dw · Gemm
  wait   x.full
  loop   b, 3
    dx     v=dY@spad.f32[dY + 8*b] x2 acc=dX@spad.f32[dX + 16*b] x4 zero swap.first(b)
    dw     h=X@spad.f32[X + 16*b] x4  v=held                        take.last(b)
  end
  signal dx.full
"""

HEAD = '.program "p"\n.machine name = "32x32"\n.semaphore go\n'

STREAMS = {
    "@spad.f32[0] x32": Stream(Space.spad, DType.f32, 0, (Dim(32, 4),)),
    "X@dram.bf16[64 + 512*n - 2*b] x8:128 x32": Stream(Space.dram, DType.bf16, 64, (Dim(8, 128), Dim(32, 2)), (512, -2), operand=Operand.X),
    "dY@spad.i8[y@96 + b] x4 x32/100@n": Stream(
        Space.spad, DType.i8, 96, (Dim(4, 32), Dim(32, 1, 100, 0)), (0, 1), operand=Operand.dY, symbol="y"
    ),
    "@spad.f32[0 + 64*(n mod 2)] x1": Stream(Space.spad, DType.f32, 0, (Dim(1, 4),), (), Ring(2, 64, 0, (1,))),
    "@spad.f32[0 + 4096*((1 + n - 2*%2) mod 3)] x1:0": Stream(Space.spad, DType.f32, 0, (Dim(1, 0),), (), Ring(3, 4096, 1, (1, 0, -2))),
    '@spad.f16["a b"@-8] x2': Stream(Space.spad, DType.f16, -8, (Dim(2, 2),), symbol="a b"),
}


def test_an_interleaved_tile_is_two_lines_in_a_loop(tile: Program) -> None:
    assert ARRAY_QUEUE in disassemble(tile)


def test_provenance_stands_beside_an_instruction_that_is_alone_with_it(tile: Program) -> None:
    tile.provenance += [Provenance("fc1", "dx", 0), Provenance("fc1", "dw", 0)]
    code = tile.queues[Queue.array]
    code[2], code[3] = replace(code[2], provenance=1), replace(code[3], provenance=2)
    text = disassemble(tile)
    assert "zero swap.first(b) @1 ; fc1 · dx\n" in text
    assert "take.last(b)       @2 ; fc1 · dw\n  end\n  signal dx.full\n" in text
    assert assemble(text, "x.s") == tile


@pytest.mark.parametrize("text", STREAMS)
def test_streams(text: str) -> None:
    loops = ["n", "b", ""]
    assert parse_stream(text, loops) == STREAMS[text]
    assert format_stream(STREAMS[text], loops) == text


def test_addresses_are_relative_to_known_symbols() -> None:
    symbols = {(Space.spad, "h1"): 4096}
    stream = Stream(Space.spad, DType.f32, 4160, (Dim(2, 4),), (8,), symbol="h1")
    assert format_stream(stream, ["n"], symbols) == "@spad.f32[h1 + 64 + 8*n] x2"
    assert parse_stream("@spad.f32[h1 + 64 + 8*n] x2", ["n"], symbols) == stream


def test_every_kind_of_field_can_be_written_by_hand() -> None:
    program = assemble(
        HEAD
        + """
.queue vector
  loop n, 4             ; a comment
    loop 2/7@n
      vec leaky_relu dst=@spad.f32[0 + 4*%1] x1 a=imm imm=-0.5
      red max dst=@spad.f32[0] x2:0 a=@spad.f32[8] x2
    end
  end
  wait go
.queue array
  upd lr=1e-2 decay=inf swap
  dw h=held v=held take.last()
""",
        "x.s",
    )
    word, total = Stream(Space.spad, DType.f32, 0, (Dim(1, 4),), (0, 4)), Stream(Space.spad, DType.f32, 0, (Dim(2, 0),))
    assert program.queues[Queue.vector] == [
        make("loop", name="n", count=4),
        make("loop", name="", count=2, limit=7, level=0),
        make("vec", fn="leaky_relu", dst=word, a=IMM, imm=-0.5),
        make("red", fn="max", dst=total, a=Stream(Space.spad, DType.f32, 8, (Dim(2, 4),))),
        make("end"),
        make("end"),
        make("wait", sem=0),
    ]
    lr = 0.009999999776482582  # the fp32 number next to 0.01
    assert program.queues[Queue.array] == [
        make("upd", lr=lr, decay=float("inf"), swap=ALWAYS),
        make("dw", h=HELD, v=HELD, take=When("last")),
    ]
    assert program.machine == Machine()
    assert program.semaphores == [Semaphore("go")]


@pytest.mark.parametrize("number", ["0.1", "-0.01", "1e-05", "0.33333334", "1.6777216e+07", "3.4028235e+38", "1e-45", "-0.0", "inf"])
def test_immediates_are_printed_as_the_shortest_decimal(number: str) -> None:
    text = disassemble(assemble(f"{HEAD}.queue array\n  upd lr={number} decay={number}\n", "x.s"))
    assert f"upd    lr={number} decay={number}\n" in text


def test_loops_of_one_name_are_told_apart_by_level() -> None:
    stream = Stream(Space.spad, DType.f32, 0, (Dim(1, 4),), (8, 4))
    assert format_stream(stream, ["n", "n"]) == "@spad.f32[0 + 8*%0 + 4*%1] x1"
    with pytest.raises(UserError, match="more than one loop around this is called `n`; there are: %0, %1"):
        parse_stream("@spad.f32[0 + n] x1", ["n", "n"])


MISTAKES = {
    ".queue array\n  nop": "x.s:5:3: no instruction `nop`; there are: loop, end, wait",
    ".queue array\n  dw h=held": "x.s:5:3: `dw` needs v",
    ".queue array\n  dw h=held h=held v=held": "x.s:5:13: a second h",
    ".queue array\n  dw h=held v=held stop": "x.s:5:20: found `stop`, expected of `dw`: h=, v=, swap, take",
    ".queue array\n  dw h=held v=held take.once": "x.s:5:20: found `take.once`, expected a flag such as",
    ".queue array\n  dw h=@spad.f32[0 + 4*b] x1 v=held": "x.s:5:24: no loop around this is called `b`; there are: none",
    ".queue array\n  dw h=@spad.f64[0] x1 v=held": "x.s:5:9: found `spad.f64`, expected dram/spad, a dot and f32/bf16/f16/i32/i8",
    ".queue array\n  dw h=@spad.f32[W] x1 v=held": "x.s:5:18: no symbol W in spad; write W@ADDRESS",
    ".queue array\n  dw h=Z@spad.f32[0] x1 v=held": "x.s:5:8: no operand `Z`; there are: none, X, W, Y, dX, dW, dY",
    ".queue array\n  dw h=@spad.f32[0 x1 v=held": "x.s:5:20: found `x1`, expected `+`, `-`, `]`",
    ".queue array\n  wait stop": "x.s:5:8: no semaphore stop",
    ".queue array\n  end": "x.s:5:3: end without a loop",
    ".queue array\n  loop n, 2\n": "x.s:5:11: a loop without an end",
    ".queue array\n" + "loop 2\n" * 13: "x.s:17:6: more than 12 loops inside each other",
    ".queue array\n  loop n, 4294967296\n  end": "x.s:5:11: count: 4294967296 does not fit into 32 bits",
    ".queue array\n  loop much, 2\n  end\n  loop toomuch, 2\n  end": "x.s:7:17: name: a loop's name is at most four",
    ".queue array\n  upd lr=nan": "x.s:5:10: found `nan`, expected an fp32 number",
    ".queue array\n  upd lr=1e99": "x.s:5:10: found `1e99`, expected an fp32 number",
    ".queue gpu": "x.s:4:8: no queue `gpu`; there are: dma_in, dma_out, wchain, array, gchain, vector",
    ".queue array\n.queue array": "x.s:5:8: a second .queue array",
    ".queue array\n@0": "x.s:5:1: no provenance 0; there are 0",
    "  upd lr=1": "x.s:4:3: an instruction before the first .queue",
    ".semaphore go": "x.s:4:12: a second semaphore go",
    ".symbol w = weight dram.f32[0] (2)": "x.s: symbol 'w': no such kind 'weight'",
    ".data 0\n|AAA": "x.s:5:1: not base64",
    "|AAAA": "x.s:4:1: a line of data without .data",
    '.program "again"': "x.s:4:1: a second .program",
    ".machine array.rows = 0": "x.s:2: .machine: not a machine file: Expected `int` >= 1 - at `$.array.rows`",
    "?": "x.s:4:1: found `?`, expected",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_with_line_and_column(mistake: str) -> None:
    with pytest.raises(UserError) as caught:
        assemble(HEAD + mistake, "x.s")
    assert MISTAKES[mistake] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("line", HEAD.splitlines()[:2])
def test_program_and_machine_are_needed(line: str) -> None:
    with pytest.raises(UserError, match=rf"x.s: no {line.split()[0]} in the text"):
        assemble(HEAD.replace(line + "\n", ""), "x.s")


TOO_MUCH = {
    "semaphores": (Program("p", Machine(), {}, [Semaphore(str(n)) for n in range(1025)]), "1025 semaphores, at most 1024"),
    "streams": (
        Program("p", Machine(), {Queue.wchain: [
            make("wload", src=Stream(Space.spad, DType.f32, 4 * n, (Dim(1, 4),))) for n in range(65535)
        ]}), "65535 different streams, at most 65534"),
    "loops": (Program("p", Machine(), {Queue.array: [make("loop", name="", count=1)] * 13}), "more than 12 loops inside each other"),
    "count": (Program("p", Machine(), {Queue.array: [make("loop", name="", count=1 << 32), make("end")]}), "does not fit into 32 bits"),
    "nan": (Program("p", Machine(), {Queue.array: [make("upd", lr=float("nan"))]}), "an immediate cannot be NaN"),
    "origin": (Program("p", Machine(), {Queue.array: [make("upd", lr=0.0, provenance=0)]}), "is not in the table of 0"),
}  # fmt: skip


@pytest.mark.parametrize("limit", TOO_MUCH)
def test_limits_of_the_encoding_are_told(limit: str) -> None:
    program, message = TOO_MUCH[limit]
    with pytest.raises(UserError, match=r"^program 'p': .*") as caught:
        write_program(program)
    assert message in str(caught.value)
