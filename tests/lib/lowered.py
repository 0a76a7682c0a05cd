"""The lower half of the compiler, from the train level down, on a machine given by a few numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from random_networks import SCHEDULES
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from compiler.emit import emit_program
from compiler.schedule.partition import PARTITIONS
from compiler.schedule.schedules import partitioned
from compiler.transforms import convert_train_to_tile
from compiler.transforms.allocate_memory import AllocateMemory
from compiler.transforms.convert_tile_to_systolic import ConvertTileToSystolic
from compiler.transforms.fuse_blocks import FuseBlocks
from compiler.transforms.fuse_epilogues import FuseEpilogues
from compiler.transforms.spill import Spill
from compiler.transforms.widen_groups import widen
from emulator import Emulator
from isa.check import check
from isa.machine import Array, Machine, Scratchpad
from isa.program import Program


@dataclass(frozen=True)
class Setting:
    """A machine, and how it is compiled for; tensors of more than ``dram_above`` bytes live in DRAM (negative: none)."""

    rows: int = 4
    cols: int = 3
    scratchpad: int = 1 << 20
    dram_above: int = 0
    schedule: str = "interleaved"
    double_buffer: bool = True
    fused_update: bool = False
    arrays: int = 1
    partition: str = "auto"

    @property
    def machine(self) -> Machine:
        array, scratchpad = Array(rows=self.rows, cols=self.cols), Scratchpad(bytes=self.scratchpad)
        return Machine(name="random", array=array, arrays=self.arrays, scratchpad=scratchpad)


SETTINGS = st.builds(
    Setting,
    rows=st.integers(1, 5),
    cols=st.integers(1, 5),
    scratchpad=st.sampled_from((1 << 20, 3000, 1600, 1200, 900, 600)),
    dram_above=st.sampled_from((0, 64, 256, -1)),
    schedule=st.sampled_from(SCHEDULES),
    double_buffer=st.booleans(),
    fused_update=st.booleans(),
)
"""Scratchpads that hold all, and such that hold only parts of most tensors."""

SHARED = st.builds(
    replace, SETTINGS, arrays=st.integers(2, 3), partition=st.sampled_from(PARTITIONS), rows=st.integers(1, 3), cols=st.integers(1, 3),
    scratchpad=st.sampled_from((1 << 20, 1 << 20, 2400, 1600)), dram_above=st.sampled_from((0, 0, 64, -1)),
)  # fmt: skip
"""The same with several arrays."""


def tiles(module: ModuleOp, setting: Setting) -> ModuleOp:
    """The tile level of a training step, which stays as it is; raises UserError where no part of a tensor fits."""
    module = module.clone()
    widen(module, setting.machine)
    schedule = partitioned(convert_train_to_tile.schedule_of(setting.schedule), setting.partition)
    convert_train_to_tile.lower(
        module, setting.machine, schedule, double_buffer=setting.double_buffer, fused_update=setting.fused_update,
        dram_above=setting.dram_above,
    )  # fmt: skip
    module.verify()
    return module


def program(module: ModuleOp, leaves: Mapping[str, np.ndarray]) -> Program:
    """The program of a tile level, checked; raises UserError where the scratchpad is too small."""
    FuseEpilogues().apply(Context(), module)
    FuseBlocks().apply(Context(), module)
    Spill().apply(Context(), module)
    AllocateMemory().apply(Context(), module)
    ConvertTileToSystolic().apply(Context(), module)
    module.verify()
    made = emit_program(module, leaves)
    check(made, "random")
    return made


def run(made: Program, leaves: Mapping[str, np.ndarray], *, stepped: bool = True) -> list[dict[str, np.ndarray]]:
    """What the fast engine computes, and perhaps the stepped one, with an equal report."""
    inputs = {symbol.name: leaves[symbol.name] for symbol in made.named("input")}
    results = [Emulator(made, engine).run(inputs) for engine in (("fast", "stepped") if stepped else ("fast",))]
    assert all(result.report.to_dict() == results[0].report.to_dict() for result in results)
    return [result.outputs for result in results]


def wanted(expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], setting: Setting) -> dict[str, np.ndarray]:
    """The results that there should be: a weight that was updated inside the array leaves no gradient behind."""
    unseen = {name for name in expected if name.startswith("grad/w")} if setting.fused_update else set()
    return {name: value for name, value in expected.items() if name in got or name not in unseen}


FEATURES = {
    "panel in": r'tile\.stage "in"',
    "panel out": r'tile\.stage "out"',
    "sums from zeros": r'tile\.stage "zeroed"',
    "sums in DRAM": r'tile\.stage "inout"',
    "blocks of a layer": r'tile\.for "[A-Z]" to (?!1 )',
    "weights kept": r'\.W\.whole"',
    "gradients added": r'"p\.tiles"',
    "gradients kept": r'"s\.tiles"',
    "blocks": r"tile\.blocks (?!1 )",
}


def features(module: ModuleOp) -> set[str]:
    """What a tile level makes use of."""
    text = str(module)
    return {name for name, pattern in FEATURES.items() if re.search(pattern, text)}
