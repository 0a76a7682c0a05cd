"""Reports: arithmetic on the counters, for the whole, for each layer and for each product of a layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.counters import READ, WRITE, Counters, Ints
from isa.instructions import Queue
from isa.machine import EnergyTable
from isa.program import Program
from isa.stream import Operand

UNOWNED = "(none)"
"""Layer and product of instructions without provenance."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Figures of the whole program, a layer, or a product.

    ``words`` and ``bytes`` are scratchpad accesses as [READ or WRITE, operand, queue]; ``dram`` is bytes as [READ or WRITE].
    """

    cycles: int
    bound_cycles: int
    pe_cycles: int
    """MACs that the arrays could have done in these cycles."""
    macs: int
    vector_ops: int
    dram: Ints
    words: Ints
    bytes: Ints
    busy: Ints
    """[queue]: cycles."""
    stalls: Ints
    """[queue, cause]: cycles."""
    table: EnergyTable

    @property
    def queues(self) -> list[Queue]:
        """The machine's, in the order of the figures."""
        return [Queue(code) for code in range(len(self.busy))]

    @property
    def utilization(self) -> float:
        """MACs done by MACs possible."""
        return self.macs / self.pe_cycles if self.pe_cycles else 0.0

    @property
    def energy(self) -> dict[str, float]:
        """Picojoules by level: counts times the machine's table."""
        return {
            "mac": self.macs * self.table.mac,
            "scratchpad": int(self.bytes.sum()) * self.table.scratchpad_byte,
            "dram": int(self.dram.sum()) * self.table.dram_byte,
            "vector": self.vector_ops * self.table.vector_op,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; queues and causes are left to the caller, who knows their names."""
        energy = self.energy
        return {
            "cycles": self.cycles,
            "macs": self.macs,
            "utilization": self.utilization,
            "bound_cycles": self.bound_cycles,
            "dram_bytes": int(self.dram.sum()),
            "dram_read_bytes": int(self.dram[READ]),
            "dram_write_bytes": int(self.dram[WRITE]),
            "scratchpad_reads": int(self.words[READ].sum()),
            "scratchpad_writes": int(self.words[WRITE].sum()),
            "scratchpad_read_bytes": int(self.bytes[READ].sum()),
            "scratchpad_write_bytes": int(self.bytes[WRITE].sum()),
            "scratchpad_by_operand": _accesses(self.words.sum(axis=2), self.bytes.sum(axis=2), [o.name for o in Operand]),
            "scratchpad_by_unit": _accesses(self.words.sum(axis=1), self.bytes.sum(axis=1), [q.name for q in self.queues]),
            "vector_ops": self.vector_ops,
            "energy_pj": sum(energy.values()),
            "energy_by_level_pj": energy,
        }


def _accesses(words: Ints, sizes: Ints, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Accesses by name; what was never touched is left out."""
    return {
        name: {
            "reads": int(words[READ, i]),
            "writes": int(words[WRITE, i]),
            "read_bytes": int(sizes[READ, i]),
            "write_bytes": int(sizes[WRITE, i]),
        }
        for i, name in enumerate(names)
        if words[:, i].any()
    }


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's figures, and those of its products by name."""

    name: str
    nodes: tuple[str, ...]
    """ONNX operators that it comes from."""
    tally: Tally
    products: dict[str, Tally]


@dataclass(frozen=True, slots=True)
class Report:
    """What a run cost. ``layers`` are in the order of the program and add up to ``whole``."""

    program: str
    schedule: str
    machine: str
    whole: Tally
    layers: tuple[Layer, ...]
    causes: tuple[str, ...]
    """Names of the stall causes."""
    area_mm2: float = 0.0
    """As the machine file gives it."""

    @property
    def cycles(self) -> int:
        """Cycles of the whole run."""
        return self.whole.cycles

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {
            "program": self.program,
            "machine": self.machine,
            **({"area_mm2": self.area_mm2, "cycles_mm2": self.cycles * self.area_mm2} if self.area_mm2 else {}),
            **self._figures(self.whole),
            "energy_source": self.whole.table.source,
            "layers": [
                {
                    "layer": layer.name,
                    "nodes": list(layer.nodes),
                    **self._figures(layer.tally),
                    "products": [{"product": name, **self._figures(tally)} for name, tally in layer.products.items()],
                }
                for layer in self.layers
            ],
        }

    def _figures(self, tally: Tally) -> dict[str, Any]:
        queues = {
            queue.name: {
                "busy": int(tally.busy[queue]),
                "stalls": {cause: int(cycles) for cause, cycles in zip(self.causes, tally.stalls[queue], strict=True) if cycles},
                **({"idle": tally.cycles - int(tally.busy[queue]) - int(tally.stalls[queue].sum())} if tally is self.whole else {}),
            }
            for queue in tally.queues
        }
        return {"schedule": self.schedule, **tally.to_dict(), "queues": queues}


def report(program: Program, counters: Counters) -> Report:
    """The report of one run.

    Cycles are booked by the advance of the finish line: taking the operations in the program's order, each one gets the cycles by
    which it finishes after all before it.  So they add up to the run's cycles exactly.
    """
    owners = _owners(program)
    cycles = _advances(program, counters)

    def tally(rows: list[int]) -> Tally:
        macs = sum(program.provenance[row].macs for row in rows if row < len(program.provenance))
        moved = sum(program.provenance[row].dram_bytes for row in rows if row < len(program.provenance))
        machine, taken = program.machine, int(cycles[rows].sum())
        elements = machine.elements
        return Tally(
            cycles=taken,
            bound_cycles=max(-(-macs // elements), math.ceil(moved / machine.dram.bytes_per_cycle)),
            pe_cycles=elements * taken,
            macs=int(counters.macs[rows].sum()),
            vector_ops=int(counters.vector_ops[rows].sum()),
            dram=counters.dram[rows].sum(axis=0),
            words=counters.words[rows].sum(axis=0),
            bytes=counters.bytes[rows].sum(axis=0),
            busy=counters.busy[rows].sum(axis=0),
            stalls=counters.stalls[rows].sum(axis=0),
            table=machine.energy,
        )

    by_layer: dict[str, dict[str, list[int]]] = {}
    for row, (layer, product) in sorted(owners.items(), key=lambda item: _order(program, item[0])):
        by_layer.setdefault(layer, {}).setdefault(product, []).append(row)
    layers = tuple(
        Layer(
            name,
            tuple(dict.fromkeys(program.provenance[r].node for rows in products.values() for r in rows if r < len(program.provenance))),
            tally([row for rows in products.values() for row in rows]),
            {product: tally(rows) for product, rows in products.items()},
        )
        for name, products in by_layer.items()
        if name != UNOWNED or _touched(counters, cycles)
    )
    whole = tally(list(range(len(program.provenance) + 1)))
    return Report(program.name, program.schedule, program.machine.name, whole, layers, tuple(counters.causes), program.machine.area_mm2)


def _order(program: Program, row: int) -> tuple[int, int]:
    """Operations in the program's order, what has no provenance last."""
    return (program.provenance[row].group, row) if row < len(program.provenance) else (1 << 62, row)


def _owners(program: Program) -> dict[int, tuple[str, str]]:
    """(layer, product) that each provenance entry is booked to.

    All of a group goes to one product; where a group interleaves dx and dw, to ``dx+dw``.
    """
    groups: dict[int, list[int]] = {}
    for row, entry in enumerate(program.provenance):
        groups.setdefault(entry.group, []).append(row)
    owners: dict[int, tuple[str, str]] = {}
    for rows in groups.values():
        products = {program.provenance[row].product for row in rows}
        interleaved = "dx+dw" in products or {"dx", "dw"} <= products
        for row in rows:
            entry = program.provenance[row]
            owners[row] = (entry.layer, "dx+dw" if interleaved and entry.product in ("dx", "dw") else entry.product)
    owners[len(program.provenance)] = (UNOWNED, UNOWNED)
    return owners


def _advances(program: Program, counters: Counters) -> Ints:
    """[provenance]: cycles by which the group's finish lies after those of all groups before; booked to one entry of the group."""
    groups: dict[int, list[int]] = {}
    for row, entry in enumerate(program.provenance):
        groups.setdefault(entry.group, []).append(row)
    cycles = np.zeros(len(program.provenance) + 1, np.int64)
    line = 0
    for _, rows in sorted(groups.items()):
        finish = int(counters.finish[rows].max())
        cycles[_spokesman(program, rows)] = max(0, finish - line)
        line = max(line, finish)
    cycles[-1] = counters.cycles - line
    return cycles


def _spokesman(program: Program, rows: list[int]) -> int:
    """The entry that a group's cycles are booked to: one of dx and dw if they are interleaved, else the first."""
    return next((row for row in rows if program.provenance[row].product == "dx+dw"), rows[0])


def _touched(counters: Counters, cycles: Ints) -> bool:
    """Whether anything without provenance was counted."""
    tables = (cycles, counters.macs, counters.words, counters.dram, counters.vector_ops, counters.busy, counters.stalls)
    return any(table[-1].any() for table in tables)
