"""The registers in which an array and its chains meet: one side puts a tile there, the other gets it.

    w_next   `wload` puts, `swap` gets           g_out   `take` (of `upd` and `mupd`, too) puts, `drain` gets
    g_next   `gload` puts, `preload` gets        w_out   `mupd` puts, `wdrain` gets

Each holds one tile: what was put has to be got before more can be put.
"""

from typing import NamedTuple

from isa.instructions import ALWAYS, NEVER, UPDATES, Instruction, When


class Register(NamedTuple):
    """The steps that fill and empty a register, and in words what each side lacks while it waits for the other."""

    put: str
    get: str
    not_put: str
    not_got: str


REGISTERS = (
    Register("wload", "swap", "load of the weights to swap in", "swap of the tile loaded before"),
    Register("gload", "preload", "load of the accumulators to begin with", "preload of the accumulators loaded before"),
    Register("take", "drain", "take of the gradients to drain", "drain of the gradients taken before"),
    Register("mupd", "wdrain", "update of the weights to drain", "drain of the weights updated before"),
)
FLAGS = ("swap", "preload", "take")
"""Steps that are flags of beats; the others are instructions."""
REGISTER_OF = {step: register for register in REGISTERS for step in (register.put, register.get)}


def steps_of(instruction: Instruction) -> list[tuple[str, When]]:
    """The steps that an instruction does, in the order in which it waits for them, and when it does each."""
    op, args = instruction.op, instruction.args
    flags = [(flag, ALWAYS if flag == "take" and op in UPDATES else args.get(flag, NEVER)) for flag in FLAGS]
    return [step for step in flags if step[1].kind != "never"] + ([(op, ALWAYS)] if op in REGISTER_OF else [])
