"""Checks of the clusters from outside: state, ports, kubeconfig, and settings that changed after creation."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.cluster import changed_settings, create
from tasks.cluster.changed_settings import ChangedSetting
from tasks.core import browser_ports
from tasks.core.problems import Problem
from tasks.core.well_known import CERT_MANAGER
from tasks.doctor.check import ERROR, WARNING, Checks, ClusterView
from tasks.doctor.fixes import CONFIGURE, FREE_DISK, KUBECONFIG, RECREATE, RESTART, RESTART_FOR_PORTS, SETUP, START
from tasks.engine import loopback_proxy, network, ports
from tasks.in_cluster import charts, foreign_charts
from tasks.probe import example_page
from tasks.probe.requests import http_get, tls_trusting_all
from tasks.probe.snapshot import kubelet_version, read_condition
from tasks.tools.required import VERSION_COMMANDS

CHECKS = Checks()
"""For every cluster of these settings."""


check = CHECKS.check

RUNNING = Checks()
"""For running clusters."""


check_running = RUNNING.check


@check("partly-created", ERROR, "Its creation was interrupted.", SETUP)
def partly_created(view: ClusterView) -> Iterator[str]:
    """The cluster was created completely"""
    if create.creation_marker(view.cluster).exists():
        yield "the cluster was only partly created (its creation was interrupted)"


@check("partly-running", ERROR, "A container was stopped or crashed.", START, needs=["partly-created"])
def partly_running(view: ClusterView) -> Iterator[str]:
    """Its containers are all running, or all stopped"""
    if view.existing.state == "partly running":
        yield f"running containers: {view.existing.nodes_running} of {view.existing.nodes}"


@check("k3s-arguments", ERROR, "The cluster was created with an argument of k3s that these tasks do not work with.",
       RECREATE)
def needed_parts(view: ClusterView) -> Iterator[Problem]:
    """k3s in it has the parts that these tasks need"""
    if view.existing.obstacle:
        yield view.existing.obstacle


@check("nodes-proxy", WARNING, "The cluster was created while a proxy was set by an address of this machine alone.",
       RECREATE)
def proxy_of_nodes(view: ClusterView) -> Iterator[Problem]:
    """Its nodes have no proxy on 127.0.0.1, which is the node itself"""
    if wrong := loopback_proxy.find_loopback(view.existing.environment):
        yield wrong


@check("ports-settings", ERROR, "K3D_PORT_ settings were changed after the cluster was created.", RECREATE)
def published(view: ClusterView) -> Iterator[Problem]:
    """It publishes the ports that the settings specify"""
    if wrong := changed_settings.find_port_change(view.cluster, view.existing):
        yield wrong


@check("ports-browser", WARNING, "The K3D_PORT_ keys put HTTPS on a port of the browsers' list.",
       "Change K3D_PORT_START, K3D_PORT_PREFIX_HTTPS or K3D_PORT_SUFFIX_HTTPS in .env, and recreate the cluster.",
       link=browser_ports.LINK)
def browsers_open_https(view: ClusterView) -> Iterator[Problem]:
    """Browsers open its HTTPS port"""
    if wrong := browser_ports.find_blocked_https(view.cluster):
        yield wrong


@check("ports-taken", ERROR, "Another program, or the cluster of another copy, has started to listen there.",
       "Stop that program, or change the K3D_PORT_ settings and recreate the cluster.", needs=["ports-settings"])
def taken(view: ClusterView) -> Iterator[str]:
    """The ports of a stopped cluster are free"""
    if view.existing.state == "stopped":
        addresses, existing = sorted(view.existing.addresses), view.machine.clusters.values()
        taken = ports.taken_ports(view.shell, view.cluster, addresses, existing)
        yield from map(str, taken)
        if any(port.cluster for port in taken):
            yield ports.describe_free_range(view.settings, addresses, existing)


@check("ports-lan", WARNING, "The cluster was created by the original Taskfile, or with K3D_BIND_ADDRESS=0.0.0.0.",
       RECREATE)
def open_to_lan(view: ClusterView) -> Iterator[str]:
    """Its ports are not open to the local network, unless the settings say so"""
    if "0.0.0.0" in view.existing.addresses and view.settings.k3d_bind_address != "0.0.0.0":
        yield "its ports are published on 0.0.0.0: anyone who can reach this machine can open its pages"


@check_running("kubeconfig", ERROR, "The entry was removed, or belongs to an earlier cluster of this name.", KUBECONFIG)
def kubeconfig_entry(view: ClusterView) -> Iterator[str]:
    """The kubeconfig has an entry for it, which its API accepts"""
    cluster = view.cluster
    if view.snapshot.error:
        contexts = view.shell.look("kubectl", "--kubeconfig", str(cluster.kubeconfig), "config", "get-contexts",
                                   "-o", "name").stdout.split()
        if cluster.context not in contexts:
            yield f"{cluster.kubeconfig} has no context {cluster.context}"
        elif re.search(r"x509|certificate signed|credentials|Unauthorized|refused", view.snapshot.error):
            yield f"{cluster.context} in {cluster.kubeconfig} does not point to this cluster: {view.snapshot.error}"


@check_running("api", ERROR, "k3s is still starting, or hangs. Its log: {logs}", RESTART,
               needs=["kubeconfig"])
def api(view: ClusterView) -> Iterator[str]:
    """Its API answers"""
    if view.snapshot.error:
        yield view.snapshot.error


@check_running("node", ERROR, "k3s does not work in the node. Its log: {logs}", RESTART,
               needs=["api"])
def node(view: ClusterView) -> Iterator[str]:
    """Its nodes are ready"""
    for found in view.snapshot.all("Node"):
        ready, message = read_condition(found, "Ready")
        if not ready:
            yield f"{found['metadata']['name']} is not ready: {message}"


@check_running("node-pressure", WARNING, "The engine is short of disk space or memory, so pods are evicted.",
               FREE_DISK, needs=["api"])
def pressure(view: ClusterView) -> Iterator[str]:
    """Its nodes have enough disk space, memory and process IDs"""
    for found in view.snapshot.all("Node"):
        for kind in ("DiskPressure", "MemoryPressure", "PIDPressure"):
            under, message = read_condition(found, kind)
            if under:
                yield f"{found['metadata']['name']}: {kind}, {message}"


@check_running("kubectl-skew", WARNING, "This kubectl is more than one minor version older or newer than the cluster.",
               "inv tools --install, or change KUBECTL_VERSION or K3S_IMAGE in .env", needs=["api"],
               link="https://kubernetes.io/releases/version-skew-policy/#kubectl")
def skew(view: ClusterView) -> Iterator[str]:
    """kubectl and the cluster are at most one minor version apart"""
    kubectl = re.search(r"v1\.(\d+)", view.shell.look(*VERSION_COMMANDS["kubectl"]).stdout)
    for found in view.snapshot.all("Node"):
        kubelet = re.match(r"v1\.(\d+)", kubelet_version(found))
        if kubectl and kubelet and abs(int(kubectl[1]) - int(kubelet[1])) > 1:
            yield f"kubectl is {kubectl[0]}, but {found['metadata']['name']} is {kubelet[0]}"


@check_running("settings", WARNING, "They were changed after the cluster was created.", RECREATE,
               needs=["ports-settings"])
def creation_settings(view: ClusterView) -> Iterator[Problem]:
    """Settings that apply only to a new cluster have not changed since it was created"""
    for change in changed_settings.find_changed_settings(view.shell, view.cluster, view.existing):
        if change.reason != ChangedSetting.PORTS_OPEN_TO_NETWORK:  # reported by ports-lan
            yield change


@check_running("charts", WARNING, "CERT_MANAGER_VERSION or TRUST_MANAGER_VERSION was changed.", CONFIGURE,
               needs=["api", "cert-manager", "trust-manager"])
def chart_versions(view: ClusterView) -> Iterator[str]:
    """cert-manager and trust-manager have the versions in the settings"""
    for name in charts.CHARTS:
        if foreign_charts.find_owner(view.snapshot.one("Deployment", name, CERT_MANAGER) or {"metadata": {}}, name):
            continue  # it is used as it is
        installed, expected = view.snapshot.version(name), charts.chart_version(view.settings, name)
        if installed.removeprefix("v") != expected.removeprefix("v"):
            chosen = view.settings.from_environment(charts.version_key(name))
            yield f"{name} is {installed}, but the settings say {expected}{chosen}"


@check_running("ports-answer", ERROR, "Its load balancer hangs, or another program uses the port.",
               RESTART_FOR_PORTS,
               needs=["api", "traefik", "ports-settings"])
def ports_answer(view: ClusterView) -> Iterator[str]:
    """Traefik answers on the cluster's HTTP and HTTPS ports"""
    cluster = view.cluster
    for scheme in ("http", "https"):
        try:
            http_get(cluster, scheme, f"proof.{cluster.domain}", "/", tls_trusting_all)
        except OSError as error:
            yield f"{cluster.address}:{example_page.port(cluster, scheme)}: {str(error) or type(error).__name__}"


@check_running("way-to-host", ERROR,
               "A firewall on this machine drops connections from containers, or the engine is rootless.",
               "; ".join(f"{firewall}: {command}" for firewall, command in network.FIREWALL_COMMANDS.items()),
               needs=["network", "ports-answer"], link="https://github.com/k3d-io/k3d/issues/972")
def way_to_host(view: ClusterView) -> Iterator[str]:
    """A container on the clusters' network can reach this cluster through this machine, as pods of others do"""
    if not view.host_reached:
        subnets, host = ", ".join(view.machine.subnets), view.host or "this machine"
        yield f"containers in the subnet {subnets} cannot reach {host}, port {view.cluster.http_port}"
