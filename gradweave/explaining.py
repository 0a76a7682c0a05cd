"""Why ``auto`` chose as it did: what it tried, what it chose for each layer, what that saves, and what still binds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from compiler.schedule.schedules import SCHEDULES
from compiler.schedule.search import FOREVER, auto
from gradweave.compiling import StepCompiler, StepOptions
from gradweave.scheduling import SEARCHED, search_for
from isa.errors import UserError
from isa.machine import Machine


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for one layer's gradients."""

    layer: str
    chosen: str
    cycles: int
    """Booked to the layer, forward and update included."""
    saved: int
    """Cycles fewer than were booked to it under the quickest schedule that treats all layers alike; negative: more."""
    figures: Mapping[str, Any]
    """Of the layer, as in ``Report.to_dict()``."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The outcome of a search. ``tried``: (name, cycles) in order; None where the machine was too small."""

    name: str
    machine: str
    report: Mapping[str, Any]
    choices: tuple[Choice, ...]
    tried: tuple[tuple[str, int | None], ...]
    uniform: str
    """The quickest schedule that treats all layers alike."""


def explain(
    model: str | Path | onnx.ModelProto,
    *,
    machine: Machine | None = None,
    batch: int | None = None,
    loss: str | None = None,
    optimizer: str | None = None,
    double_buffer: bool = True,
    fused_update: bool = False,
    init: str | None = None,
    seed: int = 0,
) -> Explanation:
    """Search as ``--schedule auto`` does, and tell of it; the options are those of :func:`gradweave.compile`.

    Raises:
        UserError: the model, the machine or an option cannot be used.
    """
    step = StepCompiler(model, StepOptions(batch, loss, optimizer, (), init, seed, True)).step
    machine = machine or Machine()
    search = search_for(step, machine, double_buffer=double_buffer, fused_update=fused_update)
    if search.layers:
        auto(search, fused_update=fused_update)
    if search.least is None:
        raise UserError(step.name, "has no layer with gradients, so there is nothing to choose")
    report = search.least.report.to_dict()
    alike = [tried for tried in search.tried if tried[0] in SCHEDULES and tried[0] not in SEARCHED]
    uniform, measured = min(alike, key=lambda tried: tried[1].cycles)
    layers = {layer["layer"]: layer for layer in report["layers"]}
    choices = tuple(
        Choice(name, str(choice), layers[name]["cycles"], measured.layers.get(name, 0) - layers[name]["cycles"], layers[name])
        for name, choice in search.choices.items()
    )
    tried = tuple((name, None if took.cycles == FOREVER else took.cycles) for name, took in search.tried)
    return Explanation(step.name, machine.name, report, choices, tried, uniform)

