"""The task `status`: this machine and every cluster of these settings, on one screen."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from invoke import Context, Exit, task

from tasks import dns, providers, trust
from tasks.acme.certificate import find_reason_to_order
from tasks.acme.client import load_client
from tasks.acme.order import describe_certificate
from tasks.ca.intermediate import RENEW_DAYS
from tasks.ca.load import load_root
from tasks.ca.root import ROOT_EXPIRES_SOON, RootCA
from tasks.core import configuration
from tasks.core.browser_ports import describe_blocked
from tasks.core.by_number import THIS_MACHINE
from tasks.core.invoke_patches import PlainTask
from tasks.core.problems import Problem, ProblemExit, Reason, describe, problem
from tasks.core.progress import say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, SIGNS, Cell, print_json, print_table
from tasks.dns.resolver import resolves_all
from tasks.engine.clusters import ExistingCluster, own_clusters
from tasks.front_door import proof, state
from tasks.front_door.files import page_url
from tasks.probe.limits import find_coredns_limit, find_traefik_limit
from tasks.probe.pod_trust import list_untrusting
from tasks.probe.snapshot import ClusterSnapshot, kubelet_version, read_condition, take_snapshot
from tasks.registries import containers, contents, mirrors
from tasks.tools import required

Entry = dict[str, Any]
"""A line of the screen, with the keys of --json. `state` is a key of table.SIGNS, `code` the reason for programs."""


class StatusReason(Reason):
    NAMES_NOT_RESOLVED = "not resolved{methods}: inv dns"
    ROOT_EXPIRES_SOON = "for {domains}, valid only until {date}"
    CERTIFICATE_TO_RENEW = "this machine has {found}: inv cert-renew"
    CLUSTER_STOPPED = "stopped"
    CLUSTER_PARTLY_RUNNING = "partly running"
    API_NOT_ANSWERING = "{error}"
    NOT_READY = "running; not ready: {names}"


@task(klass=PlainTask, help=JSON_HELP)
def status(context: Context, json: bool = False) -> None:
    """Show this machine and all clusters on one screen

    Exits with code 1 if something is red. To find out why: inv doctor.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    machine, clusters = shell.side_by_side([
        partial(inspect_machine, shell, settings), partial(inspect_clusters, shell, settings)])
    if json:
        print_json({"machine": machine, "clusters": clusters})
    else:
        print_status(machine, clusters)
        names = [entry["name"] for entry in clusters]
        for line in describe_blocked(cluster for number in settings.numbers
                                     if (cluster := settings.cluster(number)).name in names):
            say(line)
    if any(entry["state"] == "red" for entry in [*machine, *clusters]):
        raise Exit(code=1)


def success(text: str) -> Entry:
    return {"state": "green", "is": text, "code": "ok"}


def failure(state: str, why: Problem) -> Entry:
    return {"state": state, "is": describe(why), "code": why.code}


# --- this machine -----------------------------------------------------------------------------------------------------


def inspect_machine(shell: Shell, settings: Settings) -> list[Entry]:
    try:
        root = load_root(settings)
    except ProblemExit as error:
        root_entries = [{"what": "root", **failure("red", error.problem)}]
    else:
        root_entries = [inspect_root(root, settings), *inspect_trust_stores(shell, settings, root)]
    return [inspect_engine(shell, settings), *root_entries, *inspect_acme(settings), inspect_resolver(shell, settings),
            *inspect_front_door(shell, settings), *inspect_registries(shell, settings)]


def inspect_engine(shell: Shell, settings: Settings) -> Entry:
    problems = [why for tool in providers.needed_tools(settings) if (why := required.find_problem(shell, tool))]
    if problems:
        return {"what": "engine", **failure("red", problems[0]), "is": "; ".join(map(describe, problems))}
    return {"what": "engine", **success("running")}


def inspect_root(root: RootCA, settings: Settings) -> Entry:
    domains, date = ", ".join(settings.owned_domains), f"{root.expires:%Y-%m-%d}"
    if root.expires < datetime.now(timezone.utc) + ROOT_EXPIRES_SOON:
        why = problem(StatusReason.ROOT_EXPIRES_SOON, domains=domains, date=date)
        return {"what": "root", **failure("yellow", why)}
    return {"what": "root", **success(f"for {domains}, valid until {date}")}


def inspect_acme(settings: Settings) -> list[Entry]:
    """The certificates that an ACME server has issued; nothing with CERTIFICATES=own-ca."""
    entries = []
    for cluster in map(settings.cluster, settings.numbers) if settings.acme else ():
        client = load_client(cluster)
        if client.certificate.exists():
            what, why = f"certificate for *.{cluster.domain}", find_reason_to_order(cluster, client)
            entries.append({"what": what, **(
                failure("yellow", problem(StatusReason.CERTIFICATE_TO_RENEW, found=describe(why))) if why
                else success(describe_certificate(client)))})
    return entries


def inspect_trust_stores(shell: Shell, settings: Settings, root: RootCA) -> list[Entry]:
    return [{"what": f"trust in {row.target}", "state": row.state, "is": row.note, "code": row.code}
            for row in trust.trust_rows(shell, settings, root)]


def inspect_resolver(shell: Shell, settings: Settings) -> Entry:
    configured = [name for name, method in dns.METHODS.items() if method.list_files(shell)]
    methods = f" by {', '.join(configured)}" if configured else ""
    what = f"names below {', '.join(settings.owned_domains)}"
    if resolves_all(settings):
        return {"what": what, **success(f"resolved{methods}")}
    return {"what": what, **failure("yellow", problem(StatusReason.NAMES_NOT_RESOLVED, methods=methods))}


def inspect_registries(shell: Shell, settings: Settings) -> list[Entry]:
    """Nothing where no setup has created them."""
    wanted, existing = mirrors.list_registries(settings), containers.find(shell, settings)
    if not wanted or not existing:
        return []
    what = f"registries: {', '.join(registry.host for registry in wanted)}"
    if why := next((why for _, why in containers.find_faults(shell, wanted)), None):
        return [{"what": what, **failure("yellow", why)}]
    kept = [existing[registry.name] for registry in wanted if registry.upstream]
    inside = shell.side_by_side([partial(contents.read, shell, cache) for cache in kept])
    images, size = sum(len(found.tags) for found in inside), sum(found.bytes for found in inside)
    fetched = contents.format_size(sum(map(contents.read_fetched, kept)))
    return [{"what": what, **success(
        f"{images} images cached, {contents.format_size(size)}; {fetched} fetched since the start")}]


def inspect_front_door(shell: Shell, settings: Settings) -> list[Entry]:
    """Nothing if it is not expected."""
    if not state.is_expected(shell, settings):
        return []
    why = next(state.find_problems(shell, settings), None) or proof.find_page_problem(shell, settings)
    if why is None:
        return [{"what": "front door", **success(f"running, lists the clusters at {page_url(settings)}")}]
    return [{"what": "front door", **failure("yellow", why)}]


# --- the clusters -----------------------------------------------------------------------------------------------------


def inspect_clusters(shell: Shell, settings: Settings) -> list[Entry]:
    try:
        existing = providers.list_clusters(shell, settings)
    except Exit:
        if inspect_engine(shell, settings)["state"] == "red":  # the row of the engine shows it
            return []
        raise
    entries: list[Entry] = shell.side_by_side([partial(inspect_cluster, shell, cluster, existing[cluster.name])
                                               for cluster in own_clusters(settings, existing)])
    return entries


def inspect_cluster(shell: Shell, cluster: Cluster, existing: ExistingCluster) -> Entry:
    entry: Entry = {"name": cluster.name, "state": "", "is": "", "code": "", "domain": cluster.domain,
                    "address": cluster.address, "http": cluster.http_port, "https": cluster.https_port,
                    "context": cluster.context, "k3s": "", "cert-manager": "", "trust-manager": "", "until": "",
                    "expiring": [], "untrusting": [], "limits": []}
    if existing.running:
        return entry | inspect_running_cluster(shell, take_snapshot(shell, cluster))
    if existing.state == "stopped":
        return entry | failure("grey", problem(StatusReason.CLUSTER_STOPPED))
    return entry | failure("red", problem(StatusReason.CLUSTER_PARTLY_RUNNING))


def inspect_running_cluster(shell: Shell, snapshot: ClusterSnapshot) -> Entry:
    if snapshot.error:
        return failure("red", problem(StatusReason.API_NOT_ANSWERING, error=snapshot.error))
    limits = {name: why for name, find in (("coredns", find_coredns_limit), ("traefik", find_traefik_limit))
              if (why := find(shell, snapshot.cluster))}
    unready = [name for name in find_unready(snapshot) if name not in limits]
    node = next(snapshot.all("Node"), None)
    return {
        **(failure("red", problem(StatusReason.NOT_READY, names=", ".join(unready))) if unready
           else success("running")),
        "k3s": kubelet_version(node) if node else "",
        "cert-manager": snapshot.version("cert-manager"),
        "trust-manager": snapshot.version("trust-manager"),
        "until": read_intermediate_expiry(snapshot),
        "expiring": find_expiring(snapshot),
        "untrusting": find_untrusting(snapshot),
        "limits": [*map(describe, limits.values())],
    }


def find_unready(snapshot: ClusterSnapshot) -> list[str]:
    """The objects that names and trust depend on and that are not ready."""
    needed = (
        ("Deployment", "coredns", "kube-system", "Available"),
        ("Deployment", "traefik", "kube-system", "Available"),
        ("ClusterIssuer", "root-ca", "", "Ready"),
        ("Bundle", "default-ca-bundle", "", "Synced"),
    )
    return [name for kind, name, namespace, condition in needed
            if not read_condition(snapshot.one(kind, name, namespace) or {}, condition)[0]]


def read_intermediate_expiry(snapshot: ClusterSnapshot) -> str:
    from cryptography import x509

    try:
        return f"{x509.load_pem_x509_certificates(snapshot.chain)[0].not_valid_after_utc:%Y-%m-%d}"
    except ValueError:
        return ""


def find_expiring(snapshot: ClusterSnapshot) -> list[str]:
    """Certificates that expire within RENEW_DAYS, although cert-manager should have renewed them.

    Those of a short life are not due before their renewal time.
    """
    now = datetime.now(timezone.utc)
    soon = f"{now + timedelta(days=RENEW_DAYS):%Y-%m-%dT%H:%M:%SZ}"
    return [f"{entry['metadata']['namespace']}/{entry['metadata']['name']}" for entry in snapshot.all("Certificate")
            if entry["status"].get("notAfter", soon) < soon
            and entry["status"].get("renewalTime", "") < f"{now:%Y-%m-%dT%H:%M:%SZ}"]


def find_untrusting(snapshot: ClusterSnapshot) -> list[Entry]:
    """The pods that are older than pod trust, with the command that restarts them."""
    return [{"owner": found.owner.title, "pods": found.pods, "command": found.restart_command(snapshot.cluster)}
            for found in list_untrusting(snapshot)]


# --- the screen -------------------------------------------------------------------------------------------------------


def print_status(machine: list[Entry], clusters: list[Entry]) -> None:
    print_table(["", "this machine", ""], [
        [format_sign(entry), entry["what"], Cell(entry["is"], entry["state"])] for entry in machine])
    if any(entry["what"] == "engine" and entry["state"] == "red" for entry in machine):
        say("The clusters cannot be listed. To find out why: inv doctor")
        return
    if not clusters:
        say("There is no cluster. Create one with: inv k3d-cluster-setup --n 1\n")
        return
    print_table(["", "cluster", "", "domain", "ports", "k3s, cert-manager, trust-manager", "CA until"], [
        [format_sign(entry), entry["name"], Cell(entry["is"], entry["state"]), entry["domain"],
         f"{entry['http']} {entry['https']}{format_place(entry['address'])}",
         " ".join(entry[part] for part in ("k3s", "cert-manager", "trust-manager")), entry["until"]]
        for entry in clusters])
    for entry in clusters:
        for limit in entry["limits"]:
            say(f"{entry['name']}: {limit}")
        if entry["expiring"]:
            say(f"{entry['name']}: expiring soon: {', '.join(entry['expiring'])}")
    for entry in clusters:
        if entry["untrusting"]:
            say("\n".join([f"{entry['name']}: these pods do not trust the root yet, because they were created before "
                           "pod trust or the label of their namespace. To restart them:",
                           *(f"  {pods['command']}" for pods in entry["untrusting"])]))
    if any(entry["state"] in ("red", "yellow") for entry in [*machine, *clusters]):
        say("To find out why, and how to fix it: inv doctor")


def format_place(address: str) -> str:
    """Where the ports are, if not on this machine."""
    return "" if address == THIS_MACHINE else f" at {address}"


def format_sign(entry: Entry) -> Cell:
    return Cell(SIGNS[entry["state"]], entry["state"])
