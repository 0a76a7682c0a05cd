"""``gradweave reproduce``."""

from functools import partial
from pathlib import Path

import click

from compiler.schedule.schedules import SCHEDULES
from gradweave.reproduce.studies import STUDIES, Settings, pair, reproduce

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(name="reproduce", short_help="Published results beside what this machine measures.")
@click.argument("studies", metavar="[fc|cnn|order]...", nargs=-1, type=click.Choice(list(STUDIES)))
@click.option("-o", "--output", default=Path("docs"), show_default=True, type=FOLDER, help="Where results are kept and written to.")
@click.option("--machines", default=Path("programs/machines"), show_default=True, type=FOLDER, help="Where the machine files are.")
@click.option("--tables", type=FOLDER, help="SCALE-Sim's folder `topologies`, for the networks of `order`; without it these are left out.")
@click.option("--measure/--no-measure", default=True, show_default=True, help="Measure what is missing, or only write pages and plots.")
@click.option(
    "--pair", "pairs", nargs=2, multiple=True, type=click.Choice(list(SCHEDULES)), metavar="BASELINE SCHEDULE",
    help="Only print all ratios of SCHEDULE to BASELINE in what `fc` has measured.",
)  # fmt: skip
def command(
    studies: tuple[str, ...], output: Path, machines: Path, tables: Path | None, measure: bool, pairs: tuple[tuple[str, str], ...]
) -> None:  # fmt: skip
    """Measure three published settings under every schedule, and write tables and plots beside the published figures.

    \b
    fc     fully-connected layers, batch 1/4 to 16 times the array: 1.4–2.2x fewer cycles, 1.9x fewer accesses (ISCAS 2020)
    cnn    convolutional networks, from results of benchmarks/networks.py: up to 25 % fewer cycles (TCAS-I 2023)
    order  forward and backward of nine networks on two machines: 29.3 % and 14.5 % less time (MICRO 2023)

    Without a name it is all three. Each writes reproduce-NAME.json, .md and .svg; points in the JSON are not measured again, so an
    interrupted study goes on. All figures come from executed programs.

    \b
    gradweave reproduce fc
    gradweave reproduce fc --pair ws interleaved
    gradweave reproduce order --tables topologies
    """
    settings = Settings(output, machines, tables, measure, partial(click.echo, err=True))
    for baseline, schedule in pairs:
        click.echo(pair(settings, baseline, schedule))
    for name in () if pairs else studies or STUDIES:
        click.echo(reproduce(name, settings))
