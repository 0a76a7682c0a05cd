"""Models written as ONNX text, saved as files."""

from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write ``body`` (graph signature and nodes) under an opset as a file; its path."""

    def write_file(body: str, opset: int = 21, ir_version: int = 8, name: str = "m.onnx") -> str:
        text = f'<ir_version: {ir_version}, opset_import: ["": {opset}]>\n{body}'
        path = tmp_path / name
        if path.suffix == ".onnxtxt":
            path.write_text(text)
        else:
            onnx.save(onnx.parser.parse_model(text), path)
        return str(path)

    return write_file
