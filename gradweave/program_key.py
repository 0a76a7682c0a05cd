"""What a compiled program depends on, as one key: the model's content, the machine, the options, and the code that reads them."""

import functools
import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import msgspec
import onnx

import compiler
import emulator
import gradweave
import isa
from compiler.frontend.importer import graph_name
from compiler.frontend.load import read_model, told
from compiler.frontend.topology import EXTENSION as TABLE
from isa.files import read_bytes
from isa.machine import Machine

Model = str | Path | onnx.ModelProto


def model_digest(model: Model) -> str:
    """SHA-256 of all that a model is: external data too, and its name, which programs take over.

    Raises:
        UserError: a file cannot be read or is no model.
    """
    place = (model.graph.name or "model") if isinstance(model, onnx.ModelProto) else str(model)
    if _is_table(model):
        content = read_bytes(place)
    else:
        proto = model if isinstance(model, onnx.ModelProto) else read_model(place)
        with told(place, "cannot be taken into the cache"):
            content = proto.SerializeToString(deterministic=True)
    return hashlib.sha256(graph_name(place).encode() + b"\0" + content).hexdigest()


def program_key(model: Model, digest: str, machine: Machine, options: Mapping[str, object]) -> str:
    """SHA-256 of the model's digest, the machine, the options of ``gradweave.compile`` by name, and the code.

    The seed counts only where weights are drawn.
    """
    drawn = options["init"] is not None or _is_table(model)
    plain = {name: value for name, value in options.items() if name != "seed" or drawn}
    parts = [code_digest(), digest, machine.fingerprint.hex(), sorted(plain.items())]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


@functools.cache
def code_digest() -> str:
    """SHA-256 of the installed sources, and of the versions of those packages on which programs depend."""
    found = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in ("numpy", "onnx", "xdsl")).encode())
    for package in (compiler, emulator, gradweave, isa):
        folder = _folder(package)
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".lark")):
            content = path.read_bytes()
            found.update(f"\n{package.__name__} {path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()


def _folder(package: ModuleType) -> Path:
    assert package.__file__ is not None
    return Path(package.__file__).parent


def _is_table(model: Model) -> bool:
    return not isinstance(model, onnx.ModelProto) and Path(model).suffix == TABLE
