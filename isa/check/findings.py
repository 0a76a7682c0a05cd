"""What the checker has found, told with its place; and the places themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from isa.disasm import instruction_text
from isa.instructions import Field, FieldKind, Instruction, Queue
from isa.program import Program
from isa.sequencer import LoopError, Sequencer
from isa.stream import Stream


@dataclass(frozen=True)
class Site:
    """One instruction with the loops around it, outermost first."""

    queue: Queue
    index: int
    instruction: Instruction
    loops: tuple[Instruction, ...]

    @cached_property
    def streams(self) -> list[tuple[Field, Stream]]:
        """Its streams with their fields."""
        fields = [field for field in self.instruction.spec.fields if field.kind in (FieldKind.STREAM, FieldKind.OPERAND)]
        found = [(field, self.instruction.args[field.name]) for field in fields]
        return [(field, value) for field, value in found if isinstance(value, Stream)]

    def most_turns(self) -> list[int]:
        """The most turns that each loop around takes."""
        return [most_turns(loop) for loop in self.loops]


def most_turns(loop: Instruction) -> int:
    """The most turns of a loop: those of its unclipped executions."""
    return min(loop["count"], loop["limit"]) if loop["limit"] else int(loop["count"])


class Findings:
    """Collects findings; ``sites`` are all instructions, ``sequencers`` the queues whose loops nest."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.lines: list[str] = []
        self.sequencers: dict[Queue, Sequencer] = {}
        self.sites: dict[Queue, list[Site]] = {}
        self._told: set[tuple[Queue, int, str]] = set()
        self._described: dict[tuple[Queue, int], str] = {}
        for queue in program.machine.queues:
            code = program.queues.get(queue, [])
            try:
                sequencer = Sequencer(code)
            except LoopError as error:
                self.general(f"{queue.name} {error.index}: {code[error.index].op}: {error}")
                continue
            self.sequencers[queue] = sequencer
            self.sites[queue] = [
                Site(queue, index, instruction, tuple(code[loop] for loop in sequencer.enclosing[index]))
                for index, instruction in enumerate(code)
            ]

    def all_sites(self) -> Iterator[Site]:
        """Every instruction of every queue."""
        for sites in self.sites.values():
            yield from sites

    def general(self, message: str) -> None:
        """A finding about the whole."""
        self.lines.append(message)

    def add(self, site: Site, message: str) -> None:
        """A finding about an instruction; the same one is told once."""
        key = (site.queue, site.index, message)
        if key not in self._told:
            self._told.add(key)
            self.lines.append(f"{self.describe(site)}: {message}")

    def describe(self, site: Site) -> str:
        """Queue, index, assembly and layer of an instruction."""
        key = (site.queue, site.index)
        if key not in self._described:
            self._described[key] = self._description(site)
        return self._described[key]

    def _description(self, site: Site) -> str:
        text = instruction_text(site.instruction, [loop["name"] for loop in site.loops], self.program)
        origin = site.instruction.provenance
        layer = "" if origin is None or origin >= len(self.program.provenance) else f" ({self.program.provenance[origin].layer})"
        return f"{site.queue.name} {site.index}: `{text}`{layer}"
