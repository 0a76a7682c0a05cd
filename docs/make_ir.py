"""Makes the examples of docs/ir.md: one small network at every level of IR, as the compiler really lowers it.

python docs/make_ir.py           # print them
python docs/make_ir.py --write   # put them into docs/ir.md
"""

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from xdsl.dialects.builtin import ModuleOp

from compiler.dialects import systolic
from compiler.driver import lower, lower_to_systolic, training_step
from gradweave.reproduce.sections import print_or_write
from isa.disasm import disassemble
from isa.machine import Array, Machine

MODEL = """\
<ir_version: 10, opset_import: ["" : 21]>
mlp (float[3, 5] x) => (float[3, 2] y)
<
  float[5, 6] "fc1.weight" = {…},
  float[6, 2] "fc2.weight" = {…}
>
{
  [fc1] h = MatMul(x, "fc1.weight")
  [relu] a = Relu(h)
  [fc2] y = MatMul(a, "fc2.weight")
}
"""
MACHINE = Machine(name="4x4", array=Array(rows=4, cols=4))
NUMBERS = {30: "0.1", 12: "0.2"}


def model() -> onnx.ModelProto:
    """The example with values for its weights."""
    text = MODEL
    for count, number in NUMBERS.items():
        text = text.replace("…", ", ".join([number] * count), 1)
    return onnx.parser.parse_model(text)


def levels(fused: bool) -> dict[str, str]:
    """Each level as --dump-ir writes it, the machine left out."""
    with TemporaryDirectory() as folder:
        step = training_step(model(), optimizer="sgd:lr=0.5", dump_ir=folder)
        lower(step, MACHINE, schedule="interleaved", fused_update=fused)
        texts = {path.stem[3:]: path.read_text(encoding="utf-8").replace(f"{folder}/", "") for path in Path(folder).glob("*.mlir")}
    return {name: re.sub(r"machine \{.*\}\} \{", "machine {…} {", text) for name, text in texts.items()}


def graph(text: str) -> str:
    """The operations, without comments and the module around them."""
    lines = [line[2:] for line in text.splitlines() if line.startswith("  ")]
    return "\n".join(lines)


def made_by(text: str) -> str:
    """The passes that led to a level, as the dump tells them."""
    found = re.search(r"-p '(.*)'", text)
    assert found is not None
    return found[1]


def block(text: str, start: str) -> str:
    """The first line that starts like this, with the lines indented deeper and the closing brace."""
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.strip().startswith(start))
    indent = len(lines[first]) - len(lines[first].lstrip())
    last = next(n for n in range(first + 1, len(lines)) if lines[n] == " " * indent + "}")
    return "\n".join(line[indent:] for line in lines[first : last + 1])


def share(module: ModuleOp, layer: str, products: Sequence[str]) -> str:
    """What each queue does for one operation of the tile level."""
    program = next(op for op in module.walk() if isinstance(op, systolic.ProgramOp))
    entries = [op for op in program.body.block.ops if isinstance(op, systolic.ProvenanceOp)]
    wanted = [n for n, op in enumerate(entries) if op.layer.data == layer and op.product.data in products]
    groups = {entries[n].group.value.data for n in wanted if entries[n].macs.value.data}
    indices = {n for n in wanted if entries[n].group.value.data in groups}
    semaphores = [op.symbol.data for op in program.body.block.ops if isinstance(op, systolic.SemaphoreOp)]
    out = []
    for queue in (op for op in program.body.block.ops if isinstance(op, systolic.QueueOp)):
        own = [op for op in queue.body.block.ops if isinstance(op, systolic.InstructionOp) and op.instruction().provenance in indices]
        if own:
            text = graph(str(ModuleOp([op.clone() for op in own])))
            text = re.sub(r"(wait|signal) sem (\d+)(.*)", lambda m: f"{m[0]}  // {semaphores[int(m[2])]}", text)
            out += [f"// {queue.queue.data}", text]
    return "\n".join(out)


def queue(assembly: str, name: str) -> str:
    """One queue's code."""
    code = assembly.split(f".queue {name}")[1]
    return f".queue {name}{code.split('.queue ')[0].split('.data ')[0]}".rstrip()


def sections() -> dict[str, str]:
    """What stands between ``<!-- name -->`` and ``<!-- end -->`` in docs/ir.md, by name."""
    plain, fused = levels(fused=False), levels(fused=True)
    step = training_step(model(), optimizer="sgd:lr=0.5")
    instructions = lower_to_systolic(step, MACHINE, schedule="interleaved")
    nest = 'tile.nest rows "k" cols "n" stream "b" layer "fc2" product "dx+dw"'
    texts = {
        "model": MODEL.rstrip(),
        "onnx": graph(plain["onnx"]),
        "train": f"// {made_by(plain['train'])}\n{graph(plain['train'])}",
        "tile": f"// {made_by(plain['tile'])}\n{graph(plain['tile'])}",
        "fused": block(fused["tile"], nest),
        "systolic": f"// {made_by(plain['systolic'])}\n{share(instructions, 'fc2', ('dx+dw', 'dx', 'dw'))}",
        "assembly": queue(disassemble(lower(step, MACHINE, schedule="interleaved")), "array"),
    }
    return {name: f"```{'' if name in ('model', 'assembly') else 'mlir'}\n{text}\n```" for name, text in texts.items()}


def main() -> None:
    """Print the sections, or write them into the page."""
    print_or_write(Path(__file__).with_name("ir.md"), sections())


if __name__ == "__main__":
    main()
