"""The task `status`: this machine, and every cluster of these settings, on one screen."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from invoke import Context, Exit, task

from tasks import dns, trust
from tasks.ca.intermediate import RENEW_DAYS
from tasks.ca.load import load_root
from tasks.ca.root import ROOT_EXPIRES_SOON, RootCA
from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.problems import Problem, ProblemExit, Reason, describe, problem
from tasks.core.progress import say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, SIGNS, Cell, print_json, print_table
from tasks.dns.resolver import resolves
from tasks.engine.clusters import K3dCluster, list_clusters, own_clusters
from tasks.probe.snapshot import ClusterSnapshot, kubelet_version, read_condition, take_snapshot
from tasks.tools import required

Entry = dict[str, Any]
"""A line of the screen; its keys are those of --json. `state` is one of table.SIGNS, `code` tells programs why."""


class StatusReason(Reason):
    NAMES_NOT_RESOLVED = "not resolved{how}: inv dns"
    ROOT_EXPIRES = "for {domains}, valid until {date}"


@task(klass=PlainTask, help=JSON_HELP)
def status(context: Context, json: bool = False) -> None:
    """Show this machine and the clusters on one screen

    Exits with 1 when something is red. To find out why: inv doctor.
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
    try:
        root = load_root(settings)
    except ProblemExit as error:
        return [engine(shell), entry("root", "red", error.problem), resolver(shell, settings)]
    return [engine(shell), authority(root, settings), *stores(shell, settings, root), resolver(shell, settings)]


def engine(shell: Shell) -> Entry:
    wrong = [why for tool in ("docker", "k3d") if (why := required.find_problem(shell, tool))]
    if wrong:
        return {"what": "engine", "state": "red", "is": "; ".join(map(describe, wrong)), "code": wrong[0].code}
    return {"what": "engine", "state": "green", "is": "answers", "code": "ok"}


def authority(root: RootCA, settings: Settings) -> Entry:
    until = problem(StatusReason.ROOT_EXPIRES, domains=", ".join(settings.owned_domains),
                    date=f"{root.expires:%Y-%m-%d}")
    if root.expires < datetime.now(timezone.utc) + ROOT_EXPIRES_SOON:
        return entry("root", "yellow", until)
    return {"what": "root", "state": "green", "is": describe(until), "code": "ok"}


def entry(what: str, state: str, why: Problem) -> Entry:
    return {"what": what, "state": state, "is": describe(why), "code": why.code}


def stores(shell: Shell, settings: Settings, root: RootCA) -> list[Entry]:
    return [{"what": f"trust in {row.target}", "state": row.state, "is": row.note, "code": row.code}
            for row in trust.trust_rows(shell, settings, root)]


def resolver(shell: Shell, settings: Settings) -> Entry:
    methods = [name for name, method in dns.METHODS.items() if method.found(shell)]
    good = all(map(resolves, settings.proof_names))
    how = f" by {', '.join(methods)}" if methods else ""
    what = f"names below {', '.join(settings.owned_domains)}"
    if good:
        return {"what": what, "state": "green", "is": f"resolved{how}", "code": "ok"}
    return entry(what, "yellow", problem(StatusReason.NAMES_NOT_RESOLVED, how=how))


# --- the clusters -----------------------------------------------------------------------------------------------------


def inspect_clusters(shell: Shell, settings: Settings) -> list[Entry]:
    try:
        found = list_clusters(shell)
    except Exit:
        if engine(shell)["state"] == "red":  # this machine's row reports it
            return []
        raise
    entries: list[Entry] = shell.side_by_side(
        [partial(inspect_cluster, shell, cluster, found[cluster.name]) for cluster in own_clusters(settings, found)])
    return entries


def inspect_cluster(shell: Shell, cluster: Cluster, found: K3dCluster) -> Entry:
    row: Entry = {"name": cluster.name, "state": "grey", "is": found.state, "code": "cluster-stopped",
                  "domain": cluster.domain, "http": cluster.http_port, "https": cluster.https_port,
                  "context": cluster.context, "k3s": "", "cert-manager": "", "trust-manager": "", "until": "",
                  "expiring": []}
    if found.state == "partly running":
        row |= {"state": "red", "code": "cluster-partly-running"}
    if found.running:
        row |= inspect_running(take_snapshot(shell, cluster))
    return row


def inspect_running(snapshot: ClusterSnapshot) -> Entry:
    if snapshot.error:
        return {"state": "red", "is": snapshot.error, "code": "api-not-answering"}
    unready = [*find_unready(snapshot)]
    node = next(snapshot.all("Node"), None)
    return {
        "state": "red" if unready else "green",
        "is": f"running; not ready: {', '.join(unready)}" if unready else "running",
        "code": "not-ready" if unready else "ok",
        "k3s": kubelet_version(node) if node else "",
        "cert-manager": snapshot.version("cert-manager"),
        "trust-manager": snapshot.version("trust-manager"),
        "until": intermediate_until(snapshot),
        "expiring": expiring(snapshot),
    }


def find_unready(snapshot: ClusterSnapshot) -> list[str]:
    """What is not ready of the things that names and trust depend on."""
    needed = (
        ("Deployment", "coredns", "kube-system", "Available"),
        ("Deployment", "traefik", "kube-system", "Available"),
        ("ClusterIssuer", "root-ca", "", "Ready"),
        ("Bundle", "default-ca-bundle", "", "Synced"),
    )
    return [name for kind, name, namespace, wanted in needed
            if not read_condition(snapshot.one(kind, name, namespace) or {}, wanted)[0]]


def intermediate_until(snapshot: ClusterSnapshot) -> str:
    from cryptography import x509

    try:
        return f"{x509.load_pem_x509_certificates(snapshot.chain)[0].not_valid_after_utc:%Y-%m-%d}"
    except ValueError:
        return ""


def expiring(snapshot: ClusterSnapshot) -> list[str]:
    """Certificates that expire within RENEW_DAYS, which cert-manager should have renewed before."""
    soon = f"{datetime.now(timezone.utc) + timedelta(days=RENEW_DAYS):%Y-%m-%dT%H:%M:%SZ}"
    return [f"{found['metadata']['namespace']}/{found['metadata']['name']}" for found in snapshot.all("Certificate")
            if (found.get("status") or {}).get("notAfter", soon) < soon]


# --- the screen -------------------------------------------------------------------------------------------------------


def show(machine: list[Entry], clusters: list[Entry]) -> None:
    print_table(["", "this machine", ""], [
        [sign(entry), entry["what"], Cell(entry["is"], entry["state"])] for entry in machine])
    if any(entry["what"] == "engine" and entry["state"] == "red" for entry in machine):
        say("The clusters cannot be listed. To find out why: inv doctor")
        return
    if not clusters:
        say("There is no cluster. Create one with: inv k3d-cluster-setup --n 1\n")
        return
    print_table(["", "cluster", "", "domain", "ports", "k3s, cert-manager, trust-manager", "CA until"], [
        [sign(entry), entry["name"], Cell(entry["is"], entry["state"]), entry["domain"],
         f"{entry['http']} {entry['https']}",
         " ".join(entry[part] for part in ("k3s", "cert-manager", "trust-manager")), entry["until"]]
        for entry in clusters])
    for entry in clusters:
        if entry["expiring"]:
            say(f"{entry['name']}: about to expire: {', '.join(entry['expiring'])}")
    if any(entry["state"] in ("red", "yellow") for entry in [*machine, *clusters]):
        say("To find out why, and what to do: inv doctor")


def sign(entry: Entry) -> Cell:
    return Cell(SIGNS[entry["state"]], entry["state"])
