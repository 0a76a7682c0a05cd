"""One layer X[b,k], W[k,n] alone on an R×C array.

DRAM is so fast that every transfer takes one cycle and has no latency, and the vector unit takes one cycle for anything.  Results pass
through the vector unit, so that they stay in the scratchpad until all is done.
"""

import numpy as np
from ir_text import parse
from xdsl.context import Context

from compiler.emit import emit_program
from compiler.transforms import convert_train_to_tile
from compiler.transforms.allocate_memory import AllocateMemory
from compiler.transforms.convert_tile_to_systolic import ConvertTileToSystolic
from emulator import cycles
from isa.machine import Array, Dram, Machine, Scratchpad, Vector

LAYER = """builtin.module {{ train.graph @layer {{
  %x = train.leaf "input" "x" : {x}
  %w = train.leaf "param" "w" : {w}
  %dy = train.leaf "input" "grad/y" : {y}
  {products}
}} }}"""
FWD = """%y = train.product "bk,kn->bn"(%x, %w) layer "fc" role "fwd" : ({x}, {w}) -> {y}
  %out = train.map "neg"(%y) layer "fc" role "fwd" : ({y}) -> {y}
  train.output "output" "out" %out : {y}"""
DX = """%dx = train.product "bn,kn->bk"(%dy, %w) layer "fc" role "dx" : ({y}, {w}) -> {x}
  %out = train.map "neg"(%dx) layer "fc" role "grad" : ({x}) -> {x}
  train.output "grad" "out" %out : {x}"""
DW = """%dw = train.product "bk,bn->kn"(%x, %dy) layer "fc" role "dw" : ({x}, {y}) -> {w}
  train.output "grad" "grad/w" %dw : {w}"""

MOMENTUM = """%v = train.leaf "param" "velocity/w" : {w}
  %dw = train.product "bk,bn->kn"(%x, %dy) layer "fc" role "dw" : ({x}, {y}) -> {w}
  %new, %next = train.update(%w, %dw, %v) lr 0.5 momentum 0.5 decay 0.5 layer "fc" role "update" : ({w}, {w}, {w}) -> ({w}, {w})
  train.output "param" "param/w" %new : {w}
  train.output "param" "param/velocity/w" %next : {w}"""


def taken(products: list[str], schedule: str, array: tuple[int, int], b: int, k: int, n: int, *, double_buffer: bool) -> int:
    """Cycles of a program of these products alone; updates are in the array."""
    machine = Machine(
        array=Array(rows=array[0], cols=array[1]),
        scratchpad=Scratchpad(bytes=1 << 24),
        dram=Dram(bytes_per_cycle=1e9, latency=0),
        vector=Vector(lanes=1 << 40, latency=0),
    )
    types = {name: f"tensor<{rows}x{cols}xf32>" for name, rows, cols in (("x", b, k), ("w", k, n), ("y", b, n))}
    module = parse(LAYER.format(products="\n".join(products).format(**types), **types))
    convert_train_to_tile.lower(module, machine, schedule, double_buffer=double_buffer, fused_update=True)
    AllocateMemory().apply(Context(), module)
    ConvertTileToSystolic().apply(Context(), module)
    return cycles(emit_program(module, dict.fromkeys(("w", "velocity/w"), np.zeros((k, n)))))
