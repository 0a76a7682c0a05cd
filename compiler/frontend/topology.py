"""SCALE-Sim topology tables (CSV) as ``onnx``-level modules in which each layer stands alone.

Two kinds, told apart by the header: convolutions (layer, input height and width, filter height and width, channels, filters, stride), where
the input is padded already and the last window may reach beyond it, and matrix products (layer, M, N, K) with C[M,N] = A[M,K]·B[K,N].
Names differ in case, files may begin with a byte-order mark, rows may end in a comma or have further cells, which are not read.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp, TensorType, f32
from xdsl.ir import Block

from compiler.dialects import onnx
from compiler.dialects.dense import Array
from compiler.frontend.importer import graph_name
from isa.errors import UserError

EXTENSION = ".csv"


@dataclass(frozen=True, slots=True)
class Layer:
    """One row: the operator, shapes of its input (for a batch of 1) and weight, and its strides."""

    name: str
    operator: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    y: tuple[int, ...]
    stride: int = 1


def import_table(path: str, batch: int | None = None) -> tuple[ModuleOp, dict[str, Array]]:
    """A module with one graph, and weights that are all 0, since the table has none.

    Layer ``l`` has the input ``l/x``, the weight ``l/weight`` and the output ``l``; all first axes are the batch.

    Raises:
        UserError: the file cannot be read, or rows of it are no layers; each is named by its line.
    """
    block = Block()
    weights = {}
    for layer in read_table(path):
        x = onnx.InputOp(f"{layer.name}/x", TensorType(f32, [batch or 1, *layer.x[1:]]))
        w = onnx.ParamOp(f"{layer.name}/weight", TensorType(f32, layer.w))
        attributes = {"strides": (layer.stride, layer.stride)} if layer.stride > 1 else {}
        result = TensorType(f32, [batch or 1, *layer.y[1:]])
        node = onnx.NODE_OPS[layer.operator](layer.name, [x.result, w.result], attributes, [result])
        block.add_ops([x, w, node, onnx.OutputOp(layer.name, node.outs[0])])
        weights[f"{layer.name}/weight"] = np.broadcast_to(np.zeros(1, np.float32), layer.w)
    module = ModuleOp([onnx.GraphOp(graph_name(path), block)])
    module.verify()
    return module, weights


def read_table(path: str) -> list[Layer]:
    """The layers of a table, named by their rows; a name that is taken gets a number."""
    try:
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(path, f"not a table: byte {error.start} is not UTF-8") from error
    rows = [(number, [cell.strip() for cell in row]) for number, row in enumerate(csv.reader(text.splitlines()), 1)]
    rows = [(number, row) for number, row in rows if any(row)]
    if len(rows) < 2:
        raise UserError(path, "not a topology table: no layers in it")
    (line, header), *layers = rows
    sizes, make = _kind(header, f"{path}:{line}")
    found: dict[str, Layer] = {}
    problems = []
    for number, row in layers:
        try:
            name = _unique(row[0] or f"line{number}", found)
            found[name] = make(name, *_numbers(row, sizes))
        except ValueError as error:
            problems.append((f"{path}:{number}", str(error)))
    if len(problems) == 1:
        raise UserError(*problems[0])
    if problems:
        raise UserError(path, f"{len(problems)} rows are no layers", [f"{place}: {problem}" for place, problem in problems])
    return list(found.values())


Make = Callable[..., Layer]
CONVOLUTION = ("input height", "input width", "filter height", "filter width", "channels", "filters", "stride")
PRODUCT = ("M", "N", "K")


def _kind(header: Sequence[str], place: str) -> tuple[Sequence[str], Make]:
    """What the columns behind the name hold, and what makes a layer of them."""
    names = [cell.lower() for cell in header[1:]]
    if names[:3] == ["m", "n", "k"]:
        return PRODUCT, _product
    if len(names) >= len(CONVOLUTION) and names[0].startswith("ifmap") and names[2].startswith("filter"):
        return CONVOLUTION, _convolution
    expected = "Layer,M,N,K or Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides"
    raise UserError(place, f"not the header of a topology table; expected: {expected}")


def _numbers(row: Sequence[str], columns: Sequence[str]) -> list[int]:
    cells = row[1 : len(columns) + 1]
    wrong = [f"{name} {cell!r}" for name, cell in zip(columns, cells, strict=False) if not (cell.isdecimal() and int(cell))]
    if wrong or len(cells) < len(columns):
        missing = [f"{name} is missing" for name in columns[len(cells) :]]
        raise ValueError("; ".join([*(f"{text} is no positive number" for text in wrong), *missing]))
    return [int(cell) for cell in cells]


def _product(name: str, m: int, n: int, k: int) -> Layer:
    return Layer(name, "MatMul", (1, m, k), (k, n), (1, m, n))


def _convolution(
    name: str, height: int, width: int, filter_height: int, filter_width: int, channels: int, filters: int, stride: int
) -> Layer:  # fmt: skip
    """A filter of one row, as wide as an input of one channel, is how these tables write a matrix product."""
    if filter_height > height or filter_width > width:
        raise ValueError(f"a filter of {filter_height}×{filter_width} does not fit an input of {height}×{width}")
    if (channels, filter_height, filter_width, stride) == (1, 1, width, 1):
        return _product(name, height, filters, width)
    rows, columns = -(-(height - filter_height) // stride) + 1, -(-(width - filter_width) // stride) + 1
    reach = (rows - 1) * stride + filter_height, (columns - 1) * stride + filter_width
    return Layer(
        name, "Conv", (1, channels, *reach), (filters, channels, filter_height, filter_width), (1, filters, rows, columns), stride
    )  # fmt: skip


def _unique(name: str, taken: dict[str, Layer]) -> str:
    count, unique = 1, name
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    return unique
