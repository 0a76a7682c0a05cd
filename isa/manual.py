"""The manual of the instruction set, written from its tables: ``python -m isa.manual > docs/isa.md``."""

import re

from isa import asm, binary
from isa.disasm import QUEUE_DOCS
from isa.dtypes import DType
from isa.encoding import HELD_CODE, IMM_CODE, MAX_SEMAPHORES, MAX_STREAMS, STREAM_ROW, WHEN_KINDS
from isa.instructions import (
    ALWAYS,
    HELD,
    IMM,
    INSTRUCTION_BITS,
    INSTRUCTIONS,
    MAX_ARRAYS,
    NEVER,
    OPCODE_BITS,
    WIDTHS,
    FieldKind,
    Queue,
    Spec,
    queues_of,
)
from isa.stream import MAX_DIMS, MAX_LOOPS, Operand, Space
from isa.stream_syntax import __doc__ as stream_syntax_doc
from isa.vector import FUNCTIONS, REDUCTIONS

_KINDS = {
    FieldKind.STREAM: "an index into the stream table",
    FieldKind.OPERAND: f"an index into the stream table, 0x{HELD_CODE:04x} for `{HELD}` (the array port keeps what the beat before "
    f"brought) or 0x{IMM_CODE:04x} for `{IMM}` (the instruction's immediate)",
    FieldKind.WHEN: f"bits 0-1: {', '.join(f'{code} {kind}' for code, kind in enumerate(WHEN_KINDS))}; bits 2-9: one for each loop, from "
    "the outermost. `first`: raised when all these loops are in their first turn, `last`: when all are in their last",
    FieldKind.COUNT: "an unsigned number",
    FieldKind.LEVEL: f"the number of a loop around the instruction, 0 (outermost) to {MAX_LOOPS - 1}",
    FieldKind.NAME: "up to four ASCII characters, padded by zeros",
    FieldKind.SEMAPHORE: f"an index into the semaphores, at most {MAX_SEMAPHORES}",
    FieldKind.FLOAT: "an fp32 number, not NaN",
    FieldKind.FUNCTION: "a vector function",
    FieldKind.REDUCTION: "a reduction: " + ", ".join(f"{code} {name}" for name, code in REDUCTIONS.items()),
    FieldKind.FLAG: "one bit",
}

_EXAMPLE = """\
.program "tile"
.machine array = { rows = 4, cols = 2, operand = "f32" }
.dram 288
.semaphore x.full
.symbol dY = scratch spad.f32[96] (3, 2)
.provenance 0 layer="fc1" product="dx+dw" group=0 node="Gemm" macs=48 dram_bytes=176

.queue array
  @0                                    ; fc1 · dx+dw · Gemm
  wait   x.full
  loop   b, 3
    dx     v=dY@spad.f32[dY + 8*b] x2 acc=dX@spad.f32[128 + 16*b] x4 zero swap.first(b)
    dw     h=X@spad.f32[0 + 16*b] x4  v=held                         take.last(b)
  end
.data 64
|AAAAAAAAgD8="""


def manual() -> str:
    """The manual, in Markdown."""
    return "\n".join([*_introduction(), *_instructions(), *_streams(), *_vector(), *_assembly(), *_file()])


def _further(number: int) -> str:
    """The queues of a further array with their codes."""
    return ", ".join(f"`{queue.name}` ({queue.value})" for queue in queues_of(number + 1) if queue.number == number)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *cells]] + [""]


def _code(text: str) -> list[str]:
    return ["```", *text.strip("\n").splitlines(), "```", ""]


def _introduction() -> list[str]:
    return [
        "# The instruction set",
        "",
        "<!-- Written by `python -m isa.manual > docs/isa.md`; do not edit. -->",
        "",
        "A program is the code of in-order queues: six on a machine of one array. Each queue is a sequencer with hardware "
        "loops of its own; queues meet through "
        "semaphores, and the array meets its chains through `swap` (each takes the tile of one `wload`) and `take` (each gives one "
        "`drain` its tile), and where velocities are updated in it through `preload` (of a `gload`) and `mupd` (for a `wdrain`, too). "
        "A queue issues at most one instruction a cycle; `loop`, `end`, `wait` and `signal` take none. Where the "
        "machine's scratchpad has ports to count, instructions wait for these, too, and may take longer than is said here: see `ports.md`.",
        "",
        *_table(["queue", "code", "what it does"], [[f"`{q.name}`", str(q.value), QUEUE_DOCS[q]] for q in Queue]),
        "On a machine of several arrays, each further one has three queues of its own, which run the same instructions: "
        f"{_further(1)}, then {_further(2)}, and so on, at most {MAX_ARRAYS} arrays in all. These flags meet the chains of the "
        "beat's own array, and what is said below of partial sums holds within one array. Between arrays, as between all queues, only "
        "semaphores give an order.",
        "",
        "R and C are the rows and columns of the array. A beat issued in cycle t is executed by the processing element of row r and "
        "column c in cycle t+r+c.",
        "",
    ]


def _instructions() -> list[str]:
    lines = [
        "## Instructions",
        "",
        f"An instruction is one little-endian word of {INSTRUCTION_BITS} bits: {OPCODE_BITS} bits of opcode from bit 0, then its fields "
        "in the order of the tables below; bits left over are 0.",
        "",
        *_table(["kind of field", "bits", "encoding"], [[kind.value, str(WIDTHS[kind]), text] for kind, text in _KINDS.items()]),
    ]
    for spec in INSTRUCTIONS.values():
        lines += _instruction(spec)
    return lines


def _instruction(spec: Spec) -> list[str]:
    queues = "every queue" if len(spec.queues) == len(Queue) else ", ".join(f"`{queue.name}`" for queue in spec.queues)
    lines = [f"### `{spec.op}`", "", f"Opcode 0x{spec.code:02x}; {queues}.", "", spec.doc, ""]
    rows = []
    bit = OPCODE_BITS
    for field in spec.fields:
        width = WIDTHS[field.kind]
        default = {None: "", ALWAYS: "always", NEVER: "never"}.get(field.default, f"`{field.default}`")
        where = ""
        if field.space is not None:
            access = " and ".join([word for word, does in (("read", field.reads), ("written", field.writes)) if does])
            where = f"{field.space.name}, {field.dims_text}, {access}"
        rows.append([f"`{field.name}`", field.kind.value, f"{bit}-{bit + width - 1}", default, where, field.doc])
        bit += width
    return lines + (_table(["field", "kind", "bits", "default", "memory", "meaning"], rows) if rows else [])


def _streams() -> list[str]:
    layout = []
    assert STREAM_ROW.fields is not None
    for name, (kind, offset, *_) in STREAM_ROW.fields.items():
        layout.append([f"`{name}`", str(offset), f"{kind.base}" + (f" × {kind.shape[0]}" if kind.shape else "")])
    return [
        "## Streams",
        "",
        "Every unit reaches memory through streams, which are affine in the counters of the enclosing loops:",
        "",
        *_code("""
address = base + Σ strides[l]·counter[l]
        + ring_size · ((ring_start + Σ ring_steps[l]·counter[l]) mod ring_slots)
        + Σ i[d]·dim_stride[d]                          0 ≤ i[d] < extent of dimension d
"""),
        f"Addresses and strides are in bytes. A stream has at most {MAX_DIMS} dimensions; a program at most {MAX_STREAMS} different "
        "streams. A clipped dimension sees min(count, limit − count·counter[level]) words: the ragged edge of a tensor. Lanes of an array "
        "port beyond the stream's enter as 0 and leave unwritten.",
        "",
        f"A row of the stream table has {STREAM_ROW.itemsize} bytes (types as in NumPy); what is unused is 0. Equal streams share a row, "
        "rows stand in the order of their first use, queue by queue.",
        "",
        *_table(["entry", "byte", "type"], layout),
        *_table(["memory", "code"], [[f"`{space.name}`", str(space.value)] for space in Space]),
        *_table(["type", "code", "bytes"], [[f"`{dtype.name}`", str(dtype.value), str(dtype.size)] for dtype in DType]),
        "The operand says what the words are to their layer; reports count accesses by it: "
        + ", ".join(f"{operand.value} `{operand.name}`" for operand in Operand)
        + ".",
        "",
    ]


def _vector() -> list[str]:
    rows = [[f"`{f.name}`", str(f.code), str(f.arity), f.meaning] for f in FUNCTIONS.values()]
    return ["## Vector functions", "", *_table(["function", "code", "operands", "value"], rows)]


def _assembly() -> list[str]:
    return ["## Assembly", "", _paragraphs(asm.__doc__), "", *_code(_EXAMPLE), "Streams:", "", *_doc_with_code(stream_syntax_doc)]


def _file() -> list[str]:
    return [
        "## The program file",
        "",
        *_doc_with_code(binary.__doc__),
        f"Version {binary.VERSION}. Sections, in this order: {', '.join(f'`{name}`' for name in binary.SECTIONS)}; "
        "with more than one array `code.6` follows `code.5`, and so on. "
        "`program` holds name, schedule and bytes of DRAM; `machine`, `sems`, `symbols`, `origins` (provenance) and `data` are those of "
        "`isa/machine.py` and `isa/program.py`; "
        "`names` are the symbols that streams refer to; `code.i` and `from.i` are code and provenance "
        "of queue i.",
        "",
    ]


def _paragraphs(doc: str | None) -> str:
    return re.sub(r"``([^`]+)``", r"`\1`", doc or "").strip()


def _doc_with_code(doc: str | None) -> list[str]:
    """A docstring whose indented blocks are code."""
    return [*_paragraphs(doc).splitlines(), ""]


if __name__ == "__main__":
    print(manual(), end="")
