"""Runs SCALE-Sim in its own environment, a layer at a time: a line of JSON for each layer, with its seconds and the peak of memory.

    python scalesim_layers.py TABLE ROWS COLUMNS

Traces are off, buffers of 16 MB never stall, weights are stationary.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from scalesim.scale_sim import scalesim

CONFIG = """\
[general]
run_name = run
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 16384
FilterSramSzkB = 16384
OfmapSramSzkB = 16384
IfmapOffset = 0
FilterOffset = 100000000
OfmapOffset = 200000000
Dataflow = ws
Bandwidth = 1024
ReadRequestBuffer = 1024
WriteRequestBuffer = 1024
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[run_presets]
InterfaceBandwidth = USER
UseRamulatorTrace = False
[sparsity]
SparsitySupport = false
"""


def main(table: str, rows: str, columns: str) -> None:
    header, *layers = [line for line in Path(table).read_text("utf-8-sig").splitlines() if line.strip(", ")]
    with tempfile.TemporaryDirectory() as folder:
        config, topology, layout = (Path(folder, name) for name in ("machine.cfg", "layer.csv", "layout.csv"))
        config.write_text(CONFIG.format(rows=rows, columns=columns))
        for layer in layers:
            topology.write_text(f"{header}\n{layer.rstrip(', ')},\n")
            layout.write_text("Layer," + 20 * "x," + f"\n{layer.split(',')[0]}," + 20 * "1," + "\n")
            start = time.perf_counter()
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                gemm = header.split(",")[1].strip().lower() == "m"
                run = scalesim(True, False, str(config), str(topology), str(layout), gemm)
                run.run_scale(folder)
            seconds = time.perf_counter() - start
            peak = 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
            print(json.dumps({"seconds": seconds, "peak": peak}), flush=True)


main(*sys.argv[1:])
