"""What goes on by one processing element a cycle: values on the links, and with them what each PE is to do.

Nothing is moved.  Instead, the window on it moves against it: in this cycle, what comes to PE(r,c) from the west lies at ``h[at+r·C+c]``,
where what goes on is left, and will be found by PE(r,c+1) when ``at`` is one less.  What leaves a row in the east is then where something
else enters the next row: as long as anything is on its way, something has to be put there in each cycle.  Likewise, what comes from the
north lies at ``v[at·C+r·C+c]``.
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
        """Cycles after which the window goes back to where it began."""
        self.h = np.zeros(depth + rows * cols, machine.accumulator.numpy)
        self.v = np.zeros((depth + rows) * cols, machine.accumulator.numpy)
        self.beats = np.zeros((len(MACS), 2 * depth), np.bool_)
        """[kind, at+d]: whether the beat that was issued d cycles ago is of that kind."""
        self.chains = np.zeros((4, depth + rows * cols), np.bool_)
        """As ``h``, for w_next, g_next, g_out and w_out: whether the registers of the chain shift into the PE."""
        self.windows = [Window(self, at) for at in range(depth + 1)]
        self.at = depth

    @property
    def window(self) -> "Window":
        return self.windows[self.at]

    def advance(self) -> None:
        """To the next cycle."""
        if self.at == 0:
            self.at = self.depth
            for moving, step in ((self.h, 1), (self.v, self.shape[1]), (self.beats.T, 1), (self.chains.T, 1)):
                moving[self.depth * step :] = moving[: len(moving) - self.depth * step].copy()
                moving[: self.depth * step] = 0
        self.at -= 1


class Window:
    """Links at one position; all parts can be written in place."""

    def __init__(self, links: Links, at: int) -> None:
        (rows, cols), size = links.shape, links.shape[0] * links.shape[1]
        self.h, *chains = (moving[at : at + size].reshape(rows, cols) for moving in (links.h, *links.chains))
        self.loads, self.preloads, self.drains, self.updates = chains
        """[r, c]."""
        self.v = links.v[at * cols : at * cols + size].reshape(rows, cols)
        self.beats = [np.ndarray(links.shape, np.bool_, kind[at:], 0, (1, 1)) for kind in links.beats]
        """[kind][r, c]: whether PE(r,c) has such a beat, the one that was issued r+c cycles ago."""
        # What enters and leaves at the edges.
        self.west, self.north, self.east, self.south = self.h[:, 0], self.v[0], self.h[:, -1], self.v[-1]
        self.beat = links.beats[:, at]
        self.load, self.preload, self.drain, self.update = (moving[:, 0] for moving in chains)
