"""A cluster that exists already, reached by its kubectl context. Its own program creates, starts and stops it."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from invoke import Exit

from tasks.core.by_number import PROGRAMS
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine.clusters import ExistingCluster, LoadBalancer

TOOLS: tuple[str, ...] = ("kubectl",)
CLUSTER_LABEL = ""
IMAGE_KEY = ""
MANAGES_LIFE = False
MAKES_K3S = False
NODE_PORTS: tuple[int, int] | None = None
INNER_NETWORKS: tuple[str, ...] = ()
INOTIFY_INSTANCES = 0
MIRRORS = ""


class Product(NamedTuple):
    """A program whose clusters are known by the names of their contexts."""

    context: str
    start: str
    stop: str


PRODUCTS = (
    # https://github.com/abiosoft/colima#usage
    Product(r"colima()", "colima start", "colima stop"),
    Product(r"colima-(.+)", "colima start --profile {}", "colima stop --profile {}"),
    # https://docs.rancherdesktop.io/references/rdctl-command-reference/
    Product(r"rancher-desktop()", "rdctl start", "rdctl shutdown"),
    # https://docs.orbstack.dev/kubernetes/
    Product(r"orbstack()", "orb start k8s", "orb stop k8s"),
    # https://docs.docker.com/reference/cli/docker/desktop/
    Product(r"docker-desktop()", "docker desktop start", "docker desktop stop"),
    # https://minikube.sigs.k8s.io/docs/commands/
    Product(r"minikube()", "minikube start", "minikube stop"),
    Product(r"kind-(.+)", "docker start {}-control-plane", "docker stop {}-control-plane"),
)


# --- which exist ------------------------------------------------------------------------------------------------------


def list_clusters(shell: Shell, settings: Settings) -> dict[str, ExistingCluster]:
    """Those whose context is in the kubeconfig. One that does not answer is stopped, as far as can be seen."""
    clusters = [cluster for number in settings.numbers
                if (cluster := settings.cluster(number)).provider not in PROGRAMS and has_context(shell, cluster)]
    answers = shell.side_by_side([lambda cluster=cluster: is_answering(shell, cluster)  # type: ignore[misc]
                                  for cluster in clusters])
    return {cluster.name: read_cluster(cluster, running) for cluster, running in zip(clusters, answers, strict=True)}


def has_context(shell: Shell, cluster: Cluster) -> bool:
    return cluster.context in list_contexts(shell, cluster)


def list_contexts(shell: Shell, cluster: Cluster) -> list[str]:
    return [*shell.look("kubectl", "--kubeconfig", str(cluster.kubeconfig), "config", "get-contexts",
                        "-o", "name").stdout.split()]


def is_answering(shell: Shell, cluster: Cluster) -> bool:
    return bool(shell.look(*cluster.kubectl, "get", "--raw=/readyz", "--request-timeout=5s").ok)


def read_cluster(cluster: Cluster, running: bool) -> ExistingCluster:
    """What the settings and its API show: nothing is known about its nodes and ports."""
    return ExistingCluster(
        name=cluster.name, provider=cluster.provider, stop_command=stop_command(cluster.context), nodes=1,
        nodes_running=int(running), network="", networks=set(), subnet="", containers=[], servers=[],
        balancer=cluster.context, balancer_running=running, workers=[],
        ports={"80/tcp": {str(cluster.http_port)}, "443/tcp": {str(cluster.https_port)}}, addresses={cluster.address},
        inner_networks=[], company_ca=[], environment=[], registries=None, obstacle=None)


def balancer(cluster: Cluster) -> LoadBalancer:
    """Where engines in a virtual machine reach the ports of this machine."""
    return LoadBalancer("host.docker.internal", cluster.http_port, cluster.https_port)


# --- its life is its owner's ------------------------------------------------------------------------------------------


def check_words(words: list[str]) -> None:
    """Nothing is created."""


def create(shell: Shell, cluster: Cluster, publish: list[str], api_arguments: list[str], words: list[str]) -> NoReturn:
    contexts = ", ".join(list_contexts(shell, cluster)) or "none"
    raise Exit(f"{cluster.name}: PROVIDER says {cluster.context}, but {cluster.kubeconfig} has no such context. "
               f"It has: {contexts}")


def wait_for_creation(shell: Shell, cluster: Cluster) -> None:
    """Nothing is created."""


def start(shell: Shell, cluster: Cluster, found: ExistingCluster) -> NoReturn:
    how = find_command(cluster.context, "start")
    raise Exit(f"{cluster.name}: {cluster.context} does not answer. These tasks do not start it. "
               + (f"Start it with: {how}" if how else "Start it with the program that created it."))


def stop(shell: Shell, cluster: Cluster, found: ExistingCluster) -> NoReturn:
    raise Exit(f"{cluster.name}: these tasks do not stop {cluster.context}. {stop_command(cluster.context)}")


def stop_command(context: str) -> str:
    how = find_command(context, "stop")
    return f"Stop it with: {how}" if how else "Stop it with the program that created it."


def find_command(context: str, verb: str) -> str:
    """What a user types to start or stop it; empty if that is not known."""
    for product in PRODUCTS:
        if found := re.fullmatch(product.context, context):
            return str(getattr(product, verb)).format(found[1])
    return ""


def delete(shell: Shell, cluster: Cluster) -> NoReturn:
    raise Exit(f"{cluster.name}: these tasks do not delete {cluster.context}.")


# --- kubeconfig -------------------------------------------------------------------------------------------------------


def user(cluster: Cluster) -> str:
    return ""


def write_kubeconfig(shell: Shell, cluster: Cluster) -> None:
    """The entry is the user's."""


def read_kubeconfig(shell: Shell, cluster: Cluster) -> str:
    return str(shell.look(*cluster.kubectl, "config", "view", "--minify", "--flatten", "--raw").stdout)


# --- its images, and for people ---------------------------------------------------------------------------------------


def engine_images(shell: Shell, settings: Settings) -> list[str]:
    return []


def log_command(name: str) -> str:
    return "that of the program that created the cluster"


def load_command(name: str, image: str) -> str:
    return f"the program that created the cluster copies {image} to its nodes"
