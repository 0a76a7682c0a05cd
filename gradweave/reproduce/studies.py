"""The three studies by name: where their rows come from, and what is written of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gradweave.extras import need
from gradweave.reproduce import cnn, fc, order, pages, plots
from gradweave.reproduce.networks import NETWORKS, available
from gradweave.reproduce.results import Row, complete, read
from isa.files import write


@dataclass(frozen=True, slots=True)
class Settings:
    """Folders, and who is told what goes on."""

    output: Path
    """Where results are, and are written to."""
    machines: Path
    tables: Path | None
    """SCALE-Sim's folder ``topologies``; None: there is none."""
    measure: bool
    """False: what is in the files already."""
    tell: Callable[[str], None]

    def file(self, study: str, suffix: str) -> Path:
        """A study's results (``.json``), page (``.md``) or plot (``.svg``)."""
        return self.output / f"reproduce-{study}{suffix}"


@dataclass(frozen=True, slots=True)
class Study:
    """A title, the rows, the page made of them, and the plot."""

    title: str
    rows: Callable[[Settings], list[Row]]
    page: Callable[[list[Row]], str]
    draw: Callable[[list[Row]], bytes]


def _fc(settings: Settings) -> list[Row]:
    points = fc.points() if settings.measure else []
    return complete(settings.file("fc", ".json"), points, fc.measure(settings.machines), settings.tell)


def _order(settings: Settings) -> list[Row]:
    if missing := [name for name in NETWORKS if name not in available(settings.tables)]:
        settings.tell(f"without --tables, not measured: {', '.join(missing)}")
    points = order.points(settings.tables) if settings.measure else []
    return complete(settings.file("order", ".json"), points, order.measure(settings.machines, settings.tables), settings.tell)


STUDIES: Mapping[str, Study] = {
    "fc": Study("Fully-connected layers", _fc, pages.fc_page, plots.draw_fc),
    "cnn": Study("Convolutional networks", lambda settings: cnn.rows(settings.output), pages.cnn_page, plots.draw_cnn),
    "order": Study("The interleaved gradient order", _order, pages.order_page, plots.draw_order),
}


def reproduce(name: str, settings: Settings) -> str:
    """Measure what is missing, write the page and the plot, and return the page.

    Raises:
        UserError: a file cannot be read or written, or matplotlib is not installed.
    """
    need("matplotlib", "plot", "gradweave reproduce")
    study = STUDIES[name]
    rows = study.rows(settings)
    page = f"# {study.title}\n\n{MADE_BY}\n\n![{study.title}](reproduce-{name}.svg)\n\n{study.page(rows)}"
    write(settings.file(name, ".md"), page)
    write(settings.file(name, ".svg"), study.draw(rows))
    return page


def pair(settings: Settings, baseline: str, schedule: str) -> str:
    """All ratios of one schedule of fully-connected layers to another, from the results as they are."""
    return pages.fc_pair(read(settings.file("fc", ".json")), baseline, schedule)


MADE_BY = "Made by `gradweave reproduce`; [reproduce.md](reproduce.md) says what to make of it."
