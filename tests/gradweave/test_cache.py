"""``--cache``: a program is compiled once for what it depends on, and never taken for another."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import numpy_helper

import gradweave
from gradweave import program_key
from gradweave.program_key import model_digest
from isa.binary import write_program
from isa.machine import Machine, load_machine
from isa.program import Program

Cli = Callable[..., Result]
SMALL = ("small.onnxtxt", "--batch", "6", "--machine", "4x3.toml", "--optimizer", "sgd:lr=0.1")
TABLE = "Layer,M,N,K\nl,3,4,5\n"


def said(result: Result) -> list[str]:
    """The first two words of each line that the cache said."""
    assert result.exit_code == 0, result.output
    return [" ".join(line.split()[:2]) for line in result.stderr.splitlines() if line.startswith("cache: ")]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def compile(folder: Path, told: list[str]) -> Callable[..., Program]:
    """Compiles the small model through a cache in ``kept``."""
    cache = gradweave.Cache("kept", lambda line: told.append(line.split()[1]))

    def run(model: object = "small.onnxtxt", **options: object) -> Program:
        return gradweave.compile(model, **{"batch": 6, "cache": cache} | options)  # type: ignore[arg-type]

    return run


def test_every_command_takes_what_another_stored(cli: Cli, folder: Path) -> None:
    first = cli("compile", *SMALL, "--cache", "kept", "-o", "first.gwb")
    assert said(first) == ["cache: stored"]
    (entry,) = (folder / "kept").iterdir()
    assert f"cache: stored {Path('kept') / entry.name}" in first.stderr
    assert entry.read_bytes() == (folder / "first.gwb").read_bytes()
    second = cli("compile", *SMALL, "--cache=kept", "-o", "second.gwb")
    assert said(second) == ["cache: hit"]
    assert (folder / "second.gwb").read_bytes() == (folder / "first.gwb").read_bytes()
    assert said(cli("compile", *SMALL, "--cache", "kept", "--emit", "asm")) == ["cache: hit"]
    assert said(cli("run", *SMALL, "--cache", "kept", "--seed", "4")) == ["cache: hit"]
    compared = said(cli("compare", *SMALL, "--cache", "kept"))
    assert compared.count("cache: hit") == 1
    assert compared.count("cache: stored") == len(compared) - 1 > 5
    assert set(said(cli("compare", *SMALL, "--cache", "kept"))) == {"cache: hit"}


def test_it_is_off_by_default_and_its_folder_is_the_users(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert said(cli("run", *SMALL)) == []
    assert not (folder / "home").exists()
    assert said(cli("run", *SMALL, "--cache")) == ["cache: stored"]
    assert len(list((folder / "home/.cache/gradweave").iterdir())) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "xdg"))
    assert said(cli("run", *SMALL, "--cache")) == ["cache: stored"]
    assert len(list((folder / "xdg/gradweave").iterdir())) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, as the specification says
    assert said(cli("run", *SMALL, "--cache")) == ["cache: hit"]


CHANGES = (
    {"batch": 7}, {"schedule": "ws"}, {"loss": "softmax-cross-entropy"}, {"optimizer": "sgd:lr=0.2"}, {"double_buffer": False},
    {"fused_update": True, "optimizer": "sgd"}, {"input_grads": ("x",)}, {"init": "he"}, {"init": "he", "seed": 1}, {"backward": False},
    {"machine": Machine(name="other")}, {"machine": Machine(arrays=2)}, {"machine": Machine(arrays=2), "partition": "none"},
)  # fmt: skip


def test_whatever_decides_the_program_is_in_the_key(compile: Callable[..., Program], told: list[str]) -> None:
    for options in ({}, *CHANGES):
        compile(**options)
    assert told == ["stored"] * (1 + len(CHANGES))
    told.clear()
    for options in ({}, *CHANGES):
        kept = write_program(compile(**options))
        assert kept == write_program(gradweave.compile("small.onnxtxt", **{"batch": 6} | options))
    assert told == ["hit"] * (1 + len(CHANGES))


def test_the_seed_counts_where_weights_are_drawn(compile: Callable[..., Program], told: list[str], folder: Path) -> None:
    (folder / "layers.csv").write_text(TABLE)
    for model, seed in (("small.onnxtxt", 0), ("small.onnxtxt", 1), ("layers.csv", 0), ("layers.csv", 1), ("layers.csv", 1)):
        compile(model, seed=seed)
    assert told == ["stored", "hit", "stored", "stored", "hit"]


def test_changed_content_is_another_model(compile: Callable[..., Program], told: list[str], folder: Path) -> None:
    compile()
    text = (folder / "small.onnxtxt").read_text()
    (folder / "small.onnxtxt").write_text(text.replace("Relu", "Tanh"))
    compile()
    (folder / "small.onnxtxt").write_text(text)
    compile()
    (folder / "renamed.onnxtxt").write_text(text)
    assert compile("renamed.onnxtxt").name == "renamed"
    (folder / "layers.csv").write_text(TABLE)
    compile("layers.csv")
    (folder / "layers.csv").write_text(TABLE.replace("5", "6"))
    compile("layers.csv")
    compile(onnx.parser.parse_model(text))  # no other model than the file's
    compile(onnx.parser.parse_model(text.replace("small", "large")))
    assert told == ["stored", "stored", "hit", "stored", "stored", "stored", "hit", "stored"]


def test_external_data_is_content(compile: Callable[..., Program], told: list[str], folder: Path) -> None:
    model = onnx.parser.parse_model((folder / "small.onnxtxt").read_text())
    weight = numpy_helper.to_array(model.graph.initializer[0])
    (folder / "w.bin").write_bytes(weight.tobytes())
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "fc1.weight"))
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "w.bin")
    model.graph.initializer[0].ClearField("raw_data")
    (folder / "small.onnx").write_bytes(model.SerializeToString())
    first = compile("small.onnx")
    np.testing.assert_array_equal(np.frombuffer(first.data[0][1], np.float32), weight.ravel())
    (folder / "w.bin").write_bytes((2 * weight).tobytes())
    assert compile("small.onnx").data != first.data
    assert told == ["stored", "stored"]


def test_changed_sources_are_another_compiler(compile: Callable[..., Program], told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compile()
    monkeypatch.setattr(program_key, "code_digest", lambda: "another")
    compile()
    assert told == ["stored", "stored"]


def test_the_digest_of_the_code_reads_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {program_key.code_digest()}
    for name in ("compiler", "emulator", "gradweave", "isa"):
        package = tmp_path / name
        (package / "deep").mkdir(parents=True)
        (package / "deep" / "a.py").write_text(name)
        monkeypatch.setattr(getattr(program_key, name), "__file__", str(package / "__init__.py"))
        digests.add(program_key.code_digest.__wrapped__())
        (package / "deep" / "a.py").write_text("changed")
        digests.add(program_key.code_digest.__wrapped__())
    assert len(digests) == 9


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "folder"])
def test_damaged_entries_count_as_absent(damage: str, compile: Callable[..., Program], told: list[str], folder: Path) -> None:
    good = write_program(compile())
    (entry,) = (folder / "kept").iterdir()
    if damage == "folder":
        entry.unlink()
        entry.mkdir()
    else:
        content = {"flipped": good[:900] + bytes([good[900] ^ 1]) + good[901:], "cut": good[:-7], "empty": b""}[damage]
        entry.write_bytes(content)
    assert write_program(compile()) == good
    if damage == "folder":
        assert told == ["stored", "damaged", "not"]
    else:
        assert told == ["stored", "damaged", "stored"]
        assert entry.read_bytes() == good
        compile()
        assert told[-1] == "hit"
    assert os.listdir("kept") == [entry.name]


def test_levels_of_ir_are_dumped_in_spite_of_a_hit(compile: Callable[..., Program], told: list[str], folder: Path) -> None:
    compile()
    compile(dump_ir="ir")
    assert (folder / "ir" / "03-systolic.mlir").exists()
    assert told == ["stored", "stored"]


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(cli: Cli, folder: Path) -> None:
    (folder / "file").write_text("")
    result = cli("run", *SMALL, "--cache", "file/inside")
    assert said(result) == ["cache: not"]
    assert "fc1" in result.stdout
    assert (folder / "file").read_text() == ""


@pytest.mark.parametrize(("command", "message"), {
    "compile --cache small.onnxtxt --batch 2": "--cache small.onnxtxt: takes a folder",
    "compile --cache missing.onnx small.onnxtxt --batch 2": "--cache missing.onnx: takes a folder",
    "run small.onnxtxt --batch 2 --cache 4x3.toml": "--cache 4x3.toml: takes a folder",
    "compile small.onnxtxt --batch 2 --emit ir --cache kept": "--cache: keeps binaries",
    "run missing.onnx --cache kept": "missing.onnx: cannot be read",
    "run missing.csv --cache kept": "missing.csv: cannot read",
    "run small.gwb --cache kept": "is compiled already; --cache",
}.items())  # fmt: skip
def test_mistakes(command: str, message: str, cli: Cli, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    result = cli(*command.split())
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {message}") or message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_what_cannot_be_compiled_is_not_kept(cli: Cli, folder: Path) -> None:
    (folder / "tiny.toml").write_text("[scratchpad]\nbytes = 128\n")
    assert cli("run", "small.onnxtxt", "--batch", "6", "--machine", "tiny.toml", "--cache", "kept").exit_code == 1
    assert not (folder / "kept").exists()


def test_digests_do_not_depend_on_the_folder(folder: Path) -> None:
    (folder / "deeper").mkdir()
    (folder / "deeper" / "small.onnxtxt").write_text((folder / "small.onnxtxt").read_text())
    assert model_digest("deeper/small.onnxtxt") == model_digest(folder / "small.onnxtxt")
    assert load_machine("4x3.toml").fingerprint != Machine().fingerprint
