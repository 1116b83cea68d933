"""An application in cluster 1 that `inv trace` finds no fault with, until a test breaks something."""

from __future__ import annotations

import base64
import http.server
import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import ca
from conftest import Project
from cryptography import x509
from cryptography.x509.oid import NameOID
from inside import resolver
from kubernetes_objects import Object, certificate, condition, deployment, endpoints, ingress, pod, service
from pretend import ROOT, World, pages_of, world_of, written_out

HOST = "shop.cl1.k3d.internal"
TRAEFIK_CLASS = {"kind": "IngressClass", "metadata": {"name": "traefik"},
                 "spec": {"controller": "traefik.io/ingress-controller"}}
ISSUER = {"kind": "ClusterIssuer", "metadata": {"name": "root-ca"}, "status": {"conditions": [condition("Ready")]}}

QUERIES = {
    "clusterissuers,issuers,certificates": ("ClusterIssuer", "Issuer", "Certificate"),
    "certificaterequests": ("CertificateRequest", "Order", "Challenge"),
    "ingressroutes": ("IngressRoute", "Middleware", "ServersTransport"),
    "httproutes": ("HTTPRoute", "Gateway"),
    "events": ("Event",),
}
"""The kinds that each query returns; `get nodes,` returns all others."""


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def intermediate_for(domain: str, issuer: ca.Signed = ROOT) -> ca.Signed:
    return ca.authority(domain, issuer=issuer, pathlen=0, subject=common_name(f"CA {domain.split('.')[0]}"))


class App:
    """An application in cluster 1 where everything works, next to cluster 2, until a test breaks something."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.listens = True
        self.clusters = [world.cluster(1), world.cluster(2)]
        self.resolver = "127.0.0.1"
        self.status, self.body = 200, "hello"
        self.intermediate = intermediate_for("cl1.k3d.internal")
        self.leaf = ca.leaf(self.intermediate, HOST)
        self.sent = [self.intermediate]
        self.api_error = ""
        self.traefik = deployment("kube-system", "traefik", labels={"app.kubernetes.io/name": "traefik"})
        self.deployment = deployment("web", "shop", labels={"app": "shop"})
        self.ingress = ingress("web", "shop", HOST, "shop-cert", port="http")
        self.ingress["spec"]["ingressClassName"] = "traefik"
        self.service = service("web", "shop", 80, selector={"app": "shop"})
        self.service["spec"]["ports"][0]["name"] = "http"
        self.app_pod = pod("web", "shop-1", labels={"app": "shop"})
        self.endpoints = {"traefik": "kube-system", "traefik-internal": "kube-system", "shop": "web"}
        self.certificate = certificate("web", "shop-cert")
        self.secret: ca.Signed | None = None
        """The leaf in the secret of the Ingress, where a trace reads it."""
        self.missing: list[Object] = []
        self.extra: list[Object] = [TRAEFIK_CLASS, ISSUER]
        self.log = ""
        self.content_type = "text/html"
        self.closes = False
        """Traefik closes the connection instead of an answer."""

    @property
    def path(self) -> Object:
        path: Object = self.ingress["spec"]["rules"][0]["http"]["paths"][0]
        return path

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.world.https(1)}/"

    def objects(self) -> list[Object]:
        slices = [endpoints(namespace, name) for name, namespace in self.endpoints.items()]
        every = [self.traefik, self.deployment, self.ingress, self.service, self.app_pod, self.certificate, *slices,
                 *self.extra]
        return [entry for entry in every if entry not in self.missing]

    def annotate(self, key: str, value: str) -> None:
        """Set an annotation of the Ingress; an empty value removes it."""
        annotations = self.ingress["metadata"]["annotations"]
        annotations.pop(key, None)
        if value:
            annotations[key] = value

    def respond(self, host: str, path: str) -> tuple[int, str, str]:
        """Status, body and Location of the answer to a request."""
        return self.status, self.body, ""

    def pod(self, number: int, code: int, text: str = "") -> None:
        self.world.fakes.answer(f"^kubectl .*--context k3d-cl{number} .*exec deployment/curl ",
                                written_out((code, 0 if code else self.status, text or self.body)), exit=code)

    def prepare(self) -> None:
        answer = self.world.fakes.answer
        self.world.cluster_list(*self.clusters)
        objects = self.objects()
        special = {kind for kinds in QUERIES.values() for kind in kinds}
        answer("^kubectl .*get nodes,namespaces", as_list(entry for entry in objects if entry["kind"] not in special))
        if self.api_error:
            answer("^kubectl .*get nodes,namespaces", stderr=self.api_error, exit=1)
        for words, kinds in QUERIES.items():
            answer(f"^kubectl .*get {words}", as_list(entry for entry in objects if entry["kind"] in kinds))
        answer("^kubectl .*logs deployment/traefik", self.log)
        answer("^kubectl .*get secret shop-cert", base64.b64encode(self.secret.pem).decode() if self.secret else "")
        chain = base64.b64encode(self.intermediate.pem + ROOT.pem).decode()
        answer("^kubectl .*get secret root-ca", chain)
        answer("^kubectl .*get certificates -A ", as_list([certificate("web", "shop-cert")]))
        answer("^kubectl .*get secrets -A", f"web\tshop-cert\t{base64.b64encode(self.leaf.pem).decode()}\n")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Trace the URL, or with these words."""
        app, chain = self, self.leaf.key_pem() + self.leaf.pem + b"".join(signed.pem for signed in self.sent)

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if app.closes:
                    return
                status, body, location = app.respond(self.headers["Host"].partition(":")[0], self.path)
                self.send_response(status)
                if app.content_type:
                    self.send_header("Content-Type", app.content_type)
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.prepare()
        with ExitStack() as servers:
            if self.listens:
                servers.enter_context(pages_of(self.world, 1, chain, Page))
            return self.world.inv("trace", *(words or ("--json", self.url)))

    def trace(self) -> tuple[str, str, str, str]:
        """Hop, code, note and command of the one row that is red."""
        rows = json.loads(self.run().stdout)
        row, = (row for row in rows if row["state"] == "red")
        return row["source"], row["code"], row["note"], row["command"]


AnyApp = TypeVar("AnyApp", bound=App)


def as_list(objects: Any) -> str:
    return json.dumps({"items": [*objects]})


def not_true(kind: str, message: str) -> Object:
    """A status in which this condition is false."""
    return {"conditions": [condition(kind, "False", message)]}


@contextmanager
def traced_app(project: Project, kind: type[AnyApp]) -> Iterator[AnyApp]:
    with world_of(project) as world:
        app = kind(world)
        project.patches.append(resolver(lambda name: app.resolver.split()))
        for number in (1, 2):
            app.pod(number, 0)
        yield app


def kubectl(words: str) -> str:
    return f"kubectl --context k3d-cl1 {words}"


def patch(value: object, *, kind: str = "merge", target: str = "ingress shop") -> str:
    """The command that patches an object in the namespace of the application."""
    return kubectl(f"-n web patch {target} --type={kind} --patch {shlex.quote(json.dumps(value))}")
