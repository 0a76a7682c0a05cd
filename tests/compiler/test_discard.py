"""IR that is discarded is gone at once: nothing of it waits for a collection."""

import gc
import weakref

import pytest
from ir_text import parse

from compiler.discard import discard
from isa.collection import no_collection

TEXT = """builtin.module { train.graph @fc {
  %x = train.leaf "input" "x" : tensor<2x5xf32>
  %w = train.leaf "param" "w" : tensor<5x3xf32>
  %y = train.product "bk,kn->bn"(%x, %w) layer "fc" role "fwd" : (tensor<2x5xf32>, tensor<5x3xf32>) -> tensor<2x3xf32>
  train.output "output" "y" %y : tensor<2x3xf32>
} }"""


@pytest.mark.parametrize("inner", [False, True])
def test_nothing_of_it_stays(inner: bool) -> None:
    """Of a whole module, or of an operation within one, which loses it and stays as it is otherwise."""
    gc.collect()
    with no_collection():
        module = parse(TEXT)
        graph = module.body.block.first_op
        assert graph is not None
        there = [weakref.ref(op) for op in graph.walk()]
        assert len(there) == 5
        discard(graph if inner else module)
        del graph
        assert [ref() for ref in there] == [None] * 5
        assert not module.body.block.ops
