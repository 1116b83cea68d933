"""Compare status, doctor, trace and matrix for three clusters with one plain `kubectl get nodes` per cluster.

    python -m benchmarks.diagnosis [--repeat 5]

Creates and deletes the clusters bench0 to bench2 on ports 25080 to 27443, with the examples. Other settings come from
.env and the environment. All commands are measured in turn in the same run; the result is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.setup import PROJECT, SETTINGS, measure, run_inv
from tasks.core import configuration

NUMBERS = "0-2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="number of measurements")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**SETTINGS, "K3D_KUBECONFIG_TARGET_DIR": folder, "CERT_FOLDER": f"{folder}/ca"}
        try:
            for words in (["cert"], ["k3d-cluster-setup", "--n", NUMBERS], ["k3d-cluster-examples", "--n", NUMBERS]):
                run_inv(*words)
            compare(repeat)
        finally:
            run_inv("k3d-cluster-delete", "--n", NUMBERS)


def compare(repeat: int) -> None:
    first = configuration.load().cluster(0)
    url = f"https://example-nginx.{first.domain}:{first.https_port}/"
    tasks = {"status": ["status"], "doctor": ["doctor"], "matrix": ["matrix"], "trace": ["trace", url]}
    times: dict[str, list[float]] = {name: [] for name in ("kubectl", *tasks)}
    for _ in range(repeat):
        times["kubectl"].append(measure(get_nodes))
        for name, words in tasks.items():
            times[name].append(measure(lambda words=words: run_task(words)))  # type: ignore[misc]
    plain = statistics.median(times["kubectl"])
    for name in tasks:
        median = statistics.median(times[name])
        print(f"inv {name} / kubectl get nodes per cluster: {median:.2f} s / {plain:.2f} s = {median / plain:.1f}")


def get_nodes() -> None:
    for number in range(3):
        subprocess.run([*configuration.load().cluster(number).kubectl, "get", "nodes"], check=True, capture_output=True)


def run_task(words: list[str]) -> None:
    """It may exit with 1 because of this machine, for example if names are not resolved."""
    done = subprocess.run([sys.executable, "-m", "invoke", *words], cwd=PROJECT, capture_output=True, text=True)
    if "Traceback" in done.stderr:
        sys.exit(f"inv {' '.join(words)}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
