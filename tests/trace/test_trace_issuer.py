"""`inv trace` of an application behind OpenID Connect goes on to the URL at its issuer, and judges that too."""

from __future__ import annotations

import json
from collections.abc import Iterator

import ca
import pytest
from conftest import Project
from kubernetes_objects import endpoints, ingress, service
from pretend import World
from traced_app import HOST, App, traced_app

LOGIN_HOST = "login.cl1.k3d.internal"
ERROR = '<div id="kc-error-message"><p class="instruction">Client not found.</p></div>'


class ProtectedApp(App):
    """It sends its users to a Keycloak in the same cluster."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.leaf = ca.leaf(self.intermediate, HOST, LOGIN_HOST)
        backend = service("web", "login", 80, selector={"app": "shop"})
        backend["spec"]["ports"][0]["name"] = "http"
        self.login_ingress = ingress("web", "login", LOGIN_HOST, "shop-cert", port="http")
        self.extra += [self.login_ingress, backend, endpoints("web", "login")]
        self.issuer = self.named = f"https://{LOGIN_HOST}:{world.https(1)}/realms/dev"
        self.login = f"{self.issuer}/protocol/openid-connect/auth?client_id=app&response_type=code&state=x"
        self.login_page = 200, "<form>"
        self.has_button = False
        """Whether oauth2-proxy shows a page with a button first."""

    def respond(self, host: str, path: str) -> tuple[int, str, str]:
        if host == LOGIN_HOST:
            document = 200, json.dumps({"issuer": self.named})
            return *(document if path.endswith("/openid-configuration") else self.login_page), ""
        if self.has_button and path == "/":
            return 403, '<form method="GET" action="/oauth2/start">', ""
        return 302, "", self.login

    def rows(self) -> dict[str, dict[str, str]]:
        """The rows of a trace, by their hop."""
        return {row["source"]: row for row in json.loads(self.run().stdout)}


@pytest.fixture
def app(project: Project) -> Iterator[ProtectedApp]:
    with traced_app(project, ProtectedApp) as app:
        yield app


HOPS = ["host name", "resolver", "port", "load balancer", "Traefik", "Ingress", "Service", "endpoints", "router",
        "certificate", "name constraints", "answer", "trust of its pods"]
PODS = ["pod in cl1", "pod in cl2"]


@pytest.mark.parametrize("has_button", [False, True])
def test_the_same_hops_of_the_issuer_follow_those_of_the_application(app: ProtectedApp, has_button: bool) -> None:
    app.has_button = has_button
    rows = app.rows()
    assert [*rows] == [*HOPS, *PODS, *(f"issuer: {hop}" for hop in HOPS), "issuer", *(f"issuer: {pod}" for pod in PODS)]
    assert {row["state"] for row in rows.values()} == {"green"}, rows
    assert rows["answer"]["note"] == ("HTTP 403" if has_button else "HTTP 302")
    assert rows["issuer: host name"]["target"] == LOGIN_HOST
    assert rows["issuer: Service"]["target"] == "web/login"
    assert (rows["issuer"]["target"], rows["issuer"]["note"]) == (
        app.issuer, "issuer of this URL, and takes the application's request")
    assert app.world.fakes.calls("kubectl")[-1][-1] == app.login


def red(app: ProtectedApp) -> tuple[str, str, str]:
    """Hop, code and note of the one row that is red."""
    row, = (row for row in app.rows().values() if row["state"] == "red")
    return row["source"], row["code"], row["note"]


def test_an_issuer_that_calls_itself_otherwise_is_red(app: ProtectedApp) -> None:
    app.named = f"https://{LOGIN_HOST}/realms/dev"
    hop, code, note = red(app)
    assert (hop, code) == ("issuer", "issuer-differs")
    assert note.startswith(f"the issuer calls itself {app.named}, and not {app.issuer}: clients refuse it.")


def test_an_issuer_that_refuses_the_application_is_quoted(app: ProtectedApp) -> None:
    app.login_page = 400, ERROR
    assert red(app) == ("issuer", "login-refused",
                        "the issuer refuses what the application asks for: Client not found")


def test_a_broken_hop_of_the_issuer_is_named(app: ProtectedApp) -> None:
    app.extra.remove(app.login_ingress)
    done = app.run()
    rows = {row["source"]: row for row in json.loads(done.stdout)}
    assert rows["answer"]["state"] == "green"
    assert rows["issuer: Ingress"]["code"] == "other-route-answers"

    app.leaf = ca.leaf(app.intermediate, HOST)
    assert red(app)[:2] == ("issuer: certificate", "certificate-for-other-names")


def test_an_issuer_with_a_port_that_no_cluster_has_is_red(app: ProtectedApp) -> None:
    app.login = app.login.replace(f":{app.world.https(1)}", ":9")
    hop, code, note = red(app)
    assert (hop, code) == ("issuer", "issuer-not-traced")
    assert note.startswith("not traced: Port 9 does not belong to any cluster") and "Type:" not in note


def test_an_issuer_outside_the_clusters_is_grey(app: ProtectedApp) -> None:
    app.login = "https://accounts.example.com/auth?client_id=app&response_type=code"
    row = app.rows()["issuer"]
    assert (row["target"], row["state"]) == ("https://accounts.example.com/auth", "grey")
    assert row["note"].startswith("not traced: accounts.example.com does not belong to any cluster")


def test_an_issuer_that_is_not_a_keycloak_is_traced_without_its_document(app: ProtectedApp) -> None:
    app.login = f"https://{LOGIN_HOST}:{app.world.https(1)}/dex/auth?client_id=app&response_type=code"
    rows = app.rows()
    assert (rows["issuer"]["state"], rows["issuer"]["code"]) == ("grey", "issuer-unknown")
    assert rows["issuer: answer"]["state"] == "green"


def test_a_redirect_that_is_no_login_is_not_followed(app: ProtectedApp) -> None:
    app.login = f"https://{LOGIN_HOST}:{app.world.https(1)}/home"
    assert [*app.rows()] == [*HOPS, *PODS]
