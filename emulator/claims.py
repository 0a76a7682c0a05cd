"""Who holds which ports of the scratchpad until when, as the fast engine sees it: its queues' instructions start in the order of time."""

from collections.abc import Iterable

from emulator.banks import Banks, Ports
from isa.instructions import Queue


class Claims:
    """A queue holds the ports of one instruction at a time.  ``held``: by queue, the cycle in which they are free again, and the ports."""

    def __init__(self, banks: Banks, queues: int) -> None:
        self.banks = banks
        self.held: list[tuple[int, Ports]] = [(0, ())] * queues
        self.now = 0
        """When the last instruction started.  None starts before; what was held before is forgotten."""

    def free_at(self, needs: Ports, cycle: int) -> int:
        """The first cycle, not before the given one, in which an instruction finds the ports that it needs."""
        cycle = max(cycle, self.now)
        while True:
            held = [(until, ports) for until, ports in self.held if until > cycle]
            if self.banks.fit(needs, [ports for _, ports in held]):
                return cycle
            cycle = min(until for until, _ in held)

    def hold(self, queue: Queue, needs: Ports, start: int, until: int) -> None:
        """An instruction of the queue has the ports that it needs from ``start`` on."""
        self.now = start
        self.held[queue] = until, self.banks.held(needs)

    def seen_from(self, now: int) -> tuple[tuple[int, Ports], ...]:
        """By queue, for how many more cycles ports are held, and which."""
        return tuple([(until - now, ports) if until > now else (0, ()) for until, ports in self.held])

    def shift(self, queues: Iterable[Queue], cycles: int) -> None:
        """So many cycles later these queues hold what they hold now."""
        self.now += cycles
        for queue in queues:
            until, ports = self.held[queue]
            self.held[queue] = until + cycles, ports
