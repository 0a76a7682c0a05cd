"""A queue's code as the fast engine sees it."""

from collections.abc import Iterable

from emulator.nest import Nest, nest_at
from isa.instructions import UPDATES, Instruction
from isa.sequencer import Sequencer
from isa.stream import Dim, Stream


class Code:
    """A queue's code with its beat nests found; lives as long as the program."""

    def __init__(self, instructions: list[Instruction], unowned: int) -> None:
        self.sequencer = Sequencer(instructions)
        self.unowned = unowned
        self.nests: dict[int, Nest | None] = {}
        for index, instruction in enumerate(instructions):
            if instruction.op in ("loop", "fwd", "dx", "dw", *UPDATES):
                self.nests[index] = nest_at(self.sequencer, index, unowned)
        self.clipped = [clipped(streams(instruction)) for instruction in instructions]
        """Of each instruction, the dimensions whose extents depend on the loops."""

    def nest(self, index: int) -> Nest:
        """The nest that begins at this instruction."""
        nest = self.nests[index]
        assert nest is not None
        return nest

    def is_nest(self, index: int) -> bool:
        """Whether the loop at this index is executed as one."""
        return self.nests[index] is not None

    def provenance(self, index: int) -> int:
        owner = self.sequencer.code[index].provenance
        return self.unowned if owner is None else owner


def streams(instruction: Instruction) -> list[Stream]:
    """All streams of an instruction."""
    return [value for value in instruction.args.values() if isinstance(value, Stream)]


def clipped(streams: Iterable[Stream]) -> tuple[Dim, ...]:
    """The dimensions of streams whose extents depend on the loops."""
    return tuple(dim for stream in streams for dim in stream.dims if dim.limit is not None)
