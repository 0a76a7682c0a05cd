"""A handshake between the array and one of its chains, one deep: what was put has to be got before more can be put."""


class Handshake:
    """Times are cycles of issue.  Weights: `wload` puts, `swap` gets.  Gradients: `take` puts, `drain` gets.

    What was put can be got ``delay`` cycles later; one cycle after that it was got, more can be put.
    """

    def __init__(self, delay: int) -> None:
        self.delay = delay
        self.full = False
        self.turn = 0
        """First cycle in which the other side can act: get if ``full``, put if not."""

    def put_at(self) -> int | None:
        """First cycle for a put; None while it is not known."""
        return None if self.full else self.turn

    def get_at(self) -> int | None:
        """First cycle for a get; None while it is not known."""
        return self.turn if self.full else None

    def put(self, cycle: int) -> None:
        self.full, self.turn = True, cycle + self.delay

    def get(self, cycle: int) -> None:
        self.full, self.turn = False, cycle + 1
