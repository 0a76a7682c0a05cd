"""SCALE-Sim topology tables: what rows become, what files may look like, and what is wrong with those that are none."""

from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
from topology_tables import TABLES, needs_tables, rows, table_macs
from xdsl.context import Context

from compiler.dialects.train import ProductOp
from compiler.driver import training_step
from compiler.frontend.topology import Layer, import_table, read_table
from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain
from isa.errors import UserError

Write = Callable[..., str]
CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"


@pytest.fixture
def table(tmp_path: Path) -> Write:
    def write(*lines: str, start: bytes = b"", end: str = "\n") -> str:
        path = tmp_path / "t.csv"
        path.write_bytes(start + end.join(lines).encode())
        return str(path)

    return write


def test_rows(table: Write) -> None:
    path = table(
        CONV, "Conv1, 224, 220, 7, 5, 3, 64, 2, ", ",,,,,,,,", "fc,1,1,1,1,2048,1000,1,,,Eh", "dw, 12544, 64, 1, 64, 1, 147, 1,",
        start=b"\xef\xbb\xbf", end="\r\n",
    )  # fmt: skip
    assert read_table(path) == [
        # ⌈(224−7+2)/2⌉ = 110 rows, the last of which reaches to 109·2+7 = 225; ⌈(220−5+2)/2⌉ = 109 columns, to 221
        Layer("Conv1", "Conv", (1, 3, 225, 221), (64, 3, 7, 5), (1, 64, 110, 109), 2),
        Layer("fc", "Conv", (1, 2048, 1, 1), (1000, 2048, 1, 1), (1, 1000, 1, 1)),
        Layer("dw", "MatMul", (1, 12544, 64), (64, 147), (1, 12544, 147)),
    ]
    assert read_table(table("LAYER,m,n,k", "1,5,7,9", "1,2,3,4,,", "")) == [
        Layer("1", "MatMul", (1, 5, 9), (9, 7), (1, 5, 7)),
        Layer("1_2", "MatMul", (1, 2, 4), (4, 3), (1, 2, 3)),
    ]


def test_layers_stand_alone(table: Write) -> None:
    """Each has its forward product and both gradients, and nothing else reads its tensors."""
    step = training_step(table(CONV, "a,6,6,3,3,4,8,2", "b,5,5,1,1,3,2,1"), batch=3)
    products = [(op.layer.data, op.role.data, op.axes.data) for op in step.module.walk() if isinstance(op, ProductOp)]
    assert sorted(products) == [
        ("a", "dw", "bk(2y+r)(2x+s),bnyx->nkrs"), ("a", "dx", "bnyx,nkrs->bk(2y+r)(2x+s)"), ("a", "fwd", "bk(2y+r)(2x+s),nkrs->bnyx"),
        ("b", "dw", "bkp,bnp->nk"), ("b", "dx", "bnp,nk->bkp"), ("b", "fwd", "bkp,nk->bnp"),
    ]  # fmt: skip
    outputs = [op.target.data for op in step.module.walk() if op.name == "train.output"]
    assert sorted(outputs) == ["a", "b", "grad/a/weight", "grad/a/x", "grad/b/weight", "grad/b/x"]
    assert step.weights["a/weight"].std() > 0
    assert step.weights["a/weight"].shape == (8, 4, 3, 3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Layer,M,N,K", "a,1,2,x"], "t.csv:2: K 'x' is no positive number"),
        (["Layer,M,N,K", "", "a,0,2"], "t.csv:3: M '0' is no positive number; K is missing"),
        ([CONV, "c,3,3,5,3,1,1,1,"], "t.csv:2: a filter of 5×3 does not fit an input of 3×3"),
        ([CONV, "c,3,3,1,1,1,1,0,"], "t.csv:2: stride '0' is no positive number"),
        (["a,b,c", "1,2,3"], "t.csv:1: not the header of a topology table"),
        (["Layer,M,N,K"], "t.csv: not a topology table: no layers in it"),
        (["Layer,M,N,K", "a,1,-2,3", "b,1,2,3.5"],
         "t.csv: 2 rows are no layers\n  t.csv:2: N '-2' is no positive number\n  t.csv:3: K '3.5' is no positive number"),
    ],
)  # fmt: skip
def test_errors_name_the_line(table: Write, lines: list[str], message: str) -> None:
    path = table(*lines)
    with pytest.raises(UserError) as caught:
        import_table(path)
    assert str(caught.value).replace(path, "t.csv").startswith(message)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        import_table(str(tmp_path / "missing.csv"))
    (tmp_path / "binary.csv").write_bytes(b"Layer,M,N,K\n\xff\xfe,1,2,3\n")
    with pytest.raises(UserError, match="byte 12 is not UTF-8"):
        import_table(str(tmp_path / "binary.csv"))


@needs_tables
def test_published_tables() -> None:
    """All of them import, with as many layers as they have rows that are not blank, and each layer becomes one product."""
    assert TABLES
    for path in TABLES:
        module, weights = import_table(str(path), 2)
        assert len(weights) == len(rows(path)), path
        ConvertOnnxToTrain().apply(Context(), module)
        module.verify()
        macs = sum(prod(op.sizes.values()) for op in module.walk() if isinstance(op, ProductOp))
        assert macs == 2 * table_macs(path), path
