"""Several arrays share a product: tile level and programs compute what the graph says, in all engines alike."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import ceil

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from ir_text import parse
from lowered import SHARED, Setting, program, run, tiles, wanted
from network_check import mismatches
from train_graphs import Graph, layer_graph, train_graphs
from xdsl.dialects.builtin import ModuleOp

from compiler.dialects import tile
from compiler.interpret import interpret_train
from compiler.interpret_tile import interpret_tile
from compiler.transforms.allocate_memory import ScratchpadError
from emulator import timing
from emulator.fast import FastEngine
from emulator.memory import Memory
from emulator.report import report
from isa.errors import UserError
from isa.stream import Space


def features(module: ModuleOp) -> Iterator[str]:
    """What the nests that arrays share make use of."""
    for nest in module.walk():
        if not isinstance(nest, tile.NestOp) or nest.across is None:
            continue
        axis, beats = nest.across.data, nest.across.data in nest.stream.data
        yield "beats" if beats else "groups" if axis == "g" else "tiles"
        for op in nest.walk():
            match op:
                case tile.ForOp() if op.axis.data == axis and ceil(op.extent.value.data / op.step.value.data) % nest.shared_by:
                    yield "unequal parts"
                case tile.StageOp():
                    yield f"panels {op.way.data}"
                    if axis in op.outside.data:
                        yield "panels of each"
                case tile.ResidentOp() if op.slot:
                    yield "tiles for all" if beats else "tiles for each"
                case tile.DrainOp() if op.slot:
                    yield "partial sums" if beats else "sums"
                    if len(op.slot) > nest.shared_by:
                        yield "partial sums and those of other blocks" if beats else "sums of other blocks"
                case tile.UpdateOp():
                    yield "updates"


def check_program(graph: Graph, setting: Setting, *, stepped: bool = True) -> set[str]:
    """The tile level interpreted and the program on the engines agree with the train level, with nothing skipped too; what it makes use of.

    The checker finds no race.
    """
    module = tiles(graph.module, setting)
    found = set(features(module))
    expected = interpret_train(graph.module, graph.leaves)
    expected = wanted(expected, got := interpret_tile(tiles(graph.module, setting), graph.leaves), setting)
    assert mismatches(expected, got, 1e-9) == [], f"{setting}\n{graph.module}"
    made = program(module, graph.leaves)
    for outputs in run(made, graph.leaves, stepped=stepped):
        assert mismatches(expected, outputs, 1e-5) == [], f"{setting}\n{graph.module}"
    slow = FastEngine(made, values=False, skip=False).run(Memory(Space.dram, 0))
    assert timing(made).to_dict() == report(made, slow).to_dict()
    return found


def test_shared_products_compute_what_the_graph_says(network_count: int, tell: Callable[[str], None]) -> None:
    used: Counter[str] = Counter()
    refused = 0

    @settings(
        max_examples=network_count // 4, deadline=None, derandomize=True, database=None, report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(train_graphs(), SHARED)
    def check(graph: Graph, setting: Setting) -> None:
        nonlocal refused
        try:
            used.update(check_program(graph, setting))
        except UserError as error:
            assert "no part of" in str(error) or "is too small for this network" in str(error)
            refused += 1

    check()
    tell(f"of {network_count // 4} random steps on several arrays, {refused} did not fit; shared nests had {dict(sorted(used.items()))}")
    assert refused < network_count / 8
    assert network_count < 300 or {"beats", "tiles", "panels in", "panels out", "panels zeroed"} <= set(used)


LAYERS = {  # axes; shapes of X, W and Y
    "fully connected": ("bk,kn->bn", (24, 14), (14, 10), (24, 10)),
    "convolution": ("bk(y+r)(x+s),nkrs->bnyx", (3, 9, 4, 5), (7, 9, 2, 2), (3, 7, 3, 4)),
    "groups": ("b(3g+k)(y+r)(x+s),(2g+n)krs->b(2g+n)yx", (2, 9, 4, 4), (6, 3, 2, 2), (2, 6, 3, 3)),
    "transposed": ("bkyx,knrs->bn(2y+r)(2x+s)", (2, 6, 3, 3), (6, 7, 3, 2), (2, 7, 7, 7)),
}
MEMORIES = {"all of it": 1 << 20, "panels": 2500, "blocks": 1800}


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("schedule", ["interleaved", "ws", "os"])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_in_dram(layer: str, schedule: str, memory: str) -> None:
    """One layer with its gradients and its update, all of it in DRAM, in scratchpads that hold all of it or parts."""
    check_layers(layer, schedule, memory)


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("schedule", ["interleaved", "ws", "os"])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_in_dram_of_which_nothing_is_kept(layer: str, schedule: str, memory: str) -> None:
    check_layers(layer, schedule, memory)


def check_layers(layer: str, schedule: str, memory: str) -> None:
    """In every partition that fits."""
    graph = layer_graph(*LAYERS[layer])
    for partition in ("batch", "rows", "columns"):
        arrays = 3 if partition == "rows" else 2
        setting = Setting(scratchpad=MEMORIES[memory], dram_above=0, schedule=schedule, arrays=arrays, partition=partition)
        with suppress(ScratchpadError):
            check_program(graph, setting, stepped=(schedule, memory) == ("interleaved", "blocks"))


@pytest.mark.parametrize("partition", ["batch", "rows", "columns"])
@pytest.mark.parametrize("schedule", ["interleaved", "sequential"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_weights_are_updated_in_the_arrays(schedule: str, partition: str, momentum: float) -> None:
    """Each tile where its whole gradient is: so the arrays share tiles, whatever was asked for."""
    setting = Setting(dram_above=-1, schedule=schedule, arrays=3, partition=partition, fused_update=True)
    assert {"updates", "tiles for each"} <= check_program(layer_graph(*LAYERS["fully connected"], momentum=momentum), setting)


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize(
    ("layer", "schedule", "partition", "arrays", "memory", "wanted"),
    [
        ("fully connected", "interleaved", "batch", 2, "all of it", {"beats", "tiles for all", "partial sums"}),
        ("fully connected", "interleaved", "batch", 3, "blocks", {"partial sums and those of other blocks"}),
        ("fully connected", "interleaved", "rows", 2, "all of it", {"tiles", "tiles for each", "sums", "panels of each"}),
        ("fully connected", "interleaved", "rows", 3, "panels", {"unequal parts"}),
        ("fully connected", "os", "columns", 2, "blocks", {"sums of other blocks"}),
        ("groups", "interleaved", "rows", 3, "all of it", {"groups", "panels zeroed"}),
    ],
)
def test_what_these_layers_make_use_of(layer: str, schedule: str, partition: str, arrays: int, memory: str, wanted: set[str]) -> None:
    """Else the tests above would not be of these."""
    setting = Setting(scratchpad=MEMORIES[memory], dram_above=0, schedule=schedule, arrays=arrays, partition=partition)
    module = tiles(layer_graph(*LAYERS[layer]).module, setting)
    assert wanted <= set(features(module))
    assert str(parse(str(module))) == str(module)


def test_a_nest_for_more_arrays_than_there_are() -> None:
    graph = layer_graph(*LAYERS["fully connected"])
    module = parse(str(tiles(graph.module, Setting(arrays=3))).replace("arrays = 3 : i64", "arrays = 2 : i64"))
    with pytest.raises(UserError, match='layer "layer": is for 3 arrays, the machine has 2'):
        program(module, graph.leaves)
