"""Compare setup with the commands of the original, and setup side by side with setup one after another.

    python -m benchmarks.setup [--repeat 3]

Creates and deletes the clusters bench0 to bench2 on ports 25080 to 27443. Other settings come from .env and the
environment. Each pair is measured in turn in the same run; the result is the ratio of the medians.
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
from tasks.core import configuration

PROJECT = Path(__file__).resolve().parent.parent

SETTINGS = {"K3D_CLUSTER_NAME_PREFIX": "bench", "K3D_NETWORK": "bench", "K3D_PORT_START": "25", "K3D_PORT_END": "27",
            "REGISTRY_CACHES": "", "LOCAL_REGISTRY_PORT": ""}
"""The clusters of the benchmarks, on separate ports, so that they do not affect the user's clusters."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1, help="number of measurements")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**SETTINGS, "K3D_KUBECONFIG_TARGET_DIR": folder, "CERT_FOLDER": f"{folder}/ca"}
        run_inv("cert")
        compare(Path(folder), repeat)


def run_inv(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "invoke", *words], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"inv {' '.join(words)}:\n{done.stdout}{done.stderr}")


def set_up_in_turn() -> None:
    for number in range(3):
        run_inv("k3d-cluster-setup", "--n", str(number))


def measure(job: Callable[[], object]) -> float:
    started = time.monotonic()
    job()
    return time.monotonic() - started


def compare(folder: Path, repeat: int) -> None:
    first = configuration.load().cluster(0)
    times: dict[str, list[float]] = {}

    def record(name: str, job: Callable[[], object]) -> None:
        times.setdefault(name, []).append(measure(job))
        print(f"  {name}: {times[name][-1]:.1f} s", flush=True)

    try:
        for _ in range(repeat):
            delete_clusters()
            record("commands of the original", lambda: original.setup(first, folder))
            delete_clusters()
            record("setup of one", lambda: run_inv("k3d-cluster-setup", "--n", "0"))
            record("setup again", lambda: run_inv("k3d-cluster-setup", "--n", "0"))
            delete_clusters()
            record("three side by side", lambda: run_inv("k3d-cluster-setup", "--n", "0-2"))
            delete_clusters()
            record("three in turn", set_up_in_turn)
    finally:
        delete_clusters()
    for name, other in (("setup of one", "commands of the original"), ("setup again", "setup of one"),
                        ("three side by side", "three in turn")):
        medians = statistics.median(times[name]), statistics.median(times[other])
        print(f"{name} / {other}: {medians[0]:.1f} s / {medians[1]:.1f} s = {medians[0] / medians[1]:.2f}")


def delete_clusters() -> None:
    run_inv("k3d-cluster-delete", "--n", "0-2")


if __name__ == "__main__":
    main()
