"""The program checker: what cannot be right is found before anything runs.

``rules`` looks at one instruction at a time, ``bounds`` at addresses over all turns of the loops, ``order`` executes all queues without
time: it finds deadlocks, reads of what nothing has written, and accesses of two queues that nothing puts in an order.  ``quick`` does
so for all events at once, as arrays, which takes a tenth of the time; where it has a doubt, ``order`` goes step by step and says what is
wrong.
"""

from isa.binary import validate_tables
from isa.check.bounds import check_bounds
from isa.check.findings import Findings
from isa.check.order import check_order
from isa.check.rules import check_rules
from isa.errors import UserError
from isa.machine import Machine
from isa.program import Program

__all__ = ["check"]

_MAX_LISTED = 30


def check(program: Program, place: str, machine: Machine | None = None) -> None:
    """Check a program; with ``machine``, also that it was made for that machine.

    Raises:
        UserError: lists all findings, each with queue, instruction, its assembly and its layer.
    """
    validate_tables(program, place)
    findings = Findings(program)
    if machine is not None and machine.fingerprint != program.machine.fingerprint:
        findings.general(f"made for the machine {program.machine.name!r}, which differs from {machine.name!r}; compile it again")
    for rules in (check_rules, check_bounds, check_order):
        if not findings.lines:
            rules(findings)
    if findings.lines:
        count = len(findings.lines)
        listed = findings.lines[:_MAX_LISTED] + ([f"… and {count - _MAX_LISTED} more"] if count > _MAX_LISTED else [])
        raise UserError(place, f"the program cannot run: {count} finding{'s' if count > 1 else ''}", listed)
