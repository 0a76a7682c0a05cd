"""Executes programs: `Emulator` with two engines, `stepped` (the definition) and `fast`."""

from emulator.inputs import draw_inputs
from emulator.report import Report
from emulator.run import Emulator, Result, cycles

__all__ = ["Emulator", "Report", "Result", "cycles", "draw_inputs"]
