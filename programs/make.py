"""Makes the models and the data set of this folder again, the same to the last digit.

python programs/make.py digits      # digits.npz; needs scikit-learn
python programs/make.py models      # the three .onnxtxt models; needs NumPy
python programs/make.py torch       # torch_mlp.onnx; needs torch, onnx and onnxscript
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent
Array = npt.NDArray[np.floating]

DIGITS_MLP = """\
<ir_version: 10, opset_import: ["" : 21]>
digits_mlp (float[N, 64] x) => (float[N, 10] logits)
<
{weights}
>
{{
  [fc1] h1 = Gemm<transB = 1>(x, "fc1.weight", "fc1.bias")
  [relu1] a1 = Relu(h1)
  [fc2] h2 = Gemm<transB = 1>(a1, "fc2.weight", "fc2.bias")
  [relu2] a2 = Relu(h2)
  [fc3] logits = Gemm<transB = 1>(a2, "fc3.weight", "fc3.bias")
}}
"""

DIGITS_CNN = """\
<ir_version: 10, opset_import: ["" : 21]>
digits_cnn (float[N, 64] x) => (float[N, 10] logits)
<
  int64[4] image_shape = {{-1, 1, 8, 8}},
{weights}
>
{{
  [image] i0 = Reshape(x, image_shape)
  [conv1] h1 = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(i0, "conv1.weight", "conv1.bias")
  [relu1] a1 = Relu(h1)
  [pool1] p1 = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a1)
  [conv2] h2 = Conv<kernel_shape = [3, 3]>(p1, "conv2.weight", "conv2.bias")
  [relu2] a2 = Relu(h2)
  [flatten] f2 = Flatten(a2)
  [fc3] logits = Gemm<transB = 1>(f2, "fc3.weight", "fc3.bias")
}}
"""

DEEP_MLP = """\
<ir_version: 10, opset_import: ["" : 21]>
deep_mlp (float[N, 64] x) => (float[N, 10] log_probabilities)
<
  int64[1] last_axis = {{-1}}, float keep = {{0.9}}, float one = {{1}}, float half = {{0.5}}, float epsilon = {{0.00001}},
  float two = {{2}}, float low = {{-1}}, float high = {{1}},
{weights}
>
{{
  [fc1] h1 = Gemm<transB = 1>(x, "fc1.weight", "fc1.bias")
  [relu1] a1 = Relu(h1)
  [drop1] d1 = Dropout(a1, keep)
  [fc2] h2 = MatMul(d1, "fc2.weight")
  [bias2] b2 = Add(h2, "fc2.bias")
  [leaky2] a2 = LeakyRelu<alpha = 0.1>(b2)
  [fc3] h3 = Gemm<transB = 1>(a2, "fc3.weight", "fc3.bias")
  [sigmoid3] s3 = Sigmoid(h3)
  [silu3] a3 = Mul(h3, s3)
  [fc4] h4 = Gemm<transB = 1>(a3, "fc4.weight", "fc4.bias")
  [tanh4] a4 = Tanh(h4)
  [skip4] r4 = Add(a4, a3)
  [square4] q4 = Pow(r4, two)
  [mean4] m4 = ReduceMean<keepdims = 1>(q4, last_axis)
  [floor4] e4 = Add(m4, epsilon)
  [root4] n4 = Sqrt(e4)
  [rmsnorm4] y4 = Div(r4, n4)
  [fc5] h5 = Gemm<transB = 1>(y4, "fc5.weight", "fc5.bias")
  [clip5] a5 = Clip(h5, low, high)
  [gate] g5 = Gemm<transB = 1>(y4, "gate.weight", "gate.bias")
  [softmax5] p5 = Softmax<axis = -1>(g5)
  [gated5] y5 = Mul(a5, p5)
  [fc6] h6 = Gemm<transB = 1>(y5, "fc6.weight", "fc6.bias")
  [negate6] u6 = Neg(h6)
  [exp6] v6 = Exp(u6)
  [plus6] w6 = Add(v6, one)
  [log6] l6 = Log(w6)
  [softplus6] t6 = Add(h6, l6)
  [centre6] a6 = Sub(t6, half)
  [fc7] h7 = Gemm<transB = 1>(a6, "fc7.weight", "fc7.bias")
  [logsoftmax7] log_probabilities = LogSoftmax<axis = -1>(h7)
}}
"""


def initializers(layers: dict[str, tuple[int, ...]], seed: int, stored_kn: tuple[str, ...] = ()) -> str:
    """He-normal weights and zero biases of ``layers`` (name → inputs, outputs, kernel) as ONNX text, four decimals.

    Weights are stored as PyTorch does, outputs × inputs × kernel, except those of ``stored_kn``: inputs × outputs.
    """
    generator = np.random.default_rng(seed)
    lines = []
    for name, (inputs, outputs, *kernel) in layers.items():
        shape = (inputs, outputs) if name in stored_kn else (outputs, inputs, *kernel)
        weight = generator.standard_normal(shape) * np.sqrt(2 / (inputs * np.prod(kernel, dtype=int)))
        lines.append(f'  float[{", ".join(map(str, shape))}] "{name}.weight" = {{{numbers(weight)}}}')
        lines.append(f'  float[{outputs}] "{name}.bias" = {{{numbers(np.zeros(outputs))}}}')
    return ",\n".join(lines)


def numbers(values: Array) -> str:
    """Four decimals each, trailing zeros left out."""
    return ",".join(f"{v:.4f}".rstrip("0").rstrip(".") for v in values.ravel())


def make_models() -> None:
    """digits_mlp.onnxtxt, digits_cnn.onnxtxt and deep_mlp.onnxtxt."""
    layers: dict[str, tuple[int, ...]] = {"fc1": (64, 128), "fc2": (128, 64), "fc3": (64, 10)}
    (HERE / "digits_mlp.onnxtxt").write_text(DIGITS_MLP.format(weights=initializers(layers, seed=1)))
    layers = {"conv1": (1, 12, 3, 3), "conv2": (12, 24, 3, 3), "fc3": (96, 10)}
    (HERE / "digits_cnn.onnxtxt").write_text(DIGITS_CNN.format(weights=initializers(layers, seed=3)))
    layers = {
        "fc1": (64, 56), "fc2": (56, 40), "fc3": (40, 36), "fc4": (36, 36),
        "fc5": (36, 33), "gate": (36, 33), "fc6": (33, 20), "fc7": (20, 10),
    }  # fmt: skip
    (HERE / "deep_mlp.onnxtxt").write_text(DEEP_MLP.format(weights=initializers(layers, seed=2, stored_kn=("fc2",))))


def make_digits() -> None:
    """digits.npz: pixels 0 … 16 divided by 16, which float16 holds exactly; 1,437 images to train on, 360 to test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    x, y = (digits.data[order] / 16).astype(np.float16), digits.target[order].astype(np.uint8)
    np.savez_compressed(HERE / "digits.npz", x_train=x[:1437], y_train=y[:1437], x_test=x[1437:], y_test=y[1437:])


def make_torch() -> None:
    """torch_mlp.onnx: PyTorch's own exporter on an ordinary module."""
    import onnx
    import torch
    from torch import nn

    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Linear(64, 100), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(100, 50, bias=False), nn.Tanh(),
        nn.Linear(50, 10), nn.LogSoftmax(dim=-1),
    ).eval()  # fmt: skip
    path = HERE / "torch_mlp.onnx"
    torch.onnx.export(
        module,
        (torch.zeros(2, 64),),
        path,
        input_names=["x"],
        output_names=["log_probabilities"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        external_data=False,
        dynamo=True,
    )
    model = onnx.load(path)
    for node in model.graph.node:  # stack traces hold the paths of the machine that exported
        traces = [p for p in node.metadata_props if p.key == "pkg.torch.onnx.stack_trace"]
        for trace in traces:
            node.metadata_props.remove(trace)
    onnx.save(model, path)


if __name__ == "__main__":
    {"digits": make_digits, "models": make_models, "torch": make_torch}[sys.argv[1]]()
