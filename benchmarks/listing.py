"""Compare `inv --list` of this project with `inv --list` of a file with one empty task.

    python -m benchmarks.listing [--repeat 20]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
EMPTY = "from invoke import task\n\n\n@task\ndef nothing(context):\n    pass\n"


def measure(folder: Path) -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "invoke", "--list"], cwd=folder, check=True, capture_output=True)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20, help="number of measurements")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tasks.py").write_text(EMPTY)
        pairs = [(measure(PROJECT), measure(Path(folder))) for _ in range(repeat)]
    project, empty = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"inv --list of this project / of an empty file: {project:.2f} s / {empty:.2f} s = {project / empty:.2f}")


if __name__ == "__main__":
    main()
