"""Compare setup of a cluster of kind with the same by hand: kind, Helm and kubectl, one after another.

    python -m benchmarks.kind [--repeat 3]

Creates and deletes the cluster bench0 on ports 25080 and 25443, in turn in the same run; the result is the ratio of the
medians. By hand, nothing is verified. Other settings come from .env and the environment.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
from pathlib import Path

from benchmarks import setup
from benchmarks.original import ByHand
from tasks.core import configuration
from tasks.core.settings import Cluster
from tasks.core.templates import regex_value
from tasks.providers import kind_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1, help="number of measurements")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**setup.SETTINGS, "PROVIDER": "kind", "K3D_KUBECONFIG_TARGET_DIR": folder,
                       "CERT_FOLDER": f"{folder}/ca"}
        setup.run_inv("cert")
        compare(Path(folder), repeat)


def compare(folder: Path, repeat: int) -> None:
    cluster = configuration.load().cluster(0)
    ours, by_hand = [], []
    try:
        for _ in range(repeat):
            setup.delete_clusters()
            by_hand.append(setup.measure(lambda: set_up_by_hand(cluster, folder)))
            setup.delete_clusters()
            ours.append(setup.measure(lambda: setup.run_inv("k3d-cluster-setup", "--n", "0")))
            print(f"  setup: {ours[-1]:.1f} s, by hand: {by_hand[-1]:.1f} s", flush=True)
    finally:
        setup.delete_clusters()
    medians = statistics.median(ours), statistics.median(by_hand)
    print(f"setup / by hand: {medians[0]:.1f} s / {medians[1]:.1f} s = {medians[0] / medians[1]:.2f}")


def set_up_by_hand(cluster: Cluster, folder: Path) -> None:
    hand, config = ByHand(cluster, folder), folder / "kind.yaml"
    config.write_text(kind_config.render_config(cluster, ["127.0.0.1"], [], []))
    hand.run("kind", "create", "cluster", "--name", cluster.name, "--config", str(config),
             "--image", cluster.settings.kind_image, "--kubeconfig", str(cluster.kubeconfig), "--wait", "300s")
    http, https = kind_config.NODE_PORTS
    hand.helm("traefik", "--set", "service.spec.type=NodePort", "--set", f"ports.web.nodePort={http}",
              "--set", f"ports.websecure.nodePort={https}", namespace="kube-system")
    hand.install_trust()
    add_rule(hand)
    hand.run("kubectl", "-n", "kube-system", "rollout", "restart", "deployment", "coredns")
    hand.run("kubectl", "-n", "kube-system", "rollout", "status", "deployment", "coredns", "--timeout=120s")


def add_rule(hand: ByHand) -> None:
    """The cluster's own names to Traefik."""
    found = json.loads(hand.run("kubectl", "-n", "kube-system", "get", "configmap", "coredns", "-o", "json"))
    rule = (rf"    rewrite stop name regex (.+\.)?{regex_value(hand.cluster.domain)}\. "
            "traefik-internal.kube-system.svc.cluster.local answer auto\n")
    corefile = re.sub(r"^\.:53 \{\n", lambda match: match[0] + rule, found["data"]["Corefile"], count=1)
    hand.run("kubectl", "-n", "kube-system", "patch", "configmap", "coredns", "-p",
             json.dumps({"data": {"Corefile": corefile}}))


if __name__ == "__main__":
    main()
