"""One URL, hop by hop: from its name to the answer, and the same from pods. The first hop that is broken is named."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cached_property, partial
from typing import NamedTuple

from invoke import Context, Exit, task

from tasks import settings as configuration
from tasks.address import Address, read
from tasks.ca import leaf_is_of, load_root
from tasks.constraints import covers, permitted_domains
from tasks.dns.ask import addresses
from tasks.existing import Existing, existing
from tasks.in_cluster.routes import Route, covers_host, deployment_of, find, has_port, routes
from tasks.in_cluster.seen import Object, Seen, condition, see
from tasks.k3d import again, ours
from tasks.names import PlainTask
from tasks.ports import holder
from tasks.render import MANAGER
from tasks.served import Served, issuer_of, names_of, served
from tasks.settings import Cluster
from tasks.shell import Shell
from tasks.table import JSON_HELP, Row, print_json, show
from tasks.tools import require
from tasks.ways import (
    SECONDS,
    TRAEFIKS_OWN,
    Answer,
    NoExamples,
    ask_from_host,
    ask_from_pod,
    example_host,
    get,
    no_examples,
    trusting_all,
    why,
)


@task(klass=PlainTask, positional=["url"], help={"url": "below a cluster's domain, with its port", **JSON_HELP})
def trace(context: Context, url: str = "", json: bool = False) -> None:
    """Follow URL hop by hop, and name what is broken

    inv trace https://example-nginx.cl1.k3d.internal:11443/
    From this machine: name, resolver, port, load balancer, Traefik, Ingress, Service, endpoints, certificate, name
    constraint, answer. Then from a pod of each running cluster. IngressRoutes and HTTPRoutes are not read.
    """
    settings = configuration.load()
    address = read(settings, url)
    shell = Shell(context, settings.environment)
    require(shell, "docker", "k3d", "kubectl")
    rows = follow(shell, address)
    if json:
        print_json(rows)
    else:
        show(rows, "hop", "at")
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{address.url} is broken here:\n" + "\n".join(
            f"  {row.source}, {row.target}: {row.note}\n    {row.command}" for row in red))


class Found(NamedTuple):
    """What a hop has found at what: it is in order, or `grey` where that cannot be told."""

    at: str
    note: str
    state: str = "green"


class Broken(Exception):
    """A hop that is broken: at what, why, and the command that mends it."""

    def __init__(self, at: str, note: str, command: str) -> None:
        super().__init__(note)
        self.at, self.note, self.command = at, note, command


class Walk:
    """What the hops share: each thing is looked at when the first of them asks for it."""

    def __init__(self, shell: Shell, address: Address) -> None:
        self.shell, self.address, self.cluster = shell, address, address.cluster
        self.clusters = existing(shell)

    @property
    def found(self) -> Existing:
        return self.clusters[self.cluster.name]

    @cached_property
    def seen(self) -> Seen:
        return see(self.shell, self.cluster)

    @cached_property
    def route(self) -> Route | None:
        return find(self.seen, self.address.host, self.address.path.partition("?")[0])

    @cached_property
    def service(self) -> Object | None:
        return self.seen.one("Service", self.route.service, self.route.namespace) if self.route else None

    @cached_property
    def served(self) -> Served:
        return served(self.cluster, self.address.host)

    @property
    def setup(self) -> str:
        return f"inv k3d-cluster-setup --n {self.cluster.number}"

    @property
    def configure(self) -> str:
        return f"inv k3d-cluster-configure --n {self.cluster.number}"

    def to_type(self, command: str, **names: str) -> str:
        """A kubectl command to the cluster: these words, in which names are filled in."""
        return self.cluster.to_type(*(word.format(**names) for word in command.split()))

    def mend(self, command: str) -> str:
        """A kubectl command in the namespace of the route; where the examples lie, they are installed again."""
        if self.route and is_example(self.route.ingress):
            return f"inv k3d-cluster-examples --n {self.cluster.number}"
        return self.in_namespace(command)

    def in_namespace(self, command: str) -> str:
        namespace = ("-n", self.route.namespace) if self.route else ("-A",)
        return self.cluster.to_type(*namespace, *command.split())


def follow(shell: Shell, address: Address) -> list[Row]:
    """A row for each hop from this machine, and one for each running cluster. After a broken hop nothing is asked.

    Only the resolver is none that others stand on: they are asked at 127.0.0.1, and pods have CoreDNS.
    """
    walk = Walk(shell, address)
    rows: list[Row] = []
    broken = False
    for name, hop in HOPS.items():
        if address.scheme == "http" and hop in OF_HTTPS:
            continue
        if broken:
            rows.append(Row(name, "", "grey", "not asked"))
            continue
        try:
            rows.append(Row(name, *shown(hop(walk))))
        except Broken as error:
            rows.append(Row(name, error.at, "red", error.note, error.command))
            broken = hop is not resolver
    running = [cluster for cluster in ours(address.cluster.settings, walk.clusters)
               if walk.clusters[cluster.name].running]
    if broken:
        return rows + [Row(f"pod in {cluster.name}", "", "grey", "not asked") for cluster in running]
    return rows + shell.side_by_side([partial(from_pod, walk, cluster) for cluster in running])


def shown(found: Found) -> tuple[str, str, str]:
    return found.at, found.state, found.note


# --- the hops, each with what is really there -------------------------------------------------------------------------


def host_name(walk: Walk) -> Found:
    if walk.cluster.name not in walk.clusters:
        raise Broken(walk.address.host, f"there is no cluster {walk.cluster.name}", walk.setup)
    return Found(walk.address.host, f"a name of {walk.cluster.name}")


def resolver(walk: Walk) -> Found:
    host, found = walk.address.host, addresses(walk.address.host)
    if not found:
        raise Broken(host, "this machine does not find the name", "inv dns")
    if found != {"127.0.0.1"}:
        raise Broken(host, f"leads to {', '.join(sorted(found))}, and not to this machine", "inv dns")
    return Found(host, "127.0.0.1")


def port(walk: Walk) -> Found:
    at = f"127.0.0.1:{walk.address.port}"
    try:
        socket.create_connection(("127.0.0.1", walk.address.port), timeout=SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error)
        if walk.found.running:
            raise Broken(at, f"{why}, and {walk.cluster.name} runs", restart(walk)) from None
        stopped = "" if walk.found.balancer_running else f": its load balancer {walk.found.balancer} does not run"
        raise Broken(at, f"{why}; {walk.cluster.name} is {walk.found.state}{stopped}", start(walk)) from None
    return Found(at, "open")


def start(walk: Walk) -> str:
    return f"inv k3d-cluster-start --n {walk.cluster.number}"


def restart(walk: Walk) -> str:
    return f"inv k3d-cluster-restart --n {walk.cluster.number}"


def load_balancer(walk: Walk) -> Found:
    at, address = walk.found.balancer, walk.address
    published = walk.found.ports.get({"http": "80/tcp", "https": "443/tcp"}[address.scheme], set())
    if not walk.found.balancer_running:
        held = holder(walk.shell, address.port)
        raise Broken(at, f"it does not run, and port {address.port} is held{held or ' by something else'}. "
                     "Stop that first", start(walk))
    if str(address.port) not in published:
        raise Broken(at, f"publishes {address.scheme} on {', '.join(sorted(published)) or 'no port'}, "
                     f"and the settings say {address.port}", again(walk.cluster))
    return Found(at, f"runs, publishes {address.port}")


def traefik(walk: Walk) -> Found:
    at = "kube-system/traefik"
    if not walk.found.running:  # its API would keep us waiting
        raise Broken(at, f"{walk.cluster.name} is {walk.found.state}", start(walk))
    seen = walk.seen
    if seen.error:
        raise Broken(at, f"the API of {walk.cluster.name} does not answer: {seen.error}", restart(walk))
    deployment = seen.one("Deployment", "traefik", "kube-system")
    if deployment is None:
        raise Broken(at, "there is no such Deployment. Was the cluster made with --disable=traefik?",
                     again(walk.cluster))
    if deployment["spec"].get("replicas") == 0:
        raise Broken(at, "the Deployment has 0 replicas",
                     walk.to_type("-n kube-system scale deployment/traefik --replicas=1"))
    available, message = condition(deployment, "Available")
    if not available:
        raise Broken(at, f"the Deployment is not available: {message}",
                     walk.to_type("-n kube-system describe pods -l app.kubernetes.io/name=traefik"))
    for service, mend in (("traefik", walk.to_type("-n kube-system describe service traefik")),
                          ("traefik-internal", walk.configure)):
        if not seen.ready_endpoints(service, "kube-system"):
            raise Broken(at, f"no pod is behind the Service {service}", mend)
    return Found(at, "available, behind the Services traefik and traefik-internal")


def ingress(walk: Walk) -> Found:
    host, route = walk.address.host, walk.route
    if route is None:
        if answers_by_other_means(walk):
            return Found(host, "no Ingress; an IngressRoute or HTTPRoute answers, which are not read here", "grey")
        hosts = sorted({found.host for found in routes(walk.seen) if found.host})
        near = difflib.get_close_matches(host, hosts, n=3, cutoff=0.8)
        same = [found.path for found in routes(walk.seen) if covers_host(found.host, host)]
        why = (f"has a path for {walk.address.path}, only for {', '.join(same)}" if same
               else "has this host" + (f"; did you mean {' or '.join(near)}?" if near else ""))
        raise Broken(host, f"no Ingress that Traefik reads {why} (IngressRoutes and HTTPRoutes are not read here)",
                     f"inv k3d-cluster-examples --n {walk.cluster.number}" if host == example_host(walk.cluster)
                     else walk.to_type("get ingresses -A"))
    at = f"{route.namespace}/{route.name}"
    if not route.is_served_at(walk.address.scheme):
        raise Broken(at, f"its annotation router.entrypoints leaves {walk.address.scheme} out",
                     walk.mend(f"edit ingress {route.name}"))
    return Found(at, f"{route.host or 'every host'}, path {route.path}")


def answers_by_other_means(walk: Walk) -> bool:
    """Whether something does answer: Traefik reads more than Ingresses."""
    try:
        answer = get(walk.cluster, walk.address.scheme, walk.address.host, walk.address.path, trusting_all)
    except OSError:
        return False
    return answer.body != TRAEFIKS_OWN


def service(walk: Walk) -> Found:
    route = walk.route
    if route is None:
        return Found("", "not known without an Ingress", "grey")
    at = f"{route.namespace}/{route.service}"
    if walk.service is None:
        raise Broken(at, f"there is no such Service, and the Ingress {route.name} leads to it",
                     walk.mend("get services"))
    if not has_port(walk.service, route.port):
        ports = ", ".join(str(entry["port"]) for entry in walk.service["spec"].get("ports") or [])
        raise Broken(at, f"has port {ports}, and the Ingress {route.name} leads to {route.port}",
                     walk.mend(f"edit ingress {route.name}"))
    return Found(at, f"port {route.port}")


def endpoints(walk: Walk) -> Found:
    route = walk.route
    if route is None or walk.service is None:
        return Found("", "not known without an Ingress", "grey")
    at = f"{route.namespace}/{route.service}"
    if walk.service["spec"].get("type") == "ExternalName":
        return Found(at, f"leads to {walk.service['spec'].get('externalName')}, outside of the cluster", "grey")
    ready = walk.seen.ready_endpoints(route.service, route.namespace)
    if ready:
        return Found(at, f"ready: {', '.join(ready)}")
    selector = ",".join(f"{key}={value}" for key, value in (walk.service["spec"].get("selector") or {}).items())
    deployment = deployment_of(walk.seen, walk.service)
    if deployment is None:
        raise Broken(at, f"no pod is behind it, and no Deployment has pods with its labels ({selector or 'none'})",
                     walk.mend("get pods --show-labels"))
    name = deployment["metadata"]["name"]
    if deployment["spec"].get("replicas") == 0:
        raise Broken(at, f"the Deployment {name} has 0 replicas", walk.mend(f"scale deployment/{name} --replicas=1"))
    raise Broken(at, f"no pod of the Deployment {name} is ready: {condition(deployment, 'Available')[1]}",
                 walk.in_namespace(f"describe pods -l {selector}"))


def certificate(walk: Walk) -> Found:
    host, chain = walk.address.host, walk.seen.chain
    try:
        load_root(walk.cluster.settings)
        leaf = walk.served.leaf
    except Exit as error:
        raise Broken(host, str(error.message).splitlines()[0], "inv cert") from None
    except OSError as error:
        raise Broken(host, f"no TLS: {error}", walk.to_type("-n kube-system logs deployment/traefik --tail=20")
                     ) from None
    if walk.served.by_traefik:
        raise Broken(host, *why_traefiks_own(walk))
    if not any(covers_host(name, host) for name in names_of(walk.served.leaf)):
        raise Broken(host, f"the certificate is for {', '.join(names_of(walk.served.leaf)) or 'no name'}",
                     walk.mend(f"edit ingress {walk.route.name}" if walk.route else "get ingresses"))
    now = datetime.now(timezone.utc)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        ended = leaf.not_valid_after_utc < now
        raise Broken(host, f"the certificate ended on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC" if ended else
                     f"the certificate begins on {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC", make_again(walk))
    if not leaf_is_of(pem(walk.served), chain):
        raise Broken(host, f"the certificate is signed by {issuer_of(leaf)}, and not by "
                     f"{walk.cluster.name}'s intermediate{'' if chain else ', which is missing'}", walk.configure)
    if walk.served.code and not walk.served.breaks_a_constraint:
        raise Broken(host, f"the chain does not lead to the root: {walk.served.error}", walk.configure)
    return Found(host, f"signed by {issuer_of(leaf)}, until {leaf.not_valid_after_utc:%Y-%m-%d}")


def why_traefiks_own(walk: Walk) -> tuple[str, str]:
    """Why Traefik has no certificate for the name and serves its own: what is missing for it, and what to type."""
    from cryptography import x509

    own, route = "Traefik serves its own default certificate: ", walk.route
    if route is None:
        return f"{own}it has none for this name", walk.to_type("get certificates -A")
    if route.secret is None:
        return f"{own}the Ingress {route.name} has no `tls` for this host", walk.mend(f"edit ingress {route.name}")
    found = next((entry for entry in walk.seen.all("Certificate") if entry["spec"].get("secretName") == route.secret
                  and entry["metadata"]["namespace"] == route.namespace), None)
    if found is None:
        return (f"{own}nothing makes the secret {route.secret} of the Ingress {route.name}",
                walk.mend(f"annotate ingress {route.name} cert-manager.io/cluster-issuer=root-ca"))
    ready, message = condition(found, "Ready")
    name = found["metadata"]["name"]
    if not ready:
        return f"{own}the Certificate {name} is not ready: {message}", walk.in_namespace(f"describe certificate {name}")
    secret = walk.seen.leaves.get((route.namespace, route.secret))
    if secret is None:
        return f"{own}there is no secret {route.secret}. Does cert-manager run?", walk.cluster.to_type(
            "-n", "cert-manager", "get", "pods")
    names = ", ".join(names_of(x509.load_pem_x509_certificate(secret)))
    return f"{own}the secret {route.secret} is for {names}", make_again(walk)


def make_again(walk: Walk) -> str:
    """The secret goes, and cert-manager makes a new one."""
    secret = walk.route.secret if walk.route else None
    return walk.in_namespace(f"delete secret {secret}" if secret else "get certificates")


def pem(found: Served) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return found.leaf.public_bytes(Encoding.PEM)


def name_constraint(walk: Walk) -> Found:
    from cryptography import x509

    chain = {"intermediate": x509.load_pem_x509_certificates(walk.seen.chain)[0],
             "root": load_root(walk.cluster.settings)}
    permitted = {whose: permitted_domains(authority) for whose, authority in chain.items()}
    for whose, domains in permitted.items():
        for name in (walk.address.host, *names_of(walk.served.leaf)):
            if not covers(domains, name.removeprefix("*.")):
                allowed = f"outside of what the {whose} may sign for: {', '.join(domains or ())}"
                if name == walk.address.host:
                    raise Broken(name, allowed, walk.configure)
                raise Broken(name, f"the certificate names it too, and it is {allowed}",
                             walk.mend(f"edit ingress {walk.route.name}") if walk.route and name in walk.route.names
                             else make_again(walk))
    if walk.served.code:
        raise Broken(walk.address.host, walk.served.error, make_again(walk))
    return Found(walk.address.host, "; ".join(
        f"{whose} for {', '.join(domains or ('every name',))}" for whose, domains in permitted.items()))


def answer(walk: Walk) -> Found:
    address = walk.address
    said = ask_from_host(address.cluster, address.scheme, address.host, address.path)
    logs = walk.to_type("-n kube-system logs deployment/traefik --tail=20")
    if said.error:
        raise Broken(address.path, said.error, logs)
    wrong = no_application(said)
    if wrong:
        raise Broken(address.path, wrong, walk.mend(f"describe service {walk.route.service}") if walk.route else logs)
    return Found(address.path, f"HTTP {said.status}")


def no_application(said: Answer) -> str:
    """Why an answer is none of the application; empty when it is."""
    if said.status in (502, 503, 504):
        return f"HTTP {said.status}: Traefik gets no answer from the endpoints. Do they listen on the targetPort?"
    if said.status == 404 and said.body == TRAEFIKS_OWN:
        return "HTTP 404 of Traefik itself: it has no router for this URL (yet?)"
    return ""


HOPS: dict[str, Callable[[Walk], Found]] = {
    "host name": host_name,
    "resolver": resolver,
    "port": port,
    "load balancer": load_balancer,
    "Traefik": traefik,
    "Ingress": ingress,
    "Service": service,
    "endpoints": endpoints,
    "certificate": certificate,
    "name constraint": name_constraint,
    "answer": answer,
}
OF_HTTPS = (certificate, name_constraint)


# --- from pods --------------------------------------------------------------------------------------------------------


def from_pod(walk: Walk, source: Cluster) -> Row:
    """Ask for the same URL in a cluster's pod."""
    where, address = f"pod in {source.name}", walk.address
    way = "by CoreDNS and " + ("traefik-internal" if source == address.cluster else "this host")
    try:
        said, = ask_from_pod(walk.shell, source, address.url)
    except NoExamples:
        return Row(where, way, "grey", no_examples(source))
    if said.error:
        return Row(where, way, "red", *why(source, address.cluster, said))
    wrong = no_application(said)
    if wrong:
        return Row(where, way, "red", wrong, walk.to_type("-n kube-system logs deployment/traefik --tail=20"))
    return Row(where, way, "green", f"HTTP {said.status}")


def is_example(found: Object) -> bool:
    labels = found["metadata"].get("labels") or {}
    return found["metadata"]["namespace"] == "examples" and labels.get("app.kubernetes.io/managed-by") == MANAGER
