"""Checks of the certificates that an ACME server issues, with CERTIFICATES=acme."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.acme.certificate import find_reason_to_order, find_usable
from tasks.acme.client import load_client
from tasks.acme.order import find_readable_env
from tasks.core.problems import Problem, describe
from tasks.doctor.check import ERROR, WARNING, Checks, ClusterView, Machine
from tasks.doctor.fixes import CONFIGURE
from tasks.in_cluster import default_certificate
from tasks.probe.tls import fetch_leaf

CHECKS, RUNNING = Checks(), Checks()


@CHECKS.check("acme-credentials", ERROR, "Anyone who can read a token of your DNS provider can change your domain.",
              "chmod 600 .env")
def env_is_private(machine: Machine) -> Iterator[Problem]:
    """Only you can read .env when it has credentials for an ACME client"""
    if machine.settings.acme and (why := find_readable_env(machine.settings)):
        yield why


@CHECKS.check("acme-certificates", WARNING, "It was never ordered, or no task has run while it was due, or its renewal "
              "failed: the message of inv cert-renew shows why.", "inv cert-renew")
def certificates(machine: Machine) -> Iterator[str]:
    """This machine has a certificate of the ACME server for each cluster, and none is due for renewal"""
    for view in machine.views if machine.settings.acme else ():
        if why := find_reason_to_order(view.cluster, load_client(view.cluster)):
            yield f"for *.{view.cluster.domain} this machine has {describe(why)}"


@CHECKS.check("acme-staging", WARNING, "ACME_SERVER is a staging server, for trying out.", "ACME_SERVER=https://acme-v02"
              ".api.letsencrypt.org/directory in .env, then: inv k3d-cluster-configure --all")
def no_staging(machine: Machine) -> Iterator[str]:
    """No certificate is one of a staging server, which no program trusts"""
    for view in machine.views if machine.settings.acme else ():
        found = find_usable(view.cluster)
        if found and found.is_staging:
            yield f"the one for *.{view.cluster.domain} was issued by {found.issuer}"


@RUNNING.check("acme-served", ERROR, "It was renewed while the cluster was stopped, or another TLSStore `default` "
               "takes precedence.", CONFIGURE, needs=["traefik", "ports-answer"])
def served(view: ClusterView) -> Iterator[str | Problem]:
    """Traefik serves the certificate of the ACME server for names without one of their own"""
    found = find_usable(view.cluster) if view.settings.acme else None
    if found is None:
        return
    if other := default_certificate.find_other_store(view.shell, view.cluster):
        yield other
    elif fetch_leaf(view.cluster, f"proof.{view.cluster.domain}") != found.leaf:
        yield f"the cluster does not serve the certificate for *.{view.cluster.domain} that this machine has"
