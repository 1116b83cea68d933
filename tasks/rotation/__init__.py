"""The task `cert-renew`: another root, while all goes on being trusted.

The order: a new root beside the old one; both into the stores and into the Bundles of all running clusters; then what
the clusters sign with; and last, with the last cluster, the old one goes (tasks/rotation.py). Each step looks at what
is there, so a run that was broken off at any point is gone on with by the next.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from invoke import Context, Exit, task

from tasks import trust
from tasks.ca.create import ROOT_DAYS, move_into_place, new_folder, sign_root
from tasks.ca.openssl import make_key
from tasks.ca.root import RootFiles, load_identity, load_key, load_retiring, load_root, read_root
from tasks.cluster import selection, setup
from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import per_cluster, say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.in_cluster import bundle
from tasks.rotation import overlap
from tasks.tools.required import require


@task(klass=PlainTask, help={
    **PRINT_SUDO,
    "new_key": "a new key too: for a key that others may have read, or a root that may sign for too much",
})
def cert_renew(context: Context, new_key: bool = False, print_sudo: bool = False) -> None:
    """Renew the root: new dates, or --new-key

    Both roots are trusted until no cluster needs the old one. Run it again to go on where a run was broken off.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "openssl")
    if any(running for _, running in overlap.clusters_on_this_machine(shell, settings)):
        require(shell, *selection.TOOLS)
    if print_sudo:
        if load_retiring(settings) is None:
            raise Exit("No renewal was begun, so nothing needs root yet. Begin it without --print-sudo.")
        with_sudo_plan(shell, lambda shell: change_stores(shell, settings), print_sudo)
        return
    if not begin_renewal(shell, settings, new_key):
        describe_remaining_steps(shell, settings)
        return
    with_sudo_plan(shell, lambda shell: trust.install(shell, settings))
    rotate(shell, clusters_to_rotate(shell, settings))
    overlap.finish(shell, settings)
    if not shell.dry:
        say("\nBrowsers, Java and whatever else reads its roots only when it starts must be started again.")


def change_stores(shell: Shell, settings: Settings) -> None:
    """What the stores lack now: the new root; and where no cluster needs the old one any more, that this goes."""
    trust.install(shell, settings)
    if load_retiring(settings) != load_root(settings) and not overlap.clusters_needing_old_root(shell, settings):
        trust.remove_root(shell, load_identity(RootFiles(settings, retiring=True).certificate))


# --- the new root -----------------------------------------------------------------------------------------------------


def begin_renewal(shell: Shell, settings: Settings, new_key: bool) -> bool:
    """Keep the root as the retiring one, and put a new one into its place. False under --dry, where none is made."""
    files, old = RootFiles(settings), RootFiles(settings, retiring=True)
    with shell.step("", "new root") as this, shell.one_at_a_time("CA folder", settings.cert_folder):
        if load_retiring(settings) is None:
            keep_old_root(shell, settings, new_key)
        elif new_key and not old.key.exists() and has_key_of(files, old):
            raise Exit("A renewal with the same key is not finished yet. Finish it first, with: inv cert-renew")
        if old.certificate.exists() and is_replaced(files, old):
            this.skip(f"made by an earlier run: {files.certificate}")
            return True
        replace_root(shell, settings, new_key=new_key or old.key.exists())
        if not shell.dry:
            this.outcome = (f"made: {files.certificate}, until {load_root(settings).not_valid_after_utc:%Y-%m-%d}. "
                            f"The old one is {old.certificate}, until no cluster needs it")
    return not shell.dry


def keep_old_root(shell: Shell, settings: Settings, new_key: bool) -> None:
    """Copy the root beside itself, its certificate last: with that the renewal has begun.

    :raises Exit: when that root is no use for this, or a key lies where its key would be copied to.
    """
    files, old = RootFiles(settings), RootFiles(settings, retiring=True)
    if new_key:
        read_root(files)
        if old.key.exists() and old.key.read_bytes() != files.key.read_bytes():
            raise Exit(f"{old.key} is no copy of {files.key.name}, and its certificate is missing. Nothing was changed."
                       "\nLook whether somebody needs it, and move it away.")
        copy_private(shell, files.key, old.key)
    else:
        load_root(settings, at_any_time=True)
    copy_private(shell, files.certificate, old.certificate)


def copy_private(shell: Shell, file: Path, to: Path) -> None:
    """A copy for the user alone, that is whole or not there."""
    if shell.dry:
        shell.note(f"copy {file} to {to.name}")
        return
    part = to.with_name(f".{to.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_bytes(file.read_bytes())
    part.replace(to)


def is_replaced(files: RootFiles, old: RootFiles) -> bool:
    return files.certificate.exists() and files.certificate.read_bytes() != old.certificate.read_bytes()


def has_key_of(files: RootFiles, old: RootFiles) -> bool:
    retiring = load_retiring(old.settings)
    return retiring is not None and load_key(files).public_key() == retiring.public_key()


def replace_root(shell: Shell, settings: Settings, new_key: bool) -> None:
    """Make the new root, and move it into the place of the old one once it is whole."""
    files, old = RootFiles(settings), RootFiles(settings, retiring=True)
    new = new_folder(shell, files)
    try:
        if not new_key:
            renew_dates(shell, files, new)
        elif shell.dry or not files.key.exists() or has_key_of(files, old):
            sign_root(shell, settings, make_key(shell, new / files.key.name), new)
        else:  # an earlier run has come as far as the key
            sign_root(shell, settings, files.key, new)
        move_into_place(shell, files, new)
    finally:
        if not shell.dry:
            shutil.rmtree(new, ignore_errors=True)


def renew_dates(shell: Shell, files: RootFiles, new: Path) -> None:
    """The same certificate for the same key, from now on. Its serial is another one, as NSS and RFC 5280 want it."""
    shell.change("openssl", "x509", "-sha256", "-in", str(files.certificate), "-signkey", str(files.key),
                 "-days", str(ROOT_DAYS), "-set_serial", f"0x01{secrets.token_hex(15)}",
                 "-out", str(new / files.certificate.name))


def describe_remaining_steps(shell: Shell, settings: Settings) -> None:
    """What a run goes on with, where a rehearsal has no new root to show it by."""
    clusters = overlap.clusters_on_this_machine(shell, settings)
    running = ", ".join(cluster.name for cluster, runs in clusters if runs) or "none"
    stopped = ", ".join(cluster.name for cluster, runs in clusters if not runs)
    shell.note(f"both roots: into the trust stores ({', '.join(settings.trust_stores) or 'none'})")
    shell.note(f"both roots: into the bundles of the clusters that run ({running})")
    shell.note("then there: new intermediates, and new certificates of theirs")
    shell.note(f"then the old root: out of stores and bundles, its files deleted; not before {stopped} was configured"
               if stopped else "then the old root: out of stores and bundles, its files deleted")


# --- the clusters -----------------------------------------------------------------------------------------------------


def clusters_to_rotate(shell: Shell, settings: Settings) -> list[Cluster]:
    """Those that run, and are of the old or the new root.

    :raises Exit: when one runs and does not answer: its pods would not trust the others.
    """
    root, old, clusters = load_root(settings), load_retiring(settings), []
    for cluster, running in overlap.clusters_on_this_machine(shell, settings):
        which = overlap.find_signing_root(shell, cluster, root, old) if running else overlap.NEITHER
        if not which:
            raise Exit(f"{cluster.name} runs and does not answer. Until it does no cluster gets certificates of the "
                       f"new root, which pods there would refuse.\nMend it with: {overlap.setup_command(cluster)}\n"
                       f"Or leave it out: inv k3d-cluster-stop --n {cluster.number}\nThen: inv cert-renew")
        if which != overlap.NEITHER:
            clusters.append(cluster)
    return clusters


def rotate(shell: Shell, clusters: list[Cluster]) -> None:
    """Have the pods of all clusters trust both roots, and only then the clusters sign by the new one."""
    for job in (trust_both, bundle.wait_for_pods, setup.configure):
        per_cluster(clusters, lambda cluster, job=job: job(shell, cluster), at_once=not shell.dry)  # type: ignore[misc]


def trust_both(shell: Shell, cluster: Cluster) -> None:
    with shell.one_at_a_time("cluster", cluster.name):
        bundle.configure(shell, cluster)
