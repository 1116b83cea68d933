"""Checks of the caches, of the registry to push to, and of the nodes that use them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from tasks import providers, registries
from tasks.core.problems import Problem, Reason, problem
from tasks.core.shell import Shell
from tasks.doctor.check import WARNING, Advice, Checks, ClusterView, Fix, Machine
from tasks.doctor.fixes import CONFIGURE
from tasks.registries import api, containers, contents, mirrors, nodes
from tasks.registries.containers import Container, RegistryReason

CHECKS = Checks()
"""Of this machine."""


check = CHECKS.check

RUNNING = Checks()
"""For running clusters."""


check_running = RUNNING.check

class UpstreamReason(Reason):
    TOO_MANY_PULLS = "the cache of {registry} was refused by {upstream}, which limits the number of pulls: {error}"
    CERTIFICATE_NOT_TRUSTED = "the cache of {registry} does not trust the certificate of {upstream}: {error}"
    NOT_REACHED = "the cache of {registry} cannot reach {upstream}: {error}"


PATTERNS = {
    UpstreamReason.TOO_MANY_PULLS: "(?i)toomanyrequests|429|pull rate limit",
    UpstreamReason.CERTIFICATE_NOT_TRUSTED: "x509: |tls: failed to verify",
}
"""How the error that a cache reports shows the cause; any other one is a connection that failed."""


def ensure(machine: Machine) -> None:
    registries.ensure(machine.shell, machine.settings)


@check("registries", WARNING,
       "It was stopped or removed, it hangs, or the settings have changed. Nodes wait for a registry that hangs.",
       Fix("inv k3d-cluster-start --all", ensure), needs=["engine"],
       advice={RegistryReason.PORT_TAKEN: Advice(
           "Another registry, such as kind's, uses the same port.",
           "Stop what uses the port, or set another LOCAL_REGISTRY_PORT in .env; then: inv k3d-cluster-configure --all"
       )})
def registries_work(machine: Machine) -> Iterator[Problem]:
    """The caches of registries, and the registry to push to, are running and answer"""
    if machine.views:
        yield from (why for _, why in containers.find_faults(machine.shell, mirrors.list_registries(machine.settings)))


@check("registry-upstreams", WARNING, "This machine is offline, or the registry or the way to it has a problem.",
       "Nothing, if you are offline: what the caches keep still works.", needs=["registries"],
       link="https://docs.docker.com/docker-hub/usage/pulls/",
       advice={
           UpstreamReason.TOO_MANY_PULLS: Advice(
               "The registry counts the pulls of everyone behind your address who is not logged in.",
               "Wait, or set REGISTRY_CACHES in .env to a mirror (docker.io=https://...); what is kept still works"),
           UpstreamReason.CERTIFICATE_NOT_TRUSTED: Advice(
               "A company's proxy uses a CA that the caches do not trust.",
               "Set ADDITIONAL_CA_BUNDLE_FILE in .env; then: inv k3d-cluster-start --all"),
       })
def upstreams(machine: Machine) -> Iterator[Problem]:
    """Upstreams answer the caches that are in use"""
    existing = containers.find(machine.shell, machine.settings) if machine.views else {}
    caches = [cache for cache in mirrors.list_registries(machine.settings) if cache.upstream and cache.name in existing]
    errors = machine.shell.side_by_side([
        partial(find_upstream_error, machine.shell, existing[cache.name]) for cache in caches])
    for cache, error in zip(caches, errors, strict=True):
        if error:
            reason = next((reason for reason, pattern in PATTERNS.items() if re.search(pattern, error)),
                          UpstreamReason.NOT_REACHED)
            yield problem(reason, registry=cache.host, upstream=cache.upstream, error=error)


def find_upstream_error(shell: Shell, cache: Container) -> str:
    """Empty if the upstream answers, or nothing has been pulled from it yet."""
    used = contents.read(shell, cache).manifests
    return api.find_upstream_error(cache.url, used[0][0]) if used else ""


@check_running("node-registries", WARNING, "The cluster was created before the caches, or with other settings.",
               CONFIGURE, needs=["registries"])
def nodes_know_registries(view: ClusterView) -> Iterator[str]:
    """Its nodes ask the caches first, and know the registry to push to"""
    for node in view.existing.workers:
        wanted = mirrors.list_registries(view.settings)
        folder = providers.of(view.cluster).MIRRORS
        if wanted and (missing := nodes.find_missing(view.shell, wanted, node, folder)):
            yield f"{node} does not know the registries for {', '.join(registry.host for registry in missing)}"
