"""The instruction set: one table, from which encoder, decoder, assembler, disassembler, checker and manual all come.

Each queue is an in-order sequencer with its own code and its own hardware loops; queues meet through semaphores, and the array
meets its two chains through the ``swap`` and ``take`` handshakes.  Adding an instruction is adding a row here and its
semantics in the emulator's two engines.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cache
from typing import Any, Self

from isa.stream import MAX_DIMS, MAX_LOOPS, Space

MAX_ARRAYS = 8
"""The most arrays that share one scratchpad."""


class Queue(IntEnum):
    """The units, each with an in-order queue of its own; these are all of a machine with one array.

    Each further array has its own three: `array.1` is the queue of the second array's beats, ``Queue.array.of(1)``.  Their codes
    follow, array by array.
    """

    dma_in = 0
    dma_out = 1
    wchain = 2
    array = 3
    gchain = 4
    vector = 5

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """The queue of a further array, made when it is first asked for; one object for each, as for the others."""
        if not isinstance(value, int) or not len(cls) <= value < len(cls) + len(_OF_ARRAY) * (MAX_ARRAYS - 1):
            return None
        number, place = divmod(value - len(cls), len(_OF_ARRAY))
        queue = int.__new__(cls, value)
        queue._value_, queue._name_ = value, f"{cls(_OF_ARRAY[place]).name}.{number + 1}"
        cls._value2member_map_[value] = queue
        return queue

    @property
    def number(self) -> int:
        """Which array it belongs to; 0 for the first, and for what all arrays share."""
        return max(0, (self - len(Queue)) // len(_OF_ARRAY) + 1)

    @property
    def unit(self) -> "Queue":
        """The same queue of the first array: what kind of queue it is."""
        return self if self < len(Queue) else Queue(_OF_ARRAY[(self - len(Queue)) % len(_OF_ARRAY)])

    @property
    def shared(self) -> bool:
        """Whether all arrays share it."""
        return self.unit not in _OF_ARRAY

    def of(self, number: int) -> "Queue":
        """The same queue of another array; what all share stays the same."""
        if self.shared or number == 0:
            return self.unit
        return Queue(len(Queue) + len(_OF_ARRAY) * (number - 1) + _OF_ARRAY.index(self.unit))


_OF_ARRAY = (2, 3, 4)
"""What each array has of its own: codes of the chain that brings weights, the beats, and the chain that takes gradients."""


@cache
def queues_of(arrays: int) -> tuple[Queue, ...]:
    """All queues of a machine, in the order of their codes."""
    return tuple(map(Queue, range(len(Queue) + len(_OF_ARRAY) * (arrays - 1))))


QUEUES = {queue.name: queue for queue in queues_of(MAX_ARRAYS)}
"""By name, those of all the arrays that there can be."""


class FieldKind(StrEnum):
    """How a field is encoded and written; widths in bits are in :data:`WIDTHS`."""

    STREAM = "stream"
    """Index into the stream table."""
    OPERAND = "operand"
    """A stream, ``held`` (the value of the beat before stays on the port) or ``imm`` (the immediate); see SPECIAL."""
    WHEN = "when"
    """A flag that may depend on the loops."""
    COUNT = "count"
    LEVEL = "level"
    NAME = "name"
    """Up to four ASCII characters."""
    SEMAPHORE = "semaphore"
    """Index into the program's semaphores."""
    FLOAT = "float"
    FUNCTION = "function"
    REDUCTION = "reduction"
    FLAG = "flag"


WIDTHS = {
    FieldKind.STREAM: 16,
    FieldKind.OPERAND: 16,
    FieldKind.WHEN: 2 + MAX_LOOPS,
    FieldKind.COUNT: 32,
    FieldKind.LEVEL: 4,
    FieldKind.NAME: 32,
    FieldKind.SEMAPHORE: 10,
    FieldKind.FLOAT: 32,
    FieldKind.FUNCTION: 8,
    FieldKind.REDUCTION: 8,
    FieldKind.FLAG: 1,
}
OPCODE_BITS = 8
INSTRUCTION_BITS = 128

HELD = "held"
"""Operand value: the array port keeps what the beat before brought; nothing is read."""
IMM = "imm"
"""Operand value: the instruction's immediate."""


@dataclass(frozen=True, slots=True)
class When:
    """When a flag of an instruction inside loops is raised.

    ``never``; ``first``: every loop of ``levels`` is in its first turn; ``last``: every one is in its last.
    No levels: always.
    """

    kind: str = "never"
    levels: tuple[int, ...] = ()

    def holds(self, counters: "list[int] | tuple[int, ...]", counts: "list[int] | tuple[int, ...]") -> bool:
        """Whether the flag is raised at these loop counters; ``counts`` are the loops' turns."""
        if self.kind == "first":
            return not any(map(counters.__getitem__, self.levels))
        if self.kind == "last":
            return all(counters[level] == counts[level] - 1 for level in self.levels)
        return False


NEVER = When()
ALWAYS = When("first")


@dataclass(frozen=True, slots=True)
class Field:
    """One field; ``space`` says which memory a stream lies in, ``dims`` the fewest and the most dimensions that it has."""

    name: str
    kind: FieldKind
    doc: str
    default: Any = None
    """Value when the assembly leaves the field out; None: it may not be left out."""
    space: Space | None = None
    dims: tuple[int, int] = (0, MAX_DIMS)
    writes: bool = False
    reads: bool = True

    @property
    def dims_text(self) -> str:
        """How many dimensions a stream has, in words."""
        fewest, most = self.dims
        number = f"{most}" if fewest == most else f"≤ {most}" if fewest == 0 else f"{fewest} to {most}"
        return f"{number} dim{'s' if most > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Spec:
    """One row of the table."""

    op: str
    code: int
    queues: tuple[Queue, ...]
    fields: tuple[Field, ...]
    doc: str
    by_name: dict[str, Field] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {f.name: f for f in self.fields})


_ANY = (0, MAX_DIMS)
_SUMS, _LANES, _TILE = (1, 1), (1, MAX_DIMS - 1), (2, MAX_DIMS)


def _stream(
    name: str, doc: str, space: Space = Space.spad, dims: tuple[int, int] = _ANY, *, reads: bool = True, writes: bool = False
) -> Field:
    return Field(name, FieldKind.STREAM, doc, space=space, dims=dims, reads=reads, writes=writes)


def _operand(name: str, doc: str, default: Any = None, dims: tuple[int, int] = _ANY) -> Field:
    return Field(name, FieldKind.OPERAND, doc, default=default, space=Space.spad, dims=dims)


def _when(name: str, doc: str) -> Field:
    return Field(name, FieldKind.WHEN, doc, default=NEVER)


_ALL = tuple(Queue)
_SWAP = _when("swap", "the wave exchanges the weights: w ← w_next, before the beat uses them; waits until they are loaded")
_PRELOAD = _when("preload", "the wave brings accumulators: g ← g_next, before the beat uses them; waits until they are loaded")
_ZERO = _when("zero", "partial sums enter as 0 instead of being read")
_RATE = Field("lr", FieldKind.FLOAT, "learning rate η")
_DECAY = Field("decay", FieldKind.FLOAT, "weight decay λ", default=0.0)

_ROWS = [
    Spec("loop", 0x01, _ALL, (
        Field("name", FieldKind.NAME, "the loop's name, for people"),
        Field("count", FieldKind.COUNT, "turns, at least 1"),
        Field("limit", FieldKind.COUNT, "0, or: clip the turns to limit − count·(counter of loop level)", default=0),
        Field("level", FieldKind.LEVEL, "the loop that `limit` refers to", default=0),
    ), "Repeat up to the matching `end`. Takes no cycle. At most 12 deep; loops are numbered from the outermost, 0."),
    Spec("end", 0x02, _ALL, (), "Close the innermost loop. Takes no cycle."),
    Spec("wait", 0x03, _ALL, (Field("sem", FieldKind.SEMAPHORE, "semaphore"),),
         "Take one token from the semaphore; the queue stalls until there is one. Takes no cycle of its own. "
         "Only one queue may wait on a semaphore, and only one signal it."),
    Spec("signal", 0x04, _ALL, (Field("sem", FieldKind.SEMAPHORE, "semaphore"),),
         "Add one token once every earlier instruction of this queue has finished, and not before the next cycle. "
         "Takes no cycle and does not hold up the queue."),
    Spec("ld", 0x10, (Queue.dma_in,), (
        _stream("dst", "where to", reads=False, writes=True),
        _stream("src", "where from", Space.dram),
    ), "Copy a block from DRAM to the scratchpad. The shapes and types agree. Holds the DRAM channel for "
       "⌈bytes / bytes_per_cycle⌉ cycles, where the bytes are those of all bursts touched, and for the cycles of each row that has to "
       "be opened; finishes `latency` cycles after that."),
    Spec("st", 0x11, (Queue.dma_out,), (
        _stream("dst", "where to", Space.dram, reads=False, writes=True),
        _stream("src", "where from"),
    ), "Copy a block from the scratchpad to DRAM; as `ld`."),
    Spec("wload", 0x20, (Queue.wchain,), (
        _stream("src", "at most R × C weights, the rows in up to three dimensions; what it leaves out becomes 0", dims=_TILE),
    ), "Shift a tile into w_next, R steps, column c delayed by c. Starts at the earliest one cycle after the issue of the swap "
       "that took the tile before; a swap may issue R cycles after the start. Finishes R+C−1 cycles after its start."),
    Spec("gload", 0x21, (Queue.wchain,), (
        _stream("src", "at most R × C words, the rows in up to three dimensions; what it leaves out becomes 0", dims=_TILE),
        Field("scale", FieldKind.FLOAT, "what every word is multiplied with at the head of its column, rounded to fp32 (the momentum μ)",
              default=1.0),
    ), "Shift a tile, scaled, into g_next, for the accumulators to begin with; as `wload`, through the same lanes, with `preload` "
       "in place of `swap`."),
    Spec("fwd", 0x30, (Queue.array,), (
        _stream("h", "operand entering row r from the west (X in Y = X·W): at most R lanes, in up to three dimensions", dims=_LANES),
        _stream("acc", "partial sums entering and leaving column c at one address (Y): at most C lanes", dims=_SUMS, writes=True),
        _ZERO, _SWAP, _PRELOAD,
    ), "One beat: v_out = v_in + h_in·w. The sums leave at the south; a beat reads its sums R cycles or more after the `fwd`, and C "
       "cycles or more after the `dx`, that last wrote the same row (same base address) was issued, and is held up until then."),
    Spec("dx", 0x31, (Queue.array,), (
        _operand("v", "operand entering column c from the north (dY), or `held`: at most C lanes", dims=_SUMS),
        _stream("acc", "partial sums entering and leaving row r at one address (dX): at most R lanes", dims=_SUMS, writes=True),
        _ZERO, _SWAP, _PRELOAD,
    ), "One beat: h_out = h_in + v_in·w. The sums leave at the east; held up as `fwd`."),
    Spec("dw", 0x32, (Queue.array,), (
        _operand("h", "operand entering row r from the west (X), or `held`: at most R lanes, in up to three dimensions", dims=_LANES),
        _operand("v", "operand entering column c from the north (dY), or `held`: at most C lanes", dims=_SUMS),
        _SWAP,
        _when("take", "after the beat: g_out ← g, g ← 0; waits until the drain before has started"),
        _PRELOAD,
    ), "One beat: g = g + h_in·v_in."),
    Spec("upd", 0x33, (Queue.array,), (_RATE, _DECAY, _SWAP, _PRELOAD),
         "One beat: w = w − η·(g + λ·w), then g_out ← w and g ← 0: the chain takes the new weight. Waits as `take`."),
    Spec("mupd", 0x34, (Queue.array,), (_RATE, _DECAY, _SWAP, _PRELOAD),
         "One beat: g = g + λ·w and w = w − η·g, then g_out ← g, w_out ← w and g ← 0: the chain takes the new velocity and the new "
         "weight. Waits as `take`, and until the `wdrain` before has started."),
    Spec("drain", 0x40, (Queue.gchain,), (
        _stream("dst", "at most R rows × C columns, the rows in up to three dimensions", dims=_TILE, reads=False, writes=True),
    ), "Shift g_out out at the south, R steps, column c delayed by c. Starts at the earliest R cycles after the issue of the take; "
       "the next take may issue one cycle after the start. Finishes R+C−1 cycles after its start."),
    Spec("wdrain", 0x41, (Queue.gchain,), (
        _stream("dst", "at most R rows × C columns, the rows in up to three dimensions", dims=_TILE, reads=False, writes=True),
    ), "Shift w_out out, which a `mupd` has left there; as `drain`, through the same lanes."),
    Spec("vec", 0x50, (Queue.vector,), (
        Field("fn", FieldKind.FUNCTION, "the function, see the table of vector functions"),
        _stream("dst", "result", reads=False, writes=True),
        _operand("a", "first operand, broadcast by strides of 0", default=IMM),
        _operand("b", "second operand", default=IMM),
        _operand("c", "third operand", default=IMM),
        Field("imm", FieldKind.FLOAT, "the immediate", default=0.0),
    ), "dst = fn(a, b, c), elementwise, in fp32. Takes `latency` + ⌈words / lanes⌉ cycles; the next instruction starts after."),
    Spec("red", 0x51, (Queue.vector,), (
        Field("fn", FieldKind.REDUCTION, "sum or max"),
        _stream("dst", "result; dimensions with stride 0 and a count above 1 are reduced over", reads=False, writes=True),
        _stream("a", "operand, with the same shape"),
    ), "Reduce in fp32; dst is overwritten. Takes `latency` + ⌈words of a / lanes⌉ cycles."),
]

UPDATES = ("upd", "mupd")
"""The beats that update weights: they always take."""

INSTRUCTIONS = {spec.op: spec for spec in _ROWS}
BY_CODE = {spec.code: spec for spec in _ROWS}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: ``args`` holds a value for every field of its row, in the table's order.

    ``provenance`` is an index into the program's provenance table, or None.
    """

    op: str
    args: dict[str, Any]
    provenance: int | None = None

    @property
    def spec(self) -> Spec:
        return INSTRUCTIONS[self.op]

    def __getitem__(self, name: str) -> Any:
        return self.args[name]


def make(instruction: str, *, provenance: int | None = None, **args: Any) -> Instruction:
    """An instruction with defaults filled in; raises TypeError for fields that are unknown or missing."""
    spec = INSTRUCTIONS[instruction]
    unknown = set(args) - set(spec.by_name)
    missing = [f.name for f in spec.fields if f.default is None and f.name not in args]
    if unknown or missing:
        raise TypeError(f"{instruction}: unknown fields {sorted(unknown)}, missing fields {missing}")
    return Instruction(instruction, {f.name: args.get(f.name, f.default) for f in spec.fields}, provenance)
