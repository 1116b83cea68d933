"""cert-manager and trust-manager, installed by Helm."""

from __future__ import annotations

from pathlib import Path

from invoke import Exit

from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.templates import render, short_hash
from tasks.core.well_known import CERT_MANAGER
from tasks.core.work_files import work_folder, write_file

CHARTS = ("cert-manager", "trust-manager")


def install(shell: Shell, cluster: Cluster, name: str) -> None:
    """Install or upgrade a chart, unless this version with these values is there."""
    version = chart_version(cluster.settings, name)
    with shell.step(cluster.name, f"{name} {version}") as this:
        values = render(f"in_cluster/{name}-values.yaml", cluster=cluster, settings=cluster.settings)
        wanted = short_hash(version + values)
        if wanted == deployed_hash(shell, cluster, name):
            this.skip("already installed")
            return
        remove_broken_off(shell, cluster, name)
        file = write_file(shell, work_folder(cluster) / f"{name}-values.yaml", values)
        shell.change(
            "helm", "upgrade", "--install", name, *chart_words(cluster.settings, name), *cluster.helm_target,
            "--namespace", CERT_MANAGER, "--create-namespace", "--values", str(file),
            "--labels", f"dev-cluster-tasks={wanted}",
            hint="If the chart could not be fetched: CHART_SOURCE in .env may name a mirror, or a folder of charts.",
        )
        this.outcome = "installed"


def chart_version(settings: Settings, name: str) -> str:
    version: str = getattr(settings, f"{name.replace('-', '_')}_version")
    return version


def chart_words(settings: Settings, name: str) -> tuple[str, ...]:
    """How Helm is told where the chart is: in a registry, a Helm repository, or a folder."""
    source, version = settings.chart_source, chart_version(settings, name)
    if source.startswith("oci://"):
        return (f"{source}/{name}", "--version", version)
    if source.startswith(("http://", "https://")):
        return (name, "--repo", source, "--version", version)
    return (f"{source}/{name}-{version}.tgz",)


def check_source(settings: Settings) -> None:
    """Exit when CHART_SOURCE is a folder that lacks a chart."""
    if "://" in settings.chart_source:
        return
    files = [Path(chart_words(settings, name)[0]) for name in CHARTS]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise Exit(f"CHART_SOURCE={settings.chart_source} is a folder without {' and '.join(missing)}: "
                   "helm pull brings them there")


def deployed_hash(shell: Shell, cluster: Cluster, name: str) -> str:
    """Our label on the release that is deployed. Helm keeps releases as labelled secrets."""
    selector = f"owner=helm,name={name},status=deployed"
    return shell.look(*cluster.kubectl, "-n", CERT_MANAGER, "get", "secrets", "-l", selector,
                      "-o", "jsonpath={.items[*].metadata.labels.dev-cluster-tasks}").stdout.strip()


def forget(shell: Shell, cluster: Cluster) -> None:
    """Take our label off the releases, so that they are installed once more over what there is.

    Their Services go first: Helm would leave what somebody has added to a selector.
    """
    kubectl = (*cluster.kubectl, "-n", CERT_MANAGER)
    with shell.step(cluster.name, "charts") as this:
        shell.change(*kubectl, "label", "secrets", "-l", "owner=helm,dev-cluster-tasks", "dev-cluster-tasks-")
        shell.change(*kubectl, "delete", "services", "-l", f"app.kubernetes.io/instance in ({','.join(CHARTS)})")
        this.outcome = "to be installed again"


def remove_broken_off(shell: Shell, cluster: Cluster, name: str) -> None:
    """Remove what a killed helm left: it would refuse with "another operation is in progress".

    The record of the broken-off revision is removed; what it has installed stays, and the next upgrade takes it over.
    """
    shell.until_ended(f"helm upgrade --install {name} .*--kube-context {cluster.context} ")
    kubectl = (*cluster.kubectl, "-n", CERT_MANAGER)
    pending = ("secrets", "-l", f"owner=helm,name={name},status in (pending-install,pending-upgrade,pending-rollback)")
    if shell.look(*kubectl, "get", *pending, "-o", "name").stdout.strip():
        shell.change(*kubectl, "delete", *pending)
