"""Rendered manifests, applied to a cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from invoke.runners import Result

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import MANAGER
from tasks.core.work_files import work_folder, write_file

Manifest = dict[Path, str]
"""A rendered manifest: where its file goes, and its text."""


def manifest(cluster: Cluster, template: str, **values: Any) -> Manifest:
    """Where `templates/<template>` is rendered to for this cluster, and the text."""
    text = render(template, cluster=cluster, settings=cluster.settings, **values)
    return {work_folder(cluster) / Path(template).name: text}


APPLY_FLAGS = ("--server-side", "--force-conflicts", f"--field-manager={MANAGER}")
"""Server-side apply with a field manager of our own, so that what others own in the same object stays theirs.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""


def needs_apply(shell: Shell, cluster: Cluster, *manifests: Manifest) -> bool | None:
    """Whether applying would change anything in the cluster; None when the cluster does not say (yet)."""
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(text for rendered in manifests for text in rendered.values()):
            (Path(folder) / f"{number}.yaml").write_text(text, encoding="utf-8")
        code = shell.look(*cluster.kubectl, "diff", *APPLY_FLAGS, "-f", folder).exited
    return {0: False, 1: True}.get(code)


def dry_run(shell: Shell, cluster: Cluster, rendered: Manifest) -> Result:
    """What the API would make of an object that is not there, as JSON: all of admission, and nothing is kept."""
    with tempfile.TemporaryDirectory() as folder:
        for file, text in rendered.items():
            (Path(folder) / file.name).write_text(text, encoding="utf-8")
        return shell.look(*cluster.kubectl, "create", "--dry-run=server", "-o", "json", "-f", folder)


def apply(shell: Shell, cluster: Cluster, *manifests: Manifest) -> bool:
    """Bring these objects into the cluster; False when all of them were there as they are."""
    if needs_apply(shell, cluster, *manifests) is False:
        return False
    send_manifests(shell, cluster, *manifests)
    return True


def apply_admitted(shell: Shell, cluster: Cluster, webhook: str, *manifests: Manifest) -> bool:
    """Apply objects that a webhook must admit, once that Deployment of the cert-manager namespace answers."""
    found = needs_apply(shell, cluster, *manifests)
    if found is False:
        return False
    if found is None:
        seconds = cluster.settings.timeout_ready
        shell.wait(f"{webhook} to run", seconds, *cluster.kubectl, "-n", "cert-manager", "rollout", "status",
                   f"deployment/{webhook}", f"--timeout={seconds}s")
        shell.until(f"{webhook} to answer", seconds, lambda: needs_apply(shell, cluster, *manifests) is not None)
    send_manifests(shell, cluster, *manifests)
    return True


def send_manifests(shell: Shell, cluster: Cluster, *manifests: Manifest) -> None:
    files = [write_file(shell, file, text) for rendered in manifests for file, text in rendered.items()]
    shell.change(*cluster.kubectl, "apply", *APPLY_FLAGS, *(word for file in files for word in ("-f", str(file))))


def apply_private(shell: Shell, cluster: Cluster, file: Path, text: str) -> None:
    """Apply an object that holds a key, by a file that is 0600 and gone afterwards."""
    try:
        shell.change(*cluster.kubectl, "apply", *APPLY_FLAGS, "-f", str(write_file(shell, file, text, private=True)))
    finally:
        if not shell.dry:
            file.unlink(missing_ok=True)
