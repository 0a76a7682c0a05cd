"""The mistake of a program whose queues wait for each other."""

from collections.abc import Mapping

from isa.errors import UserError
from isa.instructions import Queue
from isa.program import Program

_PARTNERS = {
    "wload": "the swap of the tile before", "gload": "the preload of the tile before", "drain": "a take", "wdrain": "a mupd",
}  # fmt: skip
"""Whom each instruction of a chain waits for."""


def deadlock(program: Program, stuck: Mapping[Queue, int]) -> UserError:
    """The error that names the queues which are stuck and the instruction at which each one is.

    Instructions are numbered from 0 within their queue.
    """
    details = []
    for queue, index in stuck.items():
        instruction = program.queues[queue][index]
        if instruction.op == "wait":
            reason = f"waits for semaphore {program.semaphores[instruction['sem']].name}"
        else:
            reason = f"waits for {_PARTNERS.get(instruction.op, 'what its chains load or drain')}"
        details.append(f"queue {queue.name}: instruction {index} ({instruction.op}) {reason}")
    return UserError(program.name, "the program cannot proceed: its queues wait for each other", details)
