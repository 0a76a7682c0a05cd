"""Executes programs: `Emulator` with two engines, `stepped` (the definition) and `fast`."""

from emulator.inputs import draw_inputs
from emulator.report import Report
from emulator.run import Emulator, Result, cycles, timing

__all__ = ["Emulator", "Report", "Result", "cycles", "draw_inputs", "timing"]
