"""DNS for pods: names of this cluster resolve to its Traefik, names of other clusters to this host."""

from __future__ import annotations

import re

from invoke import Exit

from tasks import providers
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.templates import regex_value, render, short_hash
from tasks.core.well_known import COREDNS_CONFIG, KUBE_SYSTEM, MANAGER, TRAEFIK_SERVICE
from tasks.core.work_files import work_folder, write_file
from tasks.engine import network
from tasks.in_cluster import flavour
from tasks.in_cluster.apply import apply, render_manifest
from tasks.probe import host_route
from tasks.probe.cluster_dns import expected_answers, resolve_in_cluster
from tasks.probe.objects import get_object

IMPORT = "import /etc/coredns/custom/*.override"
"""The line of a Corefile that reads our rules."""


def configure(shell: Shell, cluster: Cluster) -> None:
    """Apply Service and rules, restart CoreDNS if it has not loaded them, and verify its answers."""
    host = find_host_address(shell, cluster)
    with shell.step(cluster.name, "names in CoreDNS") as this:
        rules = render_rules(cluster, host)
        apply(shell, cluster, render_manifest(cluster, "in_cluster/traefik-internal.yaml"),
              render_manifest(cluster, "in_cluster/coredns-custom.yaml", rules=rules))
        remove_original_rules(shell, cluster)
        ensure_rules_loaded(shell, cluster, short_hash(rules))
        verify_answers(shell, cluster, host)
        this.outcome = "resolved for this cluster" + (" and the others" if host else " only")


def find_host_address(shell: Shell, cluster: Cluster) -> str:
    """This host's address as pods see it; empty, with a warning, if there is none."""
    with shell.step(cluster.name, "route to other clusters") as this:
        address, reached = host_route.find(shell, cluster)
        this.outcome = f"through this host, {address}"
        if not reached and not providers.of(cluster).MANAGES_LIFE:
            this.outcome = ("none: its pods reach this machine by none of "
                            f"{', '.join(host_route.candidates(shell, cluster))}")
        elif not reached:
            this.warn(network.firewall_hint(shell, cluster.settings))
        return address


def read_host_address(rules: str) -> str:
    """The address of this host in rules that were rendered before; empty if they have none."""
    found = re.search(r"IN A (\d+\.\d+\.\d+\.\d+)\"", rules)
    return found[1] if found else ""


def render_rules(cluster: Cluster, host: str) -> str:
    """CoreDNS rules for the pods of this cluster; none for other clusters if the host's address is empty."""
    settings = cluster.settings
    every_cluster = "|".join(regex_value(settings.cluster_domain(number)) for number in settings.numbers)
    # A bare TLD, where K3D_SUBDOMAIN is empty, is never ours.
    page = [regex_value(settings.base_domain)] if settings.k3d_subdomain else []
    names = [rf"([^_].*\.)?({every_cluster})", *page, regex_value("host.k3d.internal")]
    return render("in_cluster/dev-clusters.override", cluster=cluster, settings=settings, host_address=host,
                  names_of_host="|".join(names))


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
    if IMPORT in there:
        return
    corefile = re.sub(r"^(\s*\.(?::53)?\s*\{[ \t]*\n)", rf"\1    {IMPORT}\n", there, count=1, flags=re.MULTILINE)
    if corefile == there and not shell.dry:
        raise Exit(f"{cluster.name}: the Corefile in kube-system/coredns has no server block .:53, so these tasks "
                   f"cannot add their rules. Add this line to the block that answers pods: {IMPORT}")
    patch = render_manifest(cluster, "in_cluster/coredns-import.yaml", corefile=corefile)
    write_file(shell, patch.file, patch.text)
    shell.change(*cluster.kubectl, "-n", KUBE_SYSTEM, "patch", "configmap", "coredns", "--patch-file", str(patch.file))


def verify_answers(shell: Shell, cluster: Cluster, host: str) -> None:
    """Wait until CoreDNS answers with the expected addresses."""
    service = shell.look(*cluster.kubectl, "-n", KUBE_SYSTEM, "get", "service", TRAEFIK_SERVICE,
                         "-o", "jsonpath={.spec.clusterIP}").stdout
    expected = expected_answers(cluster, service, host)
    what = "CoreDNS to resolve " + " and ".join(f"{name} to {address}" for name, address in expected.items())
    shell.until(what, cluster.settings.timeout_ready,
                lambda: resolve_in_cluster(shell, cluster, list(expected)) == expected)
