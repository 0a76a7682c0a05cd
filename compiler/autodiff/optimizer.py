"""What ``--optimizer`` says, parsed: ``sgd[:lr=..,momentum=..,weight_decay=..]``."""

import math
from dataclasses import dataclass, fields

from isa.errors import UserError

PLACE = "optimizer"


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent: v ← momentum·v + (g + weight_decay·w); w ← w − lr·v, with v = 0 before the first step."""

    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        wrong = [f"{f.name} is {value}" for f in fields(self) if not 0 <= (value := getattr(self, f.name)) < math.inf]
        if wrong:
            raise UserError(PLACE, f"{', '.join(wrong)}; each is a finite number, 0 or more")


def parse_optimizer(text: str) -> Sgd:
    """The optimizer a text names; every mistake in it is told at once."""
    kind, _, rest = text.partition(":")
    if kind != "sgd":
        raise UserError(PLACE, f"{kind!r} is not supported; supported: sgd[:lr=..,momentum=..,weight_decay=..]")
    names = [f.name for f in fields(Sgd)]
    values: dict[str, float] = {}
    wrong: list[str] = []
    for part in rest.split(",") if rest else []:
        name, _, number = (s.strip() for s in part.partition("="))
        if name not in names:
            wrong.append(f"{name!r} is none of {', '.join(names)}")
        elif name in values:
            wrong.append(f"{name} is given twice")
        try:
            values[name] = float(number)
        except ValueError:
            wrong.append(f"{name}={number} is not a number")
    if wrong:
        raise UserError(PLACE, f"{text!r}: {'; '.join(wrong)}")
    return Sgd(**values)
