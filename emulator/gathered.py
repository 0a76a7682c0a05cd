"""Operands whose rows have to be put in a row before they are multiplied: that is done again only when somebody has written there."""

import numpy as np

from emulator.memory import Array, Memory
from emulator.tape import Action, Scratch
from emulator.together import Words, words_at

_ROOM = 1 << 22
"""Bytes; when more is in use, all is gathered anew."""

Span = tuple[int, int]
"""Where an array lies in the scratchpad: its lowest byte, and one after its highest."""


class Gathered:
    """What was gathered from the scratchpad, and is still the same there."""

    def __init__(self, spad: Memory) -> None:
        self._spad = spad
        self._start = spad.bytes.__array_interface__["data"][0]
        self._scratch, self._used = Scratch(), 0
        self._copies: dict[Words, tuple[Array, Array]] = {}
        self._valid: dict[Words, Span] = {}
        self.asked: list[Words] = []
        """Of what copies were asked for."""

    @property
    def full(self) -> bool:
        """Whether it is time to forget everything."""
        return self._used > _ROOM

    def forget(self) -> None:
        """No copy is in use any more."""
        self._scratch.clear()
        self._used = 0
        self._copies, self._valid = {}, {}

    def reshaped(self, words: Array, shape: tuple[int, ...]) -> Array:
        """Words in another shape: in place where that can be, else where they are gathered."""
        found = words.reshape(shape)
        if np.may_share_memory(found, words):
            return found
        key = words_at(words)
        if key not in self._copies:
            self._copies[key] = self._scratch.empty(words.shape, words.dtype), words
            self._used += words.nbytes
        self.asked.append(key)
        return self._copies[key][0].reshape(shape)

    def missing(self, asked: list[Words]) -> list[Action]:
        """What gathers those that are not there."""
        found: list[Action] = []
        for key in asked:
            if key not in self._valid:
                copy, words = self._copies[key]
                self._valid[key] = self.span(words)
                found.append((np.copyto, (copy, words)))
        return found

    def span(self, words: Array) -> Span:
        """Where words lie."""
        low, high = np.lib.array_utils.byte_bounds(words)
        return low - self._start, high - self._start

    def written(self, spans: list[Span]) -> None:
        """Somebody wrote there."""
        for low, high in spans if self._valid else ():
            for key in [key for key, (first, last) in self._valid.items() if low < last and first < high]:
                del self._valid[key]

    def all_written(self) -> None:
        """Somebody wrote anywhere."""
        self._valid = {}
