"""One template to a text or a file, and rendered manifests to a cluster."""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Exit

from tasks.settings import Cluster
from tasks.shell import Shell
from tasks.values import PROJECT

if TYPE_CHECKING:
    from jinja2 import Environment

MANAGER = "dev-cluster-tasks"
"""The label, field manager and first-line marker by which we know what is ours."""

Manifest = dict[Path, str]
"""A rendered manifest: where its file goes, and its text."""

MARKER = f"# written by {MANAGER}"


def render(template: str, **values: Any) -> str:
    """The text of `templates/<template>` with these values; Exit when the template is wrong or asks for another one."""
    from jinja2 import TemplateError

    try:
        return templates().get_template(template).render(manager=MANAGER, marker=MARKER, **values)
    except (TemplateError, UnicodeDecodeError) as error:
        line = f", line {error.lineno}" if hasattr(error, "lineno") else ""
        raise Exit(f"templates/{template}{line}: {error}") from None


@cache
def templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(PROJECT / "templates"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["openssl"] = openssl_value
    environment.filters["regex"] = regex_value
    environment.filters["base64"] = lambda text: base64.b64encode(text.encode()).decode()
    return environment


def openssl_value(value: str) -> str:
    r"""A value that openssl's configuration reads as it is: in quotes, with `\` before `"` and `\` (config(5))."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def regex_value(name: str) -> str:
    """A domain as a part of a regular expression; checked DNS labels have no other special sign than the dot."""
    return name.replace(".", r"\.")


def write(shell: Shell, file: Path, text: str, private: bool = False) -> Path:
    """Write a file of ours, 0600 in a 0700 folder where it is private. Under --dry only say so."""
    if shell.dry:
        shell.note(f"write {file}")
        return file
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600 if private else 0o644)
    file.write_text(text, encoding="utf-8")
    return file


def work_file(name: str) -> Path:
    """Where a rendered file lies that is not a cluster's."""
    return PROJECT / ".work" / name


def work_folder(cluster: Cluster) -> Path:
    """Where a cluster's rendered manifests lie, to be looked at. Nothing is read back from there."""
    return PROJECT / ".work" / cluster.name


def manifest(cluster: Cluster, template: str, **values: Any) -> Manifest:
    """Where `templates/<template>` is rendered to for this cluster, and the text."""
    text = render(template, cluster=cluster, settings=cluster.settings, **values)
    return {work_folder(cluster) / Path(template).name: text}


OURS = ("--server-side", "--force-conflicts", f"--field-manager={MANAGER}")
"""Server-side apply with a field manager of our own, so that what others own in the same object stays theirs.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""


def differs(shell: Shell, cluster: Cluster, *manifests: Manifest) -> bool | None:
    """Whether applying would change anything in the cluster; None when the cluster does not say (yet)."""
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(text for rendered in manifests for text in rendered.values()):
            (Path(folder) / f"{number}.yaml").write_text(text, encoding="utf-8")
        code = shell.look(*cluster.kubectl, "diff", *OURS, "-f", folder).exited
    return {0: False, 1: True}.get(code)


def apply(shell: Shell, cluster: Cluster, *manifests: Manifest) -> bool:
    """Bring these objects into the cluster; False when all of them were there as they are."""
    if differs(shell, cluster, *manifests) is False:
        return False
    send(shell, cluster, *manifests)
    return True


def apply_admitted(shell: Shell, cluster: Cluster, webhook: str, *manifests: Manifest) -> bool:
    """Apply objects that a webhook must admit, once that Deployment of the cert-manager namespace answers."""
    found = differs(shell, cluster, *manifests)
    if found is False:
        return False
    if found is None:
        seconds = cluster.settings.timeout_ready
        shell.wait(f"{webhook} to run", seconds, *cluster.kubectl, "-n", "cert-manager", "rollout", "status",
                   f"deployment/{webhook}", f"--timeout={seconds}s")
        shell.until(f"{webhook} to answer", seconds, lambda: differs(shell, cluster, *manifests) is not None)
    send(shell, cluster, *manifests)
    return True


def send(shell: Shell, cluster: Cluster, *manifests: Manifest) -> None:
    files = [write(shell, file, text) for rendered in manifests for file, text in rendered.items()]
    shell.change(*cluster.kubectl, "apply", *OURS, *(word for file in files for word in ("-f", str(file))))


def apply_private(shell: Shell, cluster: Cluster, file: Path, text: str) -> None:
    """Apply an object that holds a key, by a file that is 0600 and gone afterwards."""
    try:
        shell.change(*cluster.kubectl, "apply", *OURS, "-f", str(write(shell, file, text, private=True)))
    finally:
        if not shell.dry:
            file.unlink(missing_ok=True)


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
