"""Request a URL from this machine and from pods."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invoke.runners import Result

from tasks.ca.root import RootFiles
from tasks.core.settings import Cluster
from tasks.core.shell import LOOK_SECONDS, Shell
from tasks.probe.example_page import DEFAULT_PORTS, example_host, port

if TYPE_CHECKING:
    import ssl

SECONDS = 10
"""The timeout of one request."""

TRAEFIK_NOT_FOUND = "404 page not found\n"
"""What Traefik itself answers where no router matches."""

# Exit codes of curl: https://curl.se/libcurl/c/libcurl-errors.html
NAME_NOT_FOUND, CONNECTION_REFUSED, REQUEST_TIMED_OUT, CERTIFICATE_REFUSED = (5, 6), (7,), (28,), (60, 77)

SEPARATOR = "---- dev-cluster-tasks ----"
WRITE_OUT = rf"\n{SEPARATOR}%{{exitcode}} %{{http_code}} %{{errormsg}}\n"
WRITTEN_OUT = re.compile(rf"(.*?)\n{SEPARATOR}(\d+) (\d+) (.*?)\n", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """The response to a request. Where there is none, `code` is curl's exit code, and `error` its message."""

    status: int = 0
    body: str = ""
    code: int = 0
    error: str = ""
    content_type: str = ""
    location: str = ""
    """Where a redirect leads; like the content type only of a request from this machine."""


class ExamplesMissing(Exception):
    """The pod that sends the requests does not exist."""


# --- from this machine ------------------------------------------------------------------------------------------------


def request_from_host(
    cluster: Cluster, scheme: str, host: str = "", path: str = "/", front_door: bool = False
) -> Answer:
    """Request a page from the cluster's address, whatever DNS and trust stores say. Default: the example page."""
    import ssl

    try:
        return http_get(cluster, scheme, host or example_host(cluster), path, tls_trusting_issuers, front_door)
    except ssl.SSLCertVerificationError as error:
        return Answer(code=CERTIFICATE_REFUSED[0], error=str(error))
    except OSError as error:
        return Answer(error=str(error) or type(error).__name__)


def http_get(
    cluster: Cluster, scheme: str, host: str, path: str, trust: Callable[[Cluster], ssl.SSLContext],
    front_door: bool = False,
) -> Answer:
    """One GET; OSError when there is no HTTP response."""
    tls = trust(cluster) if scheme == "https" else None
    return http_get_from(cluster.address, port(cluster, scheme, front_door), host, path, tls)


def http_get_from(address: str, port: int, host: str, path: str, tls: ssl.SSLContext | None = None) -> Answer:
    """One GET from a port of this address; OSError when there is no HTTP response."""
    import http.client

    connection = http.client.HTTPConnection(host, port)
    connection.default_port = DEFAULT_PORTS["https" if tls else "http"]  # like a browser, without it in `Host`
    with socket.create_connection((address, port), timeout=SECONDS) as connection.sock:
        if tls:
            connection.sock = tls.wrap_socket(connection.sock, server_hostname=host)
        connection.request("GET", path)
        try:
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"),
                          content_type=response.getheader("Content-Type", ""),
                          location=response.getheader("Location", ""))
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP response: {error!r}") from None


def tls_trusting_issuers(cluster: Cluster) -> ssl.SSLContext:
    """TLS that accepts only certificates issued under our root, and with CERTIFICATES=acme also public ones.

    OSError when a root cannot be read.
    """
    import ssl

    settings = cluster.settings
    file = RootFiles.of(settings).certificate
    try:
        context = ssl.create_default_context(cafile=str(file))
    except OSError as error:  # the error does not name the file
        raise OSError(f"the root {file} cannot be read: {error.strerror or error}") from None
    if settings.acme:
        context.load_default_certs()
        if settings.acme_ca_file:
            context.load_verify_locations(settings.acme_ca_file)
    return context


def tls_trusting_all(cluster: Cluster) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- from a pod -------------------------------------------------------------------------------------------------------


def curl_in_pod(shell: Shell, cluster: Cluster, deployment: str, *words: str, seconds: float = LOOK_SECONDS) -> Result:
    return shell.look(*cluster.kubectl, "-n", "examples", "exec", f"deployment/{deployment}",
                      "--pod-running-timeout=5s", "--", "curl", "--silent", "--show-error", "--max-time", str(SECONDS),
                      *words, seconds=seconds)


def request_from_pod(shell: Shell, cluster: Cluster, *urls: str) -> list[Answer]:
    """Request these URLs, one after another, from the pod `curl`, which has the trust bundle.

    :raises ExamplesMissing: when that pod does not exist.
    """
    result = curl_in_pod(shell, cluster, "curl", "--globoff", "--connect-timeout", "5", "--write-out", WRITE_OUT, *urls,
                         seconds=max(LOOK_SECONDS, (SECONDS + 1) * len(urls)))
    answers = [Answer(int(status), body, int(code), error or f"curl exited with code {code}" if int(code) else "")
               for body, code, status, error in WRITTEN_OUT.findall(result.stdout)]
    if len(answers) == len(urls):
        return answers
    reason = (result.stderr.strip() or f"kubectl exited with code {result.exited}").splitlines()[-1]
    if "(NotFound)" in reason:
        raise ExamplesMissing
    return [Answer(error=reason)] * len(urls)
