"""Damaged files: how they are made, and how many of each kind the tests try."""

import random

CASES = {
    "binaries cut short": 300,
    "binaries with a flipped bit": 300,
    "binaries with flipped bits under a right checksum": 600,
    "assembly texts": 300,
    "machine files": 400,
    "npz archives": 400,
    "grids of machines": 400,
    "onnx files": 320,
    "onnxtxt files": 320,
    "onnx graphs": 320,
    "files given to the commands": 400,
}
"""Every damaged input is accepted as what it happens to be, or refused with one line; 2,000 at least."""


def damage(data: bytes, draw: random.Random) -> bytes:
    """Cut the end off, flip bits, take a part out, or repeat one elsewhere."""
    at, other, length = draw.randrange(len(data)), draw.randrange(len(data)), draw.randrange(1, 30)
    match draw.randrange(5):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + length :]
        case 2:
            return data[:at] + data[other : other + length] + data[at:]
        case _:
            flipped = bytearray(data)
            for _ in range(draw.choice((1, 1, 2, 8))):
                flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            return bytes(flipped)
