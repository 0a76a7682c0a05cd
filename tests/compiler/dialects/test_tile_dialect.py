"""The tile dialect: text that round-trips, and what its verifier rejects."""

import pytest
from ir_text import parse
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.machine import machine_attr
from compiler.dialects.tile import Tile
from isa.machine import Machine

# Every operation of the dialect, each optional part at least once there and once not.
PROGRAM = f"""builtin.module {{
  tile.program @m slots 2 schedule "interleaved" machine {machine_attr(Machine())} {{
    %w = tile.buffer "w.tiles" ring 2 at 64 : memref<32x32xf32, "spad">
    %g = tile.buffer "g.tiles" ring 2 : memref<32x32xf32, "spad">
    %0 = tile.tensor "input" "x" at 128 : memref<5x4xf32, "dram">
    %1 = tile.tensor "param" "fc.w" : memref<4x3xf32, "dram">
    %2 = tile.tensor "input" "labels" classes 3 ignored -100 : memref<5xi32, "dram">
    %3 = tile.tensor "constant" "c" value dense<1.000000e+00> : tensor<3xf32> : memref<3xf32, "dram">
    %4 = tile.buffer "x" : memref<5x4xf32, "spad">
    %5 = tile.buffer "dY" : memref<5x3xf32, "spad">
    %6 = tile.buffer "dX" : memref<5x4xf32, "spad">
    %row = tile.buffer "row" : memref<1x4xf32, "spad">
    %p = tile.buffer "p.tiles" ring 2 : memref<32x32xf32, "spad">
    tile.copy %0 to %4 layer "fc" product "vector" : memref<5x4xf32, "dram"> to memref<5x4xf32, "spad">
    tile.copy %6 to %0 layer "fc" product "vector" : memref<5x4xf32, "spad"> to memref<5x4xf32, "dram">
    %7 = tile.view %4 : memref<5x4xf32, "spad"> to memref<20xf32, "spad">
    tile.map "exp"(%4) to %6 layer "fc" product "vector" : (memref<5x4xf32, "spad">) to memref<5x4xf32, "spad">
    tile.map "sub"(%4) imm 1.000000e+00 at [0 : i64] to %6 layer "fc" product "vector" : (memref<5x4xf32, "spad">) to memref<5x4xf32, "spad">
    %8 = tile.buffer "sum" : memref<5x1xf32, "spad">
    tile.reduce "sum" %4 to %8 layer "fc" product "vector" : memref<5x4xf32, "spad"> to memref<5x1xf32, "spad">
    %9 = tile.buffer "xT" : memref<4x5xf32, "spad">
    tile.transpose %4 perm [1 : i64, 0 : i64] to %9 layer "fc" product "vector" : memref<5x4xf32, "spad"> to memref<4x5xf32, "spad">
    %part = tile.slice %4 from [1 : i64, 0 : i64] by [2 : i64, 1 : i64] : memref<5x4xf32, "spad"> to memref<2x4xf32, "spad">
    tile.pool "sum" %4 kernel [5 : i64, 1 : i64] strides [1 : i64, 1 : i64] dilations [1 : i64, 1 : i64] to %row layer "p" product "vector" : memref<5x4xf32, "spad"> to memref<1x4xf32, "spad">
    tile.pool_grad "sum"(%row) kernel [5 : i64, 1 : i64] strides [1 : i64, 1 : i64] dilations [1 : i64, 1 : i64] to %6 layer "p" product "vector" : (memref<1x4xf32, "spad">) to memref<5x4xf32, "spad">
    %10 = tile.tensor "scratch" "grad/fc.w" : memref<4x3xf32, "dram">
    %11 = tile.buffer "panels" ring 2 : memref<5x4xf32, "spad">
    tile.blocks 5 slots 2 layer "a" product "vector" {{
      %block = tile.window %0 axis 0 : memref<5x4xf32, "dram"> to memref<1x4xf32, "dram">
      tile.copy %block to %row layer "a" product "vector" : memref<1x4xf32, "dram"> to memref<1x4xf32, "spad">
    }}
    tile.nest rows "k" cols "n" stream "b" layer "fc" product "dx+dw" macs 120 {{
      tile.for "k" to 4 step 32 {{
        tile.stage "in" %0 "bk" as "X" panel %11 by "k" : memref<5x4xf32, "dram">, memref<5x4xf32, "spad">
        tile.for "n" to 3 step 32 {{
          tile.resident %1 "kn" as "W" through %w : memref<4x3xf32, "dram">, memref<32x32xf32, "spad">
          tile.for "b" to 5 step 1 {{
            tile.beat "dx" computes "dx" over "n"(%5 "bn" as "dY", %6 "bk" as "dX") : memref<5x3xf32, "spad">, memref<5x4xf32, "spad">
            tile.beat "dw" computes "dw"(%11 "bk" as "X", %5 "bn" as "dY") : memref<5x4xf32, "spad">, memref<5x3xf32, "spad">
          }}
          tile.update lr 1.000000e-01 decay 0.000000e+00
          tile.drain %1 "kn" as "W" through %g : memref<4x3xf32, "dram">, memref<32x32xf32, "spad">
        }}
      }}
      tile.resident %6 "bk" as "dX" : memref<5x4xf32, "spad">
      tile.drain %6 "bk" as "dX" : memref<5x4xf32, "spad">
      tile.drain %10 "kn" as "dW" through %g, %p : memref<4x3xf32, "dram">, memref<32x32xf32, "spad">, memref<32x32xf32, "spad">
    }}
    %panels = tile.buffer "Y.panels" ring 2 : memref<5x2xf32, "spad">
    %bias = tile.buffer "bias" : memref<1x4xf32, "spad">
    tile.nest rows "k" cols "n" stream "b" layer "fc" product "fwd" macs 120 {{
      tile.for "n" to 4 step 2 {{
        tile.epilogue %panels "bn" as "Y" by "n" : memref<5x2xf32, "spad"> {{
          %piece = tile.piece %bias "an" by "n" : memref<1x4xf32, "spad"> to memref<1x2xf32, "spad">
          tile.map "add"(%panels, %piece) to %panels layer "fc" product "vector" : (memref<5x2xf32, "spad">, memref<1x2xf32, "spad">) to memref<5x2xf32, "spad">
        }}
      }}
      tile.epilogue zeroed %6 "bk" as "dX" by "" : memref<5x4xf32, "spad"> {{
        tile.map "exp"(%6) to %6 layer "fc" product "vector" : (memref<5x4xf32, "spad">) to memref<5x4xf32, "spad">
      }}
    }}
    tile.nest rows "k" cols "n" stream "b" layer "fc" product "dw" macs 0 {{
      tile.preload %0 "bk" as "velocity" times 9.000000e-01 through %g : memref<5x4xf32, "dram">, memref<32x32xf32, "spad">
      tile.update lr 1.000000e-01 decay 0.000000e+00 velocity
      tile.drain_weights %1 "kn" as "W" through %g : memref<4x3xf32, "dram">, memref<32x32xf32, "spad">
    }}
    tile.nest rows "k" cols "n" stream "b" layer "fc" product "dw" macs 60 arrays 2 by "b" {{
      tile.for "b" to 5 step 1 {{
        tile.beat "dw" computes "dw"(%11 "bk" as "X", %5 "bn" as "dY") : memref<5x4xf32, "spad">, memref<5x3xf32, "spad">
      }}
      tile.drain %10 "kn" as "dW" through %g, %w, %p : memref<4x3xf32, "dram">, memref<32x32xf32, "spad">, memref<32x32xf32, "spad">, memref<32x32xf32, "spad">
    }}
    %12 = tile.buffer "update.grad" ring 2 : memref<12xf32, "spad">
    %13 = tile.buffer "update.weight" ring 2 : memref<12xf32, "spad">
    tile.sgd %10 with(%1, %12, %13) lr 1.000000e-01 momentum 0.000000e+00 decay 0.000000e+00 layer "fc.w" product "update" : memref<4x3xf32, "dram"> with(memref<4x3xf32, "dram">, memref<12xf32, "spad">, memref<12xf32, "spad">)
    tile.publish "param/fc.w" %1 : memref<4x3xf32, "dram">
  }}
}}"""  # noqa: E501


def test_text_round_trips() -> None:
    text = str(parse(PROGRAM))
    assert str(parse(text)) == text
    # What was written is there again, value names apart: nothing is lost on the way in.
    assert [line.split()[0] for line in text.splitlines() if "=" not in line] == [
        line.split()[0] for line in PROGRAM.splitlines() if "=" not in line
    ]
    words = (
        "ring 2 at 64", "at 128", "classes 3 ignored -100", "dense<1.000000e+00>", "imm 1.000000e+00 at [0 : i64]", 'by "k"',
        'arrays 2 by "b"', "axis 0",
    )  # fmt: skip
    for word in words:
        assert word in text


def test_the_example_has_every_operation() -> None:
    assert {op.name for op in Tile.operations} == {op.name for op in parse(PROGRAM).walk()} - {"builtin.module"}


VALUES = """
  %slot = tile.buffer "w.tiles" ring 2 : memref<32x32xf32, "spad">
  %x = tile.buffer "x" : memref<5x4xf32, "spad">
  %y = tile.buffer "y" : memref<5x3xf32, "spad">
  %far = tile.tensor "input" "far" : memref<5x4xf32, "dram">
"""
SPAD, DRAM, OTHER, SLOT = (f'memref<{t}">' for t in ("5x4xf32, \"spad", "5x4xf32, \"dram", "5x3xf32, \"spad", "32x32xf32, \"spad"))
UPDATE = "tile.update lr 0.1 decay 0.0"
LOAD = f'tile.resident %far "bk" as "X" through %slot{{}} : {DRAM},'
STORE = f'tile.drain %far "bk" as "dX" through %slot{{}} : {DRAM},'
PART, ROW = 'memref<2x4xf32, "spad">', 'memref<1x4xf32, "spad">'
NEST = 'tile.nest rows "b" cols "k" stream "n" layer "fc" product "fwd" macs 9 arrays 2 by'
WINDOW = "kernel [1, 2] strides [1, 1] dilations [1, 1]"
END = 'layer "fc" product "vector"'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f'%0 = tile.tensor "input" "a" : {SPAD}', "tile.tensor lies in dram"),
        (f'%0 = tile.buffer "a" : {DRAM}', "tile.buffer lies in spad"),
        (f"%0 = tile.slice %x from [1, 0] by [2, 1] : {SPAD} to {PART}", None),
        (f"%0 = tile.slice %x from [4, 3] by [-2, -1] : {SPAD} to {PART}", None),
        (f"%0 = tile.slice %x from [4, 0] by [2, 1] : {SPAD} to {PART}", "the slice leaves the tensor"),
        (f"%0 = tile.slice %x from [1, 0] by [-2, 1] : {SPAD} to {PART}", "the slice leaves the tensor"),
        (f"%0 = tile.slice %x from [1, 0] by [0, 1] : {SPAD} to {PART}", "the slice leaves the tensor"),
        (f"%0 = tile.slice %x from [1] by [2, 1] : {SPAD} to {PART}", "one entry for each dimension"),
        (f'tile.pool_grad "max"(%y) {WINDOW} to %x {END} : ({OTHER}) to {SPAD}', "takes X, Y, dY and two buffers for a maximum"),
        (f'tile.pool_grad "sum"(%y, %y) {WINDOW} to %x {END} : ({OTHER}, {OTHER}) to {SPAD}', "dY for a sum"),
        (f'tile.blocks 5 slots 2 {END} {{ %0 = tile.window %x axis 0 : {SPAD} to {ROW} }}', None),
        (f'tile.blocks 3 slots 2 {END} {{ %0 = tile.window %x axis 0 : {SPAD} to {PART} }}', "3 blocks of 2 are not 5 entries"),
        (f"%0 = tile.window %x axis 2 : {SPAD} to {PART}", "axis 2 is no dimension"),
        (f"%0 = tile.window %x axis 1 : {SPAD} to {PART}", "a window has all of every other dimension"),
        (f'tile.publish "a" %x : {SPAD}', "expected a tensor in dram"),
        (f"tile.copy %x to %x {END} : {SPAD} to {SPAD}", "one memory to the other"),
        (f'tile.map "cosh"(%x) to %x {END} : ({SPAD}) to {SPAD}', "cosh: no such function"),
        (f'tile.map "mul"(%x) to %x {END} : ({SPAD}) to {SPAD}', "mul: .* number of operands"),
        (f'tile.map "exp"(%x) to %far {END} : ({SPAD}) to {DRAM}', "expected a tensor in spad"),
        (f'tile.map "exp"(%far) to %x {END} : ({DRAM}) to {SPAD}', "expected a tensor in spad"),
        (f'tile.reduce "mean" %x to %y {END} : {SPAD} to {OTHER}', "no reduction 'mean'"),
        (
            f"tile.sgd %far with(%far, %x) lr 0.1 momentum 0.0 decay 0.0 {END} : {DRAM} with({DRAM}, {SPAD})",
            "one buffer for each operand in DRAM",
        ),
        (f'tile.resident %x "gbk" as "X" : {SPAD}', "axes 'gbk' do not fit"),
        (f'tile.resident %x "bk" as "X" through %slot : {SPAD}, {SLOT}', "from DRAM, and only that, goes through a slot"),
        (f'tile.resident %far "bk" as "X" : {DRAM}', "from DRAM, and only that, goes through a slot"),
        (f'tile.drain %x "k" as "dX" : {SPAD}', "axes 'k' do not fit"),
        (f'tile.drain %far "bk" as "dX" : {DRAM}', "for DRAM goes through a slot"),
        (f'tile.drain %x "bk" as "dX" through %slot : {SPAD}, {SLOT}', None),
        (f'{NEST} "b" {{ tile.for "b" to 5 step 4 {{ tile.drain %x "bk" as "dX" through %slot : {SPAD}, {SLOT} }} }}', "a slot for each"),
        (f'tile.preload %x "bk" as "X" times 1.0 through %slot : {SPAD}, {SLOT}', "expected a tensor in dram"),
        (f'tile.preload %far "k" as "X" times 1.0 through %slot : {DRAM}, {SLOT}', "axes 'k' do not fit"),
        (f'tile.drain_weights %x "bk" as "X" through %slot : {SPAD}, {SLOT}', "expected a tensor in dram"),
        (f'tile.drain_weights %far "k" as "X" through %slot : {DRAM}, {SLOT}', "axes 'k' do not fit"),
        (f'tile.stage "inout" %far "bk" as "X" panel %x by "b" : {DRAM}, {SPAD}', None),
        (f'tile.stage "back" %far "bk" as "X" panel %x by "b" : {DRAM}, {SPAD}', "a panel goes in, out, zeroed or inout, not 'back'"),
        (f'tile.stage "in" %far "b" as "X" panel %x by "b" : {DRAM}, {SPAD}', "axes 'b' do not fit"),
        (f'tile.epilogue %far "bk" as "Y" by "b" : {DRAM} {{ %0 = tile.piece %x "bk" by "b" : {SPAD} to {ROW} }}', "a tensor in spad"),
        (f'tile.epilogue %x "b" as "Y" by "b" : {SPAD} {{ tile.copy %far to %x {END} : {DRAM} to {SPAD} }}', "axes 'b' do not fit"),
        (f'tile.epilogue %x "bk" as "Z" by "b" : {SPAD} {{ tile.copy %far to %x {END} : {DRAM} to {SPAD} }}', "no operand 'Z'"),
        (f'tile.epilogue %x "bk" as "Y" by "b" : {SPAD} {{ %0 = tile.piece %x "bk" by "b" : {SPAD} to {ROW} }}', None),
        (f'tile.epilogue %x "bk" as "Y" by "k" : {SPAD} {{ %0 = tile.piece %x "bk" by "b" : {SPAD} to {ROW} }}', "choose the panel"),
        (f'%0 = tile.piece %x "b" by "b" : {SPAD} to {ROW}', "axes 'b' do not fit"),
        (f'%0 = tile.piece %x "bk" by "k" : {SPAD} to {ROW}', "1 of dimension 0 are no part of .* that loops over 'k' choose"),
        (f'%0 = tile.piece %x "bk" by "b" : {SPAD} to {PART}', "2 of dimension 0 are no part"),
        (f'{NEST} "b" {{ tile.for "b" to 5 step 4 {{ {UPDATE} }} }}', None),
        (f'{NEST} "b" {{ tile.for "b" to 5 step 5 {{ {UPDATE} }} }}', "2 arrays cannot share the loop over 'b'"),
        (f'{NEST} "k" {{ tile.for "b" to 5 step 4 {{ {UPDATE} }} }}', "2 arrays cannot share the loop over 'k'"),
        (f'{NEST} "b" {{ tile.for "b" to 5 step 4 {{ {LOAD.format("")} {SLOT} }} }}', "a slot for each array where their tiles differ"),
        (f'{NEST} "n" {{ tile.for "n" to 3 step 1 {{ {LOAD.format(", %slot")} {SLOT}, {SLOT} }} }}', "one for all where they do not"),
        (f'{NEST} "n" {{ tile.for "n" to 3 step 1 {{ tile.drain %x "bk" as "dX" : {SPAD} }} }}', "are added on their way to DRAM"),
        (f'{NEST} "b" {{ tile.for "b" to 5 step 4 {{ {STORE.format("")} {SLOT} }} }}', "a slot for each array, and as many"),
        (
            f'{NEST} "b" {{ tile.for "b" to 5 step 4 {{ tile.drain_weights %far "bk" as "W" through %slot : {DRAM}, {SLOT} }} }}',
            "a slot for each array",
        ),
        (f'{NEST} "b" {{ tile.for "b" to 5 step 4 {{ {STORE.format(", %slot")} {SLOT}, {SLOT} }} }}', None),
        (f'tile.beat "dw" computes "dw"(%x "bk" as "X", %y "bn" as "dY") : {SPAD}, {OTHER}', None),
        (f'tile.beat "dy" computes "dw"(%x "bk" as "X", %y "bn" as "dY") : {SPAD}, {OTHER}', "no beat 'dy'"),
        (f'tile.beat "dw" computes "dw"(%x "bk" as "Z", %y "bn" as "dY") : {SPAD}, {OTHER}', "no operand 'Z'"),
        (f'tile.beat "dw" computes "dw"(%x "bk" as "X", %y "n" as "dY") : {SPAD}, {OTHER}', "axes 'n' do not fit"),
        (f'tile.beat "dw" computes "dw"(%far "bk" as "X", %y "bn" as "dY") : {DRAM}, {OTHER}', "expected a tensor in spad"),
    ],
)
def test_verifier(line: str, message: str | None) -> None:
    """One line for each rule; None: nothing is wrong with it."""
    text = f"builtin.module {{{VALUES}  {line}\n}}"
    if message is None:
        parse(text)
    else:
        with pytest.raises(VerifyException, match=message):
            parse(text)
