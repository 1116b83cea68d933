"""Compare setups whose images come through the caches with setups that pull from a slow upstream, or pull nothing.

    python -m benchmarks.registries --upstream CONTAINER [--mbit 50] [--repeat 3]

CONTAINER is a registry on port 5000 with every image of a setup, which stands for all upstreams. It is slowed down with
`tc` in its network, which needs Linux and root. EMPTY_NODE_WORDS may have words for `k3d cluster create` that make
nodes start without images of their own. Creates and deletes the clusters bench0 and bench1 on ports 25080 to 26443.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.setup import SETTINGS, measure, run_inv

REGISTRIES = ("docker.io", "quay.io", "ghcr.io", "registry.k8s.io")
NETWORK = SETTINGS["K3D_NETWORK"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", required=True, help="the container of the registry that stands for all others")
    parser.add_argument("--mbit", type=int, default=50, help="its speed in Mbit/s")
    parser.add_argument("--repeat", type=int, default=1, help="number of measurements")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**SETTINGS, "K3D_KUBECONFIG_TARGET_DIR": folder, "CERT_FOLDER": f"{folder}/ca"}
        run_inv("cert")
        with slowed_down(arguments.upstream, arguments.mbit):
            compare(Path(folder), arguments.upstream, arguments.repeat)


@contextmanager
def slowed_down(container: str, mbit: int) -> Iterator[None]:
    process = run("docker", "inspect", "--format", "{{.State.Pid}}", container).strip()
    inside = ["nsenter", "--target", process, "--net"]
    run("docker", "network", "create", "--label", "app.kubernetes.io/managed-by=dev-cluster-tasks", NETWORK)
    run("docker", "network", "connect", NETWORK, container)
    links = re.findall(r"^\d+: (eth\d+)", run(*inside, "ip", "-o", "link"), re.MULTILINE)
    try:
        for link in links:
            run(*inside, "tc", "qdisc", "replace", "dev", link, "root", "tbf", "rate", f"{mbit}mbit", "burst", "256k",
                "latency", "400ms")
        yield
    finally:
        for link in links:
            subprocess.run([*inside, "tc", "qdisc", "del", "dev", link, "root"])
        delete_clusters()
        subprocess.run(["docker", "network", "disconnect", NETWORK, container])
        run_inv("uninstall", "--yes", "--keep-ca")


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def compare(folder: Path, upstream: str, repeat: int) -> None:
    straight = folder / "registries.yaml"
    straight.write_text("mirrors:\n" + "".join(
        f"  {registry}: {{endpoint: [http://{upstream}:5000]}}\n" for registry in REGISTRIES))
    caches = ",".join(f"{registry}=http://{upstream}:5000" for registry in REGISTRIES)
    empty, times = shlex.split(os.environ.get("EMPTY_NODE_WORDS", "")), dict[str, list[float]]()

    def record(name: str, number: int, words: list[str], **settings: str) -> None:
        os.environ |= {"REGISTRY_CACHES": "", "K3D_REGISTRY_CONFIG": "", **settings}
        since = datetime.now(timezone.utc).isoformat()
        seconds = measure(lambda: run_inv("k3d-cluster-setup", "--n", str(number), "k3d-cluster-examples", "--n",
                                          str(number), "--", *words))
        times.setdefault(name, []).append(seconds)
        print(f"  {name}: {seconds:.1f} s, {asked(upstream, since) / 1e6:.1f} MB from the upstream", flush=True)

    for _ in range(repeat):
        record("nothing to pull", 0, [])
        run_inv("k3d-cluster-delete", "--n", "0")
        for number, which in enumerate(("first", "second")):
            record(f"{which} cluster without caches", number, empty, K3D_REGISTRY_CONFIG=str(straight))
        for number, which in enumerate(("first", "second")):
            run_inv("k3d-cluster-delete", "--n", str(number))
            record(f"{which} cluster with caches", number, empty, REGISTRY_CACHES=caches)
        run_inv("images", "--empty")
        run_inv("k3d-cluster-delete", "--n", "0-1")
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    for name, other in (("first cluster with caches", "first cluster without caches"),
                        ("second cluster with caches", "second cluster without caches"),
                        ("second cluster with caches", "nothing to pull")):
        ratio = medians[name] / medians[other]
        print(f"{name} / {other}: {medians[name]:.1f} s / {medians[other]:.1f} s = {ratio:.2f}")


def asked(upstream: str, since: str) -> int:
    """The bytes that the upstream has sent."""
    log = subprocess.run(["docker", "logs", "--since", since, upstream], capture_output=True, text=True)
    return sum(map(int, re.findall(r'"GET \S+ [^"]*" \d+ (\d+)', log.stdout + log.stderr)))


def delete_clusters() -> None:
    run_inv("k3d-cluster-delete", "--n", "0-2")


if __name__ == "__main__":
    main()
