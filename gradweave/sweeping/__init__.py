"""Sweeps: machines x models x batches x schedules, each point compiled and timed, in one table."""

from gradweave.sweeping.sweep import Sweep, sweep

__all__ = ["Sweep", "sweep"]
