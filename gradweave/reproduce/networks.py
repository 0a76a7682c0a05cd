"""The networks of the interleaved-order publication as layer tables: SCALE-Sim's, and transformer layers from their public dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gradweave.reproduce.products import Product, table_products


@dataclass(frozen=True, slots=True)
class Table:
    """A table of SCALE-Sim's, by its path in the folder ``topologies``."""

    path: str
    rows: tuple[str, ...] = ()
    """Names of the rows that are layers; empty: all."""
    own_batch: bool = False
    """Whether the rows have the samples in M already, so that no batch comes on top."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """One layer of a transformer's encoder: widths of the model and of its feed-forward part, heads, and tokens of a sample."""

    width: int
    inner: int
    heads: int
    tokens: int
    own_batch = False

    def products(self) -> list[Product]:
        """Projections, the two products of attention, and the feed-forward part; each stands alone."""
        tokens, head = self.tokens, self.width // self.heads

        def linear(name: str, k: int, n: int) -> Product:
            return Product(name, "MatMul", (1, tokens, k), (k, n))

        def attention(name: str, k: int, n: int) -> Product:
            return Product(name, "MatMul", (1, self.heads, tokens, k), (1, self.heads, k, n), activation=True)

        return [
            *(linear(name, self.width, self.width) for name in ("query", "key", "value")),
            attention("scores", head, tokens),
            attention("context", tokens, head),
            linear("output", self.width, self.width),
            linear("inner", self.width, self.inner),
            linear("outer", self.inner, self.width),
        ]


NETWORKS: Mapping[str, Table | Encoder] = {
    # Devlin et al., NAACL 2019: BERT-base has 12 of these layers.
    "BERT-base layer": Encoder(width=768, inner=3072, heads=12, tokens=128),
    # Raffel et al., JMLR 2020: T5-base's encoder has 12 of these layers, and is trained on 512 tokens.
    "T5-base layer": Encoder(width=768, inner=3072, heads=12, tokens=512),
    # Of the table's 12 rows, 4 are forward products of 2,048 samples (M); the others are their gradients.
    "NCF": Table("gemm/NCF.csv", ("4", "6", "9", "11"), own_batch=True),
    "DLRM": Table("training/dlrm_fwd.csv", own_batch=True),
    # Depthwise layers stand in the table as one filter over all channels: as many MACs as the real ones.
    "MobileNet": Table("conv/mobilenet.csv"),
    "GoogLeNet": Table("conv/Googlenet.csv"),
    "ResNet-50": Table("conv/Resnet50.csv"),
    "Faster R-CNN": Table("conv/FasterRCNN.csv"),
    "YOLO": Table("conv/yolo.csv"),
}


def available(tables: Path | None) -> dict[str, Table | Encoder]:
    """The networks whose layers are known: without ``tables``, those of SCALE-Sim's are missing."""
    return {name: source for name, source in NETWORKS.items() if isinstance(source, Encoder) or _is_there(source, tables)}


def _is_there(table: Table, tables: Path | None) -> bool:
    return tables is not None and (tables / table.path).exists()


def products_of(source: Table | Encoder, tables: Path | None) -> list[Product]:
    """The layers of an available network."""
    if isinstance(source, Encoder):
        return source.products()
    assert tables is not None
    return table_products(tables / source.path, source.rows)
