"""The models that PyTorch's exporter wrote for ONNX's own tests, opsets 6 and 9, through import and decomposition, executed in float64."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from xdsl.context import Context

from compiler.frontend.importer import import_model
from compiler.frontend.load import load_model
from compiler.interpret import interpret_train
from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain
from isa.errors import UserError

FOLDER = Path(onnx.__file__).parent / "backend/test/data"
CASES = sorted(path.parent for kind in ("pytorch-converted", "pytorch-operator") for path in (FOLDER / kind).glob("*/model.onnx"))

REASONS = {
    "X of rank 5 not supported": "3-D convolutions",
    "input indices": "embeddings: indices that are an input",
    "input Y": "exponents that are an input",
    "float64 not supported": "float64",
    "int64 not supported": "integer arithmetic",
}
"""What an error says, and why the case is none for this project."""

SKIPPED = {
    "3-D convolutions": 7,
    "embeddings: indices that are an input": 2,
    "exponents that are an input": 1,
    "float64": 5,
    "integer arithmetic": 1,
}
"""What of version 1.23 of the onnx package is skipped; the other 101 cases pass."""


def tensors(case: Path, kind: str) -> list[np.ndarray]:
    """Stored inputs or outputs, in order."""
    paths = sorted(case.glob(f"test_data_set_0/{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(path)) for path in paths]


def execute(case: Path) -> dict[str, np.ndarray]:
    model = onnx.load(case / "model.onnx")
    module, weights = import_model(load_model(str(case / "model.onnx")), "case")
    ConvertOnnxToTrain().apply(Context(), module)
    module.verify()
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in stored]
    return interpret_train(module, dict(zip(inputs, tensors(case, "input"), strict=True)) | weights)


def reason(error: UserError) -> str:
    """Why a case is skipped; an error that is none of the reasons is raised."""
    for text, why in REASONS.items():
        if text in str(error):
            return why
    raise error


def test_cases_pass() -> None:
    counts: Counter[str] = Counter()
    for case in CASES:
        try:
            found = execute(case)
        except UserError as error:
            counts[reason(error)] += 1
            continue
        names = [value.name for value in onnx.load(case / "model.onnx").graph.output]
        for name, want in zip(names, tensors(case, "output"), strict=True):
            assert found[name].shape == want.shape, case.name
            np.testing.assert_allclose(found[name], want, rtol=1e-3, atol=1e-5, err_msg=case.name)
        counts["pass"] += 1
    print(*(f"{count:5} {why}" for why, count in sorted(counts.items())), sep="\n")
    if onnx.__version__.startswith("1.23."):
        assert counts == {"pass": 101, **SKIPPED}


def test_other_errors_are_no_reasons() -> None:
    with pytest.raises(UserError, match="some other"):
        reason(UserError("m.onnx", "some other mistake"))
