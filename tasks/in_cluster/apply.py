"""Render manifests and apply them to a cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from invoke.runners import Result

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import CERT_MANAGER, KUBE_SYSTEM, MANAGER
from tasks.core.work_files import work_folder, write_file


class Manifest(NamedTuple):
    """A rendered manifest, and the file that it is written to."""

    file: Path
    text: str


def render_manifest(cluster: Cluster, template: str, **values: Any) -> Manifest:
    """Render `templates/<template>` for this cluster."""
    text = render(template, cluster=cluster, settings=cluster.settings, **values)
    return Manifest(work_folder(cluster) / Path(template).name, text)


APPLY_FLAGS = ("--server-side", "--force-conflicts", f"--field-manager={MANAGER}")
"""Server-side apply with a field manager, so that fields of the same object that others manage are kept.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""


def needs_apply(shell: Shell, cluster: Cluster, *manifests: Manifest) -> bool | None:
    """Whether applying would change anything in the cluster; None if the cluster does not answer (yet)."""
    with tempfile.TemporaryDirectory() as folder:
        for number, manifest in enumerate(manifests):
            (Path(folder) / f"{number}.yaml").write_text(manifest.text, encoding="utf-8")
        code = shell.look(*cluster.kubectl, "diff", *APPLY_FLAGS, "-f", folder).exited
    return {0: False, 1: True}.get(code)


def dry_run(shell: Shell, cluster: Cluster, manifest: Manifest) -> Result:
    """What the API would make of a new object, as JSON, after admission; nothing is stored."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / manifest.file.name).write_text(manifest.text, encoding="utf-8")
        return shell.look(*cluster.kubectl, "create", "--dry-run=server", "-o", "json", "-f", folder)


def wait_for_kind(shell: Shell, cluster: Cluster, kind: str, title: str) -> None:
    """k3s registers its own types, and those of Traefik, a moment after its API answers."""
    shell.until(title, cluster.settings.timeout_ready,
                lambda: shell.look(*cluster.kubectl, "-n", KUBE_SYSTEM, "get", kind).ok, pause=1)


def apply(shell: Shell, cluster: Cluster, *manifests: Manifest) -> bool:
    """Apply these objects. False if the cluster already has all of them unchanged."""
    if needs_apply(shell, cluster, *manifests) is False:
        return False
    send_manifests(shell, cluster, *manifests)
    return True


def apply_admitted(shell: Shell, cluster: Cluster, webhook: str, *manifests: Manifest) -> bool:
    """Apply objects that a webhook must admit, once that Deployment in the cert-manager namespace answers."""
    needed = needs_apply(shell, cluster, *manifests)
    if needed is False:
        return False
    if needed is None:
        seconds = cluster.settings.timeout_ready
        shell.wait(f"{webhook} to start", seconds, *cluster.kubectl, "-n", CERT_MANAGER, "rollout", "status",
                   f"deployment/{webhook}", f"--timeout={seconds}s")
        shell.until(f"{webhook} to answer", seconds, lambda: needs_apply(shell, cluster, *manifests) is not None)
    send_manifests(shell, cluster, *manifests)
    return True


def send_manifests(shell: Shell, cluster: Cluster, *manifests: Manifest) -> None:
    files = [write_file(shell, manifest.file, manifest.text) for manifest in manifests]
    shell.change(*cluster.kubectl, "apply", *APPLY_FLAGS, *(word for file in files for word in ("-f", str(file))))


def apply_private(shell: Shell, cluster: Cluster, file: Path, text: str) -> None:
    """Apply an object that contains a key, from a file that only the user can read and that is deleted afterwards."""
    try:
        shell.change(*cluster.kubectl, "apply", *APPLY_FLAGS, "-f", str(write_file(shell, file, text, private=True)))
    finally:
        if not shell.dry:
            file.unlink(missing_ok=True)
