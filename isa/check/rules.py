"""Rules that need no execution: one function a rule, each looking at single instructions or at one queue."""

import math
from math import prod

from isa.chains import REGISTER_OF
from isa.check.findings import Findings, Site, most_turns
from isa.instructions import HELD, IMM, UPDATES, FieldKind, Queue, When
from isa.program import Program
from isa.stream import Dim, Space

_LANES = {"fwd": ("h", "acc"), "dx": ("acc", "v"), "dw": ("h", "v")}
"""Streams of each beat along the rows and along the columns."""
_OPERANDS = {"fwd": ("h",), "dx": ("v",), "dw": ("h", "v")}
"""Ports on which each beat carries an operand, which a later beat may hold."""


def check_rules(findings: Findings) -> None:
    """Every rule over the whole program."""
    for site in findings.all_sites():
        if site.queue.unit not in site.instruction.spec.queues:
            queues = " or ".join(queue.name for queue in site.instruction.spec.queues)
            findings.add(site, f"`{site.instruction.op}` belongs into the queue {queues}")
            continue
        _check_loop(findings, site)
        _check_levels(findings, site)
        _check_fields(findings, site)
        _check_lanes(findings, site)
        _check_shapes(findings, site)
    for queue in findings.sites:
        _check_held(findings, queue)
    _check_semaphores(findings)
    _check_tables(findings)


def _check_loop(findings: Findings, site: Site) -> None:
    loop = site.instruction
    if loop.op != "loop":
        return
    if loop["count"] < 1:
        findings.add(site, "a loop takes at least 1 turn")
    elif loop["limit"]:
        if loop["level"] >= len(site.loops):
            findings.add(site, f"its clip refers to loop {loop['level']}, but {len(site.loops)} loops are around it")
        elif loop["limit"] - loop["count"] * (most_turns(site.loops[loop["level"]]) - 1) < 1:
            findings.add(site, "its clip leaves no turn in the last turns of the loop it refers to")


def _check_levels(findings: Findings, site: Site) -> None:
    depth = len(site.loops)
    for name, value in site.instruction.args.items():
        if isinstance(value, When) and any(level >= depth for level in value.levels):
            findings.add(site, f"{name} refers to loop {max(value.levels)}, but {depth} loops are around it")
    for field, stream in site.streams:
        levels = [level for level, stride in enumerate(stream.strides) if stride]
        levels += [level for level, step in enumerate(stream.ring.steps if stream.ring else ()) if step]
        levels += [dim.level for dim in stream.dims if dim.limit is not None]
        if max(levels, default=-1) >= depth:
            findings.add(site, f"{field.name} refers to loop {max(levels)}, but {depth} loops are around it")
            continue
        for dim in stream.dims:
            if dim.count < 1 or (dim.limit is not None and dim.limit - dim.count * (most_turns(site.loops[dim.level]) - 1) < 1):
                findings.add(site, f"{field.name} has a dimension without words in some turn: {_dim_text(dim)}")


def _dim_text(dim: Dim) -> str:
    return f"{dim.count} words a turn" + ("" if dim.limit is None else f", clipped to {dim.limit}, in loop {dim.level}")


def _check_fields(findings: Findings, site: Site) -> None:
    """Memory and number of dimensions of streams; where ``held`` and ``imm`` may stand."""
    spec = site.instruction.spec
    for field, stream in site.streams:
        if stream.space is not field.space and field.space is not None:
            findings.add(site, f"{field.name} lies in {stream.space.name}, it has to be in {field.space.name}")
        fewest, most = field.dims
        if not fewest <= len(stream.dims) <= most:
            findings.add(site, f"{field.name} has {len(stream.dims)} dimensions, it takes {field.dims_text}")
        if stream.ring and stream.ring.slots < 1:
            findings.add(site, f"{field.name} has a ring without slots")
    for field in spec.fields:
        value = site.instruction.args[field.name]
        allowed = field.kind is FieldKind.OPERAND and (
            (value == HELD and site.queue.unit is Queue.array) or (value == IMM and "imm" in spec.by_name)
        )
        if isinstance(value, str) and value in (HELD, IMM) and field.kind in (FieldKind.STREAM, FieldKind.OPERAND) and not allowed:
            findings.add(site, f"{field.name} cannot be `{value}`")


def _check_lanes(findings: Findings, site: Site) -> None:
    machine = findings.program.machine
    op, args = site.instruction.op, site.instruction.args
    if op in _LANES:
        for name, most, what in zip(_LANES[op], (machine.rows, machine.cols), ("rows", "columns"), strict=True):
            lanes = prod(dim.count for dim in getattr(args[name], "dims", ()))
            if lanes > most:
                findings.add(site, f"{name} has {lanes} lanes, the array has {most} {what}")
    if op in REGISTER_OF and ("src" in args or "dst" in args):
        dims = [dim.count for dim in args["src" if "src" in args else "dst"].dims]
        rows, cols = prod(dims[:-1]), prod(dims[-1:])
        if rows > machine.rows or cols > machine.cols:
            findings.add(site, f"a tile of {rows}×{cols}, the array has {machine.rows}×{machine.cols}")


def _check_shapes(findings: Findings, site: Site) -> None:
    """All operands of a copy, a vector function or a reduction have one shape; those of a copy one type."""
    if site.instruction.op not in ("ld", "st", "vec", "red"):
        return
    streams = site.streams
    if not streams:
        return
    _, first = streams[0]
    for field, stream in streams[1:]:
        if [_words(dim) for dim in stream.dims] != [_words(dim) for dim in first.dims]:
            findings.add(site, f"{field.name} and {streams[0][0].name} differ in shape")
        if site.instruction.op in ("ld", "st") and stream.dtype is not first.dtype:
            findings.add(site, f"{field.name} is {stream.dtype.name}, {streams[0][0].name} is {first.dtype.name}; a copy does not convert")


def _words(dim: Dim) -> tuple[int, int | None, int]:
    return (dim.count, None, 0) if dim.limit is None else (dim.count, dim.limit, dim.level)


def _check_held(findings: Findings, queue: Queue) -> None:
    """Every beat that may come before a ``held`` has to carry an operand on that port."""
    before: set[int | None] = {None}
    first: list[int | None] = []
    came: dict[int, set[int | None]] = {}
    sites = findings.sites[queue]
    for site in sites:
        if site.instruction.op == "loop":
            first.append(None)
        elif site.instruction.op == "end":
            beat = first.pop()
            loop = sites[findings.sequencers[queue].partner[site.index]].instruction
            if beat is not None and most_turns(loop) > 1:
                came[beat] |= before
        elif site.instruction.op in (*_OPERANDS, *UPDATES):
            came[site.index] = before
            before = {site.index}
            first = [site.index if entry is None else entry for entry in first]
    for index, earlier in came.items():
        for port in ("h", "v"):
            if sites[index].instruction.args.get(port) == HELD:
                for beat in earlier:
                    if beat is None or port not in _OPERANDS.get(sites[beat].instruction.op, ()):
                        what = (
                            "no beat comes before" if beat is None else f"`{sites[beat].instruction.op}` at {beat} brings no operand there"
                        )
                        findings.add(sites[index], f"{port}=held, but {what}")


def _check_semaphores(findings: Findings) -> None:
    users: dict[tuple[str, int], dict[Queue, Site]] = {}
    for site in findings.all_sites():
        if site.instruction.op in ("wait", "signal"):
            users.setdefault((site.instruction.op, site.instruction["sem"]), {}).setdefault(site.queue, site)
    for (op, semaphore), sites in users.items():
        if len(sites) > 1:
            name = findings.program.semaphores[semaphore].name
            doing = "waits for" if op == "wait" else "signals"
            queues = ", ".join(queue.name for queue in sites)
            findings.add(list(sites.values())[1], f"more than one queue {doing} the semaphore {name}: {queues}")


def _check_tables(findings: Findings) -> None:
    """Symbols and data lie inside their memories."""
    program: Program = findings.program
    sizes = {Space.dram: program.dram_bytes, Space.spad: program.machine.scratchpad.bytes}
    for symbol in program.symbols:
        size = math.prod(symbol.shape) * symbol.dtype.size
        if symbol.address + size > sizes[symbol.space]:
            where = f"the {sizes[symbol.space]} of {symbol.space.name}"
            findings.general(f"symbol {symbol.name!r}: {size} bytes at {symbol.address} end beyond {where}")
    for address, content in program.data:
        if address + len(content) > program.dram_bytes:
            findings.general(f"data: {len(content)} bytes at {address} end beyond the {program.dram_bytes} of dram")
