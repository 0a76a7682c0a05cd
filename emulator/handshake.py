"""A handshake between the array and one of its chains, one deep: what was put has to be got before more can be put."""

from typing import NamedTuple, Self


class Handshake:
    """Times are cycles of issue.  Who puts and who gets: see `isa/chains.py`.

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


class Handshakes(NamedTuple):
    """Those of one array with its chains, by register: w_next, g_next, g_out, w_out."""

    weights: Handshake
    preloads: Handshake
    gradients: Handshake
    updates: Handshake

    @classmethod
    def of(cls, rows: int) -> Self:
        """Of an array of so many rows."""
        return cls(*[Handshake(rows) for _ in cls._fields])
