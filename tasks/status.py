"""What there is, on one screen: this machine, and every cluster of these settings."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from invoke import Context, Exit, task

from tasks import dns, trust
from tasks.ca.intermediate import RENEW_DAYS
from tasks.ca.root import load_root
from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, SIGNS, Cell, print_json, print_table
from tasks.dns.resolver import resolves
from tasks.engine.clusters import K3dCluster, list_clusters, own_clusters
from tasks.probe.snapshot import ClusterSnapshot, kubelet_version, read_condition, take_snapshot
from tasks.tools import required

Entry = dict[str, Any]
"""A line of the screen; its keys are those of --json. `state` is one of table.SIGNS."""


@task(klass=PlainTask, help=JSON_HELP)
def status(context: Context, json: bool = False) -> None:
    """Show this machine and the clusters on one screen

    Ends with 1 when something is red. Why it is red, and what to do: inv doctor.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    machine, clusters = shell.side_by_side([
        partial(inspect_machine, shell, settings), partial(inspect_clusters, shell, settings)])
    if json:
        print_json({"machine": machine, "clusters": clusters})
    else:
        show(machine, clusters)
    if any(entry["state"] == "red" for entry in [*machine, *clusters]):
        raise Exit(code=1)


# --- this machine -----------------------------------------------------------------------------------------------------


def inspect_machine(shell: Shell, settings: Settings) -> list[Entry]:
    return [engine(shell), authority(settings), *stores(shell, settings), resolver(shell, settings)]


def engine(shell: Shell) -> Entry:
    wrong = [why for tool in ("docker", "k3d") if (why := required.find_problem(shell, tool))]
    return {"what": "engine", "state": "red" if wrong else "green", "is": "; ".join(wrong) or "answers"}


def authority(settings: Settings) -> Entry:
    try:
        root = load_root(settings)
    except Exit as error:
        return {"what": "root", "state": "red", "is": str(error.message).splitlines()[0]}
    soon = root.not_valid_after_utc < datetime.now(timezone.utc) + timedelta(days=90)
    return {"what": "root", "state": "yellow" if soon else "green",
            "is": f"for {', '.join(settings.owned_domains)}, until {root.not_valid_after_utc:%Y-%m-%d}"}


def stores(shell: Shell, settings: Settings) -> list[Entry]:
    try:
        rows = trust.trust_rows(shell, settings)
    except Exit:  # the line above has told why
        return []
    return [{"what": f"trust in {row.target}", "state": row.state, "is": row.note} for row in rows]


def resolver(shell: Shell, settings: Settings) -> Entry:
    methods = [name for name, method in dns.METHODS.items() if method.found(shell)]
    good = all(map(resolves, settings.proof_names))
    how = f" by {', '.join(methods)}" if methods else ""
    return {"what": f"names below {', '.join(settings.owned_domains)}", "state": "green" if good else "yellow",
            "is": f"resolved{how}" if good else f"not resolved{how}: inv dns"}


# --- the clusters -----------------------------------------------------------------------------------------------------


def inspect_clusters(shell: Shell, settings: Settings) -> list[Entry]:
    try:
        found = list_clusters(shell)
    except Exit:
        if engine(shell)["state"] == "red":  # which is told of this machine
            return []
        raise
    entries: list[Entry] = shell.side_by_side(
        [partial(inspect_cluster, shell, cluster, found[cluster.name]) for cluster in own_clusters(settings, found)])
    return entries


def inspect_cluster(shell: Shell, cluster: Cluster, found: K3dCluster) -> Entry:
    entry: Entry = {"name": cluster.name, "state": "grey", "is": found.state, "domain": cluster.domain,
                    "http": cluster.http_port, "https": cluster.https_port, "context": cluster.context,
                    "k3s": "", "cert-manager": "", "trust-manager": "", "until": "", "expiring": []}
    if found.state == "partly running":
        entry["state"] = "red"
    if found.running:
        entry |= inspect_running(take_snapshot(shell, cluster))
    return entry


def inspect_running(seen: ClusterSnapshot) -> Entry:
    if seen.error:
        return {"state": "red", "is": seen.error}
    wrong = [*find_unready(seen)]
    node = next(seen.all("Node"), None)
    return {
        "state": "red" if wrong else "green",
        "is": f"running; not ready: {', '.join(wrong)}" if wrong else "running",
        "k3s": kubelet_version(node) if node else "",
        "cert-manager": seen.version("cert-manager"),
        "trust-manager": seen.version("trust-manager"),
        "until": intermediate_until(seen),
        "expiring": expiring(seen),
    }


def find_unready(seen: ClusterSnapshot) -> list[str]:
    """What is not ready of the things that names and trust rest on."""
    needed = (
        ("Deployment", "coredns", "kube-system", "Available"),
        ("Deployment", "traefik", "kube-system", "Available"),
        ("ClusterIssuer", "root-ca", "", "Ready"),
        ("Bundle", "default-ca-bundle", "", "Synced"),
    )
    return [name for kind, name, namespace, wanted in needed
            if not read_condition(seen.one(kind, name, namespace) or {}, wanted)[0]]


def intermediate_until(seen: ClusterSnapshot) -> str:
    from cryptography import x509

    try:
        return f"{x509.load_pem_x509_certificates(seen.chain)[0].not_valid_after_utc:%Y-%m-%d}"
    except ValueError:
        return ""


def expiring(seen: ClusterSnapshot) -> list[str]:
    """Certificates that end within RENEW_DAYS, and that cert-manager should have renewed before."""
    soon = f"{datetime.now(timezone.utc) + timedelta(days=RENEW_DAYS):%Y-%m-%dT%H:%M:%SZ}"
    return [f"{found['metadata']['namespace']}/{found['metadata']['name']}" for found in seen.all("Certificate")
            if (found.get("status") or {}).get("notAfter", soon) < soon]


# --- the screen -------------------------------------------------------------------------------------------------------


def show(machine: list[Entry], clusters: list[Entry]) -> None:
    print_table(["", "this machine", ""], [
        [sign(entry), entry["what"], Cell(entry["is"], entry["state"])] for entry in machine])
    if any(entry["what"] == "engine" and entry["state"] == "red" for entry in machine):
        say("The clusters cannot be seen. Why, and what to do: inv doctor")
        return
    if not clusters:
        say("There is no cluster. Make one with: inv k3d-cluster-setup --n 1\n")
        return
    print_table(["", "cluster", "", "domain", "ports", "k3s, cert-manager, trust-manager", "CA until"], [
        [sign(entry), entry["name"], Cell(entry["is"], entry["state"]), entry["domain"],
         f"{entry['http']} {entry['https']}",
         " ".join(entry[part] for part in ("k3s", "cert-manager", "trust-manager")), entry["until"]]
        for entry in clusters])
    for entry in clusters:
        if entry["expiring"]:
            say(f"{entry['name']}: about to end: {', '.join(entry['expiring'])}")
    if any(entry["state"] in ("red", "yellow") for entry in [*machine, *clusters]):
        say("Why, and what to do: inv doctor")


def sign(entry: Entry) -> Cell:
    return Cell(SIGNS[entry["state"]], entry["state"])
