"""What goes on by one processing element a cycle: values on the links, and with them what each PE is to do.

Nothing is moved.  Instead, the window on it moves against it: in this cycle, PE(r,c) finds what comes from the west at ``h[r, at+c]`` and
what comes from the north at ``v[at+r, c]``, and leaves there what goes on.
"""

import numpy as np
import numpy.typing as npt

from isa.machine import Machine

Mask = npt.NDArray[np.bool_]
MACS = {"fwd": 0, "dx": 1, "dw": 2}
"""The beats that multiply, by their kind."""


class Links:
    """All that moves, as seen from cycle to cycle through ``window``."""

    def __init__(self, machine: Machine) -> None:
        rows, cols = self.shape = (machine.rows, machine.cols)
        self.depth = depth = rows + cols - 1
        self.h = np.zeros((rows, 2 * depth), machine.accumulator.numpy)
        self.v = np.zeros((2 * depth, cols), machine.accumulator.numpy)
        self.beats = np.zeros((len(MACS), 2 * depth), np.bool_)
        """[kind, at+d]: whether the beat that was issued d cycles ago is of that kind."""
        self.loads, self.drains = np.zeros((2, rows, 2 * depth), np.bool_)
        """[r, at+c]: whether the registers of the chain shift into PE(r,c)."""
        self.windows = [Window(self, at) for at in range(depth + 1)]
        self.at = depth

    @property
    def window(self) -> "Window":
        return self.windows[self.at]

    def advance(self) -> None:
        """To the next cycle."""
        if self.at == 0:
            self.at = self.depth
            for moving in (self.h.T, self.v, self.beats.T, self.loads.T, self.drains.T):
                moving[self.depth :] = moving[: self.depth]
                moving[: self.depth] = 0
        self.at -= 1


class Window:
    """Links at one position; all parts can be written in place."""

    def __init__(self, links: Links, at: int) -> None:
        rows, cols = links.shape
        self.h, self.v = links.h[:, at : at + cols], links.v[at : at + rows]
        """[r, c]."""
        self.loads, self.drains = links.loads[:, at : at + cols], links.drains[:, at : at + cols]
        """[r, c]."""
        self.beats = [np.ndarray(links.shape, np.bool_, kind[at:], 0, (1, 1)) for kind in links.beats]
        """[kind][r, c]: whether PE(r,c) has such a beat, the one that was issued r+c cycles ago."""
        # What enters and leaves at the edges.
        self.west, self.north, self.east, self.south = self.h[:, 0], self.v[0], self.h[:, -1], self.v[-1]
        self.beat, self.load, self.drain = links.beats[:, at], self.loads[:, 0], self.drains[:, 0]
