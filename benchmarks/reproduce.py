"""Published results beside what this machine measures: ``gradweave reproduce`` with the same options.

python benchmarks/reproduce.py --tables ../shared/data/scalesim_topologies
"""

import sys

from gradweave.cli import main

if __name__ == "__main__":
    main(["reproduce", *sys.argv[1:]])
