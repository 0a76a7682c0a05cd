"""What queues hand each other, so that one goes on after another: the tokens of semaphores, and of the chains.

Where one side puts a tile into a register that the other gets it from (see `isa/chains.py`), each put gives a token that the get takes, and
the get gives one that the put after the next takes.  So the registers are semaphores as well, two for each, of which one has a token to
begin with.
"""

from collections.abc import Sequence
from typing import NamedTuple

from isa.chains import REGISTERS, steps_of
from isa.check.findings import Site
from isa.instructions import ALWAYS, Queue, When
from isa.program import Program

CHAINS = range(-2 * len(REGISTERS), 0)
"""Numbers of the tokens of the first array's registers, and kinds of those of all; the tokens of semaphores have numbers from 0 on."""
PUT, UNFINISHED = tuple(CHAINS[::2]), tuple(CHAINS[1::2])
"""Given when something was put; and when it is got, which is when an instruction starts: they say nothing of what the giver does last."""
_EXCHANGES = {
    step: tokens
    for register, put, got in zip(REGISTERS, PUT, UNFINISHED, strict=True)
    for step, tokens in ((register.put, (got, put)), (register.get, (put, got)))
}
"""The kinds that each step takes and gives."""


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
    before: list[Token] = []
    after: list[Token] = []
    for step, when in steps_of(site.instruction):
        taken, given = _tokens(queue, step, when)
        before.append(taken)
        (before if step in ("swap", "preload") else after).append(given)
    return before, after


def _tokens(queue: Queue, step: str, when: When) -> tuple[Token, Token]:
    """Those that a step takes and gives."""
    taken, given = (of_array(kind, queue) for kind in _EXCHANGES[step])
    return Token(taken, given=False, when=when), Token(given, given=True, when=when)


def flag_tokens(flags: Sequence[tuple[Site, str, When]]) -> list[Token]:
    """Those of flags raised in a loop that is taken as one step."""
    return [token for site, name, when in flags for token in _tokens(site.queue, name, when)]
