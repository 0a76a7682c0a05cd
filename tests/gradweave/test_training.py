"""Training on the emulated machine is the same training as in JAX."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx.parser
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import gradweave
from gradweave.training import Epoch

PROGRAMS = Path(__file__).parents[2] / "programs"
Params = dict[str, Any]


def logits(params: Params, x: Any) -> Any:
    """The digits MLP."""
    for layer in ("fc1", "fc2"):
        x = jnp.maximum(x @ params[f"{layer}.weight"].T + params[f"{layer}.bias"], 0)
    return x @ params["fc3.weight"].T + params["fc3.bias"]


def convolutional_logits(params: Params, x: Any) -> Any:
    """The digits CNN."""
    x = x.reshape(-1, 1, 8, 8)
    for layer, pad in (("conv1", 1), ("conv2", 0)):
        x = jax.lax.conv(jnp.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)]), params[f"{layer}.weight"], (1, 1), "VALID")
        x = jax.nn.relu(x + params[f"{layer}.bias"][:, None, None])  # gradient 0 at 0: blank pixels lie exactly there
        if layer == "conv1":
            x = x.reshape(-1, 12, 4, 2, 4, 2).max((3, 5))
    return x.reshape(len(x), -1) @ params["fc3.weight"].T + params["fc3.bias"]


NETWORKS = {"digits_mlp": logits, "digits_cnn": convolutional_logits}


def train_in_jax(
    epochs: int, batch: int, lr: float, momentum: float, decay: float, seed: int, network: str = "digits_mlp"
) -> list[tuple[float, float]]:
    """(mean loss, test accuracy) of each epoch, in float64, with the order of samples that ``train`` documents."""

    def cross_entropy(params: Params, x: Any, y: Any) -> Any:
        return -jnp.mean(jax.nn.log_softmax(NETWORKS[network](params, x))[jnp.arange(len(y)), y])

    model = onnx.parser.parse_model((PROGRAMS / f"{network}.onnxtxt").read_text())
    with np.load(PROGRAMS / "digits.npz") as data:
        x, y, x_test, y_test = (data[name].astype(kind) for name, kind in (
            ("x_train", np.float64), ("y_train", int), ("x_test", np.float64), ("y_test", int),
        ))  # fmt: skip
    history, order, count = [], np.random.default_rng(seed), len(x) // batch
    with jax.enable_x64(True):
        params: Params = {t.name: jnp.asarray(numpy_helper.to_array(t), jnp.float64) for t in model.graph.initializer if t.data_type == 1}
        velocity = {name: jnp.zeros_like(value) for name, value in params.items()}
        step = jax.jit(jax.value_and_grad(cross_entropy))
        for _ in range(epochs):
            losses = []
            for chosen in order.permutation(len(x))[: count * batch].reshape(count, batch):
                loss, gradient = step(params, x[chosen], y[chosen])
                losses.append(float(loss))
                velocity = {n: momentum * velocity[n] + gradient[n] + decay * params[n] for n in params}
                params = {n: params[n] - lr * velocity[n] for n in params}
            accuracy = float(np.mean(np.asarray(NETWORKS[network](params, x_test)).argmax(axis=1) == y_test))
            history.append((float(np.mean(losses)), accuracy))
    return history


def train_here(epochs: int, network: str = "digits_mlp", **options: Any) -> list[Epoch]:
    return gradweave.train(PROGRAMS / f"{network}.onnxtxt", PROGRAMS / "digits.npz", epochs=epochs, **options).epochs


def test_the_digits_reach_95_percent_with_the_losses_of_jax(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """The model that is saved has that accuracy in ONNX's own evaluator."""
    ours = train_here(10, optimizer="sgd:lr=0.05,momentum=0.9", seed=4, save=tmp_path / "trained.onnx")
    theirs = train_in_jax(10, 32, 0.05, 0.9, 0.0, 4)
    assert [epoch.loss for epoch in ours] == pytest.approx([loss for loss, _ in theirs], abs=1e-3)
    assert [epoch.test for epoch in ours] == pytest.approx([accuracy for _, accuracy in theirs], abs=1.5 / 360)
    assert ours[-1].test is not None
    assert ours[-1].test >= 0.95
    with np.load(PROGRAMS / "digits.npz") as data:
        (scores,) = ReferenceEvaluator(str(tmp_path / "trained.onnx")).run(None, {"x": data["x_test"].astype(np.float32)})
        assert np.mean(scores.argmax(axis=1) == data["y_test"]) == pytest.approx(ours[-1].test)
    worst = max(abs(epoch.loss - loss) for epoch, (loss, _) in zip(ours, theirs, strict=True))
    tell(f"digits after 10 epochs on the emulated machine: test accuracy {ours[-1].test:.1%}, losses within {worst:.0e} of JAX")


def test_a_convolutional_network_reaches_97_percent_with_the_losses_of_jax() -> None:
    ours = train_here(10, "digits_cnn", optimizer="sgd:lr=0.05,momentum=0.9")
    theirs = train_in_jax(10, 32, 0.05, 0.9, 0.0, 0, "digits_cnn")
    assert [epoch.loss for epoch in ours] == pytest.approx([loss for loss, _ in theirs], abs=1e-3)
    assert [epoch.test for epoch in ours] == pytest.approx([accuracy for _, accuracy in theirs], abs=1.5 / 360)
    assert ours[-1].test is not None
    assert ours[-1].test >= 0.97


@pytest.mark.parametrize(("lr", "momentum"), [(0.2, 0.0), (0.05, 0.9)])
@pytest.mark.parametrize("schedule", ["sequential", "interleaved"])
def test_weights_updated_in_the_array_learn_the_same(schedule: str, lr: float, momentum: float) -> None:
    options = {"batch": 100, "optimizer": f"sgd:lr={lr},momentum={momentum},weight_decay=0.01", "seed": 1}
    ours = train_here(2, schedule=schedule, fused_update=True, **options)
    theirs = train_in_jax(2, 100, lr, momentum, 0.01, 1)
    assert [epoch.loss for epoch in ours] == pytest.approx([loss for loss, _ in theirs], abs=1e-3)


def test_the_model_s_own_batch_size_is_taken(tmp_path: Path) -> None:
    text = (PROGRAMS / "digits_mlp.onnxtxt").read_text().replace("[N,", "[50,")
    (tmp_path / "fixed.onnxtxt").write_text(text)
    training = gradweave.train(tmp_path / "fixed.onnxtxt", PROGRAMS / "digits.npz", epochs=1, optimizer="sgd:lr=0.1")
    assert training.program.symbol("x", "input").shape == (50, 64)


def test_regression(tmp_path: Path) -> None:
    """A linear model finds the line that made the data."""
    generator = np.random.default_rng(2)
    (tmp_path / "line.onnxtxt").write_text(
        '<ir_version: 10, opset_import: ["" : 21]> line (float[N, 3] x) => (float[N, 1] y)'
        "<float[3, 1] w = {0, 0, 0}, float[1] b = {0}> { [fc] y = Gemm(x, w, b) }"
    )
    x = generator.normal(size=(64, 3))
    np.savez(tmp_path / "d.npz", x_train=x, y_train=x @ [[1.0], [-2.0], [0.5]] + 0.25, x_test=np.eye(3), y_test=[[1.25], [-1.75], [0.75]])
    training = gradweave.train(tmp_path / "line.onnxtxt", tmp_path / "d.npz", epochs=40, batch=16, loss="mse", optimizer="sgd:lr=0.1")
    assert training.weights["w"].ravel() == pytest.approx([1, -2, 0.5], abs=1e-3)
    assert training.weights["b"] == pytest.approx([0.25], abs=1e-3)
    assert training.epochs[-1].test == pytest.approx(0, abs=1e-6)
    assert training.epochs[-1].metric == "mse"


def test_weights_of_every_form_are_saved(tmp_path: Path) -> None:
    """Initializers, Constant and ConstantOfShape nodes: the saved model computes with the trained values, wherever they stood."""
    (tmp_path / "forms.onnxtxt").write_text(
        '<ir_version: 3, opset_import: ["" : 9]> forms (float[N, 3] x, float[3, 4] w) => (float[N, 2] y) <float[3, 4] w = {'
        + ", ".join(f"{i / 10}" for i in range(12))
        + "}, int64[2] shape = {4, 2}> { b = Constant<value = float[4] {1, 2, 3, 4}>() "
        "v = ConstantOfShape<value = float[1] {0.25}>(shape) a = MatMul(x, w) h = Add(a, b) y = MatMul(h, v) }"
    )
    x = np.random.default_rng(3).normal(size=(8, 3)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=x[:, :2])
    saved = tmp_path / "saved.onnx"
    options = {"batch": 8, "loss": "mse", "optimizer": "sgd:lr=0.01"}
    training = gradweave.train(tmp_path / "forms.onnxtxt", tmp_path / "d.npz", epochs=2, save=saved, **options)
    assert training.weights.keys() == {"w", "b", "v"}
    found = ReferenceEvaluator(onnx.load(saved)).run(None, {"x": x})[0]
    w, b, v = (training.weights[name].astype(np.float64) for name in ("w", "b", "v"))
    np.testing.assert_allclose(found, (x @ w + b) @ v, rtol=1e-5)
    assert len(np.unique(v)) > 1
