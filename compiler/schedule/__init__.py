"""The mathematics of tiling, dataflow and allocation: plain Python, no IR."""

from compiler.schedule.schedules import SCHEDULES

__all__ = ["SCHEDULES"]
