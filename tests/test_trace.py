"""A URL followed hop by hop: each hop is broken once, and that one is named, with what mends it."""

from __future__ import annotations

import base64
import http.server
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import ca
import pytest
from conftest import Project
from cryptography import x509
from cryptography.x509.oid import NameOID
from inside import resolver
from pretend import ROOT, World, certificates, pages_of, world_of, written_out

HOST = "shop.cl1.k3d.internal"
HOPS = ["host name", "resolver", "port", "load balancer", "Traefik", "Ingress", "Service", "endpoints", "certificate",
        "name constraint", "answer", "pod in cl1", "pod in cl2"]


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def authority_of(domain: str, issuer: ca.Signed = ROOT) -> ca.Signed:
    return ca.authority(domain, issuer=issuer, pathlen=0, subject=common_name(f"CA {domain.split('.')[0]}"))


class App:
    """An application in cluster 1 in which all is in order, and cluster 2 beside it, until a test breaks something."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.listens = True
        self.clusters = [world.cluster(1), world.cluster(2)]
        self.resolver = "127.0.0.1"
        self.status, self.body = 200, "hello"
        self.intermediate = authority_of("cl1.k3d.internal")
        self.leaf = ca.leaf(self.intermediate, HOST)
        self.sent = [self.intermediate]
        self.api_error = ""
        self.traefik = deployment("kube-system", "traefik", {"app.kubernetes.io/name": "traefik"})
        self.deployment = deployment("web", "shop", {"app": "shop"})
        self.ingress: dict[str, Any] = {
            "kind": "Ingress", "metadata": {"namespace": "web", "name": "shop"},
            "spec": {"ingressClassName": "traefik", "tls": [{"hosts": [HOST], "secretName": "shop-cert"}],
                     "rules": [{"host": HOST, "http": {"paths": [
                         {"path": "/", "pathType": "Prefix",
                          "backend": {"service": {"name": "shop", "port": {"name": "http"}}}}]}}]}}
        self.service: dict[str, Any] = {
            "kind": "Service", "metadata": {"namespace": "web", "name": "shop"},
            "spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80}]}}
        self.endpoints = {"traefik": "kube-system", "traefik-internal": "kube-system", "shop": "web"}
        self.certificate: dict[str, Any] = {
            "kind": "Certificate", "metadata": {"namespace": "web", "name": "shop-cert"},
            "spec": {"secretName": "shop-cert"}, "status": condition("Ready", True)}
        self.missing: list[dict[str, Any]] = []

    @property
    def path(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ingress["spec"]["rules"][0]["http"]["paths"][0]
        return found

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.world.https(1)}/"

    def objects(self) -> list[dict[str, Any]]:
        slices = [{"kind": "EndpointSlice", "endpoints": [{"addresses": ["10.42.0.7"], "conditions": {"ready": True}}],
                   "metadata": {"namespace": namespace, "name": f"{name}-x",
                                "labels": {"kubernetes.io/service-name": name}}}
                  for name, namespace in self.endpoints.items()]
        every = [self.traefik, self.deployment, self.ingress, self.service, *slices]
        return [found for found in every if found not in self.missing]

    def pod(self, number: int, code: int, text: str = "") -> None:
        self.world.fakes.answer(f"^kubectl .*--context k3d-cl{number} .*exec deployment/curl ",
                                written_out((code, 0 if code else self.status, text or self.body)), exit=code)

    def prepare(self) -> None:
        answer = self.world.fakes.answer
        self.world.cluster_list(*self.clusters)
        answer("^kubectl .*get nodes,namespaces", json.dumps({"items": self.objects()}))
        if self.api_error:
            answer("^kubectl .*get nodes,namespaces", stderr=self.api_error, exit=1)
        present = [] if self.certificate in self.missing else [self.certificate]
        answer("^kubectl .*get clusterissuers,certificates", json.dumps({"items": present}))
        chain = base64.b64encode(self.intermediate.pem + ROOT.pem).decode()
        answer("^kubectl .*get secret root-ca", chain)
        answer("^kubectl .*get certificates -A ", json.dumps({"items": certificates(("web", "shop-cert"))}))
        answer("^kubectl .*get secrets -A", f"web\tshop-cert\t{base64.b64encode(self.leaf.pem).decode()}\n")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Trace the URL, unless the words hold another one."""
        app, chain = self, self.leaf.key_pem() + self.leaf.pem + b"".join(signed.pem for signed in self.sent)

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(app.status)
                self.end_headers()
                self.wfile.write(app.body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.prepare()
        with ExitStack() as servers:
            if self.listens:
                servers.enter_context(pages_of(self.world, 1, chain, Page))
            return self.world.inv("trace", *(words or ("--json", self.url)))


def deployment(namespace: str, name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"namespace": namespace, "name": name},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": labels}}},
            "status": condition("Available", True)}


def condition(kind: str, so: bool, message: str = "") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": str(so), "message": message}]}


@pytest.fixture
def app(project: Project) -> Iterator[App]:
    with world_of(project) as world:
        made = App(world)
        project.patches.append(resolver(lambda name: made.resolver.split()))
        for number in (1, 2):
            made.pod(number, 0)
        yield made


def kubectl(words: str) -> str:
    return f"kubectl --context k3d-cl1 {words}"


# --- all is in order --------------------------------------------------------------------------------------------------


def test_every_hop_is_green_where_all_is_in_order_and_nothing_is_changed(app: App) -> None:
    done = app.run(app.url)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("✓")]
    assert [line[3:20].strip() for line in lines] == HOPS
    for part in ("shop.cl1.k3d.internal, path /", "signed by CA cl1, until ", "intermediate for cl1.k3d.internal; "
                 "root for k3d.internal", "by CoreDNS and traefik-internal", "by CoreDNS and this host", "HTTP 200"):
        assert part in done.stdout
    assert done.stderr == ""
    assert app.world.changes() == []
    dry = app.run("--dry", app.url)
    assert dry.stdout == done.stdout, "it only looks, so --dry is no different"


def test_a_http_url_has_no_hops_of_tls_and_goes_to_the_http_port(app: App) -> None:
    done = app.run("--json", f"http://{HOST}:{app.world.http(1)}/a?b=c")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["source"] for row in rows] == [hop for hop in HOPS if hop not in ("certificate", "name constraint")]
    assert {row["state"] for row in rows} == {"green"}
    asked = app.world.fakes.calls("kubectl")[-1][-1]
    assert asked == f"http://{HOST}:{app.world.http(1)}/a?b=c"


def test_a_wildcard_and_the_longest_path_are_found_as_traefik_finds_them(app: App) -> None:
    app.ingress["spec"]["rules"][0]["host"] = "*.cl1.k3d.internal"
    app.ingress["spec"]["tls"][0]["hosts"] = ["*.cl1.k3d.internal"]
    other = {"path": "/api", "pathType": "Exact", "backend": {"service": {"name": "api", "port": {"number": 1}}}}
    app.ingress["spec"]["rules"][0]["http"]["paths"].append(other)
    app.leaf = ca.leaf(app.intermediate, "*.cl1.k3d.internal")
    assert app.run().returncode == 0
    assert "Service, web/api: there is no such Service" in app.run(f"{app.url}api").stderr
    no_router(app)
    deep = app.run(app.url.replace("shop.", "a.shop."))
    assert "Ingress, a.shop.cl1.k3d.internal: no Ingress that Traefik reads has this host" in deep.stderr


def test_what_an_ingressroute_serves_is_not_called_broken(app: App) -> None:
    app.missing = [app.ingress]
    done = app.run()
    rows = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    grey = {row["source"]: row["note"] for row in rows if row["state"] == "grey"}
    assert grey["Ingress"] == "no Ingress; an IngressRoute or HTTPRoute answers, which are not read here"
    assert list(grey) == ["Ingress", "Service", "endpoints"]


# --- each hop, broken -------------------------------------------------------------------------------------------------


def no_cluster(app: App) -> None:
    app.clusters = []


def unresolved(app: App) -> None:
    app.resolver = ""


def resolved_elsewhere(app: App) -> None:
    app.resolver = "127.0.0.1 192.0.2.1"


def closed(app: App) -> None:
    app.listens = False


def stopped(app: App) -> None:
    app.listens = False
    app.clusters[0] = app.world.cluster(1, running=False)


def balancer_stopped(app: App) -> None:
    app.clusters[0]["nodes"][1]["State"] = {"Running": False}
    app.world.fakes.answer("^docker ps", "another\n")


def other_port(app: App) -> None:
    app.clusters[0] = app.world.cluster(1, ports_of=3)


def node_stopped(app: App) -> None:
    app.clusters[0]["nodes"][0]["State"] = {"Running": False}


def api_silent(app: App) -> None:
    app.api_error = "warning\nUnable to connect to the server: EOF\n"


def traefik_gone(app: App) -> None:
    app.missing = [app.traefik]


def traefik_scaled(app: App) -> None:
    app.traefik["spec"]["replicas"] = 0


def traefik_unavailable(app: App) -> None:
    app.traefik["status"] = condition("Available", False, "Deployment does not have minimum availability.")


def traefik_internal_gone(app: App) -> None:
    del app.endpoints["traefik-internal"]


def no_router(app: App) -> None:
    app.status, app.body = 404, "404 page not found\n"


def other_host(app: App) -> None:
    app.ingress["spec"]["rules"][0]["host"] = "shops.cl1.k3d.internal"
    no_router(app)


def other_path(app: App) -> None:
    app.path["path"] = "/api"
    no_router(app)


def other_class(app: App) -> None:
    app.ingress["spec"]["ingressClassName"] = "nginx"
    no_router(app)


def other_entrypoint(app: App) -> None:
    app.ingress["metadata"]["annotations"] = {"traefik.ingress.kubernetes.io/router.entrypoints": "web"}


def service_gone(app: App) -> None:
    app.missing = [app.service]


def service_port(app: App) -> None:
    app.path["backend"]["service"]["port"] = {"number": 8080}


def scaled(app: App) -> None:
    del app.endpoints["shop"]
    app.deployment["spec"]["replicas"] = 0


def unready(app: App) -> None:
    del app.endpoints["shop"]
    app.deployment["status"] = condition("Available", False, "Deployment does not have minimum availability.")


def no_pods(app: App) -> None:
    del app.endpoints["shop"]
    app.service["spec"]["selector"] = {"app": "shpo"}


def traefiks_own(app: App) -> None:
    """There is a certificate for another name, so Traefik serves its own."""
    app.leaf = ca.authority(subject=common_name("TRAEFIK DEFAULT CERT"), ca=False, excluded=[])
    app.sent = []


def no_tls(app: App) -> None:
    del app.ingress["spec"]["tls"]
    traefiks_own(app)


def no_certificate(app: App) -> None:
    app.missing = [app.certificate]
    traefiks_own(app)


def not_issued(app: App) -> None:
    app.certificate["status"] = condition("Ready", False, "Issuing certificate as Secret does not exist")
    traefiks_own(app)


def expired(app: App) -> None:
    app.leaf = ca.leaf(app.intermediate, HOST, ends=ca.NOW - ca.DAY)


def other_name(app: App) -> None:
    app.leaf = ca.leaf(app.intermediate, "other.cl1.k3d.internal")


def other_intermediate(app: App) -> None:
    other = authority_of("cl2.k3d.internal")
    app.leaf, app.sent = ca.leaf(other, HOST), [other]


def half_a_chain(app: App) -> None:
    app.sent = []


def other_root(app: App) -> None:
    app.intermediate = authority_of("cl1.k3d.internal", issuer=ca.authority("k3d.internal"))
    app.leaf, app.sent = ca.leaf(app.intermediate, HOST), [app.intermediate]


def root_lost(app: App) -> None:
    (app.world.project.home / ".local-ca-certs" / "internal-ca.crt").unlink()


def intermediate_for_others(app: App) -> None:
    app.intermediate = authority_of("cl2.k3d.internal")
    app.leaf, app.sent = ca.leaf(app.intermediate, HOST), [app.intermediate]


def foreign_name_too(app: App) -> None:
    app.ingress["spec"]["tls"][0]["hosts"].append("shop.example.com")
    app.leaf = ca.leaf(app.intermediate, HOST, "shop.example.com")


def bad_gateway(app: App) -> None:
    app.status = 502


SETUP, CONFIGURE, START, RESTART = (
    f"inv k3d-cluster-{verb} --n 1" for verb in ("setup", "configure", "start", "restart"))
AGAIN = "inv k3d-cluster-delete --n 1 k3d-cluster-setup --n 1"
MINIMUM = "Deployment does not have minimum availability."


@pytest.mark.parametrize(("break_it", "hop", "note", "command"), [
    (no_cluster, "host name", "there is no cluster cl1", SETUP),
    (unresolved, "resolver", "this machine does not find the name", "inv dns"),
    (resolved_elsewhere, "resolver", "leads to 127.0.0.1, 192.0.2.1, and not to this machine", "inv dns"),
    (closed, "port", "Connection refused, and cl1 runs", RESTART),
    (stopped, "port", "Connection refused; cl1 is stopped: its load balancer k3d-cl1-serverlb does not run", START),
    (balancer_stopped, "load balancer", "is held by the container another. Stop that first", START),
    (other_port, "load balancer", "and the settings say ", AGAIN),
    (node_stopped, "Traefik", "cl1 is partly running", START),
    (api_silent, "Traefik", "the API of cl1 does not answer: Unable to connect to the server: EOF", RESTART),
    (traefik_gone, "Traefik", "there is no such Deployment", AGAIN),
    (traefik_scaled, "Traefik", "the Deployment has 0 replicas",
     kubectl("-n kube-system scale deployment/traefik --replicas=1")),
    (traefik_unavailable, "Traefik", f"the Deployment is not available: {MINIMUM}",
     kubectl("-n kube-system describe pods -l app.kubernetes.io/name=traefik")),
    (traefik_internal_gone, "Traefik", "no pod is behind the Service traefik-internal", CONFIGURE),
    (other_host, "Ingress", "has this host; did you mean shops.cl1.k3d.internal?", kubectl("get ingresses -A")),
    (other_path, "Ingress", "has a path for /, only for /api", kubectl("get ingresses -A")),
    (other_class, "Ingress", "no Ingress that Traefik reads has this host (IngressRoutes and HTTPRoutes are not read",
     kubectl("get ingresses -A")),
    (other_entrypoint, "Ingress", "its annotation router.entrypoints leaves https out",
     kubectl("-n web edit ingress shop")),
    (service_gone, "Service", "there is no such Service, and the Ingress shop leads to it",
     kubectl("-n web get services")),
    (service_port, "Service", "has port 80, and the Ingress shop leads to 8080", kubectl("-n web edit ingress shop")),
    (scaled, "endpoints", "the Deployment shop has 0 replicas",
     kubectl("-n web scale deployment/shop --replicas=1")),
    (unready, "endpoints", f"no pod of the Deployment shop is ready: {MINIMUM}",
     kubectl("-n web describe pods -l app=shop")),
    (no_pods, "endpoints", "no Deployment has pods with its labels (app=shpo)",
     kubectl("-n web get pods --show-labels")),
    (no_tls, "certificate", "Traefik serves its own default certificate: the Ingress shop has no `tls` for this host",
     kubectl("-n web edit ingress shop")),
    (no_certificate, "certificate", "own default certificate: nothing makes the secret shop-cert of the Ingress shop",
     kubectl("-n web annotate ingress shop cert-manager.io/cluster-issuer=root-ca")),
    (not_issued, "certificate", "the Certificate shop-cert is not ready: Issuing certificate as Secret does not exist",
     kubectl("-n web describe certificate shop-cert")),
    (expired, "certificate", "the certificate ended on ", kubectl("-n web delete secret shop-cert")),
    (other_name, "certificate", "the certificate is for other.cl1.k3d.internal", kubectl("-n web edit ingress shop")),
    (other_intermediate, "certificate", "the certificate is signed by CA cl2, and not by cl1's intermediate",
     CONFIGURE),
    (half_a_chain, "certificate", "the chain does not lead to the root: unable to get local issuer certificate",
     CONFIGURE),
    (other_root, "certificate", "the chain does not lead to the root: ", CONFIGURE),
    (root_lost, "certificate", "There is no root certificate authority", "inv cert"),
    (intermediate_for_others, "name constraint", "outside of what the intermediate may sign for: cl2.k3d.internal",
     CONFIGURE),
    (foreign_name_too, "name constraint", "the certificate names it too, and it is outside of what the intermediate",
     kubectl("-n web edit ingress shop")),
    (bad_gateway, "answer", "HTTP 502: Traefik gets no answer from the endpoints",
     kubectl("-n web describe service shop")),
    (no_router, "answer", "HTTP 404 of Traefik itself: it has no router for this URL",
     kubectl("-n web describe service shop")),
], ids=lambda value: value.__name__ if callable(value) else "")
def test_a_hop_that_is_broken_is_named_with_what_mends_it_and_nothing_else_is_red(
    app: App, break_it: Callable[[App], None], hop: str, note: str, command: str
) -> None:
    break_it(app)
    done = app.run()
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    red = [row for row in rows if row["state"] == "red"]
    assert [(row["source"], row["command"]) for row in red] == [(hop, command)]
    assert note in red[0]["note"]
    place = [row["source"] for row in rows].index(hop)
    assert {row["state"] for row in rows[:place]} <= {"green"}
    if hop != "resolver":  # which nothing else stands on: the rest is asked at 127.0.0.1
        assert {(row["state"], row["note"]) for row in rows[place + 1 :]} <= {("grey", "not asked")}
    assert done.stderr.splitlines()[0] == f"{app.url} is broken here:"
    assert done.stderr.splitlines()[-1] == f"    {command}"


@pytest.mark.parametrize(("number", "code", "error", "note", "command"), [
    (1, 6, "Could not resolve host", "CoreDNS of cl1 does not find the name", CONFIGURE),
    (1, 7, "Failed to connect", "traefik-internal of cl1: the connection is refused", CONFIGURE),
    (2, 7, "Failed to connect", "cl1 through this host: the connection is refused", CONFIGURE.replace("1", "2")),
    (2, 28, "timed out", "cl1 through this host: no answer in time; a firewall?", CONFIGURE.replace("1", "2")),
    (2, 60, "unable to get local issuer", "the pod's trust bundle does not verify the certificate (unable to get local",
     "inv k3d-cluster-configure --n 2 k3d-cluster-examples --n 2"),
    (2, 52, "Empty reply from server", "cl1 through this host: Empty reply from server", CONFIGURE.replace("1", "2")),
])
def test_from_a_pod_curls_exit_code_names_the_hop(
    app: App, number: int, code: int, error: str, note: str, command: str
) -> None:
    app.pod(number, code, error)
    done = app.run()
    assert done.returncode == 1
    red = [row for row in json.loads(done.stdout) if row["state"] == "red"]
    assert [(row["source"], row["command"]) for row in red] == [(f"pod in cl{number}", command)]
    assert note in red[0]["note"]


def test_a_pod_is_asked_for_the_url_as_it_is_also_with_braces_that_curl_would_expand(app: App) -> None:
    done = app.run("--json", f"{app.url}{{a,b}}?c[]=1")
    assert done.returncode == 0, done.stdout
    for words in app.world.fakes.calls("kubectl"):
        if "curl" in words:
            assert "--globoff" in words and words[-1] == f"{app.url}{{a,b}}?c[]=1"


def test_a_cluster_without_the_examples_is_grey_and_one_whose_pod_cannot_be_asked_is_red(app: App) -> None:
    app.world.fakes.answer("^kubectl .*k3d-cl1 .*exec ", stderr='Error from server (NotFound): namespaces "examples"',
                           exit=1)
    app.world.fakes.answer("^kubectl .*k3d-cl2 .*exec ", stderr="error: unable to upgrade connection\n", exit=1)
    done = app.run()
    *_, own, other = json.loads(done.stdout)
    assert (own["state"], own["note"]) == ("grey", "no examples there yet: inv k3d-cluster-examples --n 1")
    assert (other["state"], other["note"]) == ("red", "the pod cannot be asked: error: unable to upgrade connection")


def test_what_the_examples_installed_is_mended_by_installing_them_again(app: App) -> None:
    label = {"app.kubernetes.io/managed-by": "dev-cluster-tasks"}
    for found in (app.ingress, app.service, app.deployment):
        found["metadata"] |= {"namespace": "examples", "labels": label}
    app.endpoints["shop"] = "examples"
    service_port(app)
    assert app.run().stderr.splitlines()[-1] == "    inv k3d-cluster-examples --n 1"


def test_commands_to_type_name_a_kubeconfig_of_its_own(app: App) -> None:
    app.world.env(K3D_KUBECONFIG_TARGET_DIR="~/kube configs")
    scaled(app)
    file = app.world.project.home / "kube configs" / "cl1"
    assert f"    kubectl --kubeconfig '{file}' --context k3d-cl1 -n web scale" in app.run().stderr


# --- what is no URL of a cluster --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "said"), [
    ("app.cl1.k3d.internal:{https}", "does not begin with http:// or https://"),
    ("ftp://app.cl1.k3d.internal:{https}/", "does not begin with http:// or https://"),
    ("https://", "'' is no host name"),
    ("https://app.example.com:{https}/", "app.example.com is a name of no cluster: theirs end in cl0.k3d.internal to "),
    ("https://k3d.internal:{https}/", "k3d.internal is a name of no cluster"),
    ("https://app.cl10.k3d.internal:{https}/", "app.cl10.k3d.internal is a name of no cluster"),
    ("https://127.0.0.1:{https}/", "127.0.0.1 is an IP address"),
    ("https://[::1]:{https}/", "::1 is an IP address"),
    ("https://[::1/", "is no URL: Invalid IPv6 URL"),
    ("https://app.cl1.k3d.internal:99999/", "is no URL: Port out of range"),
    ("https://app.cl1.k3d.internal:x/", "is no URL: Port could not be cast"),
    ("https://app.cl1.k3d.internal/", "Port 443 is no cluster's: cl1 has {https} for https. "
     "Type: inv trace https://app.cl1.k3d.internal:{https}/"),
    ("https://app.cl1.k3d.internal:{http}/a?b&c", "Port {http} is cl1's for http, and the URL says https. "
     "Type: inv trace 'https://app.cl1.k3d.internal:{https}/a?b&c'"),
    ("http://app.cl1.k3d.internal:{https}/", "Port {https} is cl1's for https, and the URL says http. "
     "Type: inv trace http://app.cl1.k3d.internal:{http}/"),
    ("https://app.cl2.k3d.internal:{https}/", "Port {https} is cl1's for https, and app.cl2.k3d.internal is "
     "a name of cl2. Type: inv trace https://app.cl2.k3d.internal:"),
    ("https://app.cl1.k3d.internal:{https}/a b", "only printable ASCII is, without spaces; write others as %20"),
    ("https://app.cl1.k3d.internal:{https}/é\n", "only printable ASCII is"),
    ("https://*.cl1.k3d.internal:{https}/", "'*.cl1.k3d.internal' is no host name"),
    ("https://-x.cl1.k3d.internal:{https}/", "'-x.cl1.k3d.internal' is no host name"),
    ("https://me:secret@app.cl1.k3d.internal:{https}/", "Leave user and password out of the URL"),
])
def test_what_is_no_url_of_a_cluster_is_told_in_a_sentence_with_what_to_type(app: App, text: str, said: str) -> None:
    ports = {"http": app.world.http(1), "https": app.world.https(1)}
    done = app.world.inv("trace", text.format(**ports))
    assert done.returncode == 1 and done.stdout == ""
    assert said.format(**ports) in done.stderr
    assert len(done.stderr.splitlines()) == 1 and "inv trace " in done.stderr
    assert "secret" not in done.stderr
    assert app.world.fakes.calls() == []


def test_upper_case_and_a_dot_at_the_end_are_the_same_host(app: App) -> None:
    done = app.run("--json", f"HTTPS://SHOP.cl1.k3d.internal.:{app.world.https(1)}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["target"] == HOST
