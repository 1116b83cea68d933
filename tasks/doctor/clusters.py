"""Checks of the clusters from outside: state, ports, kubeconfig, and settings that were changed since."""

from __future__ import annotations

import re
from collections.abc import Iterator

from invoke import Exit

from tasks.cluster import changed_settings, create
from tasks.doctor.check import ERROR, WARNING, Checks, ClusterView
from tasks.doctor.fixes import CONFIGURE, KUBECONFIG, MAKE_AGAIN, RESTART, SETUP, START
from tasks.engine import network, ports
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
def half_made(patient: ClusterView) -> Iterator[str]:
    """The cluster was made to its end"""
    if create.creation_marker(patient.cluster).exists():
        yield "k3d cluster create was broken off; setup makes it again"


@check("partly-running", ERROR, "A container was stopped or has crashed.", START, needs=["half-made"])
def partly_running(patient: ClusterView) -> Iterator[str]:
    """All of its containers run, or none"""
    if patient.found.state == "partly running":
        yield f"{patient.found.nodes_running} of its {patient.found.nodes} containers run"


@check("ports-settings", ERROR, "K3D_PORT_ keys were changed after the cluster was made.", MAKE_AGAIN)
def published(patient: ClusterView) -> Iterator[str]:
    """It publishes the ports that the settings say"""
    try:
        changed_settings.check_published_ports(patient.cluster, patient.found)
    except Exit as error:
        yield str(error.message).splitlines()[0]


@check("ports-taken", ERROR, "Another program, or another copy's cluster, has begun to listen there.",
       "Stop what holds the port, or change the K3D_PORT_ keys and make the cluster again", needs=["ports-settings"])
def taken(patient: ClusterView) -> Iterator[str]:
    """Nobody else has the ports of a cluster that is stopped"""
    if patient.found.state == "stopped":
        addresses = sorted(patient.found.addresses)
        held = ports.taken_ports(patient.shell, patient.cluster, addresses)
        yield from map(str, held)
        if any(port.cluster for port in held):
            yield ports.free_range(patient.shell, patient.settings, addresses)


@check("ports-lan", WARNING, "The cluster was made by the original Taskfile, or with K3D_BIND_ADDRESS=0.0.0.0.",
       MAKE_AGAIN)
def open_to_lan(patient: ClusterView) -> Iterator[str]:
    """Its ports are not open to the local network, unless the settings say so"""
    if "0.0.0.0" in patient.found.addresses and patient.settings.k3d_bind_address != "0.0.0.0":
        yield "its ports are published on 0.0.0.0: whoever can reach this machine can open its pages"


@check_running("kubeconfig", ERROR, "The entry was removed, or is of a cluster that had this name before.", KUBECONFIG)
def kubeconfig_entry(patient: ClusterView) -> Iterator[str]:
    """The kubeconfig has its entry, and the API takes it"""
    cluster = patient.cluster
    if patient.seen.error:
        contexts = patient.shell.look("kubectl", "--kubeconfig", str(cluster.kubeconfig), "config", "get-contexts",
                                      "-o", "name").stdout.split()
        if cluster.context not in contexts:
            yield f"{cluster.kubeconfig} has no context {cluster.context}"
        elif re.search(r"x509|certificate signed|credentials|Unauthorized|refused", patient.seen.error):
            yield f"{cluster.context} in {cluster.kubeconfig} leads elsewhere: {patient.seen.error}"


@check_running("api", ERROR, "k3s still starts, or hangs. Its log: docker logs k3d-{name}-server-0", RESTART,
               needs=["kubeconfig"])
def api(patient: ClusterView) -> Iterator[str]:
    """Its API answers"""
    if patient.seen.error:
        yield patient.seen.error


@check_running("node", ERROR, "k3s in the node has trouble. Its log: docker logs k3d-{name}-server-0", RESTART,
               needs=["api"])
def node(patient: ClusterView) -> Iterator[str]:
    """Its nodes are ready"""
    for found in patient.seen.all("Node"):
        ready, message = read_condition(found, "Ready")
        if not ready:
            yield f"{found['metadata']['name']} is not ready: {message}"


@check_running("node-pressure", WARNING, "The engine's disk or memory is short, and pods are evicted.",
               "docker system df shows what takes the disk, docker image prune frees some.", needs=["api"])
def pressure(patient: ClusterView) -> Iterator[str]:
    """Its nodes have enough disk, memory and processes"""
    for found in patient.seen.all("Node"):
        for kind in ("DiskPressure", "MemoryPressure", "PIDPressure"):
            under, message = read_condition(found, kind)
            if under:
                yield f"{found['metadata']['name']}: {kind}, {message}"


@check_running("kubectl-skew", WARNING, "kubectl works with a cluster one minor version older or newer.",
               "inv tools --install, or KUBECTL_VERSION or K3S_IMAGE in .env", needs=["api"],
               link="https://kubernetes.io/releases/version-skew-policy/#kubectl")
def skew(patient: ClusterView) -> Iterator[str]:
    """kubectl and the cluster are at most one minor version apart"""
    mine = re.search(r"v1\.(\d+)", patient.shell.look(*VERSION_COMMANDS["kubectl"]).stdout)
    for found in patient.seen.all("Node"):
        its = re.match(r"v1\.(\d+)", kubelet_version(found))
        if mine and its and abs(int(mine[1]) - int(its[1])) > 1:
            yield f"kubectl is {mine[0]}, and {found['metadata']['name']} is {its[0]}"


@check_running("settings", WARNING, "They were changed after the cluster was made.", MAKE_AGAIN,
               needs=["ports-settings"])
def for_a_new_cluster(patient: ClusterView) -> Iterator[str]:
    """It was made with the settings that only a new cluster takes up"""
    for change in changed_settings.find_changed_settings(patient.shell, patient.cluster, patient.found):
        if not change.startswith("its ports are open"):  # ports-lan has told it
            yield change


@check_running("charts", WARNING, "CERT_MANAGER_VERSION or TRUST_MANAGER_VERSION was changed.", CONFIGURE,
               needs=["api", "cert-manager", "trust-manager"])
def chart_versions(patient: ClusterView) -> Iterator[str]:
    """cert-manager and trust-manager have the versions of the settings"""
    for name in charts.CHARTS:
        its, wanted = patient.seen.version(name), charts.chart_version(patient.settings, name)
        if its.removeprefix("v") != wanted.removeprefix("v"):
            yield f"{name} is {its}, and the settings say {wanted}"


@check_running("ports-answer", ERROR, "Its load balancer hangs, or something else has the port.", RESTART,
               needs=["api", "traefik", "ports-settings"])
def ports_answer(patient: ClusterView) -> Iterator[str]:
    """Traefik answers on the HTTP and the HTTPS port of this machine"""
    cluster = patient.cluster
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
def way_to_host(patient: ClusterView) -> Iterator[str]:
    """A container on the clusters' network reaches this cluster through this machine, as pods of others do"""
    if not patient.host_reached:
        subnets = ", ".join(network.subnets(patient.shell, patient.settings))
        host = patient.host or "this host"
        yield f"from the subnet {subnets} nobody reaches {host}, port {patient.cluster.http_port}"
