"""Names for pods: this cluster's lead to its own Traefik, other clusters' to this host, which publishes their ports."""

from __future__ import annotations

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.templates import regex_value, render, short_hash
from tasks.core.work_files import work_folder, write_file
from tasks.engine import network
from tasks.in_cluster.apply import apply, manifest
from tasks.probe.cluster_dns import expected_answers, resolve_in_cluster


def configure(shell: Shell, cluster: Cluster) -> None:
    """The Service and the rules, CoreDNS restarted where it has not read them, and its answers as the proof."""
    host = find_host(shell, cluster)
    with shell.step(cluster.name, "names in CoreDNS") as this:
        rules = render_rules(cluster, host)
        apply(shell, cluster, manifest(cluster, "in_cluster/traefik-internal.yaml"),
              manifest(cluster, "in_cluster/coredns-custom.yaml", rules=rules))
        remove_rules_of_the_original(shell, cluster)
        restart(shell, cluster, short_hash(rules))
        verify_answers(shell, cluster, host)
        this.outcome = "answered for this cluster" + (" and for others" if host else " alone")


def find_host(shell: Shell, cluster: Cluster) -> str:
    """This host's address as pods see it; empty, with a warning, where there is none."""
    with shell.step(cluster.name, "way to other clusters") as this:
        address, reached = network.host_address(shell, cluster)
        this.outcome = f"through this host, {address}"
        if not reached:
            this.warn(network.firewall_hint(shell, cluster.settings))
        return address


def render_rules(cluster: Cluster, host: str) -> str:
    """CoreDNS rules for the pods of this cluster; without an address for the host none for other clusters."""
    settings = cluster.settings
    every_cluster = "|".join(regex_value(settings.cluster_domain(number)) for number in settings.numbers)
    return render("in_cluster/dev-clusters.override", cluster=cluster, settings=settings, host_address=host,
                  every_cluster=every_cluster)


def remove_rules_of_the_original(shell: Shell, cluster: Cluster) -> None:
    """Remove the original's server block for the base domain: it would win over our rules, and it loops."""
    key = f"{cluster.settings.base_domain}.server"
    kubectl = (*cluster.kubectl, "-n", "kube-system")
    path = key.replace(".", r"\.")
    if not shell.look(*kubectl, "get", "configmap", "coredns-custom", "-o", f"jsonpath={{.data.{path}}}").stdout:
        return
    with shell.step(cluster.name, f"key {key} of the original Taskfile in coredns-custom") as this:
        patch = write_file(shell, work_folder(cluster) / "coredns-custom-remove.yaml", f"data:\n  {key}: null\n")
        shell.change(*kubectl, "patch", "configmap", "coredns-custom", "--patch-file", str(patch))
        this.outcome = "removed, it would win over these rules"


def restart(shell: Shell, cluster: Cluster, wanted: str) -> None:
    """Restart CoreDNS when an annotation of its pods does not say that they have read these rules."""
    kubectl = (*cluster.kubectl, "-n", "kube-system")
    read = shell.look(*kubectl, "get", "deployment", "coredns", "-o",
                      "jsonpath={.spec.template.metadata.annotations.dev-cluster-tasks/override}").stdout
    if read.strip() == wanted:
        return
    # k3s writes this key late, and a CoreDNS pod does not start without it.
    shell.until("k3s to write NodeHosts for CoreDNS", cluster.settings.timeout_ready,
                lambda: "NodeHosts" in shell.look(*kubectl, "get", "configmap", "coredns",
                                                  "-o", "jsonpath={.data}").stdout)
    for file, text in manifest(cluster, "in_cluster/coredns-restart.yaml", rules_hash=wanted).items():
        write_file(shell, file, text)
        shell.change(*kubectl, "patch", "deployment", "coredns", "--patch-file", str(file))
    shell.wait("CoreDNS to restart", cluster.settings.timeout_ready, *kubectl, "rollout", "status",
               "deployment/coredns", f"--timeout={cluster.settings.timeout_ready}s")


def verify_answers(shell: Shell, cluster: Cluster, host: str) -> None:
    """Wait until CoreDNS gives the right addresses."""
    service = shell.look(*cluster.kubectl, "-n", "kube-system", "get", "service", "traefik-internal",
                         "-o", "jsonpath={.spec.clusterIP}").stdout
    wanted = expected_answers(cluster, service, host)
    what = "CoreDNS to answer " + " and ".join(f"{name} with {address}" for name, address in wanted.items())
    shell.until(what, cluster.settings.timeout_ready,
                lambda: resolve_in_cluster(shell, cluster, list(wanted)) == wanted)
