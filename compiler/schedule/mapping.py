"""Dataflows: how the three axes of a matrix product are laid onto rows, columns and time.

A layer has X[b,k], W[k,n], Y[b,n].  All three products run over the same three axes and differ in the one they sum over: the
forward product over k, dX over n, dW over b.  Laying the axes onto the array's rows, its columns and the stream of beats
therefore *is* the dataflow, and where the summed axis lands decides which beat computes the product:

    summed axis on   beat   stationary      streamed in       sums
    rows             fwd    (rows, cols)    h: (time, rows)   leave south: (time, cols)
    cols             dx     (rows, cols)    v: (time, cols)   leave east:  (time, rows)
    time             dw     none            h: (time, rows)   stay: (rows, cols)
                                            v: (time, cols)

With rows = k, cols = n, time = b the three beats compute just the products they are named after, and dX and dW share both the
stationary W's place and the stream dY: that is gradient interleaving.
"""

from dataclasses import dataclass

SUMMED = {"fwd": "k", "dx": "n", "dw": "b"}
TENSORS = {
    "fwd": {"X": "bk", "W": "kn", "Y": "bn"},
    "dx": {"dY": "bn", "W": "kn", "dX": "bk"},
    "dw": {"X": "bk", "dY": "bn", "dW": "kn"},
}
"""Tensors of each product with their axes; the last is the result."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """Axes (each of b, k, n) on rows, columns and time."""

    rows: str
    cols: str
    time: str

    def beat(self, product: str) -> str:
        """The beat that computes the product."""
        summed = SUMMED[product]
        return "fwd" if summed == self.rows else "dx" if summed == self.cols else "dw"

    def tensor(self, product: str, *axes: str) -> str:
        """Which tensor of the product has just these two axes."""
        return next(name for name, own in TENSORS[product].items() if set(own) == set(axes))

    def stationary(self, product: str) -> str | None:
        """The tensor held in the array, or None where results are."""
        return None if self.beat(product) == "dw" else self.tensor(product, self.rows, self.cols)

    def ports(self, product: str) -> tuple[str, str]:
        """The tensors on the beat's two streams: h and sums, v and sums, or h and v."""
        west, north = self.tensor(product, self.time, self.rows), self.tensor(product, self.time, self.cols)
        return (north, west) if self.beat(product) == "dx" else (west, north)


INTERLEAVED = Mapping("k", "n", "b")
"""W resident for dX, dW accumulating in the same place."""
