"""A browser as far as a login needs one: it follows redirects, keeps cookies and submits forms."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin

from tasks.core.addresses import address_of_name
from tasks.core.settings import Cluster, Settings
from tasks.probe.requests import SECONDS, tls_trusting_issuers


@dataclass(frozen=True)
class Form:
    """A form of a page: where it is sent to, and the fields that it has already."""

    action: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Page:
    """Where a request ended after all redirects. Where there was no HTTP response, `error` says why."""

    url: str
    status: int = 0
    body: str = ""
    error: str = ""

    def find_form(self, field: str) -> Form | None:
        """The first form with such a field."""
        forms = Forms()
        forms.feed(self.body)
        return next((Form(urljoin(self.url, form.action), form.fields) for form in forms.found
                     if field in form.fields), None)


class Browser:
    """Names resolve to the clusters' addresses and our root alone is trusted, whatever DNS and trust stores say.

    Nothing but HTTPS is requested, and no proxy is used.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.opener, self.https = urllib.request.OpenerDirector(), LocalHttps(cluster)
        for handler in (self.https, urllib.request.HTTPCookieProcessor(CookieJar()),
                        urllib.request.HTTPRedirectHandler(), urllib.request.HTTPErrorProcessor(),
                        urllib.request.HTTPDefaultErrorHandler(), urllib.request.UnknownHandler()):
            self.opener.add_handler(handler)

    def open(self, url: str, form: Mapping[str, str] | None = None) -> Page:
        """Request a page; with the fields of a form by POST."""
        request = urllib.request.Request(url, urlencode(form).encode() if form else None)
        try:
            with self.opener.open(request, timeout=SECONDS) as response:
                return read_page(response)
        except HTTPError as refused:
            with refused:
                return read_page(refused)
        except URLError as error:
            return Page(self.https.url, error=str(error.reason))
        except (OSError, http.client.HTTPException) as error:
            return Page(self.https.url, error=str(error) or type(error).__name__)


def read_page(response: Any) -> Page:
    return Page(response.geturl(), response.status, response.read().decode(errors="replace"))


class LocalConnection(http.client.HTTPSConnection):
    """HTTPS to the address that the settings give the host."""

    def __init__(self, host: str, *, tls: ssl.SSLContext, settings: Settings, **options: Any) -> None:
        super().__init__(host, context=tls, **options)
        self.tls, self.settings = tls, settings

    def connect(self) -> None:
        plain = socket.create_connection((address_of_name(self.settings, self.host), self.port), self.timeout)
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)


class LocalHttps(urllib.request.AbstractHTTPHandler):
    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.tls, self.settings, self.url = tls_trusting_issuers(cluster), cluster.settings, ""

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        self.url = request.full_url  # one redirect after another
        return self.do_open(LocalConnection, request, tls=self.tls,  # type: ignore[arg-type]
                            settings=self.settings)

    https_request = urllib.request.AbstractHTTPHandler.do_request_


class Forms(HTMLParser):
    """The forms of a page, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(Form(given.get("action", ""), {}))
        elif tag == "input" and self.found and given.get("name"):
            self.found[-1].fields[given["name"]] = given.get("value", "")
