"""A real front door in front of two real clusters: every route, protocol, restart, and clients that misbehave.

IMAGE_FRONT_DOOR must be in the engine. RUNTIMES_IMAGE may name an image with clients, see
tests/in_cluster/test_pod_trust_real_clusters.py. These tests build on each other, in the order in which they stand.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import websockets.sync.client
import websockets.sync.server
import yaml
from real_clusters import Clusters, several_clusters, why_not

from tasks.core import configuration

IMAGE = os.environ.get("IMAGE_FRONT_DOOR", configuration.load(environment={}).image_front_door)
RUNTIMES = os.environ.get("RUNTIMES_IMAGE", "")

PREFIX, START = "dcf", 25
HTTP, HTTPS = 36880, 36843
"""The ports of the front door."""


def why_no_front_door() -> str:
    if problem := why_not():
        return problem
    there = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode == 0
    return "" if there else f"{IMAGE} is not in the engine: docker pull {IMAGE}"


WHY_NOT = why_no_front_door()

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT or "-")]


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """Clusters 0 and 1 with the examples, and the front door."""
    settings = (f"FRONT_DOOR=true\nFRONT_DOOR_HTTP_PORT={HTTP}\nFRONT_DOOR_HTTPS_PORT={HTTPS}\nHTTPS_REDIRECT=true\n"
                f"IMAGE_FRONT_DOOR={IMAGE}\n")
    with several_clusters(tmp_path_factory.mktemp("clusters"), PREFIX, START, "0,1", settings=settings) as made:
        yield made


def inv(clusters: Clusters, *words: str, code: int = 0) -> str:
    done = clusters.inv(*words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def host(name: str, number: int) -> str:
    return f"{name}.{PREFIX}{number}.k3d.internal"


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def apply(clusters: Clusters, number: int, *objects: dict[str, Any]) -> str:
    file = clusters.folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    return clusters.kubectl(number, "apply", "-f", str(file))


def until(so: Callable[[], object], seconds: float = 120) -> Any:
    """The first true result, without an error."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError, subprocess.CalledProcessError):
            if result := so():
                return result
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.3)


# --- requests ---------------------------------------------------------------------------------------------------------


def trusting(clusters: Clusters, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(clusters.home / ".local-ca-certs" / "internal-ca.crt"))
    if protocols:
        context.set_alpn_protocols([*protocols])
    return context


def http_get(name: str, path: str = "/", address: str = "127.0.0.1", port: int = HTTP) -> tuple[int, str]:
    """Status and body of an HTTP request for this host."""
    return exchange(socket.create_connection((address, port), 20), name, path)


def https_get(
    clusters: Clusters, name: str, address: str = "127.0.0.1", port: int = HTTPS
) -> tuple[int, str]:
    plain = socket.create_connection((address, port), 20)
    return exchange(trusting(clusters).wrap_socket(plain, server_hostname=name), name, "/")


def exchange(connection: socket.socket, name: str, path: str) -> tuple[int, str]:
    with connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    return int(answer.split(" ", 2)[1]), answer


def curl(
    clusters: Clusters, source: int, *words: str, pod: str = "curl", sent: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """curl in a pod of the examples."""
    return subprocess.run(
        ["kubectl", "--kubeconfig", str(clusters.kubeconfig), "--context", f"k3d-{PREFIX}{source}", "-n", "examples",
         "exec", "-i", f"deployment/{pod}", "--", "curl", "-sS", "-m", "15", *words],
        input=sent, capture_output=True)


def alert(name: str | None, port: int = HTTPS) -> str:
    """What TLS says about a name, or without one."""
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ssl.SSLError) as refused, socket.create_connection(("127.0.0.1", port), 20) as plain:
        context.wrap_socket(plain, server_hostname=name)
    return str(refused.value.reason)


# --- every route ------------------------------------------------------------------------------------------------------


def test_every_form_of_every_url_answers_from_the_host_and_from_pods_of_both_clusters(clusters: Clusters) -> None:
    said = inv(clusters, "k3d-cluster-examples", "--n", "0,1")
    assert "✗" not in said
    routes = re.findall(rf"^✓ +(this machine|pod in {PREFIX}\d) +(https?)://example-nginx\.{PREFIX}(\d)\S*:(\d+)/ ",
                        said, re.MULTILINE)
    through = [route for route in routes if int(route[3]) in (HTTP, HTTPS)]
    assert len({*routes}) == 24 and len({*through}) == 12
    inv(clusters, "matrix")
    for number in (0, 1):
        refused = curl(clusters, number, f"https://{host('example-nginx', 0)}:{HTTPS}/", pod="curl-no-bundle")
        assert refused.returncode == 60, refused.stderr


def test_nothing_is_wrong_for_doctor_status_and_trace(clusters: Clusters) -> None:
    found = json.loads(clusters.inv("doctor", "--json").stdout)
    of_front_door = {entry["id"]: entry["state"] for entry in found if entry["id"].startswith("front-door")}
    assert len(of_front_door) == 4 and {*of_front_door.values()} == {"green"}
    assert "front door" in clusters.inv("status").stdout
    traced = json.loads(clusters.inv("trace", "--json", f"https://{host('example-nginx', 1)}:{HTTPS}/").stdout)
    red = [row["source"] for row in traced if row["state"] == "red"]
    assert red in ([], ["resolver"]) and "front door" in [row["source"] for row in traced]


def test_the_page_lists_clusters_with_their_state_and_links_for_host_and_pods(clusters: Clusters) -> None:
    status, page = http_get("k3d.internal")
    states = re.findall('<section data-state="(.+)">', page)
    assert (status, states) == (200, ["running"] * 2 + ["not running"] * 3)
    assert f'href="https://{host("example-nginx", 1)}:{HTTPS}/"' in page
    for number in (0, 1):
        assert b"Clusters on this machine" in curl(clusters, number, f"http://k3d.internal:{HTTP}/").stdout


def test_names_that_lead_nowhere_get_the_page_or_the_alert(clusters: Clusters) -> None:
    like_a_cluster = f"evil{PREFIX}0.k3d.internal"
    for name, expected in (("no.example", 404), (host("app", 3), 503), (host("app", 30), 404), (like_a_cluster, 404)):
        status, page = http_get(name)
        assert status == expected and f"<b>{name}</b>" in page
    assert http_get("x<script>.example")[1].count("<script>") == 0
    for odd in (host("app", 3), "no.example", None):
        assert alert(odd) == "TLSV1_UNRECOGNIZED_NAME"
    for spelled in (host("example-nginx", 0).upper(), f"{host('example-nginx', 0)}.", f"{PREFIX}0.k3d.internal"):
        assert http_get(spelled)[0] == (404 if spelled.startswith(PREFIX) else 200)


# --- protocols --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers(clusters: Clusters) -> Iterator[None]:
    """A WebSocket and a gRPC server on this machine, behind Services of cluster 0."""
    with ExitStack() as stack:
        ports = {"ws": stack.enter_context(websocket_server(clusters.gateway)),
                 "grpc": stack.enter_context(grpc_server(clusters.gateway))}
        apply(clusters, 0, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "protocols"}},
              *(entry for name, port in ports.items() for entry in published(clusters, name, port)))
        clusters.kubectl(0, "-n", "protocols", "wait", "certificate", "--all", "--for=condition=Ready",
                         "--timeout=120s")
        yield


def published(clusters: Clusters, name: str, port: int) -> Iterator[dict[str, Any]]:
    """A Service for a server on this machine, and its Ingress with TLS."""
    metadata: dict[str, Any] = {"name": name, "namespace": "protocols"}
    scheme = {"traefik.ingress.kubernetes.io/service.serversscheme": "h2c"} if name == "grpc" else {}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {**metadata, "annotations": scheme},
           "spec": {"ports": [{"name": "main", "port": 80, "targetPort": port}]}}
    yield {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
           "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
           "ports": [{"name": "main", "port": port}], "endpoints": [{"addresses": [clusters.gateway]}]}
    backend = {"service": {"name": name, "port": {"number": 80}}}
    yield {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
           "metadata": {**metadata, "annotations": {"cert-manager.io/cluster-issuer": "root-ca"}},
           "spec": {"rules": [{"host": host(name, 0), "http": {"paths": [
               {"path": "/", "pathType": "Prefix", "backend": backend}]}}],
               "tls": [{"hosts": [host(name, 0)], "secretName": f"{name}-tls"}]}}


@contextmanager
def websocket_server(address: str) -> Iterator[int]:
    """It answers with what it received."""
    def echo(connection: websockets.sync.server.ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with websockets.sync.server.serve(echo, address, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]
        server.shutdown()


@contextmanager
def grpc_server(address: str) -> Iterator[int]:
    """It answers with what it received, or with each byte of it."""
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
        "Stream": grpc.unary_stream_rpc_method_handler(lambda request, _: (bytes([byte]) for byte in request)),
    }
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = server.add_insecure_port(f"{address}:0")
    server.start()
    yield port
    server.stop(None)


def grpc_message(content: bytes) -> bytes:
    """Not compressed, with its length: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md"""
    return struct.pack("!BI", 0, len(content)) + content


def websocket(clusters: Clusters, address: str = "127.0.0.1") -> websockets.sync.client.ClientConnection:
    sock = socket.create_connection((address, HTTPS), 20)
    return websockets.sync.client.connect(f"wss://{host('ws', 0)}/", sock=sock, ssl=trusting(clusters),
                                          open_timeout=60)


@pytest.mark.usefixtures("servers")
def test_http_2_websockets_and_grpc_pass_through_from_the_host(clusters: Clusters) -> None:
    with (socket.create_connection(("127.0.0.1", HTTPS), 20) as plain,
          trusting(clusters, "h2").wrap_socket(plain, server_hostname=host("example-nginx", 0)) as secure):
        assert secure.selected_alpn_protocol() == "h2"
    until(lambda: https_get(clusters, host("ws", 0))[0] == 426)  # Traefik has read the Ingress
    root = (clusters.home / ".local-ca-certs" / "internal-ca.crt").read_bytes()
    options = [("grpc.ssl_target_name_override", host("grpc", 0)), ("grpc.default_authority", host("grpc", 0))]
    for address in ("127.0.0.1", clusters.gateway):  # the latter is where pods of other clusters connect to
        with websocket(clusters, address) as connection:
            connection.send("hello")
            assert connection.recv(20) == "hello"
        with grpc.secure_channel(f"{address}:{HTTPS}", grpc.ssl_channel_credentials(root), options) as channel:
            assert channel.unary_unary("/test.Echo/Unary")(b"hello", timeout=20, wait_for_ready=True) == b"hello"
            assert [*channel.unary_stream("/test.Echo/Stream")(b"abc", timeout=20)] == [b"a", b"b", b"c"]


@pytest.mark.usefixtures("servers")
def test_they_pass_through_from_a_pod_of_another_cluster_too(clusters: Clusters) -> None:
    version = curl(clusters, 1, "--http2", "-o", "/dev/null", "-w", "%{http_version}",
                   f"https://{host('example-nginx', 0)}:{HTTPS}/")
    assert version.stdout == b"2", version.stderr
    upgraded = curl(clusters, 1, "--http1.1", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}",
                    "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
                    "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"https://{host('ws', 0)}:{HTTPS}/")
    assert upgraded.stdout == b"101", upgraded.stderr
    for method, answers in (("Unary", [b"abc"]), ("Stream", [b"a", b"b", b"c"])):
        called = curl(clusters, 1, "--http2", "-D", "/dev/stderr", "--data-binary", "@-", "-H", "te: trailers",
                      "-H", "content-type: application/grpc", f"https://{host('grpc', 0)}:{HTTPS}/test.Echo/{method}",
                      sent=grpc_message(b"abc"))
        assert called.stdout == b"".join(map(grpc_message, answers)), called.stderr
        assert b"grpc-status: 0" in called.stderr


def test_a_redirect_to_https_keeps_the_form_of_the_url(clusters: Clusters) -> None:
    ports = clusters.cluster(1)
    annotation = "traefik.ingress.kubernetes.io/router.middlewares"
    clusters.kubectl(1, "-n", "examples", "annotate", "ingress", "example-nginx",
                     f"{annotation}=kube-system-https-redirect@kubernetescrd")
    name = host("example-nginx", 1)
    until(lambda: http_get(f"{name}:{HTTP}")[0] == 302)
    for given, wanted in ((HTTP, HTTPS), (ports.http_port, ports.https_port)):
        status, answer = http_get(f"{name}:{given}", "/a/b?c=d", port=given)
        assert (status, re.findall(r"(?i)location: (\S+)", answer)) == (302, [f"https://{name}:{wanted}/a/b?c=d"])
        assert https_get(clusters, name, port=wanted)[0] == 200
    clusters.kubectl(1, "-n", "examples", "annotate", "ingress", "example-nginx", f"{annotation}-")
    until(lambda: http_get(f"{name}:{HTTP}")[0] == 200)


# --- clients that misbehave -------------------------------------------------------------------------------------------


def closed_after(sent: bytes, port: int) -> float:
    """How many seconds after these bytes the connection is closed."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(sent)
        while connection.recv(65536):
            pass
    return time.monotonic() - started


def test_silent_and_broken_clients_are_disconnected_and_others_go_on(clusters: Clusters) -> None:
    with ThreadPoolExecutor() as pool:
        silent = [pool.submit(closed_after, b"", port) for port in (HTTP, HTTPS)]
        broken = [pool.submit(closed_after, b"GET / HTTP/1.1\r\n\r\n", HTTPS),
                  pool.submit(closed_after, b"\x16\x03\x01\xff\xff" + bytes(100), HTTPS),
                  pool.submit(closed_after, b"\0" * 1000, HTTP)]
        assert https_get(clusters, host("example-nginx", 0))[0] == 200
        assert all(one.result() < 20 for one in [*silent, *broken])
    assert https_get(clusters, host("example-nginx", 0))[0] == 200


# --- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("servers")
def test_a_change_of_the_page_leaves_open_connections_open(clusters: Clusters) -> None:
    with websocket(clusters) as connection:
        apply(clusters, 1, {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                            "metadata": {"name": "new", "namespace": "default"},
                            "spec": {"rules": [{"host": host("new", 1), "http": {"paths": [{
                                "path": "/", "pathType": "Prefix",
                                "backend": {"service": {"name": "kubernetes", "port": {"number": 443}}}}]}}]}})
        assert "page updated" in inv(clusters, "front-door")
        until(lambda: f'href="http://{host("new", 1)}:{HTTP}/"' in http_get("k3d.internal")[1], 10)
        connection.send("still open")
        assert connection.recv(20) == "still open"
    assert "already running" in inv(clusters, "front-door")


def test_a_restart_of_the_front_door_takes_seconds(clusters: Clusters) -> None:
    docker("restart", f"{PREFIX}-front-door")
    until(lambda: https_get(clusters, host("example-nginx", 0))[0] == 200, 10)


def test_a_stopped_cluster_is_told_the_other_goes_on_and_after_its_start_it_answers(clusters: Clusters) -> None:
    inv(clusters, "k3d-cluster-stop", "--n", "1")
    assert http_get(host("example-nginx", 1))[0] == 503 and alert(host("example-nginx", 1)) == "TLSV1_UNRECOGNIZED_NAME"
    assert https_get(clusters, host("example-nginx", 0))[0] == 200
    inv(clusters, "k3d-cluster-start", "--n", "1")
    until(lambda: https_get(clusters, host("example-nginx", 1))[0] == 200, 60)


def test_a_cluster_that_is_made_later_answers_at_once_and_one_that_is_deleted_is_gone(clusters: Clusters) -> None:
    inv(clusters, "k3d-cluster-setup", "--n", "2")
    assert http_get(host("any", 2))[0] == 404 and "Clusters on this machine" not in http_get(host("any", 2))[1]
    assert curl(clusters, 0, "-k", "-o", "/dev/null", "-w", "%{http_code}",
                f"https://{host('any', 2)}:{HTTPS}/").stdout == b"404"
    inv(clusters, "k3d-cluster-delete", "--n", "2")
    assert http_get(host("any", 2))[0] == 503 and alert(host("any", 2)) == "TLSV1_UNRECOGNIZED_NAME"
    assert docker("ps", "-q", "--filter", f"name={PREFIX}-front-door"), "other clusters need it"


def test_after_a_restart_of_everything_all_is_back_without_a_command(clusters: Clusters) -> None:
    names = docker("ps", "-aq", "--filter", f"network={PREFIX}").split()
    subprocess.run(["docker", "restart", "-t", "5", *names], check=True, capture_output=True)
    for number in (0, 1):
        until(lambda number=number: https_get(clusters, host("example-nginx", number))[0] == 200)  # type: ignore[misc]


# --- ports that are taken ---------------------------------------------------------------------------------------------


def test_a_taken_port_is_told_with_its_holder_and_everything_goes_on(clusters: Clusters) -> None:
    inv(clusters, "front-door-remove")
    docker("run", "--detach", "--name", f"{PREFIX}-other", "--publish", f"127.0.0.1:{HTTPS}:80",
           "--entrypoint", "sleep", IMAGE, "600")
    try:
        said = inv(clusters, "front-door", code=1)
        assert f"127.0.0.1:{HTTPS} is taken by the container {PREFIX}-other" in said
        assert docker("ps", "-aq", "--filter", f"name={PREFIX}-front-door") == ""
        said = inv(clusters, "k3d-cluster-start", "--n", "0")
        assert "Every URL works with its port" in said
    finally:
        docker("rm", "--force", f"{PREFIX}-other")
    assert "front door: created" in inv(clusters, "doctor", "--fix", code=1)
    assert https_get(clusters, host("example-nginx", 1))[0] == 200


# --- one connection is never for two clusters -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def for_two_clusters(clusters: Clusters) -> bytes:
    """A chain, leaf first, that cert-manager issued in cluster 0 for names of both clusters.

    The policy that denies such a Certificate is taken away, as in a cluster that is too old for it.
    """
    names = [host("both", 0), host("both", 1)]
    clusters.kubectl(0, "delete", "validatingadmissionpolicybinding", "hosts-of-root-ca")
    backend = {"service": {"name": "nginx", "port": {"number": 80}}}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
         "metadata": {"name": "both", "namespace": "examples"},
         "spec": {"secretName": "both", "dnsNames": names,
                  "usages": ["server auth", "digital signature", "key encipherment"],
                  "issuerRef": {"name": "root-ca", "kind": "ClusterIssuer"}}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
         "metadata": {"name": "both", "namespace": "examples"},
         "spec": {"tls": [{"hosts": names[:1], "secretName": "both"}],
                  "rules": [{"host": names[0], "http": {"paths": [
                      {"path": "/", "pathType": "Prefix", "backend": backend}]}}]}}]
    until(lambda: apply(clusters, 0, *objects))  # the API forgets the policy after a moment
    clusters.kubectl(0, "-n", "examples", "wait", "certificate/both", "--for=condition=Ready", "--timeout=120s")
    return base64.b64decode(clusters.kubectl(0, "-n", "examples", "get", "secret", "both", "-o",
                                             "jsonpath={.data['tls\\.crt']}"))


def test_openssl_refuses_a_leaf_with_names_of_two_clusters(clusters: Clusters, for_two_clusters: bytes) -> None:
    """So no browser can use one HTTP/2 connection for both: https://www.rfc-editor.org/rfc/rfc9113#section-9.1.1"""
    def refusal() -> str:
        with pytest.raises(ssl.SSLCertVerificationError) as refused:
            https_get(clusters, host("both", 0))
        return refused.value.verify_message

    until(lambda: refusal() == "permitted subtree violation")


@pytest.mark.skipif(not shutil.which("certutil"), reason="certutil is not installed")
def test_nss_refuses_it_as_firefox_and_chrome_do(clusters: Clusters, for_two_clusters: bytes, tmp_path: Path) -> None:
    example = base64.b64decode(clusters.kubectl(0, "-n", "examples", "get", "secret", "example-nginx-cert", "-o",
                                                "jsonpath={.data['tls\\.crt']}"))
    root = clusters.home / ".local-ca-certs" / "internal-ca.crt"
    database = f"sql:{tmp_path}"
    certutil("-N", "-d", database, "--empty-password")
    certutil("-A", "-d", database, "-n", "root", "-t", "C,,", "-i", str(root))
    verified = {}
    for name, chain in (("example", example), ("both", for_two_clusters)):
        leaf, intermediate, *_ = re.findall(rb"-----BEGIN.*?-----END CERTIFICATE-----\n", chain, re.DOTALL)
        for label, pem in ((f"{name} ca", intermediate), (name, leaf)):
            (tmp_path / f"{label}.pem").write_bytes(pem)
            certutil("-A", "-d", database, "-n", label, "-t", ",,", "-a", "-i", str(tmp_path / f"{label}.pem"))
        verified[name] = certutil("-V", "-d", database, "-u", "V", "-n", name, check=False)
    assert verified["example"].returncode == 0, verified["example"].stdout
    assert "is not permitted to issue a certificate with this name" in verified["both"].stdout


def certutil(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["certutil", *words], check=check, capture_output=True, text=True)


@pytest.mark.skipif(not RUNTIMES, reason="RUNTIMES_IMAGE names no image")
@pytest.mark.usefixtures("for_two_clusters")
def test_go_java_and_others_refuse_it_through_the_front_door(clusters: Clusters) -> None:
    clusters.import_images(1, RUNTIMES)
    apply(clusters, 1,
          {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "clients", "labels": {"trust": "enabled"}}},
          {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "clients", "namespace": "clients"},
           "spec": {"terminationGracePeriodSeconds": 0, "containers": [
               {"name": "main", "image": RUNTIMES, "command": ["sleep", "infinity"]}]}})
    clusters.kubectl(1, "-n", "clients", "wait", "pod/clients", "--for=condition=Ready", "--timeout=120s")

    def ask(name: str) -> dict[str, str]:
        said = clusters.kubectl(1, "-n", "clients", "exec", "clients", "--", "sh", "-c", shlex.join(
            ["/ask", f"https://{host(name, 0)}:{HTTPS}/", "python_ssl", "go_static", "java_httpclient", "node_fetch"]
        ) + " || true")
        return dict(line.split(" ", 1) for line in said.splitlines())

    assert {*ask("example-nginx").values()} == {"ok"}
    reason = "permitted subtree violation|name constraints check failed|not authorized to sign for this name"
    answers = ask("both")
    assert len(answers) == 4 and all(re.search(reason, answer) for answer in answers.values()), answers


# --- the end ----------------------------------------------------------------------------------------------------------


def test_it_goes_with_the_last_cluster(clusters: Clusters) -> None:
    inv(clusters, "k3d-cluster-delete", "--n", "1")
    assert http_get(host("example-nginx", 0))[0] == 200
    inv(clusters, "k3d-cluster-delete", "--n", "0")
    assert docker("ps", "-aq", "--filter", f"name={PREFIX}-front-door") == ""
    assert docker("network", "ls", "-q", "--filter", f"name=^{PREFIX}$") == ""
