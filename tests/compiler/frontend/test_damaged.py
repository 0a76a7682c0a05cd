"""Damaged models, whatever their bytes: one clear error, or a model that happens to be a valid one."""

import random
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest
from damage import CASES, damage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from xdsl.context import Context

from compiler.frontend.importer import import_model, parse_onnx_file
from compiler.frontend.load import prepare_model
from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain
from isa.errors import UserError

TEXT = """<ir_version: 8, opset_import: ["": 12]>
g (float[N,4] x, int64[N] t) => (float y, float[N,4] s)
<float[4,5] w = {1,2,3,4,5,6,7,8,9,10,1,2,3,4,5,6,7,8,9,10}, float[4] b = {1,2,3,4}> {
  shape = Shape(x)
  zero = Constant<value = int64[1] {0}>()
  minus = Constant<value = int64[1] {-1}>()
  n = Gather(shape, zero)
  target = Concat<axis = 0>(n, minus)
  r = Reshape(x, target)
  h = Add(r, b)
  p = Softmax<axis = 1>(h)
  c = Clip(p)
  g = Gemm<alpha = 0.5>(c, w)
  z = Relu(g)
  u = Unsqueeze<axes = [0]>(z)
  v = Squeeze<axes = [0]>(u)
  y = SoftmaxCrossEntropyLoss(v, t)
  s = Pow(p, b)
}
"""


def survives(load: Callable[[], object]) -> bool:
    """Whether it loads; what it raises is one error with a first line that says something."""
    try:
        load()
    except UserError as error:
        assert error.place
        assert "\n" not in error.message
        assert len(error.message) > 10
        return False
    return True


def convert(path: str) -> None:
    module = parse_onnx_file(path, 3)
    ConvertOnnxToTrain().apply(Context(), module)
    module.verify()


def test_undamaged(tmp_path: Path) -> None:
    (tmp_path / "m.onnxtxt").write_text(TEXT)
    convert(str(tmp_path / "m.onnxtxt"))


@pytest.mark.parametrize("suffix", ["onnx", "onnxtxt"])
def test_damaged_files(tmp_path: Path, suffix: str, tell: Callable[[str], None]) -> None:
    whole = TEXT.encode() if suffix == "onnxtxt" else onnx.parser.parse_model(TEXT).SerializeToString()
    path = tmp_path / f"m.{suffix}"
    survivors, cases = 0, CASES[f"{suffix} files"]
    for seed in range(cases):
        path.write_bytes(damage(whole, random.Random(seed)))
        survivors += survives(lambda: convert(str(path)))
    assert survivors < cases / 2  # the damage is real
    tell(f"{cases:6,} damaged .{suffix} files: {cases - survivors} refused")


def test_damaged_graphs(tell: Callable[[str], None]) -> None:
    """Well-formed files with wrong contents get further than flipped bits do."""
    whole = onnx.parser.parse_model(TEXT)
    survivors, cases = 0, CASES["onnx graphs"]
    for seed in range(cases):
        draw = random.Random(seed)
        model = onnx.ModelProto()
        model.CopyFrom(whole)
        for _ in range(draw.choice((1, 1, 2))):
            change(model.graph, draw)

        def load(model: onnx.ModelProto = model) -> None:
            module, _ = import_model(prepare_model(model, "m", 3), "m")
            ConvertOnnxToTrain().apply(Context(), module)
            module.verify()

        survivors += survives(load)
    assert survivors < cases / 2
    tell(f"{cases:6,} wrong ONNX graphs in sound files: {cases - survivors} refused")


NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, 10, 16, -1, -2, 1 << 31, 1 << 40, 1 << 62)
WORDS = ("", "x", "h", "w", "t", "axis", "Gemm", "MatMul", "Add", "Shape", "Expand", "Range", "Tile", "LSTM", "If", "Split", "Cast")


def change(graph: onnx.GraphProto, draw: random.Random) -> None:
    """Change one field somewhere in the graph, or remove or repeat one of its parts; kinds of fields are equally likely."""
    places: dict[str, list[tuple[Message, FieldDescriptor]]] = {}
    _collect(graph, places)
    message, field = draw.choice(places[draw.choice(sorted(places))])
    value = getattr(message, field.name)
    if isinstance(value, str):
        setattr(message, field.name, draw.choice(WORDS))
    elif isinstance(value, bytes):
        setattr(message, field.name, value[:-1])
    elif isinstance(value, float):
        setattr(message, field.name, draw.choice((0.0, -1.0, float("nan"), 1e38)))
    elif isinstance(value, int):
        _set_number(message, field.name, draw)
    elif draw.random() < 0.4:
        del value[draw.randrange(len(value))]
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        value.add().CopyFrom(draw.choice(list(value)))
    else:
        index = draw.randrange(len(value))
        value[index] = draw.choice(WORDS if isinstance(value[index], str) else NUMBERS[:12])


def _set_number(message: Message, name: str, draw: random.Random) -> None:
    number = draw.choice(NUMBERS)
    try:
        setattr(message, name, number)
    except ValueError:  # out of the field's range
        setattr(message, name, 1)


def _collect(message: Message, places: dict[str, list[tuple[Message, FieldDescriptor]]]) -> None:
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            places.setdefault(field.name, []).append((message, field))
        elif isinstance(value, Message):
            _collect(value, places)
        else:
            places.setdefault(field.name, []).append((message, field))
            for part in value:
                _collect(part, places)
