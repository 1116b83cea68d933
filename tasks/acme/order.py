"""Order certificates that are missing, and renew those that are due."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from invoke import Exit

from tasks.acme.certificate import (
    AcmeCertificate,
    OrderReason,
    find_defect,
    find_reason_to_order,
    find_usable,
    read,
)
from tasks.acme.client import Client, folder_of, load_client
from tasks.acme.refusals import explain_refusal
from tasks.core import setting_types
from tasks.core.env_files import read_env_file
from tasks.core.problems import Problem, ProblemExit, Reason, describe, problem
from tasks.core.settings import READERS, Cluster, Settings
from tasks.core.shell import Shell

OWNER = ".dev-cluster-tasks"
"""A file in each folder of a server, by which an uninstall knows that these tasks created it."""


class AcmeReason(Reason):
    """Why no certificate can be ordered."""

    CLIENT_MISSING = "{program} is not installed"
    ENV_READABLE = "other users can read {file} (mode {mode}), which may hold the credentials of your DNS provider"
    NOT_ISSUED = "{program} exited without an error, but this machine has {found}"
    NOT_USABLE = "{cluster}: there is no valid certificate for *.{domain}: this machine has {found}"


def ensure(shell: Shell, clusters: Iterable[Cluster]) -> None:
    """With CERTIFICATES=acme: order the certificates of these clusters that are missing, and renew those that are due.

    One after another, because a client has one account and one folder for all of them.
    """
    for cluster in clusters:
        if cluster.settings.acme:
            ensure_one(shell, cluster)


def ensure_one(shell: Shell, cluster: Cluster) -> None:
    """Exit if the cluster has no certificate that it can serve. A renewal that fails is a warning until it expires."""
    client, settings = load_client(cluster), cluster.settings
    with (shell.step(cluster.name, f"certificate for *.{cluster.domain}") as this,
          shell.one_at_a_time("ACME folder", folder_of(settings))):
        try:
            if find_reason_to_order(cluster, client):
                # The client of a run that was killed completes its order; another one would order twice.
                shell.until_ended(*client.command[:2], part=cluster.domain)
            why = find_reason_to_order(cluster, client)
            if why is None:
                return this.skip(describe_certificate(client))
            if why.reason == OrderReason.CERTIFICATE_NOT_YET_VALID:  # another one would not be valid either
                raise not_usable(cluster, why)
            order(shell, settings, client)
        except Exit as error:
            if find_usable(cluster) is None:
                raise
            return this.warn(f"not renewed, {describe_certificate(client)}. Every run tries again, and so does: "
                             f"inv cert-renew\n{error.message}")
        if not shell.dry:
            require_issued(cluster, client)
            this.outcome = describe_certificate(client)


def order(shell: Shell, settings: Settings, client: Client) -> None:
    if not shell.find(client.program):
        raise ProblemExit(problem(AcmeReason.CLIENT_MISSING, program=client.program), f"Install it: {client.install}")
    if why := find_readable_env(settings):
        raise ProblemExit(why, f"Restrict it: chmod 600 {shlex.quote(str(why.details['file']))}")
    folder = folder_of(settings)
    if not shell.dry:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for place in (folder, folder.parent):
            place.chmod(0o700)
        (folder / OWNER).touch()
    Shell(shell.context, {**settings.environment, **client.environment}).change(
        *client.command, hint=explain_refusal)


def require_issued(cluster: Cluster, client: Client) -> None:
    """Exit if the client's files are not what it was told to order."""
    if found := find_defect(cluster, client):  # not if it is only due: the client decides for itself when it renews
        raise ProblemExit(problem(AcmeReason.NOT_ISSUED, program=client.program, found=describe(found)),
                          f"The command is in templates/acme/{cluster.settings.acme_client}.yaml, and so are the paths "
                          "of what it writes.")


def describe_certificate(client: Client) -> str:
    found = read(client)
    staging = ", which no program trusts: see ACME_SERVER in .default.env" if found.is_staging else ""
    return f"issued by {found.issuer}{staging}, valid until {found.expires:%Y-%m-%d}"


def find_readable_env(settings: Settings) -> Problem | None:
    """Whether others can read .env although it has keys for other programs, such as a token."""
    file: Path = setting_types.PROJECT / ".env"
    mode = file.stat().st_mode & 0o777 if file.is_file() and read_env_file(file, [], os.environ).keys() - READERS else 0
    return problem(AcmeReason.ENV_READABLE, file=file, mode=f"{mode:o}") if mode & 0o077 else None


def require_usable(cluster: Cluster) -> AcmeCertificate:
    """The certificate. Exit if there is none that the cluster can serve."""
    client = load_client(cluster)
    if why := find_defect(cluster, client):
        raise not_usable(cluster, why)
    return read(client)


def not_usable(cluster: Cluster, why: Problem) -> ProblemExit:
    remedy = "" if why.reason == OrderReason.CERTIFICATE_NOT_YET_VALID else "Order it with: inv cert-renew"
    return ProblemExit(problem(AcmeReason.NOT_USABLE, cluster=cluster.name, domain=cluster.domain,
                               found=describe(why)), remedy)
