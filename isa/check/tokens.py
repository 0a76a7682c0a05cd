"""What queues hand each other, so that one goes on after another: the tokens of semaphores, and of the two chains.

A swap takes a token that each load of weights gives, and gives one that the load after the next takes; a take and its drain likewise.
So the chains are semaphores as well, two of which have a token to begin with.
"""

from collections.abc import Sequence
from typing import NamedTuple

from isa.check.findings import Site
from isa.instructions import ALWAYS, NEVER, Queue, When
from isa.program import Program

LOADED, SWAPPED, TAKEN, DRAINED = CHAINS = range(-4, 0)
"""Numbers of the tokens of the first array's chains, and kinds of those of all; the tokens of semaphores have numbers from 0 on."""
UNFINISHED = (SWAPPED, DRAINED)
"""Given when an instruction starts: they say nothing of what the giver does last."""


class Token(NamedTuple):
    """A token that an instruction takes or gives when the flag is raised."""

    number: int
    given: bool
    when: When = ALWAYS


def of_array(kind: int, queue: Queue) -> int:
    """The number of such a token of the chains of the array that the queue belongs to."""
    return kind - len(CHAINS) * queue.number


def kind_of(number: int) -> int:
    """The kind of a token of any array's chains; a semaphore's number."""
    return number if number >= 0 else number % len(CHAINS) - len(CHAINS)


def initial(program: Program) -> dict[int, int]:
    """How many tokens of each number there are to begin with."""
    chains = {of_array(kind, queue): int(kind in UNFINISHED) for queue in program.machine.queues for kind in CHAINS}
    return chains | {number: sem.initial for number, sem in enumerate(program.semaphores)}


def tokens_around(site: Site) -> tuple[list[Token], list[Token]]:
    """The tokens of an instruction before it touches memory, and after."""
    op, args, queue = site.instruction.op, site.instruction.args, site.queue
    if op in ("wait", "signal"):
        return [Token(args["sem"], op == "signal")], []
    if op == "wload":
        return [Token(of_array(SWAPPED, queue), given=False)], [Token(of_array(LOADED, queue), given=True)]
    if op == "drain":
        return [Token(of_array(TAKEN, queue), given=False)], [Token(of_array(DRAINED, queue), given=True)]
    take = take_tokens(queue, ALWAYS if op == "upd" else args.get("take", NEVER))
    return [*swap_tokens(queue, args.get("swap", NEVER)), *take[:1]], take[1:]


def swap_tokens(queue: Queue, when: When) -> list[Token]:
    """Those of a swap."""
    return _exchange(queue, when, LOADED, SWAPPED)


def take_tokens(queue: Queue, when: When) -> list[Token]:
    """Those of a take."""
    return _exchange(queue, when, DRAINED, TAKEN)


def _exchange(queue: Queue, when: When, taken: int, given: int) -> list[Token]:
    if when.kind == "never":
        return []
    return [Token(of_array(taken, queue), given=False, when=when), Token(of_array(given, queue), given=True, when=when)]


def flag_tokens(flags: Sequence[tuple[Site, str, When]]) -> list[Token]:
    """Those of flags raised in a loop that is taken as one step."""
    return [token for site, name, when in flags for token in (swap_tokens if name == "swap" else take_tokens)(site.queue, when)]
