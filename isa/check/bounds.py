"""Addresses over all turns of the loops: inside their memory, and on the boundaries of their words."""

from collections.abc import Iterator
from functools import lru_cache

from isa.check.findings import Findings, most_turns
from isa.instructions import Instruction
from isa.sequencer import turns
from isa.stream import Ring, Space, Stream

_MOST_SLOTS = 4096
"""Rings with more slots are taken to use them all."""


def check_bounds(findings: Findings) -> None:
    """Find streams that leave their memory or cross word boundaries."""
    sizes = {Space.dram: findings.program.dram_bytes, Space.spad: findings.program.machine.scratchpad.bytes}
    for site in findings.all_sites():
        loops = tuple((loop["count"], loop["limit"], loop["level"]) for loop in site.loops)
        for field, stream in site.streams:
            low, high = address_range(stream, loops)
            if low < 0 or high > sizes[stream.space]:
                name = stream.space.name
                findings.add(site, f"{field.name} touches bytes {low} to {high - 1} of {name}, which has {sizes[stream.space]}")
            elif _misaligned(stream, site.most_turns()):
                findings.add(site, f"{field.name} does not lie on multiples of {stream.dtype.size} bytes, the size of its words")


def _misaligned(stream: Stream, counts: list[int]) -> bool:
    moves = [stride for stride, count in zip(stream.strides, counts, strict=False) if count > 1]
    moves += [dim.stride for dim in stream.dims if dim.count > 1]
    moves += [stream.ring.size] if stream.ring else []
    return any(offset % stream.dtype.size for offset in (stream.base, *moves))


@lru_cache(maxsize=1 << 14)
def address_range(stream: Stream, loops: tuple[tuple[int, int, int], ...]) -> tuple[int, int]:
    """First byte and the one after the last that a stream touches; ``loops`` are (count, limit, level), as in the instruction."""
    code = [Instruction("loop", {"name": "", "count": c, "limit": limit, "level": level}) for c, limit, level in loops]
    most = [most_turns(loop) for loop in code]
    coupled = {dim.level for dim in stream.dims if dim.limit is not None}
    for level, loop in enumerate(code):
        if loop["limit"]:
            coupled |= {level, loop["level"]}
    low, high = _ring_range(stream.ring, most)
    for level, stride in enumerate(stream.strides):
        if stride and level not in coupled:
            reach = stride * (most[level] - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
    lows, highs = [], []
    for counters in _corners(stream, code, coupled, []):
        at = stream.base + sum(s * c for s, c in zip(stream.strides, counters, strict=False))
        reaches = [(dim.extent(counters) - 1) * dim.stride for dim in stream.dims]
        lows.append(at + sum(min(reach, 0) for reach in reaches))
        highs.append(at + sum(max(reach, 0) for reach in reaches))
    return low + min(lows), high + max(highs) + stream.dtype.size


def _corners(stream: Stream, loops: list[Instruction], coupled: set[int], counters: list[int]) -> Iterator[list[int]]:
    """Counters between which addresses are linear; loops that nothing is clipped by stay at 0."""
    level = len(counters)
    if level == len(loops):
        yield counters
        return
    points = {0}
    if level in coupled:
        last = turns(loops[level], counters) - 1
        clips = [(dim.count, dim.limit) for dim in stream.dims if dim.limit is not None and dim.level == level]
        clips += [(loop["count"], loop["limit"]) for loop in loops[level + 1 :] if loop["limit"] and loop["level"] == level]
        points |= {last} | {limit // count + near for count, limit in clips for near in (-1, 0)}
        points = {point for point in points if 0 <= point <= last}
    for point in points:
        yield from _corners(stream, loops, coupled, [*counters, point])


def _ring_range(ring: Ring | None, counts: list[int]) -> tuple[int, int]:
    """Lowest and highest offset of the slots that a ring reaches."""
    if ring is None:
        return 0, 0
    first, last = 0, ring.slots - 1
    if ring.slots <= _MOST_SLOTS:
        reached = {ring.start % ring.slots}
        for step, count in zip(ring.steps, counts, strict=False):
            turns_that_differ = range(min(count, ring.slots))
            reached = {(slot + step * turn) % ring.slots for slot in reached for turn in turns_that_differ} if step else reached
        first, last = min(reached), max(reached)
    offsets = (ring.size * first, ring.size * last)
    return min(offsets), max(offsets)
