"""Loops that the checker takes as one step: the regions and flags of all their turns at once."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

from isa.chains import FLAGS
from isa.check.findings import Site
from isa.instructions import NEVER, Instruction, When
from isa.sequencer import Sequencer, turns

BEATS = ("fwd", "dx", "dw")


class Whole(NamedTuple):
    """A loop that is taken as one step."""

    body: list[tuple[Site, int]]
    """Its instructions, each with the level from which on loops only add strides; those outside of it go turn by turn."""
    first: list[tuple[Site, str, When]]
    last: list[tuple[Site, str, When]]
    """The flags raised in the first and in the last turn, by what they need of the loops around."""

    @classmethod
    def of(cls, body: Sequence[Site], depth: int) -> Self:
        """The loop of this body, with ``depth`` loops around it."""
        sites = [site for site in body if site.instruction.op not in ("loop", "end")]
        flags: dict[str, list[tuple[Site, str, When]]] = {"never": [], "first": [], "last": []}
        for site in sites:
            for name in FLAGS:
                when = site.instruction.args.get(name, NEVER)
                flags[when.kind].append((site, name, When(when.kind, tuple(level for level in when.levels if level < depth))))
        straight = [(site, max(depth, 1 + max(_bent_levels(site), default=-1))) for site in sites]
        return cls(straight, flags["first"], flags["last"])


def can_be_whole(loop: Site, body: Sequence[Site], sequencer: Sequencer) -> bool:
    """Whether others notice nothing of the loop but flags that are raised at most once in it."""
    if not sequencer.has_sync(loop.index):
        return True
    for site in body:
        if site.instruction.op not in (*BEATS, "loop", "end", "vec", "red", "ld", "st"):
            return False
        inside = set(range(len(loop.loops), len(site.loops)))
        for name in FLAGS:
            when = site.instruction.args.get(name, NEVER)
            if when.kind != "never" and not inside <= set(when.levels):
                return False
    return True


def _bent_levels(site: Site) -> set[int]:
    """Levels over which an access is not affine, or loops change their turns."""
    bent = {loop["level"] for loop in site.loops if loop["limit"]}
    for _, stream in site.streams:
        bent |= {dim.level for dim in stream.dims if dim.limit is not None}
        bent |= {level for level, step in enumerate(stream.ring.steps if stream.ring else ()) if step}
    zero = site.instruction.args.get("zero")
    return bent | set(zero.levels) if isinstance(zero, When) else bent


def turns_of(loops: tuple[Instruction, ...], whole: int, counters: list[int]) -> Iterator[list[int]]:
    """Counters of the loops from ``len(counters)`` to ``whole`` in order, those further inside at 0."""
    level = len(counters)
    if level == whole:
        yield counters + [0] * (len(loops) - whole)
        return
    for counter in range(turns(loops[level], counters)):
        yield from turns_of(loops, whole, [*counters, counter])
