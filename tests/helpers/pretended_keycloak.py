"""A Keycloak, and an application behind oauth2-proxy, that answer a login as the real ones do.

What they answer was compared with Keycloak 26.4.5 and oauth2-proxy 7.15.6: tests/cluster/test_oidc_real_clusters.py.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

import ca
from pretend import ROOT, Page, World, pages_of

FORM = """<form id="kc-form-login" class="form" action="{}" method="post">
<input id="username" name="username" value="" type="text"/><input id="password" name="password" type="password"/>
<input type="hidden" id="id-hidden-input" name="credentialId" /><button name="login" type="submit">Sign In</button>
<div id="input-error-container-username"><div class="helper" id="input-error-username"><span class="icon"></span>
<span class="text">{}</span></div></div></form>"""
ERROR = '<div id="kc-error-message"><p class="instruction">{}</p></div>'


class Login:
    """Keycloak in one cluster and an application in each; a test changes what they do."""

    def __init__(self, world: World, keycloak: int) -> None:
        self.world, self.keycloak = world, keycloak
        self.issuer = f"https://{self.host(keycloak, 'keycloak')}:{world.https(keycloak)}/realms/dev"
        self.named = self.token = self.sent_to = self.issuer
        self.realm, self.password, self.client = "dev", "dev", "app"
        self.exchanges = True
        self.waits = False
        """Whether the pods of the applications are not ready, so that Traefik answers itself."""

    @staticmethod
    def host(number: int, name: str) -> str:
        return f"example-{name}.cl{number}.k3d.internal"

    def app(self, number: int) -> str:
        return f"https://{self.host(number, 'app')}:{self.world.https(number)}"

    @property
    def document(self) -> tuple[int, str]:
        if self.realm != "dev":
            return 404, json.dumps({"error": "Realm does not exist"})
        return 200, json.dumps({"issuer": self.named, "token_endpoint": f"{self.issuer}/protocol/openid-connect/token"})


class Handler(Page):
    login: Login

    def do_GET(self) -> None:
        name, path = self.headers["Host"].split(".")[0], self.path.partition("?")[0]
        if name == "example-keycloak" and path == "/realms/dev/.well-known/openid-configuration":
            self.send(*self.login.document)
        elif name == "example-keycloak":
            self.login_page()
        elif name == "example-app":
            self.application(path)
        else:
            cluster = self.headers["Host"].partition(":")[0].removeprefix("example-nginx.")
            self.send(200, f"<h1>Hello from {cluster}</h1>")

    def do_POST(self) -> None:
        """Keycloak is sent its form."""
        fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True)
        assert "AUTH_SESSION_ID" in self.cookies and fields["credentialId"] == [""]
        if (fields["username"], fields["password"]) != (["dev"], [self.login.password]):
            self.send(200, FORM.format("#", "Invalid username or password."))
            return
        asked = parse_qs(urlsplit(self.path).query)
        answer = urlencode({"state": asked["state"][0], "iss": self.login.issuer, "code": "the-code"})
        self.send(302, Location=f"{asked['redirect_uri'][0]}?{answer}")

    @property
    def cookies(self) -> SimpleCookie:
        return SimpleCookie(self.headers.get("Cookie", ""))

    def login_page(self) -> None:
        if self.login.client != "app":
            self.send(400, ERROR.format("Invalid parameter: redirect_uri"))
            return
        action = f"{self.login.issuer}/login-actions/authenticate?{urlsplit(self.path).query}"
        self.send(200, FORM.format(html.escape(action), ""),
                  Set_Cookie="AUTH_SESSION_ID=1;Path=/realms/dev/;Secure;HttpOnly;SameSite=None")

    def application(self, path: str) -> None:
        own = f"https://{self.headers['Host']}"
        if self.login.waits:
            self.send(503, "no available server\n")
        elif path == "/oauth2/callback" and self.login.exchanges:
            assert "_oauth2_proxy_csrf" in self.cookies and "code=the-code" in self.path
            self.send(302, Location="/", Set_Cookie="_oauth2_proxy=session; Path=/; HttpOnly; Secure")
        elif path == "/oauth2/callback":
            self.send(500, "Internal Server Error")
        elif "_oauth2_proxy" not in self.cookies:
            asked = urlencode({"client_id": "app", "redirect_uri": f"{own}/oauth2/callback", "response_type": "code",
                               "state": "x:/"})
            self.send(302, Location=f"{self.login.sent_to}/protocol/openid-connect/auth?{asked}",
                      Set_Cookie="_oauth2_proxy_csrf=1; Path=/; HttpOnly; Secure")
        else:
            claims = base64.urlsafe_b64encode(json.dumps({"iss": self.login.token}).encode()).decode().rstrip("=")
            self.send(200, f"Bearer e30.{claims}.x" if path == "/token" else "<h1>Hello dev</h1>")

    def send(self, status: int, body: str = "", **headers: str) -> None:
        self.reply(status, body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


@contextmanager
def serving_login(login: Login, *numbers: int) -> Iterator[None]:
    """These clusters publish the examples, their application, and Keycloak."""
    handler = type("Handler", (Handler,), {"login": login})
    with ExitStack() as servers:
        for number in numbers:
            leaf = ca.leaf(ROOT, *(login.host(number, name) for name in ("nginx", "keycloak", "app")))
            servers.enter_context(pages_of(login.world, number, leaf.key_pem() + leaf.pem, handler))
        yield
