"""Executes networks at the ``train`` level: what stands between ONNX and the machine, without the machine."""

from collections.abc import Mapping

import numpy as np
import onnx
from random_networks import Options
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from compiler.frontend.importer import import_model
from compiler.frontend.load import prepare_model
from compiler.interpret import interpret_train
from compiler.transforms.add_loss import AddLoss
from compiler.transforms.add_optimizer import AddOptimizer, initial_velocities
from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain
from compiler.transforms.differentiate import Differentiate
from compiler.transforms.simplify import Simplify


def training_step(model: onnx.ModelProto, options: Options, *, simplify: bool) -> tuple[ModuleOp, dict[str, np.ndarray]]:
    """The model's training step at the train level, verified after each pass, and its weights."""
    module, weights = import_model(prepare_model(model, "random"), "random")
    passes = [ConvertOnnxToTrain(), Simplify()] if simplify else [ConvertOnnxToTrain()]
    if options.loss is not None:
        passes.append(AddLoss(options.loss))
    passes.append(Differentiate(options.input_grads))
    if options.optimizer is not None:
        passes.append(AddOptimizer(**options.optimizer))
    for step in [*passes, Simplify()] if simplify else passes:
        step.apply(Context(), module)
        module.verify()
    return module, weights | initial_velocities(module)


def execute(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], options: Options) -> dict[str, np.ndarray]:
    """One training step in float64, as the passes make it."""
    module, weights = training_step(model, options, simplify=False)
    return interpret_train(module, weights | dict(inputs))


def execute_simplified(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], options: Options) -> dict[str, np.ndarray]:
    """The same, simplified before and after differentiation; folded constants are rounded to float32."""
    module, weights = training_step(model, options, simplify=True)
    return interpret_train(module, weights | dict(inputs))
