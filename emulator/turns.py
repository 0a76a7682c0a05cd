"""Which turns of a loop take the same time and count the same, seen from the code alone."""

from dataclasses import dataclass

from isa.instructions import When
from isa.sequencer import Sequencer
from isa.stream import Space, Stream


@dataclass(frozen=True, slots=True)
class Body:
    """What tells the turns of a loop apart, at ``level``: flags, clipped extents, addresses."""

    level: int
    first: int
    """1 if a flag tells the first turn from the others, else 0."""
    last: int
    """The same of the last turn."""
    full: int | None
    """So many turns come before the first that is clipped; None: nothing is clipped."""
    sums: tuple[Stream, ...]
    dram: tuple[Stream, ...]

    def alike(self, count: int) -> range:
        """The turns, of ``count``, that do not differ but in their addresses."""
        last = count - self.last
        return range(self.first, last if self.full is None else min(last, self.full))

    def sums_shift(self, turns: int) -> int | None:
        """Bytes by which all partial sums move in so many turns; None if they do not move alike."""
        shifts = {_stride(stream, self.level) * turns if _ring_shift(stream, self.level, turns) == 0 else None for stream in self.sums}
        return shifts.pop() if len(shifts) == 1 else None

    def keeps_alignment(self, turns: int, size: int) -> bool:
        """Whether so many turns move every DRAM address by a multiple of ``size`` bytes."""
        return all(
            _stride(stream, self.level) * turns % size == 0 and _ring_shift(stream, self.level, turns) % size == 0 for stream in self.dram
        )


def body(sequencer: Sequencer, loop: int) -> Body:
    """The body of the loop at this index."""
    level = len(sequencer.enclosing[loop])
    flags: set[str] = set()
    clips: list[int] = []
    streams: list[Stream] = []
    sums: list[Stream] = []
    for instruction in sequencer.code[loop + 1 : sequencer.partner[loop]]:
        args = instruction.args
        if instruction.op == "loop" and args["limit"] and args["level"] == level:
            clips.append(args["limit"] // args["count"])
        flags.update(value.kind for value in args.values() if isinstance(value, When) and level in value.levels)
        streams += [value for value in args.values() if isinstance(value, Stream)]
        sums += [args["acc"]] if "acc" in args else []
    clips += [dim.limit // dim.count for stream in streams for dim in stream.dims if dim.limit is not None and dim.level == level]
    dram = tuple(stream for stream in streams if stream.space is Space.dram)
    return Body(level, int("first" in flags), int("last" in flags), min(clips, default=None), tuple(sums), dram)


def _stride(stream: Stream, level: int) -> int:
    return stream.strides[level] if level < len(stream.strides) else 0


def _ring_shift(stream: Stream, level: int, turns: int) -> int:
    """0 if the stream is in the same slot so many turns later, else the ring's pitch."""
    ring = stream.ring
    if ring is None or level >= len(ring.steps) or ring.steps[level] * turns % ring.slots == 0:
        return 0
    return ring.size
