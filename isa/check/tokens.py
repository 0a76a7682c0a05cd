"""What queues hand each other, so that one goes on after another: the tokens of semaphores, and of the two chains.

A swap takes a token that each load of weights gives, and gives one that the load after the next takes; a take and its drain likewise.
So the chains are semaphores as well, two of which have a token to begin with.
"""

from collections.abc import Sequence
from typing import NamedTuple

from isa.check.findings import Site
from isa.instructions import ALWAYS, NEVER, When
from isa.program import Program

LOADED, SWAPPED, TAKEN, DRAINED = CHAINS = range(-4, 0)
"""Numbers of the chains' tokens; those of semaphores are 0 or more."""
UNFINISHED = (SWAPPED, DRAINED)
"""Given when an instruction starts: they say nothing of what the giver does last."""


class Token(NamedTuple):
    """A token that an instruction takes or gives when the flag is raised."""

    number: int
    given: bool
    when: When = ALWAYS


def initial(program: Program) -> dict[int, int]:
    """How many tokens of each kind there are to begin with."""
    return {LOADED: 0, SWAPPED: 1, TAKEN: 0, DRAINED: 1} | {number: sem.initial for number, sem in enumerate(program.semaphores)}


def tokens_around(site: Site) -> tuple[list[Token], list[Token]]:
    """The tokens of an instruction before it touches memory, and after."""
    op, args = site.instruction.op, site.instruction.args
    if op in ("wait", "signal"):
        return [Token(args["sem"], op == "signal")], []
    if op == "wload":
        return [Token(SWAPPED, given=False)], [Token(LOADED, given=True)]
    if op == "drain":
        return [Token(TAKEN, given=False)], [Token(DRAINED, given=True)]
    take = take_tokens(ALWAYS if op == "upd" else args.get("take", NEVER))
    return [*swap_tokens(args.get("swap", NEVER)), *take[:1]], take[1:]


def swap_tokens(when: When) -> list[Token]:
    """Those of a swap."""
    return [] if when.kind == "never" else [Token(LOADED, given=False, when=when), Token(SWAPPED, given=True, when=when)]


def take_tokens(when: When) -> list[Token]:
    """Those of a take."""
    return [] if when.kind == "never" else [Token(DRAINED, given=False, when=when), Token(TAKEN, given=True, when=when)]


def flag_tokens(flags: Sequence[tuple[Site, str, When]]) -> list[Token]:
    """Those of flags raised in a loop that is taken as one step."""
    return [token for _, name, when in flags for token in (swap_tokens(when) if name == "swap" else take_tokens(when))]
