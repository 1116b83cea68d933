"""Compare `inv --list` here with `inv --list` of a file with one empty task, in processor time and on the clock.

python -m benchmarks.listing [--repeat 20]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
# As a user's shell is: without .pyc files every start would be measured as if it were the first.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
EMPTY = "from invoke import task\n\n\n@task\ndef nothing(context):\n    pass\n"


class Times(NamedTuple):
    processor: float
    clock: float


def measure(folder: Path) -> Times:
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-m", "invoke", "--list"]
    subprocess.run(words, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Times(processor, time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20, help="how often each is measured")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tasks.py").write_text(EMPTY)
        measure(PROJECT)  # the first start of a fresh copy compiles the modules
        pairs = [(measure(PROJECT), measure(Path(folder))) for _ in range(repeat)]
    for what in Times._fields:
        ours, empty = (statistics.median(getattr(times, what) for times in side) for side in zip(*pairs, strict=True))
        print(f"inv --list here / of an empty file, {what} time: {ours:.3f} s / {empty:.3f} s = {ours / empty:.2f}")


if __name__ == "__main__":
    main()
