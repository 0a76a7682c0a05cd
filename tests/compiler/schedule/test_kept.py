"""What forward leaves to backward: bytes counted by hand."""

import pytest
from ir_text import parse

from compiler.dialects import train
from compiler.schedule.kept import least_traffic, needed_again


@pytest.mark.parametrize(
    ("made", "read", "capacity", "least"),
    [
        (0, 0, 100, 0),
        (60, 40, 100, 0),  # all of it waits in the scratchpad
        (60, 70, 100, 30),  # what forward made stays; 30 of 70 bytes are read again
        (150, 70, 100, 2 * 50 + 70),  # 50 go out and come in, everything else is read again
        (150, 0, 0, 300),
    ],
)
def test_least_traffic(made: int, read: int, capacity: int, least: int) -> None:
    assert least_traffic(made, read, capacity) == least


def counted(body: str) -> tuple[int, int]:
    graph = parse(f"builtin.module {{ train.graph @g {{ {body} }} }}").body.block.first_op
    assert isinstance(graph, train.GraphOp)
    ops = list(graph.body.block.ops)
    roots = {op.result: op.input for op in ops if isinstance(op, train.ReshapeOp)}
    users = {
        value: [op for op in ops if not isinstance(op, train.ReshapeOp) and value in {roots.get(v, v) for v in op.operands}]
        for op in ops
        for value in op.results
    }
    return needed_again(graph, lambda v: roots.get(v, v), lambda v: users[roots.get(v, v)])


LAYER = """
  %x = train.leaf "input" "x" : tensor<4x6xf32>
  %w = train.leaf "param" "w" : tensor<6x5xf32>
  %b = train.leaf "param" "b" : tensor<5xf32>
  %y = train.product "bk,kn->bn"(%x, %w) layer "fc" role "fwd" : (tensor<4x6xf32>, tensor<6x5xf32>) -> tensor<4x5xf32>
  %z = train.map "add"(%y, %b) layer "fc" role "fwd" : (tensor<4x5xf32>, tensor<5xf32>) -> tensor<4x5xf32>
  %f = train.reshape %z layer "fc" role "fwd" : (tensor<4x5xf32>) -> tensor<20xf32>
  %g = train.map "neg"(%f) layer "act" role "fwd" : (tensor<20xf32>) -> tensor<20xf32>
"""
BACKWARD = """
  %dy = train.leaf "input" "grad/y" : tensor<4x5xf32>
  %dz = train.map "relu_grad"(%dy, %z) layer "act" role "grad" : (tensor<4x5xf32>, tensor<4x5xf32>) -> tensor<4x5xf32>
  %dx = train.product "bn,kn->bk"(%dz, %w) layer "fc" role "dx" : (tensor<4x5xf32>, tensor<6x5xf32>) -> tensor<4x6xf32>
  %dw = train.product "bk,bn->kn"(%x, %dz) layer "fc" role "dw" : (tensor<4x6xf32>, tensor<4x5xf32>) -> tensor<6x5xf32>
  train.output "grad" "grad/x" %dx : tensor<4x6xf32>
  train.output "grad" "grad/w" %dw : tensor<6x5xf32>
"""


def test_a_layer() -> None:
    """Backward needs z, which forward made, and x and w again; not y, nor b; dy and dz are its own."""
    assert counted(LAYER + BACKWARD) == (4 * 20, 4 * (24 + 30))


def test_forward_alone_leaves_nothing() -> None:
    assert counted(LAYER + 'train.output "output" "g" %g : tensor<20xf32>') == (0, 0)


def test_what_the_user_gets_is_written_anyway() -> None:
    """Through a reshape, too."""
    assert counted(LAYER + BACKWARD + 'train.output "output" "f" %f : tensor<20xf32>') == (0, 4 * (24 + 30 + 20))


def test_parts_do_not_count() -> None:
    """Of x backward may need only what the slice has."""
    part = """
  %p = train.slice %x from [0, 0] by [1, 1] layer "cut" role "grad" : (tensor<4x6xf32>) -> tensor<4x5xf32>
  train.output "grad" "grad/p" %p : tensor<4x5xf32>"""
    assert counted(LAYER + BACKWARD + part) == (4 * 20, 4 * 30)


def test_what_lies_in_a_larger_tensor_counts_once() -> None:
    """Backward reads z and the padded z: whoever keeps the larger one has both."""
    padded = """
      %p = train.place %z at [1, 0] by [1, 1] in 0.000000e+00 layer "pad" role "fwd" : (tensor<4x5xf32>) -> tensor<6x5xf32>
    """
    read = """
      %more = train.map "neg"(%p) layer "pad" role "grad" : (tensor<6x5xf32>) -> tensor<6x5xf32>
    """
    assert counted(LAYER + padded + BACKWARD + read) == (4 * 30, 4 * (24 + 30))
    assert counted(LAYER + padded + BACKWARD) == (4 * 20, 4 * (24 + 30))
