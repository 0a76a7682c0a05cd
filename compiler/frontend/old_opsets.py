"""What ONNX's version converter loses of models from before some opset: read before conversion, written down again after it."""

import onnx
import onnx.shape_inference
from onnx import helper

from compiler.frontend.fold import static_shapes


def take_training_mode(graph: onnx.GraphProto, version: int) -> set[str]:
    """Names of the nodes that normalise by the batch's own statistics, which before opset 14 only their further outputs tell.

    Exporters leave these outputs unused, and they are taken away.
    """
    found: set[str] = set()
    if version >= 14:
        return found
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type == "BatchNormalization" and any(node.output[1:]):
            found.add(node.name)
            while len(node.output) > 1 and node.output[-1] not in used:
                del node.output[-1]
    return found


def give_training_mode(graph: onnx.GraphProto, names: set[str]) -> None:
    """Write down for these nodes what opset 14 has an attribute for; it also wants both running statistics as outputs."""
    for node in graph.node:
        if node.name in names:
            del node.output[3:]
            node.output.extend(f"{node.name}/{statistic}" for statistic in ("mean", "var")[len(node.output) - 1 :])
            node.attribute.extend([helper.make_attribute("training_mode", 1)])


def spread_slopes(model: onnx.ModelProto, version: int) -> None:
    """Before opset 7 a vector of PRelu slopes had one for each channel; since then it broadcasts, and needs dimensions behind."""
    if version >= 7 or not any(node.op_type == "PRelu" for node in model.graph.node):
        return
    shapes = static_shapes(onnx.shape_inference.infer_shapes(model).graph)
    nodes = []
    for node in model.graph.node:
        behind = len(shapes.get(node.input[0], ())) - 2 if node.op_type == "PRelu" else 0
        if behind > 0 and len(shapes.get(node.input[1], ())) == 1:
            spread = f"{node.name}/{node.input[1]}"
            nodes.append(helper.make_node("Unsqueeze", [node.input[1]], [spread], name=spread, axes=list(range(1, behind + 1))))
            node.input[1] = spread
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
