"""The levels of IR and the passes between them, as data: the API, ``gradweave-opt`` and ``xdsl-opt`` all read this list.

A new dialect or pass is one row here.  Nothing is imported before it is asked for.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import Universe

_DIALECTS = {
    "onnx": "compiler.dialects.onnx:Onnx",
    "train": "compiler.dialects.train:Train",
    "tile": "compiler.dialects.tile:Tile",
    "systolic": "compiler.dialects.systolic:Systolic",
}

_PASSES = {
    "convert-onnx-to-train": "compiler.transforms.convert_onnx_to_train:ConvertOnnxToTrain",
    "simplify": "compiler.transforms.simplify:Simplify",
    "add-loss": "compiler.transforms.add_loss:AddLoss",
    "differentiate": "compiler.transforms.differentiate:Differentiate",
    "add-optimizer": "compiler.transforms.add_optimizer:AddOptimizer",
    "widen-groups": "compiler.transforms.widen_groups:WidenGroups",
    "convert-train-to-tile": "compiler.transforms.convert_train_to_tile:ConvertTrainToTile",
    "fuse-epilogues": "compiler.transforms.fuse_epilogues:FuseEpilogues",
    "fuse-blocks": "compiler.transforms.fuse_blocks:FuseBlocks",
    "spill": "compiler.transforms.spill:Spill",
    "allocate-memory": "compiler.transforms.allocate_memory:AllocateMemory",
    "convert-tile-to-systolic": "compiler.transforms.convert_tile_to_systolic:ConvertTileToSystolic",
}


def _loader(target: str) -> Callable[[], Any]:
    """A function that imports ``module:name``."""

    def load() -> Any:
        module, name = target.split(":")
        return getattr(import_module(module), name)

    return load


DIALECTS: dict[str, Callable[[], Dialect]] = {name: _loader(target) for name, target in _DIALECTS.items()}
PASSES: dict[str, Callable[[], type[ModulePass]]] = {name: _loader(target) for name, target in _PASSES.items()}

UNIVERSE = Universe(all_dialects=dict(DIALECTS), all_passes=dict(PASSES))
"""What plain ``xdsl-opt`` finds through the entry point."""


def training_passes(
    loss: str | None = None, optimizer: str | None = None, input_grads: Sequence[str] = (), *, backward: bool = True
) -> list[ModulePass]:
    """What leads from the ``onnx`` level to the training step at the ``train`` level; without ``backward``, to the model alone.

    Raises:
        UserError: the optimizer's text cannot be understood.
    """
    from compiler.autodiff.optimizer import parse_optimizer
    from compiler.transforms.add_loss import AddLoss
    from compiler.transforms.add_optimizer import AddOptimizer
    from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain
    from compiler.transforms.differentiate import Differentiate
    from compiler.transforms.simplify import Simplify

    passes: list[ModulePass] = [ConvertOnnxToTrain()]
    if loss is not None:
        passes.append(AddLoss(loss))
    passes.append(Simplify())
    if backward:
        passes += [Differentiate(tuple(input_grads)), Simplify()]
    if optimizer is not None:
        passes.append(AddOptimizer.of(parse_optimizer(optimizer)))
    return passes
