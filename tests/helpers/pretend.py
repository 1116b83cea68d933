"""A pretended world for the cluster tasks: how docker, k3d, helm and kubectl answer, and a DNS server for CoreDNS.

It begins as a laptop with its tools, an engine, a root certificate, no network and no cluster. What a task makes shows:
after `docker network create` there is a network, and after `k3d kubeconfig merge` an empty cluster answers.
"""

from __future__ import annotations

import base64
import http.server
import json
import random
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import ca
import dns.message
import dns.rrset
import pytest
import yaml
from conftest import Project
from recording import Answer, Call

from tasks.cluster import examples
from tasks.in_cluster import pod_trust
from tasks.probe import tls
from tasks.probe.pod_trust import TRUSTED_BY

TOOLS = ("docker", "k3d", "helm", "kubectl", "pgrep", "lsof", "ss", "uname", "sudo")

ROOT = ca.authority("k3d.internal")
TOKEN = "K10-the-token-of-the-cluster"

NETWORK, GATEWAY, SUBNET = "dev-clusters", "127.0.0.9", "127.0.0.0/24"
"""Linux lets everyone bind 127.0.0.9, as it lets an engine on this machine bind its network's gateway."""

TRAEFIK = "10.43.0.80"
"""The address of the Service traefik-internal."""

class World:
    """The project with recorders for every tool; its methods say what the tools answer."""

    def __init__(self, project: Project, names: list[Names]) -> None:
        self.project, self.fakes, self.names = project, project.fakes, names
        self.ports = Ports()
        self.others: dict[str, str] = {}
        """The contexts of clusters that exist already, by the names that they have here."""
        self.env()
        ca.put(project.home / ".local-ca-certs", ROOT.pem, ROOT.key_pem())
        self.fakes.add(*TOOLS)
        self.fakes.behave("kubectl", self.forward)
        self.fakes.behave("kubectl", admit)
        self.tools()
        self.network()
        self.cluster_list()
        self.new_clusters()
        project.patches.append((tls, "is_answering", lambda cluster: True))
        project.patches.append((examples, "PATIENCE_SECONDS", 0))  # their checks are not repeated

    # --- the project ---

    def env(self, **settings: str) -> None:
        """Write .env: these settings, and ports that nothing on this machine uses. Registries have their own tests."""
        self.project.env(**{**self.ports.settings, "REGISTRY_CACHES": "", "LOCAL_REGISTRY_PORT": "", **settings})

    def inv(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.project.inv(*words, environment=environment)

    def http(self, number: int) -> int:
        return self.ports.port(number, Ports.HTTP)

    def https(self, number: int) -> int:
        return self.ports.port(number, Ports.HTTPS)

    def forward(self, call: Call) -> Answer | None:
        """`kubectl port-forward`: it goes on until it is killed."""
        if "port-forward" not in call.words:
            return None
        context = call.words[call.words.index("--context") + 1]
        port = next(names.server_address[1] for names in self.names if context in self.contexts_of(names.cluster))
        return Answer(f"Forwarding from 127.0.0.1:{port} -> 53\n", holds=True)

    def contexts_of(self, cluster: str) -> tuple[str, ...]:
        return (f"k3d-{cluster}", f"kind-{cluster}", self.others.get(cluster, ""))

    def kubectl(self, number: int) -> list[str]:
        """How a command to this cluster begins."""
        return ["kubectl", "--kubeconfig", str(self.project.home / ".kube" / "config"), "--context", f"k3d-cl{number}"]

    def changes(self) -> list[list[str]]:
        """The commands received so far that are no looks."""
        return [words for words in map(without_sudo, self.fakes.calls()) if not is_look(words)]

    # --- what the tools answer ---

    def tools(self, docker: str = "28.0.0", k3d: str = "v5.8.3", helm: str = "v3.19.0+g3d8990f") -> None:
        self.fakes.answer("^docker version", f"{docker}\n")
        self.fakes.answer("^k3d version", f"k3d version {k3d}\nk3s version v1.31.5-k3s1 (default)\n")
        self.fakes.answer("^helm version", f"{helm}\n")
        self.fakes.answer("^uname", "Linux\n")
        self.fakes.answer("^pgrep", exit=1)
        self.fakes.answer("^docker inspect .*Image", "rancher/k3s:v1.36.4-k3s1\n")

    def network(self, gateway: str = GATEWAY, subnet: str = SUBNET, there: bool = False) -> None:
        """The clusters' network, there from the beginning or once it is created."""
        created = "" if there else "^docker network create"
        self.fakes.answer("^docker network inspect", stderr="Error: no such network\n", exit=1)
        self.fakes.answer("^docker network inspect .*Gateway", f"{gateway} \n", after=created)
        self.fakes.answer("^docker network inspect .*Subnet", f"{subnet} \n", after=created)
        self.fakes.answer("^docker network inspect .*Labels", "dev-cluster-tasks 0\n", after=created)
        self.fakes.answer("^docker run ", stderr="curl: (6) Could not resolve host\n", exit=6)
        self.fakes.answer(f"^docker run .* http://{gateway}:", gateway)

    def virtual_machine(self, name: str = "host.docker.internal", address: str = "192.168.65.254") -> None:
        """The engine runs elsewhere: its gateway is no address of this machine, and its DNS knows this machine."""
        self.network(gateway="192.0.2.1", subnet="192.0.2.0/24")
        self.fakes.answer("^docker run ", stderr="curl: (6) Could not resolve host\n", exit=6)
        self.fakes.answer(f"^docker run .* http://{name}:", address)
        for names in self.names:
            names.host = address

    def cluster_list(self, *clusters: dict[str, Any], after: str = "") -> None:
        """The clusters that k3d knows."""
        self.fakes.answer("^k3d cluster list", json.dumps(clusters), after=after)

    def cluster(
        self, number: int, *, running: bool = True, network: str = NETWORK, subnet: str = SUBNET,
        ports_of: int | None = None,
    ) -> dict[str, Any]:
        """A cluster as `k3d cluster list` describes it, the token included."""
        name, published = f"cl{number}", number if ports_of is None else ports_of
        ports = {"80/tcp": self.http(published), "443/tcp": self.https(published)}
        common = {
            "runtimeLabels": {"k3d.cluster.token": TOKEN, "k3d.cluster.network.iprange": subnet},
            "env": [f"K3S_TOKEN={TOKEN}"],
            "State": {"Running": running, "Status": "running" if running else "exited"},
        }
        mappings = {inside: [{"HostIp": address, "HostPort": str(port)} for address in ("127.0.0.1", GATEWAY)]
                    for inside, port in ports.items()}
        return {"name": name, "network": {"name": network}, "nodes": [
            {"name": f"k3d-{name}-server-0", "role": "server", **common},
            {"name": f"k3d-{name}-serverlb", "role": "loadbalancer", "portMappings": mappings, **common},
        ]}

    def new_clusters(self) -> None:
        """Clusters answer as soon as their kubeconfig is there, and hold nothing yet."""
        kubectl = "^kubectl .*"
        self.fakes.answer(f"{kubectl}--raw=/readyz", exit=1)
        self.fakes.answer(f"{kubectl}--raw=/readyz", "ok", after="^k3d kubeconfig merge")
        self.fakes.answer(f"{kubectl}config current-context", exit=1)
        self.fakes.answer(f"{kubectl}diff ", exit=1)
        self.fakes.answer(f"{kubectl}get configmap coredns ", '{"data":{"Corefile":"","NodeHosts":""}}')
        self.fakes.answer(f"{kubectl}get deployment.apps/coredns", "deployment.apps/coredns\nconfigmap/coredns\n")
        self.fakes.answer(f"{kubectl}get helmcharts.helm.cattle.io traefik", '{"metadata":{"name":"traefik"}}')
        self.fakes.answer(f"{kubectl}get deployment traefik", '["--accesslog=true"]')
        self.fakes.answer(f"{kubectl}get service traefik-internal", TRAEFIK)
        self.policies("v1", "v1")

    def policies(self, mutating: str = "", validating: str = "", version: str = "v1.36.4+k3s1") -> None:
        """The kinds of policies that the cluster's API has, and its version."""
        kinds = {"mutatingadmissionpolicies": mutating, "mutatingadmissionpolicybindings": mutating,
                 "mutatingwebhookconfigurations": "v1", "validatingadmissionpolicies": validating}
        self.fakes.answer("^kubectl .*api-resources", "".join(
            f"{name}    admissionregistration.k8s.io/{version}   false   Kind\n" for name, version in kinds.items()
            if version))
        self.fakes.answer("^kubectl .*--raw=/version", json.dumps({"gitVersion": version}))
        self.fakes.answer("^kubectl .*get mutatingadmissionpolicybindings pod-trust",
                          "binding/pod-trust\n" if mutating else "")

    def configured(self, number: int) -> None:
        """This cluster is now as a first run leaves it, which this world must have seen."""
        self.cluster_list(self.cluster(number))
        self.network(there=True)
        self.fakes.answer("^kubectl .*--raw=/readyz", "ok")
        self.fakes.answer("^kubectl .*current-context", f"k3d-cl{number}\n")
        self.fakes.answer("^kubectl .*diff ")
        for words in self.fakes.calls("helm", "upgrade"):
            label = words[words.index("--labels") + 1].removeprefix("dev-cluster-tasks=")
            self.fakes.answer(f"^kubectl .*name={words[3]},status=deployed", label)
        intermediate = ca.authority(f"cl{number}.k3d.internal", issuer=ROOT, pathlen=0)
        self.fakes.answer("^kubectl .*get secret root-ca", base64.b64encode(intermediate.pem + ROOT.pem).decode())
        restart = yaml.safe_load((self.project.folder / ".work" / f"cl{number}" / "coredns-restart.yaml").read_text())
        rules_hash, = restart["spec"]["template"]["metadata"]["annotations"].values()
        self.fakes.answer("^kubectl .*get deployment coredns", rules_hash)


def written_out(*answers: tuple[int, int, str]) -> str:
    """What curl in a pod prints for several URLs: of each the exit code, the HTTP status, and the page or the error."""
    return "".join(f"{'' if code else text}\n---- dev-cluster-tasks ----{code} {status:03} {text if code else ''}\n"
                   for code, status, text in answers)


def admit(call: Call) -> Answer | None:
    """`kubectl create --dry-run=server`: a pod gets trust, and an Ingress outside the cluster's domain is denied."""
    if "--dry-run=server" not in call.words:
        return None
    file, = Path(call.words[call.words.index("-f") + 1]).iterdir()
    found = yaml.safe_load(file.read_text())
    if found["kind"] == "Pod":
        return Answer(json.dumps(trusted(found)))
    host, context = found["spec"]["rules"][0]["host"], call.words[call.words.index("--context") + 1]
    domain = f".{context.partition('-')[2]}.k3d.internal" if "-" in context else ".k3d.internal"
    inside = host.endswith(domain)
    denied = f"ValidatingAdmissionPolicy 'hosts-of-root-ca' denied request: {host}\n"
    return Answer() if inside else Answer(stderr=denied, exit=1)


def trusted(pod: dict[str, Any]) -> dict[str, Any]:
    """What the policies make of a pod."""
    pod["metadata"].setdefault("annotations", {})[TRUSTED_BY] = "mutatingadmissionpolicy/pod-trust"
    for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
        container["env"] = [{"name": name, "value": value} for name, value in pod_trust.VARIABLE_VALUES.items()]
        container["volumeMounts"] = [{"mountPath": pod_trust.FOLDER}, {"mountPath": pod_trust.FILE}]
    return pod


def without_sudo(words: list[str]) -> list[str]:
    """The command itself: whoever is root already needs no sudo for it."""
    return words[1:] if words[0] == "sudo" else words


def is_look(words: list[str]) -> bool:
    """Whether a command only asks. Any other command changes something, or might."""
    match words:
        case ["kubectl", *rest]:
            while rest[0].startswith("-"):
                rest = rest[2:]
            match rest:
                case ["config", verb, *_]:
                    return verb.startswith("get-") or verb == "current-context"
                case ["create", "--dry-run=server", *_] | ["api-resources", *_]:
                    return True
                case ["rollout", "status", *_] | ["get" | "diff" | "wait" | "exec" | "port-forward" | "logs", *_]:
                    return True
            return False
        case ["docker", "version" | "ps" | "run" | "exec" | "inspect", *_] | ["docker", "volume", "ls", *_]:
            return True
        case ["docker", "network" | "container" | "image", "inspect", *_] | ["docker", "context", "show"]:
            return True
        case ["k3d" | "helm", "version", *_] | ["k3d", "cluster", "list", *_] | ["openssl", "verify", *_]:
            return True
        case ["k3d", "kubeconfig", "get", *_] | ["kind", "version" | "get", *_]:
            return True
        case ["brew", "list" | "--prefix", *_] | ["security", "verify-cert", *_]:
            return True
    return words[0] in ("pgrep", "lsof", "ss", "uname", "dscacheutil")


class Ports:
    """A block of ports that nobody uses here: what settings make of `start`, a cluster's number, and a last digit.

    Not among those that the system hands out by itself, as long as there are others. The port behind them, held as
    long as this lives, keeps other runs of the tests away.
    """

    CLUSTERS = 10
    HTTP, HTTPS = "0", "5"

    def __init__(self) -> None:
        for start in self.places():
            self.start, self.guard = start, socket.socket()
            try:
                self.guard.bind(("127.0.0.1", self.start * 10 + 9))
            except OSError:
                self.guard.close()
                continue
            if all(is_free(self.port(number, digit)) for number in range(4) for digit in (self.HTTP, self.HTTPS)):
                return
            self.guard.close()
        raise RuntimeError("no port is free here")

    @staticmethod
    def places() -> Iterator[int]:
        for some in (range(1100, 3270), range(6100, 6540), range(3270, 6100)):
            begin = random.randrange(len(some))
            yield from (*some[begin:], *some[:begin])

    def port(self, number: int, digit: str) -> int:
        return int(f"{self.start + number}{digit}")

    @property
    def settings(self) -> dict[str, str]:
        return {"K3D_PORT_START": str(self.start), "K3D_PORT_END": str(self.start + self.CLUSTERS - 1),
                "K3D_PORT_SUFFIX_HTTP": self.HTTP, "K3D_PORT_SUFFIX_HTTPS": self.HTTPS}


def is_free(port: int, address: str = "0.0.0.0") -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            server.bind((address, port))
            return True
    return False


class Names(socketserver.ThreadingTCPServer):
    """What a cluster's CoreDNS answers over TCP: its own names lead to Traefik, others to the host."""

    daemon_threads = True

    def __init__(self, cluster: str) -> None:
        super().__init__(("127.0.0.1", 0), NameHandler)
        self.cluster, self.host = cluster, GATEWAY


class NameHandler(socketserver.StreamRequestHandler):
    server: Names

    def handle(self) -> None:
        while length := self.rfile.read(2):
            query = dns.message.from_wire(self.rfile.read(int.from_bytes(length, "big")))
            name = query.question[0].name
            own = name.to_text().endswith(f".{self.server.cluster}.k3d.internal.")
            address = TRAEFIK if own else self.server.host
            reply = dns.message.make_response(query)
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", address))
            wire = reply.to_wire()
            self.wfile.write(len(wire).to_bytes(2, "big") + wire)


class Page(http.server.BaseHTTPRequestHandler):
    """What the nginx of the examples shows. Other pages are made of it."""

    def do_GET(self) -> None:
        host = self.headers["Host"].partition(":")[0]
        self.reply(200, f"<h1>Hello from {host.removeprefix('example-nginx.')}</h1>".encode())

    def reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def world_of(project: Project) -> Iterator[World]:
    if not is_free(0, GATEWAY):
        pytest.skip(f"{GATEWAY} cannot be bound. On macOS it can after: sudo ifconfig lo0 alias {GATEWAY}")
    with ExitStack() as servers:
        world = World(project, [servers.enter_context(serving(Names(f"cl{number}"))) for number in range(3)])
        servers.enter_context(world.ports.guard)
        yield world


@contextmanager
def pages_of(
    world: World, number: int, chain: bytes = b"", page: type[http.server.BaseHTTPRequestHandler] = Page,
    address: str = "127.0.0.1",
) -> Iterator[None]:
    """The cluster's published ports: its page by HTTP, and by HTTPS.

    `chain` is a key and certificates, leaf first; without it a leaf for the examples that the root has signed.
    """
    leaf = ca.leaf(ROOT, f"example-nginx.cl{number}.k3d.internal")
    both = world.project.home / f"leaf{number}.pem"
    both.write_bytes(chain or leaf.key_pem() + leaf.pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(both)
    plain, secure = (http.server.ThreadingHTTPServer((address, port), page)
                     for port in (world.http(number), world.https(number)))
    secure.socket = tls.wrap_socket(secure.socket, server_side=True)
    with serving(plain), serving(secure):
        yield


Server = TypeVar("Server", bound=socketserver.TCPServer)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # of a client that left; `inv` has this stderr
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            stopping = threading.Thread(target=server.shutdown)
            stopping.start()
            with suppress(OSError):  # or it would end with the half second in which it looks around
                socket.create_connection(server.socket.getsockname(), 1).close()
            stopping.join()
