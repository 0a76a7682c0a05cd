"""The models that PyTorch's exporter wrote for ONNX's own tests, opsets 6 and 9, as cases for whatever executes a model forward."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from isa.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]
Execute = Callable[[str, Mapping[str, Array]], Mapping[str, Array]]
"""Outputs by name, from a model's file and its inputs."""

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

COUNTS = {
    "pass": 101,
    "3-D convolutions": 7,
    "embeddings: indices that are an input": 2,
    "exponents that are an input": 1,
    "float64": 5,
    "integer arithmetic": 1,
}
"""What of version 1.23 of the onnx package passes, and what is skipped, by reason."""


def check_cases(execute: Execute, tell: Callable[[str], None]) -> None:
    """All cases pass but those that are refused for one of REASONS; how many of each is told, and is COUNTS."""
    counts: Counter[str] = Counter()
    failures = []
    for case in CASES:
        try:
            found = execute(str(case / "model.onnx"), inputs(case))
        except UserError as error:
            counts[reason(error)] += 1
            continue
        try:
            for name, want in zip(output_names(case), tensors(case, "output"), strict=True):
                assert found[name].shape == want.shape, f"{name} has shape {found[name].shape}, not {want.shape}"
                np.testing.assert_allclose(found[name], want, rtol=1e-3, atol=1e-5, err_msg=name)
        except AssertionError as error:
            failures.append(f"{case.name}: {' '.join(str(error).split())[:300]}")
        else:
            counts["pass"] += 1
    tell(", ".join(f"{count} {why}" for why, count in sorted(counts.items(), key=lambda item: (item[0] != "pass", item[0]))))
    assert not failures, "\n".join(failures)
    if onnx.__version__.startswith("1.23."):
        assert counts == COUNTS


def reason(error: UserError) -> str:
    """Why a case is skipped; an error that is none of the reasons is raised."""
    for text, why in REASONS.items():
        if text in str(error):
            return why
    raise error


def inputs(case: Path) -> dict[str, Array]:
    """The stored inputs by name; old files list initializers as inputs too."""
    graph = onnx.load(case / "model.onnx").graph
    stored = {tensor.name for tensor in graph.initializer}
    return dict(zip((value.name for value in graph.input if value.name not in stored), tensors(case, "input"), strict=True))


def output_names(case: Path) -> list[str]:
    return [value.name for value in onnx.load(case / "model.onnx").graph.output]


def tensors(case: Path, kind: str) -> list[Array]:
    """Stored inputs or outputs, in order."""
    paths = sorted(case.glob(f"test_data_set_0/{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(path)) for path in paths]
