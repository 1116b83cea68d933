"""Clusters that kind makes: nodes are containers, and the first control plane publishes the ports.

kind stores nothing: the containers and their labels are all that there is.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from invoke import Exit

from tasks.core.progress import say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.well_known import COMPANY_CA
from tasks.core.work_files import work_folder, write_file
from tasks.engine import proxy
from tasks.engine.clusters import ExistingCluster, LoadBalancer
from tasks.providers import kind_config
from tasks.providers.words import without

TOOLS: tuple[str, ...] = ("docker", "kind")
CLUSTER_LABEL = "io.x-k8s.kind.cluster"
IMAGE_KEY = "KIND_IMAGE"
MANAGES_LIFE = True
MAKES_K3S = False
MIRRORS = "/etc/containerd/certs.d"
INNER_NETWORKS: tuple[str, ...] = ("10.244.0.0/16", "10.96.0.0/16")  # https://kind.sigs.k8s.io/docs/user/configuration/#networking
INOTIFY_INSTANCES = 28  # counted on a machine with four clusters
NODE_PORTS: tuple[int, int] | None = kind_config.NODE_PORTS

ROLE_LABEL = "io.x-k8s.kind.role"
CONTROL_PLANE, WORKER = "control-plane", "worker"


# --- which exist ------------------------------------------------------------------------------------------------------


def list_clusters(shell: Shell, settings: Settings) -> dict[str, ExistingCluster]:
    """`kind get clusters` lists the same containers."""
    listed = shell.look("docker", "ps", "--all", "--quiet", "--filter", f"label={CLUSTER_LABEL}")
    if not listed.ok:
        error = listed.stderr.strip() or "no error message"
        raise Exit(f"docker ps failed: {error.splitlines()[-1]}")
    if not listed.stdout.split():
        return {}
    nodes: dict[str, list[Any]] = {}
    for node in json.loads(shell.look("docker", "inspect", *listed.stdout.split()).stdout or "[]"):
        nodes.setdefault(node["Config"]["Labels"][CLUSTER_LABEL], []).append(node)
    return {name: read_cluster(name, sorted(group, key=lambda node: str(node["Name"])))
            for name, group in nodes.items()}


def read_cluster(name: str, nodes: list[Any]) -> ExistingCluster:
    names = {role: [name_of(node) for node in nodes if node["Config"]["Labels"].get(ROLE_LABEL) == role]
             for role in (CONTROL_PLANE, WORKER)}
    first = next((node for node in nodes if name_of(node) in names[CONTROL_PLANE]), nodes[0])
    host, networks = first["HostConfig"], [node["NetworkSettings"]["Networks"] or {} for node in nodes]
    published = dict(zip(("80/tcp", "443/tcp"), ((host["PortBindings"] or {}).get(f"{port}/tcp") or []
                                                 for port in kind_config.NODE_PORTS), strict=True))
    everything = [name_of(node) for node in nodes]
    return ExistingCluster(
        name=name,
        provider="kind",
        stop_command=f"docker stop {' '.join(everything)}",
        nodes=len(nodes),
        nodes_running=sum(bool(node["State"]["Running"]) for node in nodes),
        network=host["NetworkMode"],
        networks={host["NetworkMode"]}.union(*networks),
        subnet="",
        containers=everything,
        servers=names[CONTROL_PLANE],
        balancer=name_of(first),
        balancer_running=bool(first["State"]["Running"]),
        workers=[*names[CONTROL_PLANE], *names[WORKER]],
        ports={port: {binding["HostPort"] for binding in bindings} for port, bindings in published.items()},
        addresses={binding["HostIp"] or "0.0.0.0" for bindings in published.values() for binding in bindings},
        inner_networks=[*INNER_NETWORKS],
        company_ca=[bind.split(":")[0] for bind in host["Binds"] or [] if bind.split(":")[1:2] == [COMPANY_CA]],
        environment=proxy.only_proxies(first["Config"]["Env"] or []),
        registries=None,
        obstacle=None,
    )


def name_of(node: Any) -> str:
    return str(node["Name"]).removeprefix("/")


def balancer(cluster: Cluster) -> LoadBalancer:
    return LoadBalancer(f"{cluster.name}-{CONTROL_PLANE}", *kind_config.NODE_PORTS)


# --- create and delete ------------------------------------------------------------------------------------------------


def check_words(words: list[str]) -> None:
    kind_config.read(words)


def create(shell: Shell, cluster: Cluster, publish: list[str], api_arguments: list[str], words: list[str]) -> None:
    settings = cluster.settings
    if settings.k3d_registry_config:
        say(f"{cluster.name}: K3D_REGISTRY_CONFIG is not applied to nodes of kind. Add containerdConfigPatches in a "
            f"file: inv k3d-cluster-setup --n {cluster.number} -- --config kind.yaml")
    config = write_file(shell, work_folder(cluster) / "kind.yaml",
                        kind_config.render_config(cluster, publish, api_arguments, words))
    exceptions = [word for word in proxy.proxy_variables(shell, settings, [*INNER_NETWORKS])
                  if word.upper().startswith("NO_PROXY=")]  # the proxy itself is in the environment already
    try:
        shell.change("env", f"KIND_EXPERIMENTAL_DOCKER_NETWORK={settings.k3d_network}", *exceptions,
                     "kind", "create", "cluster", "--name", cluster.name, "--config", str(config),
                     "--image", settings.kind_image, "--kubeconfig", str(own_kubeconfig(cluster)),
                     "--wait", f"{settings.timeout_create}s", *without(words, "--config"),
                     hint="kind deleted its nodes. `inv doctor` may show why. Then run this task again.")
    finally:
        if not shell.dry:
            own_kubeconfig(cluster).unlink(missing_ok=True)


def own_kubeconfig(cluster: Cluster) -> Path:
    """Where kind writes its entry: in the user's own file it would become the current context."""
    return work_folder(cluster) / "kind-kubeconfig"


def wait_for_creation(shell: Shell, cluster: Cluster) -> None:
    shell.until_ended("kind", "create", "cluster", "--name", cluster.name)


def delete(shell: Shell, cluster: Cluster) -> None:
    shell.change("kind", "delete", "cluster", "--name", cluster.name, "--kubeconfig", str(own_kubeconfig(cluster)))


# --- start and stop: kind has no commands for it ----------------------------------------------------------------------


def start(shell: Shell, cluster: Cluster, found: ExistingCluster) -> None:
    shell.change("docker", "start", *found.containers)
    ready = ("docker", "exec", found.servers[0], "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get",
             "--raw=/readyz")
    shell.until("the API server", cluster.settings.timeout_create, lambda: shell.look(*ready).ok, pause=1)


def stop(shell: Shell, cluster: Cluster, found: ExistingCluster) -> None:
    shell.change("docker", "stop", *found.containers)


# --- kubeconfig -------------------------------------------------------------------------------------------------------


def user(cluster: Cluster) -> str:
    return cluster.context


def read_kubeconfig(shell: Shell, cluster: Cluster) -> str:
    return str(shell.look("kind", "get", "kubeconfig", "--name", cluster.name).stdout)


def write_kubeconfig(shell: Shell, cluster: Cluster) -> None:
    """With kubectl: `kind export kubeconfig` always switches the current context."""
    import yaml

    kubectl, context = ("kubectl", "--kubeconfig", str(cluster.kubeconfig), "config"), cluster.context
    entry = yaml.safe_load(read_kubeconfig(shell, cluster)) or {}
    with TemporaryDirectory() as folder:  # so that no key is on a command line
        server, files = unpack(entry, Path(folder))
        shell.change(*kubectl, "set-cluster", context, f"--server={server}", f"--certificate-authority={files['ca']}",
                     "--embed-certs")
        shell.change(*kubectl, "set-credentials", user(cluster), f"--client-certificate={files['certificate']}",
                     f"--client-key={files['key']}", "--embed-certs")
        shell.change(*kubectl, "set-context", context, f"--cluster={context}", f"--user={user(cluster)}")
    if cluster.settings.k3d_switch_context:
        shell.change(*kubectl, "use-context", context)


def unpack(entry: dict[str, Any], folder: Path) -> tuple[str, dict[str, Path]]:
    """The address of the API, and files with the certificates and the key of a kubeconfig; empty if there is none."""
    import base64

    cluster: dict[str, Any] = next((one["cluster"] for one in entry.get("clusters") or []), {})
    person: dict[str, Any] = next((one["user"] for one in entry.get("users") or []), {})
    texts = {"ca": cluster.get("certificate-authority-data"), "certificate": person.get("client-certificate-data"),
             "key": person.get("client-key-data")}
    files = {name: folder / f"{name}.pem" for name in texts}
    for name, text in texts.items():
        files[name].touch(mode=0o600)
        files[name].write_bytes(base64.b64decode(text or ""))
    return str(cluster.get("server", "<address of the API>")), files


# --- its images -------------------------------------------------------------------------------------------------------


def engine_images(shell: Shell, settings: Settings) -> list[str]:
    return [settings.kind_image]


# --- for people -------------------------------------------------------------------------------------------------------


def log_command(name: str) -> str:
    return f"docker exec {name}-control-plane journalctl -u kubelet"


def load_command(name: str, image: str) -> str:
    return f"kind load docker-image {image} --name {name}"
