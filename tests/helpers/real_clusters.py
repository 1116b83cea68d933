"""Real clusters such as dct1 and dct2, with ports, a home folder, a CA and a Docker network of their own.

Charts and images come from the settings in the environment, as they would for a user behind a mirror.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import ProcessProject
from recording import Fakes

from tasks.core import configuration
from tasks.core.settings import Cluster, Settings

TOOLS = ("docker", "k3d", "helm", "kubectl", "openssl")
PREFIXES = ("IMAGE_", "K3S_", "CHART_", "TRAEFIK_", "TIMEOUT_")
PASSED_ON = [key for key in configuration.READERS if key.startswith(PREFIXES)]
PASSED_ON += ["KIND_IMAGE", "CERT_MANAGER_VERSION", "TRUST_MANAGER_VERSION", "DOCKER_HOST"]

USERS_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: work, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: work, context: {cluster: work, user: work}}]
users: [{name: work, user: {token: abc}}]
current-context: work
"""


def why_not(*more: str) -> str:
    """Why no cluster can be made here, with these tools too; empty when one can."""
    missing = [tool for tool in (*TOOLS, *more) if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} not installed"
    engine = subprocess.run(["docker", "info"], capture_output=True)
    return "" if engine.returncode == 0 else "no Docker engine answers"


class Clusters(ProcessProject):
    """The project with the real tools behind recorders that pass everything on.

    Clusters and their network begin with `prefix`; cluster 0 has the ports `start`080 and `start`443.
    """

    def __init__(self, folder: Path, prefix: str = "dct", start: int = 20) -> None:
        super().__init__(folder / "project", folder / "home", Fakes(folder / "fakes"))
        self.prefix = prefix
        self.fakes.add_spies("docker", "k3d", "helm", "kubectl", "openssl")
        self.kubeconfig = self.home / ".kube" / "config"
        self.kubeconfig.parent.mkdir()
        self.kubeconfig.write_text(USERS_KUBECONFIG)
        self.env(K3D_CLUSTER_NAME_PREFIX=prefix, K3D_NETWORK=prefix, K3D_PORT_START=str(start),
                 K3D_PORT_END=str(start + 4), REGISTRY_CACHES="", LOCAL_REGISTRY_PORT="",
                 **{key: os.environ[key] for key in PASSED_ON if key in os.environ})

    @property
    def settings(self) -> Settings:
        return configuration.load(self.folder, self.environment())

    def cluster(self, number: int) -> Cluster:
        return self.settings.cluster(number)

    @property
    def gateway(self) -> str:
        """This host's address on the clusters' network."""
        said = subprocess.run(["docker", "network", "inspect", self.prefix, "--format",
                               "{{range .IPAM.Config}}{{.Gateway}}{{end}}"], check=True, capture_output=True, text=True)
        return said.stdout.strip()

    def kubectl(self, number: int, *words: str) -> str:
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), "--context", self.cluster(number).context, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def import_images(self, number: int, *images: str) -> None:
        """Copy images from the engine to a cluster's node. k3d reports success even if the node did not take one."""
        name = self.cluster(number).name
        missing = [*images]
        for _ in range(3):
            subprocess.run(["k3d", "image", "import", *missing, "--cluster", name], check=True, capture_output=True)
            there = subprocess.run(["docker", "exec", f"k3d-{name}-server-0", "ctr", "-n", "k8s.io", "images", "list",
                                    "-q"], check=True, capture_output=True, text=True).stdout.split()
            missing = [image for image in images if not any(one.endswith(image) for one in there)]
            if not missing:
                return
        raise AssertionError(f"{name} has no {', '.join(missing)}")

    def existing(self) -> set[str]:
        said = subprocess.run(["k3d", "cluster", "list", "-o", "json"], check=True, capture_output=True, text=True)
        return {cluster["name"] for cluster in json.loads(said.stdout) if cluster["name"].startswith(self.prefix)}

    def remove(self) -> None:
        for name in self.existing():
            subprocess.run(["k3d", "cluster", "delete", name], capture_output=True)
        nodes = subprocess.run(["docker", "ps", "-aq", "--filter", "label=io.x-k8s.kind.cluster",
                                "--filter", f"name=^{self.prefix}[0-9]"], capture_output=True, text=True).stdout.split()
        if nodes:
            subprocess.run(["docker", "rm", "--force", "--volumes", *nodes], capture_output=True)
        subprocess.run(["docker", "rm", "--force", f"{self.prefix}-front-door"], capture_output=True)
        subprocess.run(["docker", "network", "rm", self.prefix], capture_output=True)


@contextmanager
def one_cluster(folder: Path, prefix: str, start: int, *tasks: str, settings: str = "") -> Iterator[Clusters]:
    """Cluster 0 after its setup and these tasks, until the end; lines of .env may be added to its settings."""
    settings = f"K3D_PORT_END={start + 1}\n{settings}"
    with several_clusters(folder, prefix, start, "0", *tasks, settings=settings) as made:
        yield made


@contextmanager
def several_clusters(
    folder: Path, prefix: str, start: int, numbers: str, *tasks: str, settings: str = ""
) -> Iterator[Clusters]:
    """The same for clusters with these numbers, such as `0,1`."""
    made = Clusters(folder, prefix, start)
    made.remove()
    (made.folder / ".env").chmod(0o600)  # as a user's with credentials
    with (made.folder / ".env").open("a") as env:
        env.write(f"TRUST_STORES=\n{settings}")
    try:
        for words in (["cert"], *([task, "--n", numbers] for task in ("k3d-cluster-setup", *tasks))):
            done = made.inv(*words)
            assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        made.remove()
