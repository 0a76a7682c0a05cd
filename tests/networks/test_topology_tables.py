"""SCALE-Sim's tables on the machine: every layer's forward product and both gradients compile, and do all of the table's MACs.

``pytest -m "slow or not slow" tests/networks/test_topology_tables.py`` takes all tables on both machines;
``benchmarks/tables.py`` measures them.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from topology_tables import TABLES, needs_tables, rows, table_macs

from compiler.driver import lower, training_step
from emulator import timing
from isa.machine import load_machine
from isa.program import Program

MACHINES = Path(__file__).parents[2] / "programs/machines"
QUICK = ("NCF", "alexnet", "transformer_partial", "vit_s")


def compiled(table: Path, machine: str) -> Program:
    return lower(training_step(table, batch=1), load_machine(str(MACHINES / f"{machine}.toml")), schedule="interleaved")


@needs_tables
@pytest.mark.parametrize("table", [t for t in TABLES if t.stem in QUICK], ids=lambda t: t.stem)
def test_all_macs_are_done(table: Path) -> None:
    figures = timing(compiled(table, "32x32")).to_dict()
    assert figures["macs"] == 3 * table_macs(table)
    assert figures["cycles"] >= figures["bound_cycles"]


@needs_tables
@pytest.mark.slow
@pytest.mark.parametrize("machine", ["32x32", "128x128"])
@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.stem)
def test_compiles(table: Path, machine: str, tell: Callable[[str], None]) -> None:
    """Each layer has its three products, which together ask for the table's MACs."""
    program = compiled(table, machine)
    products = {(entry.layer, product) for entry in program.provenance for product in entry.product.split("+")}
    assert len(products & {(layer, role) for layer, _ in products for role in ("fwd", "dx", "dw")}) == 3 * len(rows(table))
    assert sum(entry.macs for entry in program.provenance) == 3 * table_macs(table)
    tell(f"{table.stem} on {machine}: {len(rows(table))} layers, {3 * table_macs(table):,} MACs")
