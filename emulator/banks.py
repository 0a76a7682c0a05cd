"""The scratchpad's banks and their ports: which ports an instruction needs, and how much longer it takes where there are too few.

An operand needs one port, to read or to write, in every bank that its bytes of this execution touch, from the lowest to the highest.
A beat nest (see `nest.py`) is one execution: an operand's bytes are those of all its turns.
"""

from collections.abc import Iterable, Sequence

from emulator.nest import Nest
from isa.instructions import Instruction
from isa.machine import Scratchpad
from isa.stream import Space, Stream, reach

Ports = tuple[int, ...]
"""So many ports of each bank, those to read first, then those to write; empty where ports are unlimited."""

_ALL = 1 << 40
"""More than anything needs."""


class Banks:
    """Banks of equal size, one after the other; ``limits`` are the ports that there are."""

    def __init__(self, scratchpad: Scratchpad) -> None:
        self.limited = bool(scratchpad.read_ports or scratchpad.write_ports)
        self.number, self.bytes = scratchpad.banks if self.limited else 1, scratchpad.bytes
        ports = (scratchpad.read_ports or _ALL, scratchpad.write_ports or _ALL) if self.limited else ()
        self.limits: Ports = tuple(limit for limit in ports for _ in range(self.number))

    def needs(self, instruction: Instruction, counters: Sequence[int]) -> Ports:
        """Of an instruction that is no beat, at these loop counters; operands that are the same stream are read once."""
        if not self.limited:
            return ()
        args = instruction.args
        read = dict.fromkeys(args[name] for name in ("src", "a", "b", "c") if isinstance(args.get(name), Stream))
        return self._needs(read, [args["dst"]] if "dst" in args else [], counters, [])

    def nest_needs(self, nest: Nest, zeros: Sequence[bool], counters: Sequence[int], turns: Sequence[int]) -> tuple[Ports, ...]:
        """Of each beat of a nest's body; ``counters`` are those of the loops around the nest, ``turns`` those of its own."""
        if not self.limited:
            return ((),) * len(nest.beats)
        loops = list(zip(nest.levels, turns, strict=True))
        needs: list[Ports] = []
        for beat, zero in zip(nest.beats, zeros, strict=True):
            read = [source.stream for source in (beat.h, beat.v) if source and source.stream]
            written = [beat.acc] if beat.acc else []
            needs.append(self._needs(read if zero else [*read, *written], written, counters, loops))
        return tuple(needs)

    def cycles(self, needs: Ports) -> int:
        """How often the ports that there are have to be used."""
        return max((-(-need // limit) for need, limit in zip(needs, self.limits, strict=True)), default=1) or 1

    def fit(self, needs: Ports, taken: Iterable[Ports]) -> bool:
        """Whether as many ports are free as an instruction needs: all of a bank's, where it needs more than these."""
        return all(min(need, limit) + sum(others) <= limit for need, limit, *others in zip(needs, self.limits, *taken, strict=True))

    def held(self, needs: Ports) -> Ports:
        """The ports that an instruction holds."""
        return tuple(map(min, needs, self.limits))

    def _needs(self, read: Iterable[Stream], written: Iterable[Stream], counters: Sequence[int], loops: Sequence[tuple[int, int]]) -> Ports:
        ports = [0] * len(self.limits)
        for first, streams in ((0, read), (self.number, written)):
            for stream in streams:
                for bank in self._touched(stream, counters, loops):
                    ports[first + bank] += 1
        return tuple(ports)

    def _touched(self, stream: Stream, counters: Sequence[int], loops: Sequence[tuple[int, int]]) -> range:
        """The banks of a stream's bytes in all turns of ``loops``, which are (level, turns)."""
        steps = [(dim.extent(counters), dim.stride) for dim in stream.dims]
        steps += [(turns, stream.strides[level]) for level, turns in loops if level < len(stream.strides)]
        if stream.space is not Space.spad or any(count <= 0 for count, _ in steps):
            return range(0)
        address, (low, high) = stream.address(counters), reach(steps)
        return range(self._bank(address + low), self._bank(address + high + stream.dtype.size - 1) + 1)

    def _bank(self, byte: int) -> int:
        """A byte beyond the scratchpad is a mistake that others tell."""
        return min(max(0, byte), self.bytes - 1) * self.number // self.bytes


def at_once(needs: Iterable[Ports]) -> Ports:
    """What is needed so that any of these can be had."""
    return tuple(map(max, zip(*needs, strict=True)))
