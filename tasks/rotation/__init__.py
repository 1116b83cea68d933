"""The task `cert-renew`: replace the root while everything stays trusted.

The order: create the new root beside the former one; add both to the trust stores and to the Bundles of all running
clusters; issue new intermediates to the clusters; remove the former root once no cluster needs it (see overlap.py).
Each step checks what exists, so the next run resumes an interrupted one at any point.
"""

from __future__ import annotations

import secrets
import shutil
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from invoke import Context, Exit, task

from tasks import providers, trust
from tasks.ca.create import ROOT_DAYS, make_temporary_folder, move_into_place, sign_root
from tasks.ca.load import load_key, load_retiring, load_root, load_roots, read_root
from tasks.ca.openssl import make_key
from tasks.ca.root import RENEW, ROOT_EXPIRES_SOON, RootCA, RootFiles, Roots
from tasks.cluster import setup
from tasks.cluster.selection import TO_CONFIGURE
from tasks.core import configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import per_cluster, say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.in_cluster import bundle
from tasks.rotation import acme, overlap
from tasks.rotation.overlap import IssuedBy
from tasks.tools.required import require


@task(klass=PlainTask, help={
    **PRINT_SUDO,
    "new_key": "a new key too: for a key that others may have read, or a root that may sign for too much",
})
def cert_renew(context: Context, new_key: bool = False, print_sudo: bool = False) -> None:
    """Renew the root CA; --new-key replaces its key too

    Both roots are trusted until no cluster needs the former one. Run it again to resume an interrupted renewal.
    With CERTIFICATES=acme: renew the certificates of the ACME server that are due, and the root if it expires soon.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "openssl")
    if settings.acme and not print_sudo:
        require(shell, *providers.needed_tools(settings, *TO_CONFIGURE))
        acme.renew(shell, settings)
        if not (new_key or needs_renewal(settings)):
            return
    if any(running for _, running in overlap.clusters_on_this_machine(shell, settings)):
        require(shell, *providers.needed_tools(settings, *TO_CONFIGURE))
    if print_sudo:
        if load_retiring(settings) is None:
            raise Exit("No renewal is in progress, so nothing needs root yet. Start one without --print-sudo.")
        with_sudo_plan(shell, lambda shell: update_trust_stores(shell, settings), print_sudo)
        return
    if not begin_renewal(shell, settings, new_key):
        print_remaining_steps(shell, settings)
        return
    with_sudo_plan(shell, lambda shell: trust.install(shell, settings))
    roots = load_roots(settings)
    rotate(shell, clusters_to_rotate(shell, settings, roots), roots)
    overlap.finish(shell, settings)
    if not shell.dry:
        say("\nRestart browsers, Java and other programs that read their roots only at startup.")


def needs_renewal(settings: Settings) -> bool:
    """Whether a renewal of the root is in progress, or the root expires soon."""
    files = RootFiles.of(settings)
    return load_retiring(settings) is not None or (
        files.certificate.exists() and read_root(files).expires < datetime.now(timezone.utc) + ROOT_EXPIRES_SOON)


def update_trust_stores(shell: Shell, settings: Settings) -> None:
    """Add the new root to the trust stores, and remove the former one if no cluster needs it."""
    trust.install(shell, settings)
    roots = load_roots(settings)
    if roots.retiring and not roots.lack_new_root and not overlap.list_holders(shell, settings, roots):
        trust.remove_root(shell, roots.retiring)


# --- the new root -----------------------------------------------------------------------------------------------------


def begin_renewal(shell: Shell, settings: Settings, new_key: bool) -> bool:
    """Keep the root as the former one, and create a new one in its place. False under --dry, which creates none."""
    files, former = RootFiles.of(settings), RootFiles.of(settings, retiring=True)
    with shell.step("", "new root") as this, shell.one_at_a_time("CA folder", settings.cert_folder):
        if load_retiring(settings) is None:
            keep_former_root(shell, settings, new_key)
        elif new_key and not former.key.exists() and is_same_key(files, load_retiring(settings)):
            raise Exit("A renewal with the same key is in progress. Finish it first with: inv cert-renew")
        if former.certificate.exists() and is_replaced(files, former):
            this.skip(f"created by an earlier run: {files.certificate}")
            return True
        replace_root(shell, settings, new_key=new_key or former.key.exists())
        if not shell.dry:
            this.outcome = (f"created: {files.certificate}, valid until {load_root(settings).expires:%Y-%m-%d}. "
                            f"The former root is kept as {former.certificate} until no cluster needs it")
    return not shell.dry


def keep_former_root(shell: Shell, settings: Settings, new_key: bool) -> None:
    """Copy the root to the files of the former one, the certificate last: once that exists, the renewal is in progress.

    :raises Exit: if the root cannot be renewed, or the former root's key file exists and has other content.
    """
    files, former = RootFiles.of(settings), RootFiles.of(settings, retiring=True)
    if new_key:
        read_root(files)
        if former.key.exists() and former.key.read_bytes() != files.key.read_bytes():
            raise Exit(f"{former.key} is not a copy of {files.key.name}, and its certificate is missing. Nothing was "
                       "changed.\nCheck whether anyone needs it, and move it away.")
        copy_private(shell, files.key, former.key)
    else:
        load_root(settings, ignore_dates=True)
    copy_private(shell, files.certificate, former.certificate)


def copy_private(shell: Shell, file: Path, to: Path) -> None:
    """Copy a file atomically, readable only by the user."""
    if shell.dry:
        shell.note(f"copy {file} to {to.name}")
        return
    part = to.with_name(f".{to.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_bytes(file.read_bytes())
    part.replace(to)


def is_replaced(files: RootFiles, former: RootFiles) -> bool:
    return files.certificate.exists() and files.certificate.read_bytes() != former.certificate.read_bytes()


def is_same_key(files: RootFiles, retiring: RootCA | None) -> bool:
    return retiring is not None and load_key(files).public_key() == retiring.certificate.public_key()


def replace_root(shell: Shell, settings: Settings, new_key: bool) -> None:
    """Create the new root in a temporary folder, and replace the current one once it is complete."""
    files = RootFiles.of(settings)
    folder = make_temporary_folder(shell, files)
    try:
        if not new_key:
            renew_dates(shell, files, folder)
        elif shell.dry or not files.key.exists() or is_same_key(files, load_retiring(settings)):
            sign_root(shell, settings, make_key(shell, folder / files.key.name), folder)
        else:  # an interrupted run has already replaced the key
            sign_root(shell, settings, files.key, folder)
        move_into_place(shell, settings, folder)
    finally:
        if not shell.dry:
            shutil.rmtree(folder, ignore_errors=True)


def renew_dates(shell: Shell, files: RootFiles, folder: Path) -> None:
    """Sign the same certificate with the same key and new dates; with a new serial, as NSS and RFC 5280 require."""
    shell.change("openssl", "x509", "-sha256", "-in", str(files.certificate), "-signkey", str(files.key),
                 "-days", str(ROOT_DAYS), "-set_serial", f"0x01{secrets.token_hex(15)}",
                 "-out", str(folder / files.certificate.name))


def print_remaining_steps(shell: Shell, settings: Settings) -> None:
    """Under --dry: describe the next steps, because there is no new root whose commands could be printed."""
    clusters = overlap.clusters_on_this_machine(shell, settings)
    running = ", ".join(cluster.name for cluster, is_running in clusters if is_running) or "none"
    stopped = ", ".join(cluster.name for cluster, is_running in clusters if not is_running)
    shell.note(f"add both roots to the trust stores ({', '.join(settings.trust_stores) or 'none'})")
    shell.note(f"add both roots to the bundles of the running clusters ({running})")
    shell.note("then create new intermediates there, and have certificates reissued")
    shell.note("then remove the former root from trust stores and bundles, and delete its files"
               + (f", but only after {stopped} is configured" if stopped else ""))


# --- the clusters -----------------------------------------------------------------------------------------------------


def clusters_to_rotate(shell: Shell, settings: Settings, roots: Roots) -> list[Cluster]:
    """The running clusters whose certificates are issued by the new or the former root.

    :raises Exit: if one is running but does not answer, because its pods would not trust the other clusters.
    """
    clusters = []
    for cluster, issuer in overlap.clusters_by_root(shell, settings, roots):
        if issuer == IssuedBy.UNKNOWN:
            raise Exit(f"{cluster.name} is running but does not answer. Its pods would reject certificates issued by "
                       "the new root, so no cluster uses that yet.\n"
                       f"Fix it with: {overlap.setup_command(cluster)}\n"
                       f"Or exclude it with: inv k3d-cluster-stop --n {cluster.number}\nThen run: {RENEW}")
        if issuer != IssuedBy.NEITHER:
            clusters.append(cluster)
    return clusters


def rotate(shell: Shell, clusters: list[Cluster], roots: Roots) -> None:
    """Make the pods of all clusters trust both roots, and only then switch the clusters to the new one."""
    for job in (trust_both, bundle.wait_for_pods, setup.configure):
        per_cluster(clusters, partial(job, shell, roots=roots), at_once=not shell.dry)


def trust_both(shell: Shell, cluster: Cluster, roots: Roots) -> None:
    with shell.one_at_a_time("cluster", cluster.name):
        bundle.configure(shell, cluster, roots)
