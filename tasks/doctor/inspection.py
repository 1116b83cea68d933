"""Read once what the checks judge: this machine, and every cluster of these settings."""

from __future__ import annotations

from typing import Any

from tasks import providers
from tasks.ca.load import load_root
from tasks.core.problems import ProblemExit
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.doctor.check import ClusterView, Machine
from tasks.engine import network
from tasks.engine.clusters import own_clusters
from tasks.in_cluster import coredns
from tasks.probe.objects import without_nulls
from tasks.probe.snapshot import ClusterSnapshot, take_snapshot


def inspect_machine(shell: Shell, settings: Settings) -> Machine:
    subject = Machine(shell, settings)
    try:
        subject.root = load_root(settings)
    except ProblemExit as error:
        subject.root_problem = error.problem
    subject.engine = read_docker_info(shell)
    if subject.engine:
        subject.clusters = providers.list_clusters(shell, settings)
        subject.subnets = network.list_subnets(shell, settings)
        subject.views = shell.side_by_side([
            lambda cluster=cluster: inspect_cluster(subject, cluster)  # type: ignore[misc]
            for cluster in own_clusters(settings, subject.clusters)])
    return subject


def read_docker_info(shell: Shell) -> dict[str, Any]:
    """What `docker info` reports; empty if no engine answers."""
    import json

    result = shell.look("docker", "info", "--format", "{{json .}}")
    try:
        info = without_nulls(json.loads(result.stdout))
    except ValueError:
        return {}
    return info if isinstance(info, dict) and info.get("ServerVersion") else {}


def inspect_cluster(subject: Machine, cluster: Cluster) -> ClusterView:
    existing = subject.clusters[cluster.name]
    if not existing.running:
        return ClusterView(subject, cluster, existing, ClusterSnapshot(cluster, f"it is {existing.state}"))
    if not providers.of(cluster).MANAGES_LIFE:  # to find it, a pod would have to be created
        snapshot = take_snapshot(subject.shell, cluster)
        host = coredns.read_host_address(snapshot.data("coredns-custom", "kube-system", "dev-clusters.override"))
        return ClusterView(subject, cluster, existing, snapshot, host, host_reached=True)
    snapshot, (host, reached) = subject.shell.side_by_side([
        lambda: take_snapshot(subject.shell, cluster), lambda: network.host_address(subject.shell, cluster)])
    return ClusterView(subject, cluster, existing, snapshot, host, reached)
