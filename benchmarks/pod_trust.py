"""Measures what pod trust adds to the creation of a pod, and to setup.

    python -m benchmarks.pod_trust [--pairs 100] [--repeat 5]

Creates and deletes the cluster bench0 on ports 25080 and 25443. Other settings come from .env and the environment. A
pair is a pod in a namespace with the label and one in a namespace without, created in turn over one connection to the
API, and never scheduled. The results are medians over the pairs. Setup with nothing to do is measured with the policies
and with POD_TRUST=off, in turn.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.setup import SETTINGS, measure, run_inv
from tasks.core import configuration

PORT = 25088
"""Where kubectl passes requests on to the API meanwhile."""

WITH, WITHOUT = "bench-with", "bench-without"
"""Namespaces; the first has the label."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100, help="how many pods are created with and without")
    parser.add_argument("--repeat", type=int, default=5, help="how often setup is measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**SETTINGS, "K3D_KUBECONFIG_TARGET_DIR": folder, "CERT_FOLDER": f"{folder}/ca"}
        try:
            run_inv("cert")
            run_inv("k3d-cluster-setup", "--n", "0")
            with api() as connection:
                for containers in (1, 5):
                    compare_pods(connection, arguments.pairs, containers)
            compare_setup(arguments.repeat)
        finally:
            run_inv("k3d-cluster-delete", "--n", "0")


@contextmanager
def api() -> Iterator[http.client.HTTPConnection]:
    """A connection to the API that stays open, and both namespaces."""
    kubectl = configuration.load().cluster(0).kubectl
    for name in (WITH, WITHOUT):
        subprocess.run([*kubectl, "create", "namespace", name], check=True, capture_output=True)
    subprocess.run([*kubectl, "label", "namespace", WITH, "trust=enabled"], check=True, capture_output=True)
    proxy = subprocess.Popen([*kubectl, "proxy", "--port", str(PORT)], stdout=subprocess.PIPE)
    try:
        assert proxy.stdout and proxy.stdout.readline()
        yield http.client.HTTPConnection("127.0.0.1", PORT)
    finally:
        proxy.terminate()
        proxy.wait()


def create_pod(connection: http.client.HTTPConnection, namespace: str, containers: int) -> float:
    """The milliseconds until the API has answered."""
    variables = [{"name": f"OWN_{number}", "value": "1"} for number in range(10 if containers > 1 else 0)]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "bench-"},
           "spec": {"schedulerName": "nobody", "containers": [
               {"name": f"c{number}", "image": "none", "env": variables} for number in range(containers)]}}
    started = time.perf_counter()
    connection.request("POST", f"/api/v1/namespaces/{namespace}/pods", json.dumps(pod),
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    took = (time.perf_counter() - started) * 1000
    assert response.status == 201, answer
    assert ("dev-cluster-tasks/trusted-by" in answer["metadata"].get("annotations", {})) == (namespace == WITH)
    return took


def compare_pods(connection: http.client.HTTPConnection, pairs: int, containers: int) -> None:
    times: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    for number in range(pairs + 5):
        for name in (WITH, WITHOUT) if number % 2 else (WITHOUT, WITH):
            took = create_pod(connection, name, containers)
            if number >= 5:  # the first ones are slower in both
                times[name].append(took)
    added = statistics.median(map(float.__sub__, times[WITH], times[WITHOUT]))
    mine, plain = (statistics.median(times[name]) for name in (WITH, WITHOUT))
    print(f"pod of {containers} containers, with trust / without: {mine:.1f} ms / {plain:.1f} ms = {mine / plain:.2f}, "
          f"{added:.1f} ms added (median of {pairs} pairs)", flush=True)


def compare_setup(repeat: int) -> None:
    times: dict[str, list[float]] = {"variables": [], "off": []}
    for _ in range(repeat):
        for value in times:
            os.environ["POD_TRUST"] = value
            run_inv("k3d-cluster-setup", "--n", "0")  # brings or removes the policies
            times[value].append(measure(lambda: run_inv("k3d-cluster-setup", "--n", "0")))
    mine, plain = (statistics.median(values) for values in times.values())
    added = statistics.median(map(float.__sub__, times["variables"], times["off"]))
    print(f"setup again, POD_TRUST=variables / off: {mine:.2f} s / {plain:.2f} s = {mine / plain:.2f}, "
          f"{added:.2f} s added (median of {repeat} pairs)")


if __name__ == "__main__":
    main()
