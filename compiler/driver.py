"""From a model to a program: the frontend, the pipeline, and the emission of instructions, in this order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from compiler.dialects.onnx import InputOp, NodeOp
from compiler.discard import discard
from compiler.emit import emit_program
from compiler.frontend.importer import graph_name, import_model
from compiler.frontend.initialize import reinitialize
from compiler.frontend.load import load_model, prepare_model
from compiler.frontend.topology import EXTENSION as TABLE
from compiler.frontend.topology import import_table
from compiler.pass_times import PassTimes
from compiler.pipeline import training_passes
from compiler.schedule.schedules import Schedule
from compiler.transforms import convert_train_to_tile
from compiler.transforms.add_optimizer import initial_velocities
from compiler.transforms.allocate_memory import AllocateMemory, ScratchpadError
from compiler.transforms.convert_tile_to_systolic import ConvertTileToSystolic
from compiler.transforms.convert_train_to_tile import ConvertTrainToTile
from compiler.transforms.fuse_blocks import FuseBlocks
from compiler.transforms.fuse_epilogues import FuseEpilogues
from compiler.transforms.spill import Spill
from compiler.transforms.widen_groups import WidenGroups, widen
from isa.collection import no_collection
from isa.disasm import machine_text
from isa.errors import UserError
from isa.files import write
from isa.machine import Machine
from isa.program import Program

Weights = dict[str, np.ndarray[Any, np.dtype[Any]]]


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """A model's training step at the ``train`` level, from which any number of programs can be lowered.

    ``weights`` are initial values by name: the model's, and zero velocities if the optimizer has momentum.
    """

    name: str
    module: ModuleOp
    nodes: Mapping[str, str]
    """ONNX operator by node name, for reports."""
    weights: Weights
    dump_ir: Path | None


@no_collection()
def training_step(
    model: str | Path | onnx.ModelProto,
    *,
    batch: int | None = None,
    loss: str | None = None,
    optimizer: str | None = None,
    input_grads: Sequence[str] = (),
    backward: bool = True,
    init: str | None = None,
    seed: int = 0,
    dump_ir: str | Path | None = None,
    times: PassTimes | None = None,
) -> TrainingStep:
    """Read a model and add what training needs; the options are those of ``gradweave.compile``, ``times`` records each pass.

    The layers of a table (``.csv``) stand alone: each gets the gradient of its input too, and its weights are drawn.

    Raises:
        UserError: the model or an option cannot be used.
    """
    times = times or PassTimes()
    place = (model.graph.name or "model") if isinstance(model, onnx.ModelProto) else str(model)
    with times.measure("import"):
        if isinstance(model, onnx.ModelProto):
            module, weights = import_model(prepare_model(model, place, batch), graph_name(place), place)
        elif Path(model).suffix == TABLE:
            module, weights = import_table(place, batch)
            input_grads = [op.tensor.data for op in module.walk() if isinstance(op, InputOp)]
            init = init or "he"
        else:
            module, weights = import_model(load_model(place, batch), graph_name(place), place)
    if init is not None:
        with times.measure("draw weights"):
            weights = reinitialize(module, weights, init, seed)
    nodes = {op.node.data: op.operator.name for op in module.walk() if isinstance(op, NodeOp)}
    step = TrainingStep(graph_name(place), module, nodes, weights, None if dump_ir is None else Path(dump_ir))
    with times.measure("load passes"):
        passes = training_passes(loss, optimizer, input_grads, backward=backward)
    _verify_and_dump(step, module, 0, "onnx", (), times)
    for each in passes:
        with times.measure(each.name):
            each.apply(Context(), module)
    _verify_and_dump(step, module, 1, "train", passes, times)
    weights |= initial_velocities(module)
    return step


@no_collection()
def lower_to_systolic(
    step: TrainingStep,
    machine: Machine,
    *,
    schedule: str | Schedule,
    double_buffer: bool = True,
    fused_update: bool = False,
    epilogues: bool = True,
    times: PassTimes | None = None,
) -> ModuleOp:
    """The ``systolic`` level of a training step for one machine and schedule; the step stays as it is.

    Without ``epilogues`` nothing rides on a product, to see what it saves.

    Raises:
        UserError: the machine is too small, or an option cannot be used.
    """
    times = times or PassTimes()
    placing = (*([FuseEpilogues()] if epilogues else []), FuseBlocks(), Spill(), AllocateMemory())

    def placed(limit: int) -> ModuleOp:
        with times.measure(WidenGroups.name):
            module = step.module.clone()
            widen(module, machine)
        with times.measure(ConvertTrainToTile.name):
            convert_train_to_tile.lower(
                module, machine, schedule, double_buffer=double_buffer, fused_update=fused_update, dram_above=limit
            )  # fmt: skip
        for each in placing:
            with times.measure(each.name):
                each.apply(Context(), module)
        return module

    module, limit = _first_that_fits(placed, [-1, *(machine.scratchpad.bytes * share // 64 for share in (16, 12, 8, 6, 4, 2, 1)), 0])
    name = schedule if isinstance(schedule, str) else schedule.name
    partition = "auto" if isinstance(schedule, str) else schedule.partition
    measured = isinstance(schedule, Schedule) and not schedule.doc  # those of the table have one
    machine_file = str(_dump_machine(step, machine))
    to_tile = (WidenGroups(machine_file), ConvertTrainToTile(name, machine_file, double_buffer, fused_update, limit, partition))
    note = "; dataflows are measured, where the pass alone estimates" if measured else ""
    _verify_and_dump(step, module, 2, "tile", [*to_tile, *placing], times, note)
    to_systolic = ConvertTileToSystolic()
    with times.measure(to_systolic.name):
        to_systolic.apply(Context(), module)
    _verify_and_dump(step, module, 3, "systolic", [to_systolic], times)
    return module


def _first_that_fits(placed: Callable[[int], ModuleOp], limits: Sequence[int]) -> tuple[ModuleOp, int]:
    """The step with as few tensors in DRAM as will do; ``limits``: sizes above which tensors live there, from none to all.

    Tried one after the other: with more in DRAM less has to fit at a time, but some of it may have no part that does.
    """
    failure: UserError | None = None
    for limit in limits:
        try:
            return placed(limit), limit
        except ScratchpadError as error:
            failure = error
    assert failure is not None
    raise failure


@no_collection()
def lower(
    step: TrainingStep,
    machine: Machine,
    *,
    schedule: str | Schedule,
    double_buffer: bool = True,
    fused_update: bool = False,
    epilogues: bool = True,
    times: PassTimes | None = None,
) -> Program:
    """The program of a training step, as :func:`lower_to_systolic`."""
    times = times or PassTimes()
    options = {"double_buffer": double_buffer, "fused_update": fused_update, "epilogues": epilogues}
    module = lower_to_systolic(step, machine, schedule=schedule, **options, times=times)
    with times.measure("emit"):
        program = emit_program(module, step.weights)
        program.provenance = [replace(entry, node=step.nodes.get(entry.layer, "")) for entry in program.provenance]
        discard(module)
    return program


def _dump_machine(step: TrainingStep, machine: Machine) -> Path:
    """Where the machine file lies beside the levels; written if they are."""
    path = (step.dump_ir or Path()) / "machine.toml"
    if step.dump_ir is not None:
        write(path, f"# the machine that the levels beside this file are for\n{machine_text(machine)}\n")
    return path


def _verify_and_dump(
    step: TrainingStep, module: ModuleOp, number: int, level: str, passes: Sequence[ModulePass], times: PassTimes, note: str = ""
) -> None:
    """Verify a level, and write it down if asked to."""
    with times.measure("verify"):
        module.verify()
    if step.dump_ir is not None:
        with times.measure("dump IR"):
            _dump(step, step.dump_ir, module, number, level, passes, note)


def _dump(step: TrainingStep, folder: Path, module: ModuleOp, number: int, level: str, passes: Sequence[ModulePass], note: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(str(folder), f"cannot make this folder: {error.strerror}") from error
    how = f"// made by -p '{','.join(str(p.spec()) for p in passes)}'{note}\n" if passes else ""
    write(folder / f"{number:02}-{level}.mlir", f"// {step.name}, level {level}\n{how}{module!s}\n")
