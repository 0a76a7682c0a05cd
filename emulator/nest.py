"""Beat nests: hardware loops that hold nothing but beats, which the fast engine executes as one.

A nest is a perfect nest of loops around straight-line beats (a single beat is a nest without loops).  What makes it one action is decided
once, from the code alone: weights and accumulators come before its first beat or not at all, the gradient is taken after its last beat or
not at all, and the sums of two beats never meet, so that whole streams can be computed at once in any order.

In both engines a nest is also what has the scratchpad's ports as one instruction (see `docs/ports.md`): where a machine counts these, what
is a nest decides cycles.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from isa.instructions import ALWAYS, HELD, UPDATES, Instruction, When
from isa.sequencer import Sequencer
from isa.stream import Dim, Stream

MAX_WORDS = 1 << 22
"""Largest number of words of partial sums that one nest may address where their being distinct needs a look at each."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a port's operand comes from: a stream, the same port of an earlier beat of the nest, or (neither) the beat before the nest."""

    stream: Stream | None = None
    beat: int | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat of a nest's body; ``h`` and ``v`` are its operands, ``acc`` its partial sums."""

    op: str
    provenance: int
    h: Source | None
    v: Source | None
    acc: Stream | None
    zero: When
    swap: When
    preload: When
    take: When
    lr: float = 0.0
    decay: float = 0.0

    @property
    def streams(self) -> list[Stream]:
        """Its streams, that of its sums last."""
        operands = [source.stream for source in (self.h, self.v) if source and source.stream]
        return [*operands, self.acc] if self.acc else operands


@dataclass(frozen=True, slots=True)
class Nest:
    """``loops`` from the outermost; ``depth`` loops lie around it, and the beats' flags speak of these only.

    A `swap` or `preload` of the first beat then means its first turn, a `take` of the last beat its last turn.
    """

    depth: int
    loops: tuple[Instruction, ...]
    beats: tuple[Beat, ...]

    @property
    def levels(self) -> range:
        return range(self.depth, self.depth + len(self.loops))

    @property
    def holds(self) -> bool:
        """Whether a port's operand is what the beat before the nest left there."""
        return any(source == Source() for beat in self.beats for source in (beat.h, beat.v))


def nest_at(sequencer: Sequencer, index: int, unowned: int) -> Nest | None:
    """The nest that begins at this instruction (a loop or a beat), or None if it is no nest.

    ``unowned`` stands for the provenance of instructions that have none.
    """
    code = sequencer.code
    depth = len(sequencer.enclosing[index])
    loops: list[Instruction] = []
    first = index
    while code[first].op == "loop":
        loops.append(code[first])
        first += 1
    last = sequencer.partner[first - 1] if loops else first + 1
    if any(code[i].op not in ("fwd", "dx", "dw", *UPDATES) for i in range(first, last)) or first == last:
        return None
    if any(code[last + i].op != "end" for i in range(len(loops))):
        return None
    beats = _beats(code[first:last], unowned)
    nest = Nest(depth, tuple(loops), tuple(_seen_from_outside(beat, depth) for beat in beats))
    if loops and not (_flags_fit(nest, beats) and _streams_fit(nest, [code[i] for i in sequencer.enclosing[first]])):
        return None
    return nest


def nest_around(sequencer: Sequencer, index: int, unowned: int) -> Nest:
    """The nest that a beat belongs to: that of the outermost loop around it that is one, or the beat itself."""
    nests = (nest_at(sequencer, first, unowned) for first in (*sequencer.enclosing[index], index))
    return next(nest for nest in nests if nest)


def _beats(body: Sequence[Instruction], unowned: int) -> tuple[Beat, ...]:
    never = When()
    beats: list[Beat] = []
    on_port: dict[str, int | None] = {"h": None, "v": None}  # the beat whose operand is on the port; -1: its sums are
    for number, instruction in enumerate(body):
        args = instruction.args
        sources: dict[str, Source | None] = {"h": None, "v": None}
        for port in ("h", "v"):
            if port not in args:
                continue
            if args[port] == HELD:
                sources[port] = Source(beat=on_port[port])
            else:
                sources[port] = Source(stream=args[port])
                on_port[port] = number
        if instruction.op in ("fwd", "dx"):
            on_port["v" if instruction.op == "fwd" else "h"] = -1
        beats.append(Beat(
            instruction.op,
            unowned if instruction.provenance is None else instruction.provenance,
            sources["h"], sources["v"], args.get("acc"),
            args.get("zero", never), args["swap"], args["preload"], ALWAYS if instruction.op in UPDATES else args.get("take", never),
            args.get("lr", 0.0), args.get("decay", 0.0),
        ))  # fmt: skip
    return tuple(beats)


def _seen_from_outside(beat: Beat, depth: int) -> Beat:
    def trim(when: When) -> When:
        return When(when.kind, tuple(level for level in when.levels if level < depth))

    return replace(beat, zero=trim(beat.zero), swap=trim(beat.swap), preload=trim(beat.preload), take=trim(beat.take))


def _flags_fit(nest: Nest, beats: Sequence[Beat]) -> bool:
    """Whether flags are raised at the ends of the nest only, and no port holds what came before it."""
    inner = {level for level, loop in zip(nest.levels, nest.loops, strict=True) if (loop["count"], loop["limit"]) != (1, 0)}

    def once(when: When, kind: str) -> bool:
        return when.kind == "never" or (when.kind == kind and inner <= set(when.levels))

    for number, beat in enumerate(beats):
        held = [source.beat for source in (beat.h, beat.v) if source and source.stream is None]
        if beat.op in UPDATES or any(before is None or before < 0 for before in held):
            return False
        if not all(once(when, "first") if number == 0 else when.kind == "never" for when in (beat.swap, beat.preload)):
            return False
        if not (once(beat.take, "last") if number == len(beats) - 1 else beat.take.kind == "never"):
            return False
        if inner & set(beat.zero.levels):
            return False
    return not any(loop["limit"] and loop["level"] >= nest.depth for loop in nest.loops)


def _streams_fit(nest: Nest, loops: Sequence[Instruction]) -> bool:
    """Whether the streams are strided arrays whose words do not meet; ``loops`` are those around the beats, the nest's too."""
    streams = [s.stream for beat in nest.beats for s in (beat.h, beat.v) if s and s.stream]
    sums = [beat.acc for beat in nest.beats if beat.acc]
    return (
        all(_is_affine(stream, nest.depth) for stream in (*streams, *sums))
        and _all_distinct(sums, nest, loops)
        and not any(_overlap(_interval(a, loops), _interval(b, loops)) for a in streams for b in sums)
    )


def _is_affine(stream: Stream, depth: int) -> bool:
    """Whether the loops from ``depth`` inwards only ever add a stride."""
    clipped = any(dim.limit is not None and dim.level >= depth for dim in stream.dims)
    return not clipped and not (stream.ring and any(stream.ring.steps[depth:]))


def _interval(stream: Stream, loops: Sequence[Instruction]) -> tuple[int, int]:
    """Lowest byte address, and the one after the highest, that the stream can touch inside these loops."""
    strides = dict(enumerate(stream.strides[: len(loops)]))
    corners: list[list[int]] = []
    for dim in stream.dims:
        width = dim.count if dim.limit is None else min(dim.count, dim.limit)
        last = dim.stride * (width - 1)
        if dim.limit is None or dim.level not in strides:
            corners.append([0, last])
            continue
        # The ragged last turn ends where the tensor does: what lies behind it is another's.
        turns, across = loops[dim.level]["count"], strides.pop(dim.level)
        rest = dim.stride * max(0, min(width, dim.limit - dim.count * (turns - 1)) - 1)
        before = [across * (turns - 2), across * (turns - 2) + last] if turns > 1 else []
        corners.append([0, last if turns > 1 else rest, *before, across * (turns - 1), across * (turns - 1) + rest])
    corners += [[0, stride * (loops[level]["count"] - 1)] for level, stride in strides.items()]
    if stream.ring:
        corners.append([0, stream.ring.size * (stream.ring.slots - 1)])
    return stream.base + sum(map(min, corners)), stream.base + sum(map(max, corners)) + stream.dtype.size


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _walk(stream: Stream, nest: Nest) -> list[Dim]:
    """The stream's steps inside the nest as dimensions: its loops, then the lanes."""
    strides = dict(enumerate(stream.strides))
    loops = [Dim(loop["count"], strides.get(level, 0)) for level, loop in zip(nest.levels, nest.loops, strict=True)]
    return [*loops, *stream.dims]


def _all_distinct(sums: Sequence[Stream], nest: Nest, loops: Sequence[Instruction]) -> bool:
    """Whether no byte of partial sums belongs to two beats of the nest."""
    if len(sums) <= 1 and all(injective(_counts(_walk(stream, nest)), stream.dtype.size) for stream in sums):
        return True
    if len({(s.strides[: nest.depth], s.ring, s.dtype) for s in sums}) > 1:
        intervals = sorted(_interval(stream, loops) for stream in sums)
        apart = all(a[1] <= b[0] for a, b in pairwise(intervals))
        return apart and all(_all_distinct([stream], nest, loops) for stream in sums)
    words = sum(int(np.prod([dim.count for dim in _walk(stream, nest)], dtype=np.int64)) for stream in sums)
    if words > MAX_WORDS:
        return False
    size = sums[0].dtype.size
    addresses = np.concatenate([_addresses(stream.base - sums[0].base, _walk(stream, nest)) for stream in sums])
    return not (addresses % size).any() and len(np.unique(addresses)) == len(addresses)


def _counts(dims: Iterable[Dim]) -> list[tuple[int, int]]:
    return [(dim.count, dim.stride) for dim in dims]


def injective(dims: Iterable[tuple[int, int]], size: int) -> bool:
    """Whether nested strides, given as (count, stride), are each larger than all that lies within (sufficient, and the usual case)."""
    span = size
    for stride, count in sorted((abs(stride), count) for count, stride in dims if count > 1):
        if stride < span:
            return False
        span += stride * (count - 1)
    return True


def _addresses(base: int, dims: Sequence[Dim]) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    out = np.array([base], np.int64)
    for dim in dims:
        out = (out[:, None] + dim.stride * np.arange(dim.count, dtype=np.int64)).reshape(-1)
    return out
