"""Clusters that k3d makes: k3s in containers, and one container as load balancer, which publishes the ports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from invoke import Exit

from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell, strip_colors
from tasks.core.well_known import COMPANY_CA, MANAGER
from tasks.engine import proxy
from tasks.engine.clusters import ExistingCluster, LoadBalancer, registries_hash
from tasks.providers import k3s_arguments
from tasks.registries import mirrors
from tasks.tools.required import read_version

TOOLS: tuple[str, ...] = ("docker", "k3d")
CLUSTER_LABEL = "k3d.cluster"
IMAGE_KEY = "K3S_IMAGE"
MANAGES_LIFE = True
MAKES_K3S = True
NODE_PORTS: tuple[int, int] | None = None
INNER_NETWORKS: tuple[str, ...] = k3s_arguments.NETWORKS
INOTIFY_INSTANCES = 20  # counted on a machine with six clusters
MIRRORS = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"

REGISTRIES_LABEL = f"{MANAGER}.registries"

# Those that get the proxy: not the load balancer, which makes no outgoing requests.
NODES = "server:*;agent:*"

check_words = k3s_arguments.check_words


# --- which exist ------------------------------------------------------------------------------------------------------


def list_clusters(shell: Shell, settings: Settings) -> dict[str, ExistingCluster]:
    """The JSON from k3d contains the clusters' tokens, so it is never kept or printed."""
    result = shell.look("k3d", "cluster", "list", "--output", "json")
    if not result.ok:
        error = strip_colors(result.stderr).strip() or "no error message"
        raise Exit(f"k3d cluster list failed: {error.splitlines()[-1]}")
    output = result.stdout[result.stdout.rfind("\n[") + 1 :]  # LOG_LEVEL=debug prints lines before the JSON
    try:
        return {cluster.name: cluster for cluster in map(read_cluster, json.loads(output or "[]") or [])}
    except (ValueError, TypeError, KeyError, AttributeError):  # the output is not shown: it may contain a token
        raise Exit("The output of k3d cluster list --output json cannot be read. "
                   "k3d may be broken. Try: k3d cluster list") from None


def read_cluster(raw: dict[str, Any]) -> ExistingCluster:
    nodes = [node for node in raw.get("nodes") or [] if node.get("role") in ("server", "agent", "loadbalancer")]
    balancer: dict[str, Any] = next((node for node in nodes if node["role"] == "loadbalancer"), {})
    server: dict[str, Any] = next((node for node in nodes if node["role"] == "server"), {})
    labels, volumes = server.get("runtimeLabels") or {}, server.get("volumes") or []
    published = {port: bindings or [] for port, bindings in (balancer.get("portMappings") or {}).items()}
    k3s_flags = k3s_arguments.of_node(server.get("Cmd") or [], volumes)
    return ExistingCluster(
        name=raw["name"],
        provider="k3d",
        stop_command=f"k3d cluster stop {raw['name']}",
        nodes=len(nodes),
        nodes_running=sum(map(is_running, nodes)),
        network=raw.get("network", {}).get("name", ""),
        networks={raw.get("network", {}).get("name", "")}.union(*(node.get("Networks") or [] for node in nodes)),
        subnet=labels.get("k3d.cluster.network.iprange", ""),
        containers=[node["name"] for node in nodes],
        servers=[node["name"] for node in nodes if node["role"] == "server"],
        balancer=balancer.get("name", ""),
        balancer_running=is_running(balancer),
        workers=[node["name"] for node in nodes if node["role"] != "loadbalancer"],
        ports={port: {binding["HostPort"] for binding in bindings} for port, bindings in published.items()},
        addresses={binding.get("HostIp") or "0.0.0.0" for port in ("80/tcp", "443/tcp")
                   for binding in published.get(port, [])},
        inner_networks=k3s_arguments.networks(k3s_flags),
        company_ca=[volume.rpartition(":")[0] for volume in volumes if volume.split(":")[1:2] == [COMPANY_CA]],
        environment=proxy.only_proxies(server.get("env") or []),
        registries=labels.get(REGISTRIES_LABEL, ""),
        obstacle=k3s_arguments.find_problem(k3s_flags),
    )


def is_running(node: dict[str, Any]) -> bool:
    return bool(node.get("State", {}).get("Running"))


def balancer(cluster: Cluster) -> LoadBalancer:
    return LoadBalancer(f"k3d-{cluster.name}-serverlb", 80, 443)


# --- create and delete ------------------------------------------------------------------------------------------------


def create(shell: Shell, cluster: Cluster, publish: list[str], api_arguments: list[str], words: list[str]) -> None:
    networks = k3s_arguments.networks(k3s_arguments.of_words(words))
    proxied = [word for variable in proxy.proxy_variables(shell, cluster.settings, networks)
               for word in ("-e", for_nodes(*variable.split("=", 1)))]
    registries = mirrors.write_registries_file(shell, cluster)
    shell.change(*create_command(cluster, publish, api_arguments, proxied, registries), *words,
                 hint="k3d rolled back. `inv doctor` may show why. Then run this task again.")


def create_command(cluster: Cluster, publish: list[str], api_arguments: list[str], proxied: list[str],
                   registries: Path | None) -> list[str]:
    settings = cluster.settings
    words = ["k3d", "cluster", "create", cluster.name, "--image", settings.k3s_image,
             "--network", settings.k3d_network, "--api-port", f"{cluster.address}:random"]
    for address in publish:
        words += ["-p", f"{address}:{cluster.http_port}:80@loadbalancer"]
        words += ["-p", f"{address}:{cluster.https_port}:443@loadbalancer"]
    if settings.additional_ca_bundle_file:
        bundle = str(settings.additional_ca_bundle_file).replace("@", r"\@")  # a bare @ begins k3d's node filter
        words += ["--volume", f"{bundle}:{COMPANY_CA}"]
    if registries:
        words += ["--registry-config", str(registries)]
    if settings.k3d_registry_config:
        words += ["--runtime-label", f"{REGISTRIES_LABEL}={registries_hash(settings)}@server:*"]
    for argument in api_arguments:
        words += ["--k3s-arg", f"--kube-apiserver-arg={argument}@server:*"]
    return [*words, *proxied, "--kubeconfig-update-default=false", "--wait", "--timeout", f"{settings.timeout_create}s"]


def for_nodes(key: str, value: str) -> str:
    r"""A variable and the nodes that it is for, as k3d splits them: at an `@` that has no `\` before it, or has two.

    https://github.com/k3d-io/k3d/blob/v5.8.3/cmd/util/filter.go

    :raises Exit: for `\@`, which cannot be escaped for k3d.
    """
    if "\\@" in value:
        raise Exit(rf"{key} contains \@, which k3d cannot pass to a node. Write \ in a user name or password as %5C.")
    end = "\\" if value.endswith("\\") else ""
    return f"{key}={value}".replace("@", r"\@") + f"{end}@{NODES}"


def wait_for_creation(shell: Shell, cluster: Cluster) -> None:
    shell.until_ended("k3d", "cluster", "create", cluster.name)


def delete(shell: Shell, cluster: Cluster) -> None:
    shell.change("k3d", "cluster", "delete", cluster.name)


# --- start and stop ---------------------------------------------------------------------------------------------------


def start(shell: Shell, cluster: Cluster, found: ExistingCluster) -> None:
    shell.change("k3d", "cluster", "start", cluster.name, "--wait", "--timeout", f"{cluster.settings.timeout_create}s")


def stop(shell: Shell, cluster: Cluster, found: ExistingCluster) -> None:
    shell.change("k3d", "cluster", "stop", cluster.name)


# --- kubeconfig -------------------------------------------------------------------------------------------------------


def user(cluster: Cluster) -> str:
    return f"admin@{cluster.context}"


def write_kubeconfig(shell: Shell, cluster: Cluster) -> None:
    switch = str(cluster.settings.k3d_switch_context).lower()
    shell.change("k3d", "kubeconfig", "merge", cluster.name, "--output", str(cluster.kubeconfig),
                 f"--kubeconfig-switch-context={switch}")


def read_kubeconfig(shell: Shell, cluster: Cluster) -> str:
    return str(shell.look("k3d", "kubeconfig", "get", cluster.name).stdout)


# --- its images -------------------------------------------------------------------------------------------------------


def engine_images(shell: Shell, settings: Settings) -> list[str]:
    """Those of the nodes, and k3d's own: https://k3d.io/stable/usage/configfile/#all-options"""
    version = read_version(shell, "k3d").removeprefix("v")
    own = {"K3D_IMAGE_LOADBALANCER": "k3d-proxy", "K3D_IMAGE_TOOLS": "k3d-tools"}
    return [settings.k3s_image, *(shell.environment.get(key) or f"ghcr.io/k3d-io/{name}:{version}"
                                  for key, name in own.items())]


# --- for people -------------------------------------------------------------------------------------------------------


def log_command(name: str) -> str:
    return f"docker logs k3d-{name}-server-0"


def load_command(name: str, image: str) -> str:
    return f"k3d image import {image} --cluster {name}"
