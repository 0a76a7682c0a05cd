"""PyTorch's exported test cases, through import and decomposition, executed by the float64 interpreter of the train level."""

from collections.abc import Callable, Mapping

import pytest
from pytorch_cases import Array, check_cases, reason
from xdsl.context import Context

from compiler.frontend.importer import import_model
from compiler.frontend.load import load_model
from compiler.interpret import interpret_train
from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain
from isa.errors import UserError


def interpret(path: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """Executor of the train level."""
    module, weights = import_model(load_model(path), "case")
    ConvertOnnxToTrain().apply(Context(), module)
    module.verify()
    return interpret_train(module, {**inputs, **weights})


def test_cases_pass(tell: Callable[[str], None]) -> None:
    check_cases(interpret, lambda line: tell(f"PyTorch's exported cases at the train level: {line}"))


def test_other_errors_are_no_reasons() -> None:
    with pytest.raises(UserError, match="some other"):
        reason(UserError("m.onnx", "some other mistake"))


def test_a_wrong_result_is_noticed() -> None:
    with pytest.raises(AssertionError, match="test_Conv2d: "):
        check_cases(lambda path, inputs: {name: 1.01 * value + 0.01 for name, value in interpret(path, inputs).items()}, print)
