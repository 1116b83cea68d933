"""Checks of the clusters from outside: state, ports, kubeconfig, and settings that were changed since."""

from __future__ import annotations

import re
from collections.abc import Iterator

from invoke import Exit

from tasks.cluster import changed_settings, create
from tasks.cluster.changed_settings import ChangedSetting
from tasks.core import browser_ports
from tasks.core.problems import Problem
from tasks.doctor.check import ERROR, WARNING, Checks, ClusterView
from tasks.doctor.fixes import CONFIGURE, KUBECONFIG, MAKE_AGAIN, RESTART, SETUP, START
from tasks.engine import k3s_arguments, network, ports, proxy
from tasks.in_cluster import charts
from tasks.probe.example_page import port
from tasks.probe.requests import http_get, tls_trusting_all
from tasks.probe.snapshot import kubelet_version, read_condition
from tasks.tools.required import VERSION_COMMANDS

CHECKS = Checks()
"""For every cluster of these settings."""


check = CHECKS.check

RUNNING = Checks()
"""For those that run."""


check_running = RUNNING.check


@check("half-made", ERROR, "k3d cluster create was broken off.", SETUP)
def half_made(view: ClusterView) -> Iterator[str]:
    """The cluster was made to its end"""
    if create.creation_marker(view.cluster).exists():
        yield "k3d cluster create was broken off; setup makes it again"


@check("partly-running", ERROR, "A container was stopped or has crashed.", START, needs=["half-made"])
def partly_running(view: ClusterView) -> Iterator[str]:
    """All of its containers run, or none"""
    if view.k3d_cluster.state == "partly running":
        yield f"{view.k3d_cluster.nodes_running} of its {view.k3d_cluster.nodes} containers run"


@check("k3s-arguments", ERROR, "The cluster was created with an argument of k3s that these tasks do not work with.",
       MAKE_AGAIN)
def needed_parts(view: ClusterView) -> Iterator[Problem]:
    """k3s in it has the parts that these tasks need"""
    if wrong := k3s_arguments.find_problem(k3s_arguments.of_cluster(view.k3d_cluster)):
        yield wrong


@check("nodes-proxy", WARNING, "The cluster was created while a proxy was set by an address of this machine alone.",
       MAKE_AGAIN)
def proxy_of_nodes(view: ClusterView) -> Iterator[Problem]:
    """Its nodes have no proxy on 127.0.0.1, which is the node itself"""
    if wrong := proxy.find_loopback(view.k3d_cluster.environment):
        yield wrong


@check("ports-settings", ERROR, "K3D_PORT_ keys were changed after the cluster was made.", MAKE_AGAIN)
def published(view: ClusterView) -> Iterator[Problem]:
    """It publishes the ports that the settings say"""
    if wrong := changed_settings.find_port_change(view.cluster, view.k3d_cluster):
        yield wrong


@check("ports-browser", WARNING, "The K3D_PORT_ keys put HTTPS on a port of the browsers' list.",
       "Change K3D_PORT_START, K3D_PORT_PREFIX_HTTPS or K3D_PORT_SUFFIX_HTTPS in .env, and recreate the cluster.",
       link=browser_ports.LINK)
def browsers_open_https(view: ClusterView) -> Iterator[Problem]:
    """Browsers open its HTTPS port"""
    if wrong := browser_ports.find_blocked_https(view.cluster):
        yield wrong


@check("ports-taken", ERROR, "Another program has begun to listen there.",
       "Stop what holds the port, or change the K3D_PORT_ keys and make the cluster again", needs=["ports-settings"])
def taken(view: ClusterView) -> Iterator[str]:
    """Nobody else has the ports of a cluster that is stopped"""
    if view.k3d_cluster.state == "stopped":
        try:
            ports.check_free_ports(view.shell, view.cluster, sorted(view.k3d_cluster.addresses), there=True)
        except Exit as error:
            yield from (line.strip() for line in str(error.message).splitlines() if " is taken" in line)


@check("ports-lan", WARNING, "The cluster was made by the original Taskfile, or with K3D_BIND_ADDRESS=0.0.0.0.",
       MAKE_AGAIN)
def open_to_lan(view: ClusterView) -> Iterator[str]:
    """Its ports are not open to the local network, unless the settings say so"""
    if "0.0.0.0" in view.k3d_cluster.addresses and view.settings.k3d_bind_address != "0.0.0.0":
        yield "its ports are published on 0.0.0.0: whoever can reach this machine can open its pages"


@check_running("kubeconfig", ERROR, "The entry was removed, or is of a cluster that had this name before.", KUBECONFIG)
def kubeconfig_entry(view: ClusterView) -> Iterator[str]:
    """The kubeconfig has its entry, and the API takes it"""
    cluster = view.cluster
    if view.snapshot.error:
        contexts = view.shell.look("kubectl", "--kubeconfig", str(cluster.kubeconfig), "config", "get-contexts",
                                      "-o", "name").stdout.split()
        if cluster.context not in contexts:
            yield f"{cluster.kubeconfig} has no context {cluster.context}"
        elif re.search(r"x509|certificate signed|credentials|Unauthorized|refused", view.snapshot.error):
            yield f"{cluster.context} in {cluster.kubeconfig} leads elsewhere: {view.snapshot.error}"


@check_running("api", ERROR, "k3s still starts, or hangs. Its log: docker logs k3d-{name}-server-0", RESTART,
               needs=["kubeconfig"])
def api(view: ClusterView) -> Iterator[str]:
    """Its API answers"""
    if view.snapshot.error:
        yield view.snapshot.error


@check_running("node", ERROR, "k3s in the node has trouble. Its log: docker logs k3d-{name}-server-0", RESTART,
               needs=["api"])
def node(view: ClusterView) -> Iterator[str]:
    """Its nodes are ready"""
    for found in view.snapshot.all("Node"):
        ready, message = read_condition(found, "Ready")
        if not ready:
            yield f"{found['metadata']['name']} is not ready: {message}"


@check_running("node-pressure", WARNING, "The engine's disk or memory is short, and pods are evicted.",
               "docker system df shows what takes the disk, docker image prune frees some.", needs=["api"])
def pressure(view: ClusterView) -> Iterator[str]:
    """Its nodes have enough disk, memory and processes"""
    for found in view.snapshot.all("Node"):
        for kind in ("DiskPressure", "MemoryPressure", "PIDPressure"):
            under, message = read_condition(found, kind)
            if under:
                yield f"{found['metadata']['name']}: {kind}, {message}"


@check_running("kubectl-skew", WARNING, "kubectl works with a cluster one minor version older or newer.",
               "inv tools --install, or KUBECTL_VERSION or K3S_IMAGE in .env", needs=["api"],
               link="https://kubernetes.io/releases/version-skew-policy/#kubectl")
def skew(view: ClusterView) -> Iterator[str]:
    """kubectl and the cluster are at most one minor version apart"""
    mine = re.search(r"v1\.(\d+)", view.shell.look(*VERSION_COMMANDS["kubectl"]).stdout)
    for found in view.snapshot.all("Node"):
        its = re.match(r"v1\.(\d+)", kubelet_version(found))
        if mine and its and abs(int(mine[1]) - int(its[1])) > 1:
            yield f"kubectl is {mine[0]}, and {found['metadata']['name']} is {its[0]}"


@check_running("settings", WARNING, "They were changed after the cluster was made.", MAKE_AGAIN,
               needs=["ports-settings"])
def for_a_new_cluster(view: ClusterView) -> Iterator[Problem]:
    """It was made with the settings that only a new cluster takes up"""
    for change in changed_settings.find_changed_settings(view.shell, view.cluster, view.k3d_cluster):
        if change.reason != ChangedSetting.PORTS_OPEN_TO_NETWORK:  # that is the check ports-lan
            yield change


@check_running("charts", WARNING, "CERT_MANAGER_VERSION or TRUST_MANAGER_VERSION was changed.", CONFIGURE,
               needs=["api", "cert-manager", "trust-manager"])
def chart_versions(view: ClusterView) -> Iterator[str]:
    """cert-manager and trust-manager have the versions of the settings"""
    for name in charts.CHARTS:
        its, wanted = view.snapshot.version(name), charts.chart_version(view.settings, name)
        if its.removeprefix("v") != wanted.removeprefix("v"):
            yield f"{name} is {its}, and the settings say {wanted}"


@check_running("ports-answer", ERROR, "Its load balancer hangs, or something else has the port.", RESTART,
               needs=["api", "traefik", "ports-settings"])
def ports_answer(view: ClusterView) -> Iterator[str]:
    """Traefik answers on the HTTP and the HTTPS port of this machine"""
    cluster = view.cluster
    for scheme in ("http", "https"):
        try:
            http_get(cluster, scheme, f"proof.{cluster.domain}", "/", tls_trusting_all)
        except OSError as error:
            yield f"127.0.0.1:{port(cluster, scheme)}: {str(error) or type(error).__name__}"


@check_running("way-to-host", ERROR,
               "A firewall of this machine drops what comes from containers, or the engine is rootless.",
               "ufw: sudo ufw allow in from SUBNET; firewalld: sudo firewall-cmd --permanent --zone=trusted "
               "--add-source=SUBNET && sudo firewall-cmd --reload",
               needs=["network", "ports-answer"], link="https://github.com/k3d-io/k3d/issues/972")
def way_to_host(view: ClusterView) -> Iterator[str]:
    """A container on the clusters' network reaches this cluster through this machine, as pods of others do"""
    if not view.host_reached:
        subnets = ", ".join(network.subnets(view.shell, view.settings))
        host = view.host or "this host"
        yield f"from the subnet {subnets} nobody reaches {host}, port {view.cluster.http_port}"
