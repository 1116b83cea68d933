"""One URL, asked for from this machine and from pods; and the page of the examples, which says whose it is."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invoke.runners import Result

from tasks.ca import RootFiles
from tasks.settings import Cluster
from tasks.shell import LOOK_SECONDS, Shell
from tasks.table import Row

if TYPE_CHECKING:
    import ssl

SECONDS = 10
"""For one answer."""

TRAEFIKS_OWN = "404 page not found\n"
"""What Traefik says itself where no router matches."""

SEPARATOR = "---- dev-cluster-tasks ----"
WRITE_OUT = rf"\n{SEPARATOR}%{{exitcode}} %{{http_code}} %{{errormsg}}\n"
WRITTEN_OUT = re.compile(rf"(.*?)\n{SEPARATOR}(\d+) (\d+) (.*?)\n", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """What came back for a URL. Without an answer `code` is curl's exit code, and `error` its reason."""

    status: int = 0
    body: str = ""
    code: int = 0
    error: str = ""


class NoExamples(Exception):
    """The pod that would ask is not there."""


# --- the page of the examples -----------------------------------------------------------------------------------------


def example_host(cluster: Cluster) -> str:
    return f"example-nginx.{cluster.domain}"


def port(cluster: Cluster, scheme: str) -> int:
    return cluster.https_port if scheme == "https" else cluster.http_port


def url(cluster: Cluster, scheme: str) -> str:
    return f"{scheme}://{example_host(cluster)}:{port(cluster, scheme)}/"


def judge(source: str, target: Cluster, scheme: str, answer: Answer) -> Row:
    """A row for what came back: it must be the page of that very cluster."""
    if answer.error:
        return Row(source, url(target, scheme), "red", answer.error)
    if f"Hello from {target.domain}<" not in answer.body:
        return Row(source, url(target, scheme), "red", f"not the page of {target.name}: {answer.body[:60]!r}")
    return Row(source, url(target, scheme), "green", f"page of {target.name}" + verified(scheme))


def verified(scheme: str) -> str:
    return ", certificate verified" if scheme == "https" else ""


def no_examples(cluster: Cluster) -> str:
    return f"no examples there yet: inv k3d-cluster-examples --n {cluster.number}"


# --- from this machine ------------------------------------------------------------------------------------------------


def ask_from_host(cluster: Cluster, scheme: str, host: str = "", path: str = "/") -> Answer:
    """Ask 127.0.0.1 for the name, whatever this machine's DNS and trust stores say; without a host the examples'."""
    try:
        return get(cluster, scheme, host or example_host(cluster), path, trusting_the_root)
    except OSError as error:
        return Answer(error=str(error) or type(error).__name__)


def get(cluster: Cluster, scheme: str, host: str, path: str, trust: Callable[[Cluster], ssl.SSLContext]) -> Answer:
    """One GET; OSError when there is no HTTP answer."""
    import http.client

    connection = http.client.HTTPConnection(host, port(cluster, scheme))
    with socket.create_connection(("127.0.0.1", port(cluster, scheme)), timeout=SECONDS) as connection.sock:
        if scheme == "https":
            connection.sock = trust(cluster).wrap_socket(connection.sock, server_hostname=host)
        connection.request("GET", path)
        try:
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"))
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer: {error!r}") from None


def trusting_the_root(cluster: Cluster) -> ssl.SSLContext:
    """TLS that accepts what our root has signed, and nothing else; OSError when the root cannot be read."""
    import ssl

    file = RootFiles(cluster.settings).certificate
    try:
        return ssl.create_default_context(cafile=str(file))
    except OSError as error:  # which does not name the file
        raise OSError(f"the root {file} cannot be read: {error.strerror or error}") from None


def trusting_all(cluster: Cluster) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- from a pod -------------------------------------------------------------------------------------------------------


def curl(shell: Shell, cluster: Cluster, deployment: str, *words: str, seconds: float = LOOK_SECONDS) -> Result:
    return shell.look(*cluster.kubectl, "-n", "examples", "exec", f"deployment/{deployment}",
                      "--pod-running-timeout=5s", "--", "curl", "--silent", "--show-error", "--max-time", str(SECONDS),
                      *words, seconds=seconds)


def ask_from_pod(shell: Shell, cluster: Cluster, *urls: str) -> list[Answer]:
    """Ask for these URLs, one after another, from the pod `curl`, which has the bundle.

    :raises NoExamples: when there is no such pod.
    """
    said = curl(shell, cluster, "curl", "--globoff", "--connect-timeout", "5", "--write-out", WRITE_OUT, *urls,
                seconds=max(LOOK_SECONDS, (SECONDS + 1) * len(urls)))
    answers = [Answer(int(status), body, int(code), error or f"curl ended with {code}" if int(code) else "")
               for body, code, status, error in WRITTEN_OUT.findall(said.stdout)]
    if len(answers) == len(urls):
        return answers
    reason = (said.stderr.strip() or f"kubectl ended with {said.exited}").splitlines()[-1]
    if "(NotFound)" in reason:
        raise NoExamples
    return [Answer(error=f"the pod cannot be asked: {reason}")] * len(urls)


NO_NAME, NO_CONNECTION, NO_ANSWER = (5, 6), (7,), (28,)
NOT_TRUSTED = (60, 77)
"""Exit codes of curl: https://curl.se/libcurl/c/libcurl-errors.html"""


def why(source: Cluster, target: Cluster, answer: Answer) -> tuple[str, str]:
    """For a pod that got no answer: the hop of its way that is broken, and the command that mends it."""
    configure = f"inv k3d-cluster-configure --n {source.number}"
    way = f"traefik-internal of {target.name}" if source == target else f"{target.name} through this host"
    if answer.code in NO_NAME:
        return f"CoreDNS of {source.name} does not find the name", configure
    if answer.code in NO_CONNECTION:
        return f"{way}: the connection is refused", configure
    if answer.code in NO_ANSWER:
        return f"{way}: no answer in time; a firewall?", configure
    if answer.code in NOT_TRUSTED:
        return (f"the pod's trust bundle does not verify the certificate ({answer.error})",
                f"{configure} k3d-cluster-examples --n {source.number}")
    if answer.code:
        return f"{way}: {answer.error}", configure
    return answer.error, f"inv k3d-cluster-start --n {source.number} k3d-cluster-examples --n {source.number}"
