"""The mistake of a program whose queues wait for each other."""

from collections.abc import Mapping

from isa.errors import UserError
from isa.instructions import Queue
from isa.program import Program


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
            partner = {Queue.wchain: "the swap of the tile before", Queue.gchain: "a take"}.get(queue.unit, "a wload or a drain")
            reason = f"waits for {partner}"
        details.append(f"queue {queue.name}: instruction {index} ({instruction.op}) {reason}")
    return UserError(program.name, "the program cannot proceed: its queues wait for each other", details)
