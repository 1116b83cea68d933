"""Compares our setup with the original's order of commands, and several clusters with one after another.

    python -m benchmarks.setup [--repeat 3]

Makes and deletes clusters bench0 to bench2 on the ports 25080 to 27443. Settings come from .env and the environment as
always. Each pair is measured in turn in the same run; the figure is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import original
from tasks.core import settings as configuration

PROJECT = Path(__file__).resolve().parent.parent

SETTINGS = {"K3D_CLUSTER_NAME_PREFIX": "bench", "K3D_NETWORK": "bench", "K3D_PORT_START": "25", "K3D_PORT_END": "27"}
"""Those of the clusters that benchmarks make: on ports of their own, beside those of the user."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1, help="how often each is measured")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**SETTINGS, "K3D_KUBECONFIG_TARGET_DIR": folder, "CERT_FOLDER": f"{folder}/ca"}
        inv("cert")
        compare(Path(folder), repeat)


def inv(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "invoke", *words], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"inv {' '.join(words)}:\n{done.stdout}{done.stderr}")


def one_after_another() -> None:
    for number in range(3):
        inv("k3d-cluster-setup", "--n", str(number))


def seconds(job: Callable[[], object]) -> float:
    started = time.monotonic()
    job()
    return time.monotonic() - started


def compare(folder: Path, repeat: int) -> None:
    first = configuration.load().cluster(0)
    times: dict[str, list[float]] = {}

    def measure(name: str, job: Callable[[], object]) -> None:
        times.setdefault(name, []).append(seconds(job))
        print(f"  {name}: {times[name][-1]:.1f} s", flush=True)

    try:
        for _ in range(repeat):
            delete()
            measure("the original's commands", lambda: original.setup(first, folder))
            delete()
            measure("setup of one", lambda: inv("k3d-cluster-setup", "--n", "0"))
            measure("setup again", lambda: inv("k3d-cluster-setup", "--n", "0"))
            delete()
            measure("three side by side", lambda: inv("k3d-cluster-setup", "--n", "0-2"))
            delete()
            measure("three in turn", one_after_another)
    finally:
        delete()
    for name, other in (("setup of one", "the original's commands"), ("setup again", "setup of one"),
                        ("three side by side", "three in turn")):
        mine, theirs = statistics.median(times[name]), statistics.median(times[other])
        print(f"{name} / {other}: {mine:.1f} s / {theirs:.1f} s = {mine / theirs:.2f}")


def delete() -> None:
    inv("k3d-cluster-delete", "--n", "0-2")


if __name__ == "__main__":
    main()
