"""cert-manager, trust-manager, and Traefik where there is none, installed by Helm."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from invoke import Exit
from invoke.runners import Result

from tasks import providers
from tasks.core import setting_types
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.templates import render, short_hash
from tasks.core.well_known import CERT_MANAGER, MANAGER
from tasks.core.work_files import work_folder, write_file
from tasks.in_cluster import foreign_charts
from tasks.tools.required import parse_version, read_version

CHARTS = ("cert-manager", "trust-manager")
"""Those of every cluster."""

TRAEFIK = "traefik"
"""For clusters that are not k3s."""

FETCH_FAILED = re.compile(
    r"no such host|dial tcp|i/o timeout|TLS handshake|x509:|proxyconnect|"
    r"failed to (download|fetch|authorize|do request)|unable to (fetch|locate)|FetchReference|GetDescriptor|"
    r"could not download|cannot be reached|unexpected EOF|"
    r"(unauthorized|denied|toomanyrequests): |(response status|status code)[^\n]* [45]\d\d|"
    r"chart \".*\" .*not found|not a valid chart repository|\S:\S+: not found$|no cached repo|path \".*\" not found",
    re.IGNORECASE | re.MULTILINE)
"""What Helm reports if it does not get the chart."""

CLUSTER_FAILED = re.compile(r"cluster unreachable|failed to create resource|Error from server|failed calling webhook|"
                            r"conflict occurred|cannot patch|admission webhook", re.IGNORECASE)
"""What it reports if the cluster is the cause, in which the same words may be."""


def install(shell: Shell, cluster: Cluster, name: str, **values_of: Any) -> None:
    """Install or upgrade a chart, unless this version is installed with these values. `values_of` its template.

    One that somebody else has installed is used as it is; Exit names whose it is if it will not do.
    """
    version = chart_version(cluster.settings, name)
    chosen = cluster.settings.from_environment(version_key(name), source_key(name))
    with shell.step(cluster.name, f"{name} {version}{chosen}") as this:
        values = render(f"in_cluster/{name}-values.yaml", cluster=cluster, settings=cluster.settings, **values_of)
        wanted = short_hash(version + values)
        if wanted == find_deployed_hash(shell, cluster, name):
            this.skip("already installed")
            return
        if found := foreign_charts.find(shell, cluster, name):
            if why := foreign_charts.find_obstacle(shell, cluster, name, found):
                raise Exit(f"{cluster.name}: {name} {found.version} was not installed by these tasks, but by "
                           f"{found.owner}, and cannot be used: {why}. Change or remove it there, and run the task "
                           "again.")
            this.skip(f"{found.version} of {found.owner} is used as it is")
            return
        remove_interrupted_release(shell, cluster, name)
        file = write_file(shell, work_folder(cluster) / f"{name}-values.yaml", values)
        shell.change(
            "helm", "upgrade", "--install", name, *chart_arguments(cluster.settings, name), *cluster.helm_target,
            "--namespace", foreign_charts.NAMESPACES[name], "--create-namespace", "--values", str(file),
            "--labels", f"{MANAGER}={wanted}", *conflict_arguments(shell),
            hint=partial(download_hint, key=source_key(name)),
        )
        this.outcome = "installed"


def download_hint(result: Result, key: str) -> str:
    """What to do if Helm could not download the chart; empty if it failed for another reason."""
    failed = FETCH_FAILED.search(result.stderr) and not CLUSTER_FAILED.search(result.stderr)
    return f"Set {key} in .env to a mirror or a folder of charts, if there is one." if failed else ""


def conflict_arguments(shell: Shell) -> tuple[str, ...]:
    """Helm 4 applies server-side, and stops at fields that a controller has changed since, such as a `caBundle`.

    https://helm.sh/docs/overview/
    """
    is_helm_4 = parse_version(read_version(shell, "helm")) >= (4,)
    return ("--force-conflicts",) if is_helm_4 else ()


def version_key(name: str) -> str:
    return f"{name.replace('-', '_').upper()}_VERSION"


def source_key(name: str) -> str:
    return "TRAEFIK_SOURCE" if name == TRAEFIK else "CHART_SOURCE"


def chart_source(settings: Settings, name: str) -> str:
    source: str = getattr(settings, source_key(name).lower())
    return source


def needed_charts(settings: Settings) -> tuple[str, ...]:
    """The charts for the clusters of these settings."""
    brings_traefik = all(provider.MAKES_K3S for provider in providers.chosen(settings))
    return CHARTS if brings_traefik else (*CHARTS, TRAEFIK)


def chart_version(settings: Settings, name: str) -> str:
    version: str = getattr(settings, version_key(name).lower())
    return version


def chart_arguments(settings: Settings, name: str) -> tuple[str, ...]:
    """Helm's arguments for a chart that is kept, or one in a registry, a Helm repository, or a folder."""
    source, version = chart_source(settings, name), chart_version(settings, name)
    if kept := find_kept(settings, name):
        return (str(kept),)
    if source.startswith("oci://"):
        return (f"{source}/{name}", "--version", version)
    if source.startswith(("http://", "https://")):
        return (name, "--repo", source, "--version", version)
    return (f"{source}/{name}-{version}.tgz",)


def keep(shell: Shell, settings: Settings) -> None:
    """Download the charts for work offline, unless they are in a folder or were downloaded before."""
    missing = [name for name in needed_charts(settings)
               if "://" in chart_source(settings, name) and not find_kept(settings, name)]
    if not missing:
        return
    with shell.step("", "charts for work offline") as this:
        for name in missing:
            shell.change("helm", "pull", *chart_arguments(settings, name), "--destination",
                         str(kept_folder(settings, name)), hint=partial(download_hint, key=source_key(name)))
        this.outcome = f"kept: {', '.join(missing)}"


def kept_folder(settings: Settings, name: str) -> Path:
    """Of one version of a chart, from one source."""
    source = short_hash(f"{chart_source(settings, name)} {chart_version(settings, name)}")
    return setting_types.PROJECT / ".tools" / "charts" / f"{name}-{source}"


def find_kept(settings: Settings, name: str) -> Path | None:
    """The file of the chart, which Helm names by the version in it."""
    return next(kept_folder(settings, name).glob("*.tgz"), None)


def check_source(settings: Settings) -> None:
    """Exit if the settings of a chart are invalid, or its source is a folder in which it is missing."""
    missing: dict[str, list[str]] = {}
    for name in needed_charts(settings):
        file = Path(chart_arguments(settings, name)[0])
        if "://" not in chart_source(settings, name) and not file.is_file():
            missing.setdefault(source_key(name), []).append(file.name)
    for key, names in missing.items():
        raise Exit(f"{key}={getattr(settings, key.lower())} is a folder without {' and '.join(names)}. "
                   "Download with: helm pull")


def find_deployed_hash(shell: Shell, cluster: Cluster, name: str) -> str:
    """Our label on the deployed release. Helm stores releases as labelled secrets."""
    selector = f"owner=helm,name={name},status=deployed"
    return shell.look(*cluster.kubectl, "-n", foreign_charts.NAMESPACES[name], "get", "secrets", "-l", selector,
                      "-o", f"jsonpath={{.items[*].metadata.labels.{MANAGER}}}").stdout.strip()


def mark_for_reinstall(shell: Shell, cluster: Cluster) -> None:
    """Remove our label from the releases, so that the charts are installed again over the existing objects.

    Their Services are deleted first, because Helm would keep what somebody added to a selector.
    """
    kubectl = (*cluster.kubectl, "-n", CERT_MANAGER)
    own = [name for name in CHARTS if not foreign_charts.find(shell, cluster, name)]
    if not own:
        return
    with shell.step(cluster.name, "charts") as this:
        shell.change(*kubectl, "label", "secrets", "-l", f"owner=helm,{MANAGER}", f"{MANAGER}-")
        shell.change(*kubectl, "delete", "services", "-l", f"app.kubernetes.io/instance in ({','.join(own)})")
        this.outcome = "marked for reinstallation"


def remove_interrupted_release(shell: Shell, cluster: Cluster, name: str) -> None:
    """Remove the record of an interrupted helm, which would fail with "another operation is in progress".

    Only the record of that revision is removed. The objects that it installed stay, and the next upgrade adopts them.
    """
    shell.until_ended("helm", "upgrade", "--install", name, part=f"--kube-context {cluster.context}")
    kubectl = (*cluster.kubectl, "-n", foreign_charts.NAMESPACES[name])
    pending = ("secrets", "-l", f"owner=helm,name={name},status in (pending-install,pending-upgrade,pending-rollback)")
    if shell.look(*kubectl, "get", *pending, "-o", "name").stdout.strip():
        shell.change(*kubectl, "delete", *pending)
