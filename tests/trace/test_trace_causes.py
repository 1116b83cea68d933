"""`inv trace` reads the cause from the cluster: Traefik's log, cert-manager's objects, classes, and annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import ca
import pytest
from conftest import Project
from kubernetes_objects import Object, condition
from pretend import GATEWAY
from traced_app import HOST, App, common_name, kubectl, not_true, patch, traced_app

from tasks.probe.traefik_rules import rule_matches

TRAEFIK, CERT_MANAGER = "traefik.ingress.kubernetes.io", "cert-manager.io"


@pytest.fixture
def app(project: Project) -> Iterator[App]:
    with traced_app(project, App) as app:
        yield app


def no_router(app: App) -> None:
    app.status, app.body = 404, "404 page not found\n"


def default_certificate(app: App) -> None:
    app.leaf = ca.authority(subject=common_name("TRAEFIK DEFAULT CERT"), ca=False, excluded=[])
    app.sent = []


def annotation(key: str, value: str | None) -> str:
    """The command that sets an annotation of the Ingress."""
    return patch({"metadata": {"annotations": {key: value}}})


# --- classes ----------------------------------------------------------------------------------------------------------


def test_a_class_of_another_controller_is_named_without_similar_hosts_of_others(app: App) -> None:
    no_router(app)
    app.ingress["spec"]["ingressClassName"] = "nginx"
    similar = json.loads(json.dumps(app.ingress).replace("shop", "shops").replace("nginx", "traefik"))
    app.extra += [similar, {"kind": "IngressClass", "metadata": {"name": "nginx"},
                            "spec": {"controller": "k8s.io/ingress-nginx"}}]
    hop, code, note, command = app.trace()
    assert (hop, code) == ("Ingress", "class-of-other-controller")
    assert "it has the class nginx of the controller k8s.io/ingress-nginx, which Traefik does not serve" in note
    assert "it has no address" in note and "shops" not in note
    assert command == patch({"spec": {"ingressClassName": "traefik"}})
    app.ingress["status"] = {"loadBalancer": {"ingress": [{"ip": GATEWAY}]}}
    assert "it has an address" in app.trace()[2]


def test_a_class_in_the_old_annotation_is_removed(app: App) -> None:
    no_router(app)
    del app.ingress["spec"]["ingressClassName"]
    app.annotate("kubernetes.io/ingress.class", "nginx")
    hop, code, note, command = app.trace()
    assert (hop, code, command) == ("Ingress", "class-missing", annotation("kubernetes.io/ingress.class", None))
    assert "the class nginx, which does not exist in cl1" in note


def test_every_class_of_traefiks_controller_is_served(app: App) -> None:
    app.ingress["spec"]["ingressClassName"] = "public"
    app.extra.append({"kind": "IngressClass", "metadata": {"name": "public"},
                      "spec": {"controller": "traefik.io/ingress-controller"}})
    assert app.run().returncode == 0
    del app.ingress["spec"]["ingressClassName"]
    assert app.run().returncode == 0


def test_a_similar_host_is_suggested_only_if_its_own_part_is_similar(app: App) -> None:
    no_router(app)
    app.ingress["spec"]["rules"][0]["host"] = "wiki.cl1.k3d.internal"
    assert app.trace()[2] == "no Ingress, IngressRoute or HTTPRoute has this host"


# --- Traefik's log ----------------------------------------------------------------------------------------------------

LOG = """\
\x1b[90m2026-11-25T19:23:02Z\x1b[0m \x1b[31mERR\x1b[0m error="an older error" entryPointName=web {who}
\x1b[90m2026-11-25T19:23:10Z\x1b[0m \x1b[31mERR\x1b[0m error="{error}" entryPointName=web {who}
\x1b[90m2026-11-25T19:23:10Z\x1b[0m \x1b[31mERR\x1b[0m error="{error}" entryPointName=websecure {who}
2026-11-25T19:23:10Z ERR Cannot create service error="not found" ingress=other namespace=web providerName=kubernetes
10.42.0.1 - - [25/Nov/2026:19:23:56 +0000] "GET / HTTP/2.0" 404 19 "-" "-" 9 "-" "-" 0ms
"""
ROUTER = "routerName=websecure-web-shop-shop-cl1-k3d-internal@kubernetes"


def test_the_reason_why_traefik_dropped_a_router_is_quoted_from_its_log(app: App) -> None:
    no_router(app)
    app.log = LOG.format(error='unknown TLS options: \\"web-x@kubernetescrd\\"', who=ROUTER)
    assert app.trace() == ("router", "router-dropped", "Traefik has no router for the Ingress shop. Its log says: "
                           'unknown TLS options: "web-x@kubernetescrd"', "")


def test_an_error_of_the_provider_is_quoted_with_its_message(app: App) -> None:
    no_router(app)
    app.log = ('2026-11-25T19:23:10Z ERR Failed to parse annotations error="strconv.ParseInt: parsing \\"high\\": '
               'invalid syntax" ingress=shop namespace=web providerName=kubernetes\n')
    assert app.trace()[2].endswith('Failed to parse annotations: strconv.ParseInt: parsing "high": invalid syntax')


def test_a_log_in_json_is_read_too(app: App) -> None:
    no_router(app)
    app.log = json.dumps({"level": "error", "error": "unknown TLS options: x", "time": "2026-11-25T19:23:10Z",
                          "routerName": "web-shop-shop-cl1-k3d-internal@kubernetes"}) + '\n{"level": "debug\n'
    assert app.trace()[2].endswith("Its log says: unknown TLS options: x")


def test_a_tls_handshake_that_fails_is_explained_by_the_log(app: App) -> None:
    """Where the TLS options are unknown, Traefik closes the connection."""
    app.log = LOG.format(error="unknown TLS options: x", who=ROUTER)
    app.closes = True
    hop, code, note, _ = app.trace()
    assert (hop, code) == ("router", "router-dropped") and "unknown TLS options: x" in note


def test_a_missing_middleware_is_named_and_the_log_quoted(app: App) -> None:
    no_router(app)
    app.annotate(f"{TRAEFIK}/router.middlewares", "auth@file, web-auth@kubernetescrd")
    app.log = LOG.format(error='middleware \\"web-auth@kubernetescrd\\" does not exist', who=ROUTER)
    hop, code, note, command = app.trace()
    assert (hop, code, command) == ("Ingress", "middleware-missing", "")
    assert "the Middleware web/auth does not exist, so Traefik drops the router" in note
    assert note.endswith('Traefik\'s log says: middleware "web-auth@kubernetescrd" does not exist')
    app.extra.append(middleware("web", "auth"))
    app.status = 200
    assert app.run().returncode == 0


def test_a_middleware_without_its_namespace_gets_the_full_reference(app: App) -> None:
    no_router(app)
    key = f"{TRAEFIK}/router.middlewares"
    app.annotate(key, "other-headers@kubernetescrd,auth")
    app.extra += [middleware("web", "auth"), middleware("other", "headers")]
    hop, code, note, command = app.trace()
    assert (hop, code, command) == ("Ingress", "middleware-missing",
                                    annotation(key, "other-headers@kubernetescrd,web-auth@kubernetescrd"))
    assert "refers to a Middleware by <namespace>-<name>@kubernetescrd, here web-auth@kubernetescrd" in note


def test_a_middleware_in_a_namespace_with_a_similar_name_is_found(app: App) -> None:
    app.annotate(f"{TRAEFIK}/router.middlewares", "web-team-auth@kubernetescrd")
    app.extra.append(middleware("web-team", "auth"))
    assert app.run().returncode == 0


def middleware(namespace: str, name: str) -> Object:
    return {"kind": "Middleware", "metadata": {"namespace": namespace, "name": name}}


# --- HTTPS behind Traefik ---------------------------------------------------------------------------------------------


def own_500(app: App) -> None:
    """The answer of Traefik where it rejects the certificate of the backend."""
    app.status, app.body, app.content_type = 500, "Internal Server Error", ""


@pytest.mark.parametrize(("port", "cause"), [
    ({"name": "http", "port": 443}, "its port is 443"),
    ({"name": "https", "port": 9000}, "its port is named https"),
    ({"name": "https-web", "port": 9000}, "its port is named https-web"),
])
def test_https_behind_traefik_is_red_with_both_ways_out(app: App, port: Object, cause: str) -> None:
    own_500(app)
    app.service["spec"]["ports"] = [port]
    app.path["backend"]["service"]["port"] = {"number": port["port"]}
    hop, code, note, command = app.trace()
    assert (hop, code) == ("answer", "https-backend-not-trusted")
    assert f"Traefik connects to the Service shop with HTTPS, because {cause}, and does not trust" in note
    assert "point the Ingress shop to a port of the Service that serves HTTP, or have Traefik accept" in note
    transport, annotate = command.split(" && ")
    assert '"kind": "ServersTransport"' in transport and transport.endswith(kubectl("apply -f -"))
    assert annotate == kubectl("-n web annotate --overwrite service shop "
                               f"{TRAEFIK}/service.serverstransport=web-shop@kubernetescrd")


def test_https_behind_traefik_with_an_http_port_too_points_the_ingress_to_that(app: App) -> None:
    own_500(app)
    app.service["spec"]["ports"] = [{"name": "https", "port": 443}, {"name": "http", "port": 80}]
    app.path["backend"]["service"]["port"] = {"number": 443}
    assert app.trace()[3] == patch([{"op": "replace", "path": "/spec/rules/0/http/paths/0/backend/service/port",
                                     "value": {"number": 80}}], kind="json")


@pytest.mark.parametrize(("name", "content_type", "body"), [
    ("http", "", "Internal Server Error"), ("https", "text/plain; charset=utf-8", "Internal Server Error"),
    ("https", "", "a stack trace"),
])
def test_a_500_of_the_application_is_green(app: App, name: str, content_type: str, body: str) -> None:
    app.status, app.body, app.content_type = 500, body, content_type
    app.service["spec"]["ports"] = [{"name": name, "port": 8443}]
    app.path["backend"]["service"]["port"] = {"number": 8443}
    done = app.run()
    assert done.returncode == 0, done.stderr
    assert {row["source"]: row["note"] for row in json.loads(done.stdout)}["answer"] == "HTTP 500"


def test_a_502_of_the_application_is_green(app: App) -> None:
    app.status, app.body = 502, "<h1>The upstream API is down</h1>"
    assert app.run().returncode == 0


# --- Services ---------------------------------------------------------------------------------------------------------


def pod(container_port: Object, **status: object) -> Object:
    return {"kind": "Pod", "metadata": {"namespace": "web", "name": "shop-1", "labels": {"app": "shop"}},
            "spec": {"containers": [{"ports": [container_port]}]}, "status": status}


def test_a_target_port_that_no_container_declares_is_named_with_a_502(app: App) -> None:
    app.status, app.body = 502, "Bad Gateway"
    app.service["spec"]["ports"][0]["targetPort"] = 8080
    app.extra.append(pod({"containerPort": 3000}))
    hop, code, note, command = app.trace()
    assert (hop, code) == ("answer", "backend-not-answering")
    assert note.endswith("the pods do not answer on port 8080. Their containers declare 3000")
    assert command == patch([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 3000}], kind="json",
                            target="service shop")


def test_a_named_target_port_that_no_container_has_is_red(app: App) -> None:
    app.service["spec"]["ports"][0]["targetPort"] = "http"
    app.extra.append(pod({"containerPort": 3000, "name": "web"}))
    assert app.trace()[:3] == ("endpoints", "target-port-missing",
                               "its targetPort is http, but the containers of its pods have only ports named web")


def test_an_external_name_is_red_unless_traefik_allows_it(app: App) -> None:
    app.service["spec"] |= {"type": "ExternalName", "externalName": "example.com"}
    hop, code, note, _ = app.trace()
    assert (hop, code) == ("Service", "external-name-not-allowed")
    assert "`providers.kubernetesIngress.allowExternalNameServices: true`" in note
    app.traefik["spec"]["template"]["spec"]["containers"][0]["args"] = [
        "--providers.kubernetesingress.allowExternalNameServices=true"]
    assert app.run().returncode == 0


def test_an_unready_pod_is_named_with_its_own_reason(app: App) -> None:
    del app.endpoints["shop"]
    app.deployment["status"] = not_true("Available", "no minimum availability")
    app.extra.append(pod({}, containerStatuses=[{"state": {"waiting": {
        "reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}]))
    assert app.trace()[:3] == ("endpoints", "no-ready-pod", "no pod of the Deployment shop is ready: shop-1: "
                               "ImagePullBackOff: Back-off pulling image")


# --- cert-manager -----------------------------------------------------------------------------------------------------


def event(message: str) -> Object:
    return {"kind": "Event", "type": "Warning", "reason": "BadConfig", "message": message,
            "involvedObject": {"kind": "Ingress", "namespace": "web", "name": "shop"}}


def owned_by(kind: str, name: str) -> Object:
    return {"ownerReferences": [{"kind": kind, "name": name}]}


def created(kind: str, name: str, owner: tuple[str, str], **status: object) -> Object:
    return {"kind": kind, "metadata": {"namespace": "web", "name": name, **owned_by(*owner)}, "status": status}


def no_secret_name(app: App) -> None:
    app.missing = [app.certificate]
    del app.ingress["spec"]["tls"][0]["secretName"]
    app.extra.append(event("Skipped a TLS block: spec.tls[0].secretName: Required value"))


def common_name_too_long(app: App) -> None:
    app.missing = [app.certificate]
    app.annotate(f"{CERT_MANAGER}/common-name", f"{'a' * 53}.{HOST}")


def both_issuers(app: App) -> None:
    app.missing = [app.certificate]
    app.annotate(f"{CERT_MANAGER}/issuer", "letsencrypt")
    app.extra.append(event('both "cert-manager.io/issuer" and "cert-manager.io/cluster-issuer" may not be set'))


def issuer_of_production(app: App) -> None:
    app.annotate(f"{CERT_MANAGER}/cluster-issuer", "letsencrypt-prod")
    app.certificate["spec"]["issuerRef"] = {"kind": "ClusterIssuer", "name": "letsencrypt-prod"}
    app.certificate["metadata"] |= owned_by("Ingress", "shop")
    app.certificate["status"] = not_true("Ready", "Issuing certificate as Secret does not exist")


def issuer_in_namespace(app: App) -> None:
    issuer_of_production(app)
    app.annotate(f"{CERT_MANAGER}/cluster-issuer", "")
    app.annotate(f"{CERT_MANAGER}/issuer", "letsencrypt")
    app.certificate["spec"]["issuerRef"] = {"kind": "Issuer", "name": "letsencrypt"}


def issuer_not_ready(app: App) -> None:
    issuer_of_production(app)
    app.extra.append({"kind": "ClusterIssuer", "metadata": {"name": "letsencrypt-prod"},
                      "status": not_true("Ready", "Failed to register ACME account")})


def order_fails(app: App) -> None:
    issuer_not_ready(app)
    app.extra[-1]["status"] = {"conditions": [condition("Ready")]}
    app.extra += [
        created("CertificateRequest", "shop-cert-1", ("Certificate", "shop-cert"),
                **not_true("Ready", "Waiting on certificate issuance from order web/shop-cert-1-1: \"pending\"")),
        created("Order", "shop-cert-1-1", ("CertificateRequest", "shop-cert-1"), state="pending"),
        created("Challenge", "shop-cert-1-1-1", ("Order", "shop-cert-1-1"),
                reason="Waiting for HTTP-01 challenge propagation: no such host")]


def request_denied(app: App) -> None:
    app.certificate["status"] = not_true("Ready", "Issuing certificate as Secret does not exist")
    app.extra.append(created("CertificateRequest", "shop-cert-1", ("Certificate", "shop-cert"),
                             **not_true("Ready", "The CSR is invalid")))


def secret_of_other_ingress(app: App) -> None:
    app.certificate["metadata"] |= owned_by("Ingress", "blog")
    app.secret = ca.leaf(app.intermediate, "blog.cl1.k3d.internal")


def secret_for_other_names(app: App) -> None:
    app.missing = [app.certificate]
    app.secret = ca.leaf(app.intermediate, "other.cl1.k3d.internal")


def secret_not_loaded(app: App) -> None:
    app.missing = [app.certificate]
    app.secret = ca.leaf(app.intermediate, "*.cl1.k3d.internal")


def cert_manager_down(app: App) -> None:
    app.missing = [app.certificate]


OWN_ISSUER = annotation(f"{CERT_MANAGER}/cluster-issuer", "root-ca")
OWN_ISSUER_ONLY = patch({"metadata": {"annotations": {
    f"{CERT_MANAGER}/cluster-issuer": "root-ca", f"{CERT_MANAGER}/issuer": None}}})


@pytest.mark.parametrize(("break_it", "code", "note", "command"), [
    (no_secret_name, "no-secret-name", "`tls` of the Ingress shop has no secretName. cert-manager reports: Skipped a "
     "TLS block: spec.tls[0].secretName: Required value",
     patch({"spec": {"tls": [{"hosts": [HOST], "secretName": "shop-tls"}]}})),
    (common_name_too_long, "common-name-too-long", "its annotation cert-manager.io/common-name has 75 bytes, and 64 "
     "are allowed", annotation(f"{CERT_MANAGER}/common-name", None)),
    (both_issuers, "ingress-rejected", "cert-manager rejects the Ingress shop: both \"cert-manager.io/issuer\" and",
     OWN_ISSUER_ONLY),
    (issuer_of_production, "issuer-missing", "the ClusterIssuer letsencrypt-prod, which the Ingress shop names, does "
     "not exist. This cluster has the ClusterIssuer root-ca", OWN_ISSUER),
    (issuer_in_namespace, "issuer-missing", "the Issuer letsencrypt, which the Ingress shop names, does not exist",
     OWN_ISSUER_ONLY),
    (issuer_not_ready, "issuer-not-ready", "the ClusterIssuer letsencrypt-prod is not ready: Failed to register ACME "
     "account. This cluster has the ClusterIssuer root-ca", OWN_ISSUER),
    (order_fails, "certificate-not-ready", "the Challenge shop-cert-1-1-1 is not ready: Waiting for HTTP-01 challenge "
     "propagation: no such host", OWN_ISSUER),
    (request_denied, "certificate-not-ready", "the CertificateRequest shop-cert-1 is not ready: The CSR is invalid",
     ""),
    (secret_of_other_ingress, "secret-of-other-ingress", "the secret shop-cert belongs to the Ingress blog",
     patch({"spec": {"tls": [{"hosts": [HOST], "secretName": "shop-tls"}]}})),
    (secret_for_other_names, "secret-for-other-names", "the secret shop-cert is for other.cl1.k3d.internal", ""),
    (secret_not_loaded, "secret-not-loaded", "although the secret shop-cert is for this name", ""),
    (cert_manager_down, "cert-manager-down", "cert-manager is not running: the Deployment does not exist",
     "inv k3d-cluster-configure --n 1"),
], ids=lambda value: value.__name__ if callable(value) else "")
def test_why_there_is_no_certificate_is_read_from_cert_manager(
    app: App, break_it: Callable[[App], None], code: str, note: str, command: str
) -> None:
    default_certificate(app)
    break_it(app)
    hop, found, message, shown = app.trace()
    assert (hop, found, shown) == ("certificate", code, command)
    assert message.startswith("Traefik serves its default certificate") and note in message


def test_a_certificate_of_another_issuer_names_that_issuer_and_ours(app: App) -> None:
    app.leaf, app.sent = ca.leaf(ca.authority(), HOST), []
    app.certificate["spec"]["issuerRef"] = {"kind": "ClusterIssuer", "name": "selfsigned"}
    app.certificate["metadata"] |= owned_by("Ingress", "shop")
    hop, code, note, command = app.trace()
    assert (hop, code, command) == ("certificate", "other-issuer-chosen", OWN_ISSUER)
    assert "issued by the ClusterIssuer selfsigned" in note and "the ClusterIssuer root-ca" in note


# --- IngressRoutes and HTTPRoutes -------------------------------------------------------------------------------------


def use_ingress_route(app: App, **spec: object) -> Object:
    """An IngressRoute instead of the Ingress."""
    app.missing.append(app.ingress)
    route: Object = {"kind": "IngressRoute", "metadata": {"namespace": "web", "name": "shop"}, "spec": {
        "entryPoints": ["websecure"], "tls": {"secretName": "shop-cert"}, "routes": [{
            "kind": "Rule", "match": f"Host(`{HOST}`) && PathPrefix(`/`)", "services": [{"name": "shop", "port": 80}]}],
        **spec}}
    app.extra.append(route)
    return route


def test_an_ingress_route_is_traced_like_an_ingress(app: App) -> None:
    use_ingress_route(app)
    done = app.run()
    assert done.returncode == 0, done.stderr
    rows = {row["source"]: row for row in json.loads(done.stdout)}
    assert (rows["Ingress"]["target"], rows["Ingress"]["note"]) == ("IngressRoute web/shop", f"{HOST}, path /")
    assert {row["state"] for row in rows.values()} == {"green"}


def test_a_broken_ingress_route_is_fixed_as_such(app: App) -> None:
    route = use_ingress_route(app)
    route["spec"]["routes"][0]["services"][0]["port"] = 8080
    fix = patch([{"op": "replace", "path": "/spec/routes/0/services/0/port", "value": 80}], kind="json",
                target="ingressroute.traefik.io shop")
    assert app.trace() == ("Service", "service-port-missing",
                           "the Service has port 80, but the IngressRoute shop points to 8080", fix)
    route["spec"]["routes"][0] |= {"services": [{"name": "shop", "port": 80}], "middlewares": [{"name": "auth"}]}
    assert app.trace()[1] == "middleware-missing"
    route["spec"] |= {"entryPoints": ["web"]}
    assert app.trace()[:2] == ("Ingress", "entry-point-excluded")


def test_a_rule_that_traefik_cannot_parse_is_quoted_from_its_log(app: App) -> None:
    route = use_ingress_route(app)
    route["spec"]["routes"][0]["match"] = f"Host({HOST})"
    no_router(app)
    app.log = ('2026-11-25T19:23:10Z ERR error="error while parsing rule Host(x): x is not defined" entryPointName=web '
               "routerName=web-shop-96c105761928265f28c9@kubernetescrd\n")
    assert app.trace()[:3] == ("router", "router-dropped", "Traefik has no router for the IngressRoute shop. Its log "
                               "says: error while parsing rule Host(x): x is not defined")


def test_an_ingress_route_without_a_certificate_gets_one(app: App) -> None:
    use_ingress_route(app)
    app.missing.append(app.certificate)
    default_certificate(app)
    hop, code, note, command = app.trace()
    assert (hop, code) == ("certificate", "no-certificate-for-route")
    assert "no Certificate creates the secret shop-cert of the IngressRoute shop" in note
    assert '"kind": "Certificate"' in command and command.endswith(kubectl("apply -f -"))


def test_an_http_route_is_red_while_traefik_does_not_read_it(app: App) -> None:
    app.missing.append(app.ingress)
    route: Object = {"kind": "HTTPRoute", "metadata": {"namespace": "web", "name": "shop"}, "spec": {
        "hostnames": [HOST], "parentRefs": [{"name": "public"}],
        "rules": [{"backendRefs": [{"name": "shop", "port": 80}]}]}}
    app.extra += [route, {"kind": "Gateway", "metadata": {"namespace": "web", "name": "public"}, "spec": {"listeners": [
        {"tls": {"certificateRefs": [{"name": "shop-cert"}]}}]}}]
    hop, code, note, _ = app.trace()
    assert (hop, code) == ("Ingress", "gateway-provider-off") and "providers.kubernetesGateway.enabled: true" in note
    app.traefik["spec"]["template"]["spec"]["containers"][0]["args"] = ["--providers.kubernetesgateway"]
    assert app.run().returncode == 0
    route["status"] = {"parents": [{"parentRef": {"name": "public"}, "conditions": [
        condition("Accepted", "False", "No matching listener")]}]}
    assert app.trace()[1:3] == ("route-not-accepted", "the Gateway public reports: No matching listener")
    route["spec"]["parentRefs"][0]["name"] = "absent"
    assert app.trace()[1:3] == ("gateway-missing", "it belongs to the Gateway absent, which does not exist in web")


@pytest.mark.parametrize(("rule", "matches"), [
    (f"Host(`{HOST}`)", True), (f"Host(`a`, `{HOST}`)", True), (f"Host(`a`) || Host(`{HOST}`)", True),
    (f"Host(`{HOST}`) && PathPrefix(`/api`)", False), (f"Host(`{HOST}`) && !PathPrefix(`/api`)", True),
    (f"(Host(`a`) || Host(`{HOST}`)) && Path(`/`)", True), ("HostRegexp(`^.+\\.k3d\\.internal$`)", True),
    (f"Host(`{HOST}`) && Header(`x`, `y`)", True), ("PathPrefix(`/`)", True), ("Host(`other`)", False),
    (f"Host({HOST})", True), ("Host(other)", False), (f"Host(`{HOST}`) &&", True), ("Host(`other`", False),
])
def test_rules_of_ingress_routes_match_as_in_traefik(rule: str, matches: bool) -> None:
    assert rule_matches(rule, HOST, "/") is matches


# --- commands ---------------------------------------------------------------------------------------------------------


def test_without_a_certain_fix_no_command_is_printed(app: App) -> None:
    app.missing = [app.service]
    done = app.run()
    assert done.stderr.splitlines()[1:] == [
        "  Service, web/shop: the Service does not exist, but the Ingress shop points to it. Services in web: none"]
