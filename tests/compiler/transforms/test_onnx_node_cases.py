"""ONNX's own node tests, through import and decomposition, executed by the float64 interpreter of the train level."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
from onnx_node_cases import OPERATORS, Array, NodeCase, check_cases, failures, node_cases
from xdsl.context import Context

from compiler.dialects.onnx_operators import OPERATORS as TABLE
from compiler.frontend.importer import import_model
from compiler.frontend.load import prepare_model
from compiler.interpret import interpret_train
from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain
from isa.errors import UserError


def interpret(model: onnx.ModelProto, inputs: Mapping[str, Array], batch: int | None) -> Mapping[str, Array]:
    """Executor of the train level."""
    module, weights = import_model(prepare_model(model, "case", batch), "case")
    ConvertOnnxToTrain().apply(Context(), module)
    module.verify()
    return interpret_train(module, {**inputs, **weights})


def test_supported_cases_pass(tell: Callable[[str], None]) -> None:
    check_cases(interpret, lambda line: tell(f"ONNX node tests at the train level: {line}"))


def test_skipped_cases_say_why() -> None:
    """What is skipped is refused with an error of the user's kind, so that nothing is skipped that would work, or computed wrongly."""
    for reason, models in node_cases()[1].items():
        if "operators outside" not in reason:  # some of these fold away
            for model in models:
                with pytest.raises(UserError, match="not supported"):
                    import_model(prepare_model(model, "case"), "case")


def test_all_operators_have_cases() -> None:
    tested = {node.op_type for case in node_cases()[0] for node in case.model.graph.node}
    assert tested == OPERATORS
    assert TABLE.keys() == OPERATORS - {"Constant", "ConstantOfShape", "Shape", "Size"}


def test_a_wrong_result_is_noticed() -> None:
    def wrong(model: onnx.ModelProto, inputs: Mapping[str, Array], batch: int | None) -> Mapping[str, Array]:
        return {name: np.asarray(value) * 1.01 + 0.01 for name, value in interpret(model, inputs, batch).items()}

    cases: list[NodeCase] = [case for case in node_cases()[0] if case.name in ("test_relu", "test_matmul_2d", "test_sce_mean")]
    assert len(failures(cases, wrong)) == len(cases) == 3
