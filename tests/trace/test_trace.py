"""`inv trace`: each hop is broken once, and exactly that hop is reported, with the command for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import ca
import pytest
from conftest import Project
from kubernetes_objects import CONTAINER
from traced_app import HOST, App, common_name, intermediate_for, kubectl, not_true, patch, traced_app

from tasks.probe.pod_trust import FILE_BY, TRUSTED_BY

HOPS = ["host name", "resolver", "port", "load balancer", "Traefik", "Ingress", "Service", "endpoints", "router",
        "certificate", "name constraints", "answer", "trust of its pods", "pod in cl1", "pod in cl2"]


@pytest.fixture
def app(project: Project) -> Iterator[App]:
    with traced_app(project, App) as app:
        yield app


# --- everything works -------------------------------------------------------------------------------------------------


def test_every_hop_is_green_and_nothing_is_changed(app: App) -> None:
    done = app.run(app.url)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("✓")]
    assert [line[3:20].strip() for line in lines] == HOPS
    for part in ("shop.cl1.k3d.internal, path /", "issued by CA cl1, valid until ",
                 "intermediate permits cl1.k3d.internal; root permits k3d.internal", "through traefik-internal",
                 "through this host", "HTTP 200"):
        assert part in done.stdout
    assert done.stderr == ""
    assert app.world.changes() == []
    dry = app.run("--dry", app.url)
    assert dry.stdout == done.stdout, "a trace changes nothing, so --dry makes no difference"


def test_an_http_url_skips_the_tls_hops_and_uses_the_http_port(app: App) -> None:
    done = app.run("--json", f"http://{HOST}:{app.world.http(1)}/a?b=c")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["source"] for row in rows] == [hop for hop in HOPS if hop not in ("certificate", "name constraints")]
    assert {(row["state"], row["code"]) for row in rows} == {("green", "ok")}
    requested = app.world.fakes.calls("kubectl")[-1][-1]
    assert requested == f"http://{HOST}:{app.world.http(1)}/a?b=c"


def test_wildcards_and_the_longest_path_match_as_in_traefik(app: App) -> None:
    app.ingress["spec"]["rules"][0]["host"] = "*.cl1.k3d.internal"
    app.ingress["spec"]["tls"][0]["hosts"] = ["*.cl1.k3d.internal"]
    other = {"path": "/api", "pathType": "Exact", "backend": {"service": {"name": "api", "port": {"number": 1}}}}
    app.ingress["spec"]["rules"][0]["http"]["paths"].append(other)
    app.leaf = ca.leaf(app.intermediate, "*.cl1.k3d.internal")
    assert app.run().returncode == 0
    assert "Service, web/api: the Service does not exist" in app.run(f"{app.url}api").stderr
    no_router(app)
    deep = app.run(app.url.replace("shop.", "a.shop."))
    assert "Ingress, a.shop.cl1.k3d.internal: no Ingress, IngressRoute or HTTPRoute has this host" in deep.stderr


def test_a_url_that_traefik_serves_without_a_known_route_is_not_reported_as_broken(app: App) -> None:
    app.missing = [app.ingress]
    done = app.run()
    rows = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    grey = {row["source"]: row["note"] for row in rows if row["state"] == "grey"}
    assert grey["Ingress"] == "no Ingress, IngressRoute or HTTPRoute has this host, but Traefik answers"
    assert {row["source"]: row["code"] for row in rows if row["code"] != "ok"} == {
        "Ingress": "other-route-answers", "Service": "no-route", "endpoints": "no-route",
        "trust of its pods": "no-route"}


@pytest.mark.parametrize(("process", "annotations", "state", "code", "note"), [
    ("/usr/bin/java libjvm.so,libssl.so.3,", None, "green", "ok",
     "pod trust; java (Java) reads JAVA_TOOL_OPTIONS"),
    ("/app/server go", None, "green", "ok", "pod trust; server (Go) reads SSL_CERT_FILE"),
    ("/usr/bin/wget libgnutls.so.30,", None, "grey", "no-variable-read",
     "pod trust, but wget (GnuTLS) reads no variable: the namespace needs the label "
     "trust-system-file=enabled"),
    ("/usr/bin/wget libgnutls.so.30,", {TRUSTED_BY: "x", FILE_BY: "x"}, "green", "ok",
     "pod trust; wget (GnuTLS) reads no variable"),
    ("/usr/bin/node", {}, "grey", "not-given",
     "no pod trust (docs/pod-trust.md); node (Node) reads NODE_EXTRA_CA_CERTS"),
])
def test_the_last_hop_says_whether_the_pods_trust_the_root_and_which_variable_their_program_reads(
    app: App, process: str, annotations: dict[str, str] | None, state: str, code: str, note: str,
) -> None:
    if annotations is not None:
        app.app_pod["metadata"]["annotations"] = annotations
    app.world.fakes.answer(f"(?s)^docker exec k3d-cl1-server-0 sh -c .* sh {CONTAINER}$", f"{CONTAINER} {process}\n")
    done = app.run()
    assert done.returncode == 0, done.stderr
    row, = [row for row in json.loads(done.stdout) if row["source"] == "trust of its pods"]
    assert (row["target"], row["state"], row["code"], row["note"]) == ("web/shop", state, code, note)


# --- each hop broken --------------------------------------------------------------------------------------------------


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


def traefik_missing(app: App) -> None:
    app.missing = [app.traefik]


def traefik_scaled(app: App) -> None:
    app.traefik["spec"]["replicas"] = 0


def traefik_unavailable(app: App) -> None:
    app.traefik["status"] = not_true("Available", "Deployment does not have minimum availability.")


def traefik_internal_missing(app: App) -> None:
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
    app.annotate("traefik.ingress.kubernetes.io/router.entrypoints", "web")


def service_missing(app: App) -> None:
    app.missing = [app.service]


def service_port(app: App) -> None:
    app.path["backend"]["service"]["port"] = {"number": 8080}


def scaled(app: App) -> None:
    del app.endpoints["shop"]
    app.deployment["spec"]["replicas"] = 0


def unready(app: App) -> None:
    del app.endpoints["shop"]
    app.deployment["status"] = not_true("Available", "Deployment does not have minimum availability.")


def no_pods(app: App) -> None:
    del app.endpoints["shop"]
    app.service["spec"]["selector"] = {"app": "shpo"}


def default_certificate(app: App) -> None:
    """Traefik has no certificate for the name."""
    app.leaf = ca.authority(subject=common_name("TRAEFIK DEFAULT CERT"), ca=False, excluded=[])
    app.sent = []


def no_tls(app: App) -> None:
    del app.ingress["spec"]["tls"]
    default_certificate(app)


def no_certificate(app: App) -> None:
    app.missing = [app.certificate]
    app.annotate("cert-manager.io/cluster-issuer", "")
    default_certificate(app)


def not_issued(app: App) -> None:
    app.certificate["status"] = not_true("Ready", "Issuing certificate as Secret does not exist")
    default_certificate(app)


def expired(app: App) -> None:
    app.leaf = ca.leaf(app.intermediate, HOST, ends=ca.NOW - ca.DAY)


def other_name(app: App) -> None:
    app.leaf = ca.leaf(app.intermediate, "other.cl1.k3d.internal")


def other_intermediate(app: App) -> None:
    other = intermediate_for("cl2.k3d.internal")
    app.leaf, app.sent = ca.leaf(other, HOST), [other]


def incomplete_chain(app: App) -> None:
    app.sent = []


def other_root(app: App) -> None:
    app.intermediate = intermediate_for("cl1.k3d.internal", issuer=ca.authority("k3d.internal"))
    app.leaf, app.sent = ca.leaf(app.intermediate, HOST), [app.intermediate]


def root_missing(app: App) -> None:
    (app.world.project.home / ".local-ca-certs" / "internal-ca.crt").unlink()


def intermediate_for_other_domain(app: App) -> None:
    app.intermediate = intermediate_for("cl2.k3d.internal")
    app.leaf, app.sent = ca.leaf(app.intermediate, HOST), [app.intermediate]


def second_name_outside(app: App) -> None:
    app.ingress["spec"]["tls"][0]["hosts"].append("shop.example.com")
    app.leaf = ca.leaf(app.intermediate, HOST, "shop.example.com")


def bad_gateway(app: App) -> None:
    app.status, app.body = 502, "Bad Gateway"


SETUP, CONFIGURE, START, RESTART = (
    f"inv k3d-cluster-{verb} --n 1" for verb in ("setup", "configure", "start", "restart"))
AGAIN = "inv k3d-cluster-delete --n 1 k3d-cluster-setup --n 1"
MINIMUM = "Deployment does not have minimum availability."


@pytest.mark.parametrize(("break_it", "hop", "code", "note", "command"), [
    (no_cluster, "host name", "cluster-missing", "the cluster cl1 does not exist", SETUP),
    (unresolved, "resolver", "name-not-resolved", "this machine does not resolve the name", "inv dns"),
    (resolved_elsewhere, "resolver", "name-points-elsewhere",
     "resolves to 127.0.0.1, 192.0.2.1 instead of this machine", "inv dns"),
    (closed, "port", "port-closed", "Connection refused, although cl1 is running", RESTART),
    (stopped, "port", "load-balancer-not-running",
     "Connection refused; cl1 is stopped: its load balancer k3d-cl1-serverlb is not running", START),
    (balancer_stopped, "load balancer", "port-held-by-others",
     f"is already in use by the container another. Stop that first, then run {START}", ""),
    (other_port, "load balancer", "port-changed", ", but the settings specify ", AGAIN),
    (node_stopped, "Traefik", "cluster-not-running", "cl1 is partly running", START),
    (api_silent, "Traefik", "api-not-answering",
     "the API of cl1 does not answer: Unable to connect to the server: EOF", RESTART),
    (traefik_missing, "Traefik", "traefik-missing", "the Deployment does not exist", AGAIN),
    (traefik_scaled, "Traefik", "traefik-scaled-down", "the Deployment has 0 replicas",
     kubectl("-n kube-system scale deployment/traefik --replicas=1")),
    (traefik_unavailable, "Traefik", "traefik-unavailable", f"the Deployment is not available: {MINIMUM}",
     ""),
    (traefik_internal_missing, "Traefik", "traefik-without-endpoints",
     "the Service traefik-internal has no ready pods", CONFIGURE),
    (other_host, "Ingress", "ingress-missing", "has this host; did you mean shops.cl1.k3d.internal?", ""),
    (other_path, "Ingress", "path-missing", "for this host matches the path /, only /api", ""),
    (other_class, "Ingress", "class-missing", "it has the class nginx, which does not exist in cl1",
     patch({"spec": {"ingressClassName": "traefik"}})),
    (other_entrypoint, "Ingress", "entry-point-excluded", "its entry points (web) exclude https",
     patch({"metadata": {"annotations": {"traefik.ingress.kubernetes.io/router.entrypoints": "web,websecure"}}})),
    (service_missing, "Service", "service-missing", "the Service does not exist, but the Ingress shop points to it",
     ""),
    (service_port, "Service", "service-port-missing", "has port 80, but the Ingress shop points to 8080",
     patch([{"op": "replace", "path": "/spec/rules/0/http/paths/0/backend/service/port", "value": {"number": 80}}],
           kind="json")),
    (scaled, "endpoints", "deployment-scaled-down", "the Deployment shop has 0 replicas",
     kubectl("-n web scale deployment/shop --replicas=1")),
    (unready, "endpoints", "no-ready-pod", f"no pod of the Deployment shop is ready: {MINIMUM}", ""),
    (no_pods, "endpoints", "no-endpoints",
     "no Deployment matches its selector (app=shpo). Deployments there have pods with app=shop", ""),
    (no_router, "router", "router-missing", "it has no router for the Ingress shop, and its log does not mention it",
     ""),
    (no_tls, "certificate", "no-tls-section",
     "Traefik serves its default certificate: the Ingress shop has no `tls` for this host",
     patch({"spec": {"tls": [{"hosts": [HOST], "secretName": "shop-tls"}]}})),
    (no_certificate, "certificate", "no-issuer",
     "its default certificate: nothing creates the secret shop-cert of the Ingress shop",
     patch({"metadata": {"annotations": {"cert-manager.io/cluster-issuer": "root-ca"}}})),
    (not_issued, "certificate", "certificate-not-ready",
     "the Certificate shop-cert is not ready: Issuing certificate as Secret does not exist", ""),
    (expired, "certificate", "certificate-expired", "the certificate expired on ",
     kubectl("-n web delete secret shop-cert")),
    (other_name, "certificate", "certificate-for-other-names", "the certificate is for other.cl1.k3d.internal", ""),
    (other_intermediate, "certificate", "certificate-of-other-issuer",
     "the certificate was issued by CA cl2, not by cl1's intermediate", CONFIGURE),
    (incomplete_chain, "certificate", "chain-broken",
     "the chain does not verify against the root: unable to get local issuer certificate", CONFIGURE),
    (other_root, "certificate", "chain-broken", "the chain does not verify against the root: ", CONFIGURE),
    (root_missing, "certificate", "root-missing", "root", "inv cert"),
    (intermediate_for_other_domain, "name constraints", "name-outside-constraint",
     "outside the name constraint of the intermediate, which permits cl2.k3d.internal", CONFIGURE),
    (second_name_outside, "name constraints", "other-name-outside-constraint",
     "the certificate also covers this name, which is outside the name constraint of the intermediate",
     patch({"spec": {"tls": [{"hosts": [HOST], "secretName": "shop-cert"}]}})),
    (bad_gateway, "answer", "backend-not-answering", "HTTP 502 from Traefik itself: the pods do not answer on port 80",
     ""),
], ids=lambda value: value.__name__ if callable(value) else "")
def test_only_the_broken_hop_is_red_with_its_reason_and_command(
    app: App, break_it: Callable[[App], None], hop: str, code: str, note: str, command: str
) -> None:
    break_it(app)
    done = app.run()
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    red = [row for row in rows if row["state"] == "red"]
    assert [(row["source"], row["code"], row["command"]) for row in red] == [(hop, code, command)]
    assert note in red[0]["note"]
    place = [row["source"] for row in rows].index(hop)
    assert {(row["state"], row["code"]) for row in rows[:place]} <= {("green", "ok")}
    if hop != "resolver":  # the other hops do not depend on it: requests go to 127.0.0.1
        assert {(row["state"], row["note"], row["code"]) for row in rows[place + 1 :]} <= {
            ("grey", "skipped", "skipped")}
    assert done.stderr.splitlines()[0] == f"{app.url} breaks here:"
    assert done.stderr.splitlines()[1:] == [
        f"  {hop}, {red[0]['target']}: {red[0]['note']}", *([f"    {command}"] if command else [])]


@pytest.mark.parametrize(("number", "exit", "error", "code", "note", "command"), [
    (1, 6, "Could not resolve host", "name-not-resolved", "CoreDNS in cl1 does not resolve the name", CONFIGURE),
    (1, 7, "Failed to connect", "connection-refused", "traefik-internal of cl1: connection refused", CONFIGURE),
    (2, 7, "Failed to connect", "connection-refused", "cl1 through this host: connection refused",
     CONFIGURE.replace("1", "2")),
    (2, 28, "timed out", "timed-out", "cl1 through this host: timed out; is a firewall blocking it?",
     CONFIGURE.replace("1", "2")),
    (2, 60, "unable to get local issuer", "certificate-not-trusted",
     "the pod's trust bundle does not verify the certificate (unable to get local",
     "inv k3d-cluster-configure --n 2 k3d-cluster-examples --n 2"),
    (2, 52, "Empty reply from server", "request-failed", "cl1 through this host: Empty reply from server",
     CONFIGURE.replace("1", "2")),
])
def test_the_exit_code_of_curl_in_a_pod_determines_the_reason(
    app: App, number: int, exit: int, error: str, code: str, note: str, command: str
) -> None:
    app.pod(number, exit, error)
    done = app.run()
    assert done.returncode == 1
    red = [row for row in json.loads(done.stdout) if row["state"] == "red"]
    assert [(row["source"], row["code"], row["command"]) for row in red] == [(f"pod in cl{number}", code, command)]
    assert note in red[0]["note"]


def test_braces_in_a_url_are_not_expanded_by_curl(app: App) -> None:
    done = app.run("--json", f"{app.url}{{a,b}}?c[]=1")
    assert done.returncode == 0, done.stdout
    for words in app.world.fakes.calls("kubectl"):
        if "curl" in words:
            assert "--globoff" in words and words[-1] == f"{app.url}{{a,b}}?c[]=1"


def test_missing_examples_are_grey_and_a_failing_exec_is_red(app: App) -> None:
    app.world.fakes.answer("^kubectl .*k3d-cl1 .*exec ", stderr='Error from server (NotFound): namespaces "examples"',
                           exit=1)
    app.world.fakes.answer("^kubectl .*k3d-cl2 .*exec ", stderr="error: unable to upgrade connection\n", exit=1)
    done = app.run()
    *_, own, other = json.loads(done.stdout)
    assert (own["state"], own["code"]) == ("grey", "examples-missing")
    assert own["note"] == "the examples are not installed in cl1: inv k3d-cluster-examples --n 1"
    assert (other["state"], other["code"]) == ("red", "exec-failed")
    assert other["note"] == "kubectl cannot run curl in the pod: error: unable to upgrade connection"


def test_a_broken_example_is_fixed_by_installing_the_examples_again(app: App) -> None:
    label = {"app.kubernetes.io/managed-by": "dev-cluster-tasks"}
    for entry in (app.ingress, app.service, app.deployment):
        entry["metadata"] |= {"namespace": "examples", "labels": label}
    app.endpoints["shop"] = "examples"
    service_port(app)
    assert app.run().stderr.splitlines()[-1] == "    inv k3d-cluster-examples --n 1"


def test_printed_commands_name_the_kubeconfig_of_the_cluster(app: App) -> None:
    app.world.env(K3D_KUBECONFIG_TARGET_DIR="~/kube configs")
    scaled(app)
    file = app.world.project.home / "kube configs" / "cl1"
    assert f"    kubectl --kubeconfig '{file}' --context k3d-cl1 -n web scale" in app.run().stderr


# --- URLs that do not belong to a cluster -----------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "message"), [
    ("app.cl1.k3d.internal:{https}", "does not start with http:// or https://"),
    ("ftp://app.cl1.k3d.internal:{https}/", "does not start with http:// or https://"),
    ("https://", "'' is not a valid host name"),
    ("https://app.example.com:{https}/",
     "app.example.com does not belong to any cluster: names of clusters end with cl0.k3d.internal to "),
    ("https://k3d.internal:{https}/", "k3d.internal does not belong to any cluster"),
    ("https://app.cl10.k3d.internal:{https}/", "app.cl10.k3d.internal does not belong to any cluster"),
    ("https://127.0.0.1:{https}/", "127.0.0.1 is an IP address"),
    ("https://[::1]:{https}/", "::1 is an IP address"),
    ("https://[::1/", "is not a valid URL: Invalid IPv6 URL"),
    ("https://app.cl1.k3d.internal:99999/", "is not a valid URL: Port out of range"),
    ("https://app.cl1.k3d.internal:x/", "is not a valid URL: Port could not be cast"),
    ("https://app.cl1.k3d.internal:{http}/a?b&c", "Port {http} is cl1's port for http, and the URL starts with https. "
     "Type: inv trace 'https://app.cl1.k3d.internal:{https}/a?b&c'"),
    ("http://app.cl1.k3d.internal:{https}/", "Port {https} is cl1's port for https, and the URL starts with http. "
     "Type: inv trace http://app.cl1.k3d.internal:{http}/"),
    ("https://app.cl2.k3d.internal:{https}/", "Port {https} is cl1's port for https, and app.cl2.k3d.internal "
     "belongs to cl2. Type: inv trace https://app.cl2.k3d.internal:"),
    ("https://app.cl1.k3d.internal:{https}/a b", "use printable ASCII and percent-encode the rest (a space is %20)"),
    ("https://app.cl1.k3d.internal:{https}/é\n", "use printable ASCII"),
    ("https://*.cl1.k3d.internal:{https}/", "'*.cl1.k3d.internal' is not a valid host name"),
    ("https://-x.cl1.k3d.internal:{https}/", "'-x.cl1.k3d.internal' is not a valid host name"),
    ("https://me:secret@app.cl1.k3d.internal:{https}/", "Remove user and password from the URL"),
])
def test_an_invalid_url_is_explained_in_one_line_with_what_to_type(app: App, text: str, message: str) -> None:
    ports = {"http": app.world.http(1), "https": app.world.https(1)}
    done = app.world.inv("trace", text.format(**ports))
    assert done.returncode == 1 and done.stdout == ""
    assert message.format(**ports) in done.stderr
    assert len(done.stderr.splitlines()) == 1 and "inv trace " in done.stderr
    assert "secret" not in done.stderr
    assert app.world.fakes.calls() == []


def test_upper_case_and_a_trailing_dot_are_the_same_host(app: App) -> None:
    done = app.run("--json", f"HTTPS://SHOP.cl1.k3d.internal.:{app.world.https(1)}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["target"] == HOST
