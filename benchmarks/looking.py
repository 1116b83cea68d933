"""Compares status, doctor, trace and matrix of three clusters with one plain `kubectl get nodes` for each of them.

    python -m benchmarks.looking [--repeat 5]

Makes and deletes clusters bench0 to bench2 on the ports 25080 to 27443, with their examples. Settings come from .env
and the environment as always. All are measured in turn in the same run; the figure is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.setup import PROJECT, SETTINGS, inv, seconds
from tasks.core import settings as configuration

NUMBERS = "0-2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="how often each is measured")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**SETTINGS, "K3D_KUBECONFIG_TARGET_DIR": folder, "CERT_FOLDER": f"{folder}/ca"}
        try:
            for words in (["cert"], ["k3d-cluster-setup", "--n", NUMBERS], ["k3d-cluster-examples", "--n", NUMBERS]):
                inv(*words)
            compare(repeat)
        finally:
            inv("k3d-cluster-delete", "--n", NUMBERS)


def compare(repeat: int) -> None:
    first = configuration.load().cluster(0)
    url = f"https://example-nginx.{first.domain}:{first.https_port}/"
    looks = {"status": ["status"], "doctor": ["doctor"], "matrix": ["matrix"], "trace": ["trace", url]}
    times: dict[str, list[float]] = {name: [] for name in ("kubectl", *looks)}
    for _ in range(repeat):
        times["kubectl"].append(seconds(kubectl))
        for name, words in looks.items():
            times[name].append(seconds(lambda words=words: look(words)))  # type: ignore[misc]
    plain = statistics.median(times["kubectl"])
    for name in looks:
        ours = statistics.median(times[name])
        print(f"inv {name} / kubectl get nodes, once for each: {ours:.2f} s / {plain:.2f} s = {ours / plain:.1f}")


def kubectl() -> None:
    for number in range(3):
        subprocess.run([*configuration.load().cluster(number).kubectl, "get", "nodes"], check=True, capture_output=True)


def look(words: list[str]) -> None:
    """It may end with what it has found about this machine, such as names that do not resolve."""
    done = subprocess.run([sys.executable, "-m", "invoke", *words], cwd=PROJECT, capture_output=True, text=True)
    if "Traceback" in done.stderr:
        sys.exit(f"inv {' '.join(words)}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
