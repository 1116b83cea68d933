"""DNS for pods: names of this cluster resolve to its Traefik, names of other clusters to this host."""

from __future__ import annotations

import re

from invoke import Exit

from tasks import providers
from tasks.core.addresses import base_address
from tasks.core.by_number import THIS_MACHINE
from tasks.core.problems import describe
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.templates import regex_value, render, short_hash
from tasks.core.well_known import COREDNS_CONFIG, COREDNS_IMPORT, KUBE_SYSTEM, MANAGER, TRAEFIK_SERVICE
from tasks.core.work_files import work_folder, write_file
from tasks.engine import network
from tasks.in_cluster import flavour
from tasks.in_cluster.apply import apply, render_manifest
from tasks.probe import host_route, limits
from tasks.probe.cluster_dns import expected_answers, resolve_in_cluster
from tasks.probe.objects import get_object

SECONDS_OF_OTHERS = 60
"""How long a CoreDNS that belongs to somebody else may take to answer by our rules."""


def configure(shell: Shell, cluster: Cluster) -> None:
    """Apply Service and rules, restart CoreDNS if it has not loaded them, and verify its answers.

    Of a CoreDNS that cannot be changed, only that is reported: everything but names in pods works without.
    """
    if limit := limits.find_coredns_limit(shell, cluster):
        with shell.step(cluster.name, "names in CoreDNS") as this:
            apply(shell, cluster, render_manifest(cluster, "in_cluster/traefik-internal.yaml"))
            this.warn(f"not changed: {describe(limit)}. They work from this machine, "
                      "and pods trust the certificates.")
        return
    host = find_host_address(shell, cluster)
    with shell.step(cluster.name, "names in CoreDNS") as this:
        rules = render_rules(cluster, host)
        apply(shell, cluster, render_manifest(cluster, "in_cluster/traefik-internal.yaml"),
              render_manifest(cluster, "in_cluster/coredns-custom.yaml", rules=rules))
        remove_original_rules(shell, cluster)
        ensure_rules_loaded(shell, cluster, short_hash(rules))
        this.outcome = "resolved for this cluster" + (" and the others" if host else " only")
        try:
            verify_answers(shell, cluster, host)
        except Exit as error:
            if providers.of(cluster).MANAGES_LIFE:
                raise
            this.warn(f"{error.message}\n    Does another program reset the configuration of CoreDNS?")


def find_host_address(shell: Shell, cluster: Cluster) -> str:
    """This host's address as pods see it; empty, with a warning, if there is none."""
    with shell.step(cluster.name, "route to other clusters") as this:
        address, reached = host_route.find(shell, cluster)
        this.outcome = f"through this host, {address}"
        if not reached and not providers.of(cluster).MANAGES_LIFE:
            tried = ", ".join(host_route.candidates(shell, cluster)) or "K3D_BIND_ADDRESS, which is empty"
            this.outcome = f"none: its pods reach this machine by none of {tried}"
        elif not reached:
            this.warn(network.firewall_hint(shell, cluster.settings))
        return address


def read_host_address(rules: str) -> str:
    """The address of this host in rules that were rendered before; empty if they have none."""
    found = re.search(re.escape(rf"{regex_value('host.k3d.internal')})\.$") + r"\n.* IN A ([0-9.]+)\"", rules)
    return found[1] if found else ""


def render_rules(cluster: Cluster, host: str) -> str:
    """CoreDNS rules for the pods of this cluster; none for this machine's clusters if the host's address is empty."""
    names = names_by_address(cluster.settings)
    of_this_machine = names.pop(THIS_MACHINE)
    if host:
        names[host] = [*of_this_machine, *names.get(host, [])]
    return render("in_cluster/dev-clusters.override", cluster=cluster, settings=cluster.settings, host_address=host,
                  names_by_address={address: "|".join(found) for address, found in names.items()})


def names_by_address(settings: Settings) -> dict[str, list[str]]:
    """Regular expressions for the names of all clusters, of the front door's page and of this host."""
    domains: dict[str, list[str]] = {}
    for number in settings.numbers:
        domains.setdefault(settings.cluster(number).address, []).append(regex_value(settings.cluster_domain(number)))
    names = {address: [rf"([^_].*\.)?({'|'.join(found)})"] for address, found in domains.items()}
    if settings.k3d_subdomain:  # a bare TLD is never ours
        names.setdefault(base_address(settings), []).append(regex_value(settings.base_domain))
    names.setdefault(THIS_MACHINE, []).append(regex_value("host.k3d.internal"))
    return names


def remove_original_rules(shell: Shell, cluster: Cluster) -> None:
    """Remove the original's server block for the base domain, which takes precedence over our rules and loops."""
    key = f"{cluster.settings.base_domain}.server"
    config = get_object(shell, cluster, "configmap", COREDNS_CONFIG, KUBE_SYSTEM)
    if key not in config.get("data", {}):
        return
    with shell.step(cluster.name, f"key {key} of the original Taskfile in {COREDNS_CONFIG}") as this:
        patch = write_file(shell, work_folder(cluster) / "coredns-custom-remove.yaml", f"data:\n  {key}: null\n")
        shell.change(*cluster.kubectl, "-n", KUBE_SYSTEM, "patch", "configmap", COREDNS_CONFIG,
                     "--patch-file", str(patch))
        this.outcome = "removed, because it takes precedence over these rules"


def ensure_rules_loaded(shell: Shell, cluster: Cluster, rules_hash: str) -> None:
    """Restart CoreDNS, unless an annotation of its pods says that they have loaded these rules."""
    kubectl = (*cluster.kubectl, "-n", KUBE_SYSTEM)
    loaded = shell.look(*kubectl, "get", "deployment", "coredns", "-o",
                        f"jsonpath={{.spec.template.metadata.annotations.{MANAGER}/override}}").stdout
    if loaded.strip() == rules_hash:
        return
    k3s = flavour.is_k3s(shell, cluster)
    if k3s:  # it writes this key late, and a CoreDNS pod does not start without it
        shell.until("k3s to write NodeHosts for CoreDNS", cluster.settings.timeout_ready,
                    lambda: "NodeHosts" in flavour.read_coredns_config(shell, cluster))
    else:
        import_custom_rules(shell, cluster)
    patch = render_manifest(cluster, "in_cluster/coredns-restart.yaml", rules_hash=rules_hash, adds_volume=not k3s)
    write_file(shell, patch.file, patch.text)
    shell.change(*kubectl, "patch", "deployment", "coredns", "--patch-file", str(patch.file))
    shell.wait("CoreDNS to restart", cluster.settings.timeout_ready, *kubectl, "rollout", "status",
               "deployment/coredns", f"--timeout={cluster.settings.timeout_ready}s")


def import_custom_rules(shell: Shell, cluster: Cluster) -> None:
    """Have CoreDNS import coredns-custom, as that of k3s does.

    :raises Exit: if it has no server block for all names, such as one that was configured by hand.
    """
    there = flavour.read_coredns_config(shell, cluster).get("Corefile", "")
    if COREDNS_IMPORT in there:
        return
    corefile = limits.SERVER_BLOCK.sub(lambda first: f"{first[0]}    {COREDNS_IMPORT}\n", there, count=1)
    if corefile == there and not shell.dry:
        raise Exit(f"{cluster.name}: the Corefile in kube-system/coredns has no server block .:53, so these tasks "
                   f"cannot add their rules. Add this line to the block that answers pods: {COREDNS_IMPORT}")
    patch = render_manifest(cluster, "in_cluster/coredns-import.yaml", corefile=corefile)
    write_file(shell, patch.file, patch.text)
    shell.change(*cluster.kubectl, "-n", KUBE_SYSTEM, "patch", "configmap", "coredns", "--patch-file", str(patch.file))


def verify_answers(shell: Shell, cluster: Cluster, host: str) -> None:
    """Wait until CoreDNS answers with the expected addresses."""
    service = shell.look(*cluster.kubectl, "-n", KUBE_SYSTEM, "get", "service", TRAEFIK_SERVICE,
                         "-o", "jsonpath={.spec.clusterIP}").stdout
    expected = expected_answers(cluster, service, host)
    what = "CoreDNS to resolve " + " and ".join(f"{name} to {address}" for name, address in expected.items())
    seconds = cluster.settings.timeout_ready
    if not providers.of(cluster).MANAGES_LIFE:
        seconds = min(seconds, SECONDS_OF_OTHERS)
    shell.until(what, seconds, lambda: resolve_in_cluster(shell, cluster, list(expected)) == expected)
