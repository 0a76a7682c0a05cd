"""``gradweave-opt`` as a user meets it."""

from pathlib import Path

import pytest

from compiler.opt import main
from compiler.pipeline import DIALECTS, PASSES, UNIVERSE

MODEL = """\
<ir_version: 10, opset_import: ["" : 21]>
net (float[N, 3] x) => (float[N, 2] y) <float[2, 3] w = {1, 2, 3, 4, 5, 6}> { [fc] y = Gemm<transB = 1>(x, w) }
"""
TRAINING = "convert-onnx-to-train,simplify,differentiate,simplify,add-optimizer{lr=0.5}"


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.onnxtxt"
    path.write_text(MODEL)
    return str(path)


@pytest.mark.parametrize("name", PASSES)
def test_passes_are_registered_under_their_own_names(name: str) -> None:
    assert PASSES[name]().name == name
    assert name in UNIVERSE.all_passes


@pytest.mark.parametrize("name", DIALECTS)
def test_dialects_are_registered_under_their_own_names(name: str) -> None:
    assert DIALECTS[name]().name == name
    assert name in UNIVERSE.all_dialects


def test_a_model_is_imported_and_differentiated(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([model, "--batch", "4", "-p", TRAINING])
    text = capsys.readouterr().out
    assert 'train.leaf "input" "x" : tensor<4x3xf32>' in text
    assert 'role "dw"' in text
    assert 'train.output "param" "param/w"' in text


def test_printed_ir_is_read_again(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([model, "--batch", "4", "-p", "convert-onnx-to-train", "-o", str(tmp_path / "a.mlir")])
    main([str(tmp_path / "a.mlir"), "-p", TRAINING.removeprefix("convert-onnx-to-train,")])
    in_two = capsys.readouterr().out
    main([model, "--batch", "4", "-p", TRAINING])
    assert capsys.readouterr().out == in_two


def test_levels_print_between_passes(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([model, "--batch", "4", "-p", "convert-onnx-to-train,simplify", "--print-between-passes"])
    text = capsys.readouterr().out
    assert "IR after convert-onnx-to-train:" in text
    assert text.count("train.graph @net") == 2


MISTAKES = {
    "no batch": ("{model}", "", "--batch"),
    "no such file": ("missing.mlir", "", "No such file"),
    "no such extension": ("{folder}/net.tflite", "", "tflite"),
    "no such pass": ("{model}", "unroll", "unroll"),
    "no such option": ("{model}", "add-loss{{knd=mse}}", "knd"),
    "bad pipeline": ("{model}", "simplify{{", "simplify"),
    "not IR": ("{folder}/broken.mlir", "", "broken.mlir:1"),
    "not a model": ("{folder}/broken.onnx", "", "broken.onnx"),
    "pass that does not apply": ("{model}", "convert-onnx-to-train,add-optimizer", "no weight with a gradient"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, model: str, tmp_path: Path) -> None:
    source, passes, message = MISTAKES[case]
    for name in ("net.tflite", "broken.mlir", "broken.onnx"):
        (tmp_path / name).write_text("%%%")
    target = tmp_path / "out.mlir"
    batch = [] if case == "no batch" else ["--batch", "4"]
    with pytest.raises(SystemExit) as exit:
        main([source.format(model=model, folder=tmp_path), *batch, "-p", passes.replace("{{", "{").replace("}}", "}"), "-o", str(target)])
    assert str(exit.value.code).startswith("error: ")
    assert message in str(exit.value.code)
    assert not list(tmp_path.glob("out.mlir*"))
