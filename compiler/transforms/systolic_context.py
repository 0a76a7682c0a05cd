"""What the lowering of one program to instructions keeps: semaphores, provenance, ring positions, compulsory traffic."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.dialects.machine import to_machine
from compiler.schedule.tokens import Access
from compiler.transforms.allocate_memory import nbytes, storage
from compiler.transforms.systolic_streams import Loop, Memory
from isa.instructions import Queue
from isa.program import Provenance


@dataclass(slots=True)
class Piece:
    """One operation's code for each queue, and the memory it touches (rings apart, which order themselves)."""

    code: dict[Queue, list[Operation]]
    accesses: Sequence[Access]
    provenance: int


class Context:
    """State of the lowering of a ``tile.program``."""

    def __init__(self, program: tile.ProgramOp) -> None:
        self.machine = to_machine(program.machine)
        self.slots = program.slots.value.data
        self.semaphores: dict[str, int] = {}
        """Initial tokens by name; a semaphore's index is its position."""
        self.around: Sequence[Loop] = ()
        """The loops around what is being lowered inside a ``tile.blocks`` or a ``tile.epilogue``."""
        self.parts: dict[SSAValue, int] = {}
        """Rings there of which each of so many arrays has a part."""
        self._entries: dict[tuple[str, str, int], int] = {}
        self._macs: list[int] = []
        self._traffic: list[int] = []
        self._phases: dict[SSAValue, int] = {}
        self._unread: dict[SSAValue, int] = {}
        self._unwritten: dict[SSAValue, int] = {}
        self._kept = {storage(op.input) for op in program.body.block.ops if isinstance(op, tile.PublishOp)}

    def memory(self, value: SSAValue) -> Memory:
        """The memory that a value stands for where the lowering is."""
        return Memory.of(value, self.around, self.parts.get(storage(value), 1))

    # -- provenance -------------------------------------------------------------------------------------------------

    def next_operation(self) -> None:
        """The next operation begins: it is a provenance group of its own."""
        self._macs.append(0)
        self._traffic.append(0)

    def provenance(self, layer: str, product: str) -> int:
        """Index of the current operation's entry for a product."""
        return self._entries.setdefault((layer, product, len(self._macs) - 1), len(self._entries))

    def table(self) -> list[Provenance]:
        """The provenance table; an operation's least work stands on its first entry."""
        table: list[Provenance] = []
        for layer, product, group in self._entries:
            first = not any(entry.group == group for entry in table[-4:])
            macs, traffic = (self._macs[group], self._traffic[group]) if first else (0, 0)
            table.append(Provenance(layer, product, group, "", macs, traffic))
        return table

    def work(self, macs: int) -> None:
        """MACs of the current operation."""
        self._macs[-1] += macs

    def reads(self, value: SSAValue) -> None:
        """The operation reads a DRAM tensor or a part of it: compulsory once, unless the program made it itself."""
        owner = storage(value).owner
        assert isinstance(owner, tile.TensorOp)
        if owner.kind.data != "scratch":
            self._compulsory(self._unread, value)

    def writes(self, value: SSAValue) -> None:
        """The operation writes a DRAM tensor or a part of it: compulsory once, if the user gets it."""
        if storage(value) in self._kept:
            self._compulsory(self._unwritten, value)

    def keeps(self, traffic: int) -> None:
        """What the turn from forward to backward costs stands on an entry of its own, which no instruction has."""
        self.next_operation()
        self.provenance("backward", "kept")
        self._traffic[-1] += traffic

    def _compulsory(self, left: dict[SSAValue, int], value: SSAValue) -> None:
        """Count the bytes of a value, as far as they are not more than what is left of its tensor; a block stands for all blocks."""
        tensor = storage(value)
        while isinstance(value.owner, tile.WindowOp | tile.PieceOp):
            value = value.owner.input
        moved = min(nbytes(value), left.setdefault(tensor, nbytes(tensor)))
        left[tensor] -= moved
        self._traffic[-1] += moved

    # -- rings and semaphores -----------------------------------------------------------------------------------------

    def semaphore(self, name: str, initial: int = 0) -> int:
        """Index of the semaphore; it starts with this many tokens."""
        self.semaphores.setdefault(name, initial)
        return list(self.semaphores).index(name)

    def phase(self, ring: SSAValue) -> int:
        """Slot of a ring that the current operation uses first."""
        return self._phases.get(ring, 0)

    def advance(self, ring: SSAValue, tiles: int) -> None:
        """The operation used this many slots, one after the other."""
        self._phases[ring] = (self.phase(ring) + tiles) % Memory.of(ring).slots
