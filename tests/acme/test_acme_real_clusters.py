"""A real ACME server, a real client and real clusters: orders are counted by the server, and Traefik is asked.

ACME_SERVER is a Pebble, ACME_CA_FILE the CA of its own certificate, ACME_ROOT_URL where it shows the root that it
issues under. It asks a DNS server at ACME_DNS_RESOLVERS for the domain example.test, which takes updates with the key
in ACME_TSIG_FILE (RFC 2136). ACME_CONTAINERS are the two, Pebble first. The client is lego 5, or else certbot with its
plug-in dns-rfc2136. These tests build on each other, in the order in which they stand.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import ca
import pytest
from acme_directory import directory_of
from conftest import ENGINE_LOCK, MACHINE
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from real_clusters import Clusters, several_clusters, why_not

from tasks.acme.certificate import read
from tasks.acme.client import load_client
from tasks.ca.names import issuer_name
from tasks.probe.tls import fetch_leaf

PREFIX, START = "dca", 29
OTHER = 2  # with the ports of 31: no other test has those of 29 and 31
NEEDED = ("ACME_SERVER", "ACME_CA_FILE", "ACME_ROOT_URL", "ACME_CONTAINERS", "ACME_DNS_RESOLVERS", "ACME_TSIG_FILE")
GIVEN = {key: os.environ.get(key, "") for key in NEEDED}
CERTBOT = Path(sys.executable).with_name("certbot")


def why_no_acme() -> str:
    if missing := [key for key in NEEDED if not GIVEN[key]]:
        return f"{', '.join(missing)} is not set"
    if not shutil.which("lego") and not CERTBOT.exists():
        return "neither lego nor certbot is installed: pip install -e '.[certbot]'"
    return why_not()


WHY_NOT = why_no_acme()

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT or "-")]


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    """The ACME server and its DNS server, which forgets all accounts when the engine is killed: not before the end."""
    with ENGINE_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        subprocess.run(["docker", "start", *GIVEN["ACME_CONTAINERS"].split()], check=True, capture_output=True)
        path = MACHINE["PATH"]
        MACHINE["PATH"] = f"{path}{os.pathsep}{CERTBOT.parent}"
        yield
        MACHINE["PATH"] = path


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory, servers: None) -> Iterator[Clusters]:
    folder = tmp_path_factory.mktemp("clusters")
    authorities = folder / "acme-ca.pem"
    authorities.write_bytes(Path(GIVEN["ACME_CA_FILE"]).read_bytes() + fetch_root())
    settings = {"TLD": "example.test", "K3D_SUBDOMAIN": "dev", "CERTIFICATES": "acme", "ACME_CA_FILE": authorities,
                "ACME_SERVER": GIVEN["ACME_SERVER"], "ACME_DNS": "rfc2136",
                "ACME_DNS_RESOLVERS": GIVEN["ACME_DNS_RESOLVERS"], **client_settings(Path(GIVEN["ACME_TSIG_FILE"]))}
    lines = "".join(f"{key}={value}\n" for key, value in settings.items())
    with several_clusters(folder, PREFIX, START, f"0,{OTHER}", "k3d-cluster-examples", settings=lines) as made:
        yield made


def fetch_root() -> bytes:
    """The root that the server issues under, once it answers: it may have been started just now."""
    trusting, deadline = ssl.create_default_context(cafile=GIVEN["ACME_CA_FILE"]), time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(GIVEN["ACME_ROOT_URL"], context=trusting) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def client_settings(tsig: Path) -> dict[str, str]:
    """The client with its credentials, which are its own variables."""
    server = GIVEN["ACME_DNS_RESOLVERS"].partition(":")[0]
    if shutil.which("lego"):
        return {"ACME_CLIENT": "lego", "DNSUPDATE_NAMESERVER": server, "DNSUPDATE_TSIG_FILE": str(tsig),
                "DNSUPDATE_SEQUENCE_INTERVAL": "1", "LEGO_DNS_PROPAGATION_DISABLE_ANS": "true"}
    name, secret = (re.search(pattern, tsig.read_text()) for pattern in ('key "(.+?)"', 'secret "(.+?)"'))
    assert name and secret
    credentials = Path(tempfile.mkdtemp(), "rfc2136.ini")
    credentials.touch(mode=0o600)
    credentials.write_text(f"dns_rfc2136_server = {server}\ndns_rfc2136_name = {name[1]}\n"
                           f"dns_rfc2136_secret = {secret[1]}\ndns_rfc2136_algorithm = HMAC-SHA256\n")
    # It waits a minute for other DNS servers, unless a file of the user's says otherwise:
    # https://eff-certbot.readthedocs.io/en/stable/using.html#configuration-file
    user = credentials.parent / "letsencrypt" / "cli.ini"
    user.parent.mkdir()
    user.write_text("dns-rfc2136-propagation-seconds = 2\n")
    return {"ACME_CLIENT": "certbot", "CERTBOT_CREDENTIALS": str(credentials),
            "XDG_CONFIG_HOME": str(credentials.parent)}


def inv(clusters: Clusters, *words: str, code: int = 0) -> str:
    done = clusters.inv(*words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def orders() -> int:
    """How many orders the server has seen."""
    server, *_ = GIVEN["ACME_CONTAINERS"].split()
    said = subprocess.run(["docker", "logs", server], capture_output=True, text=True, check=True)
    return (said.stdout + said.stderr).count("Added order")


def served(clusters: Clusters, number: int) -> int:
    """The serial number of the certificate that Traefik serves for a name that nobody uses."""
    cluster = clusters.cluster(number)
    leaf = fetch_leaf(cluster, f"anything.{cluster.domain}")
    assert issuer_name(leaf).startswith("Pebble Intermediate")
    return leaf.serial_number


def make_due(clusters: Clusters, number: int, days: float = 10) -> None:
    """Replace the certificate on this machine by one like it that expires soon.

    With the same serial number and issuer, because the client tells the server which certificate it renews (RFC 9773).
    """
    client = load_client(clusters.cluster(number))
    real, key = read(client).leaf, ec.generate_private_key(ec.SECP256R1())
    ends = datetime.now(timezone.utc) + timedelta(days=days)
    old = x509.CertificateBuilder(real.issuer, real.subject, key.public_key(), real.serial_number,
                                  ends - timedelta(days=90), ends, [*real.extensions]).sign(key, SHA256())
    client.certificate.resolve().write_bytes(old.public_bytes(Encoding.PEM))
    client.key.resolve().write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_each_cluster_serves_its_own_certificate_and_every_route_verifies_it(clusters: Clusters) -> None:
    assert served(clusters, 0) != served(clusters, OTHER)
    inv(clusters, "matrix")
    rows = inv(clusters, "k3d-cluster-examples", "--n", f"0,{OTHER}")
    assert rows.count("certificate verified") == 6 and "without bundle" not in rows


def test_a_second_run_and_a_cluster_that_is_made_again_order_nothing(clusters: Clusters) -> None:
    before, serial = orders(), served(clusters, 0)
    inv(clusters, "k3d-cluster-setup", "--n", f"0,{OTHER}")
    inv(clusters, "k3d-cluster-delete", "--n", "0", "k3d-cluster-setup", "--n", "0", "k3d-cluster-examples", "--n", "0")
    assert (orders(), served(clusters, 0)) == (before, serial)


def test_an_ingress_of_the_own_ca_keeps_its_certificate(clusters: Clusters) -> None:
    cluster = clusters.cluster(0)
    clusters.kubectl(0, "-n", "examples", "create", "ingress", "own", "--class=traefik",
                     "--annotation=cert-manager.io/cluster-issuer=root-ca",
                     f"--rule=own.{cluster.domain}/*=nginx:80,tls=own-tls")
    clusters.kubectl(0, "-n", "examples", "wait", "certificate/own-tls", "--for=condition=Ready", "--timeout=60s")
    deadline = time.monotonic() + 60
    while issuer_name(fetch_leaf(cluster, f"own.{cluster.domain}")) != f"Development Setup .internal CA {cluster.name}":
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_doctor_trace_and_status_know_it(clusters: Clusters) -> None:
    traced = inv(clusters, "trace", f"https://example-nginx.{clusters.cluster(0).domain}:{clusters.cluster(0).https_port}/",
                 "--json", code=1)  # this machine resolves no such names
    assert '"issued by Pebble Intermediate' in traced and "which has none of these" in traced
    assert "issued by Pebble Intermediate" in inv(clusters, "status")
    found = json.loads(clusters.inv("doctor", "--json").stdout)
    assert {entry["state"] for entry in found if entry["id"].startswith("acme-")} == {"green"}


def test_one_that_is_due_is_renewed_by_one_order_and_served_at_once(clusters: Clusters) -> None:
    before, serial = orders(), served(clusters, 0)
    make_due(clusters, 0)
    said = clusters.inv("doctor", "--json").stdout
    assert "acme-certificates" in said and "expires on" in said
    inv(clusters, "cert-renew")
    assert orders() == before + 1 and served(clusters, 0) != serial
    assert read(load_client(clusters.cluster(0))).leaf.serial_number == served(clusters, 0)
    assert orders() == before + 1


def test_what_the_cluster_serves_is_compared_with_what_this_machine_has(clusters: Clusters) -> None:
    kept = load_client(clusters.cluster(0)).certificate.read_bytes(), load_client(clusters.cluster(0)).key.read_bytes()
    make_due(clusters, 0, days=60)
    found = clusters.inv("doctor", "--json").stdout
    assert "the cluster does not serve the certificate" in found
    url = f"https://example-nginx.{clusters.cluster(0).domain}:{clusters.cluster(0).https_port}/"
    assert "but this machine has another one" in clusters.inv("trace", "--json", url).stdout
    for file, content in zip(("certificate", "key"), kept, strict=True):
        getattr(load_client(clusters.cluster(0)), file).resolve().write_bytes(content)
    inv(clusters, "k3d-cluster-configure", "--n", "0")


def test_two_commands_at_once_order_once(clusters: Clusters) -> None:
    before = orders()
    make_due(clusters, 0)
    make_due(clusters, OTHER)
    with ThreadPoolExecutor() as pool:
        done = [*pool.map(lambda _: clusters.inv("cert-renew"), range(2))]
    assert [one.returncode for one in done] == [0, 0]
    assert orders() == before + 2


def test_a_run_that_is_killed_while_its_client_orders_leaves_that_to_the_next_one(clusters: Clusters) -> None:
    before = orders()
    make_due(clusters, 0)
    with clusters.start("cert-renew") as running:
        deadline = time.monotonic() + 60
        while orders() == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.kill()
    inv(clusters, "cert-renew")
    assert orders() == before + 1
    assert read(load_client(clusters.cluster(0))).leaf.serial_number == served(clusters, 0)


@contextmanager
def changed_settings(clusters: Clusters, **changed: object) -> Iterator[None]:
    """Other settings for a while: the last line for a key counts."""
    env, text = clusters.folder / ".env", (clusters.folder / ".env").read_text()
    env.write_text(text + "".join(f"{key}={value}\n" for key, value in changed.items()))
    try:
        yield
    finally:
        env.write_text(text)


@contextmanager
def another_server(
    clusters: Clusters, folder: Path, starts: timedelta = -ca.DAY, **problem: object
) -> Iterator[None]:
    """The server at another URL, with a certificate that is valid from then on: a problem document for every order.

    There the client has a new account. For an account that it knows, the server often skips the validation.
    """
    given, issuer, authorities = clusters.settings, ca.authority(excluded=[]), folder / "authorities.pem"
    assert given.acme_ca_file
    authorities.write_bytes(given.acme_ca_file.read_bytes() + issuer.pem)
    leaf = ca.leaf(issuer, "127.0.0.1", starts=ca.NOW + starts)
    with (directory_of(given.acme_server, folder, authorities, leaf, **problem) as url,
          changed_settings(clusters, ACME_SERVER=url, ACME_CA_FILE=authorities)):
        yield


def test_wrong_credentials_are_told_and_nothing_is_changed(clusters: Clusters, tmp_path: Path) -> None:
    tsig = tmp_path / "tsig.key"
    tsig.write_text(re.sub('secret ".+?"', 'secret "d3Jvbmc="', Path(GIVEN["ACME_TSIG_FILE"]).read_text()))
    serial = served(clusters, 0)
    with another_server(clusters, tmp_path), changed_settings(clusters, **client_settings(tsig)):
        said = inv(clusters, "k3d-cluster-configure", "--n", "0", code=1)
    assert "The DNS provider may refuse the credentials" in said, said
    assert "d3Jvbmc" not in said and served(clusters, 0) == serial


def test_a_server_that_is_down_is_a_warning_while_the_certificate_is_valid(clusters: Clusters) -> None:
    make_due(clusters, 0)
    due = load_client(clusters.cluster(0))
    with changed_settings(clusters, ACME_SERVER="https://127.0.0.1:1/dir"):
        nowhere = load_client(clusters.cluster(0))
        nowhere.certificate.parent.mkdir(parents=True)
        failed = clusters.inv("k3d-cluster-configure", "--n", "0")
        assert failed.returncode == 1 and "does not answer" in failed.stderr
        nowhere.certificate.write_bytes(due.certificate.read_bytes())
        nowhere.key.write_bytes(due.key.read_bytes())
        assert "not renewed" in inv(clusters, "k3d-cluster-configure", "--n", "0")
    inv(clusters, "cert-renew")


RATE_LIMIT = {
    # https://letsencrypt.org/docs/rate-limits/
    "type": "urn:ietf:params:acme:error:rateLimited", "status": 429,
    "detail": "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, "
              "retry after 2099-01-01 00:00:00 UTC"}
NOT_ISSUED = {"type": "urn:ietf:params:acme:error:rejectedIdentifier", "status": 400,
              "detail": "The ACME server refuses to issue a certificate for this domain name"}


@pytest.mark.parametrize(("problem", "starts", "says"), [
    pytest.param(RATE_LIMIT, -ca.DAY, ["rate limit is reached", "retry after 2099-01-01"], id="rate limit"),
    pytest.param(NOT_ISSUED, -ca.DAY, ["issues no certificates for this name"], id="name"),
    pytest.param(RATE_LIMIT, ca.DAY, ["Is this machine's clock correct?"], id="clock that is behind"),
])
def test_what_a_server_refuses_is_explained_and_nothing_is_changed(
    clusters: Clusters, tmp_path: Path, problem: dict[str, object], starts: timedelta, says: list[str]
) -> None:
    serial = served(clusters, 0)
    with another_server(clusters, tmp_path, starts, **problem):
        said = inv(clusters, "k3d-cluster-configure", "--n", "0", code=1)
    assert [text for text in says if text not in said] == [], said
    assert served(clusters, 0) == serial


@contextmanager
def slow_dns() -> Iterator[None]:
    """Every answer of the DNS server takes up to two seconds: it is frozen most of the time."""
    *_, server = GIVEN["ACME_CONTAINERS"].split()
    ended = threading.Event()

    def freeze() -> None:
        while not ended.is_set():
            subprocess.run(["docker", "pause", server], check=True, capture_output=True)
            ended.wait(2)
            subprocess.run(["docker", "unpause", server], check=True, capture_output=True)
            ended.wait(0.2)

    with ThreadPoolExecutor() as pool:
        freezing = pool.submit(freeze)
        try:
            yield
        finally:
            ended.set()
            freezing.result()


def test_a_slow_dns_server_costs_time_and_no_second_order(clusters: Clusters, tmp_path: Path) -> None:
    before, serial = orders(), served(clusters, 0)
    with slow_dns(), another_server(clusters, tmp_path):
        inv(clusters, "k3d-cluster-configure", "--n", "0")
        assert orders() == before + 1 and served(clusters, 0) != serial
    inv(clusters, "k3d-cluster-configure", "--n", "0")
    assert orders() == before + 1 and served(clusters, 0) == serial


def test_the_kinds_of_certificates_change_by_configure_both_ways(clusters: Clusters) -> None:
    env, before = (clusters.folder / ".env").read_text(), orders()
    (clusters.folder / ".env").write_text(env.replace("CERTIFICATES=acme", "CERTIFICATES=own-ca"))
    inv(clusters, "k3d-cluster-configure", "--all", "k3d-cluster-examples", "--n", f"0,{OTHER}")
    other, deadline = clusters.cluster(OTHER), time.monotonic() + 60
    while "TRAEFIK DEFAULT CERT" not in issuer_name(fetch_leaf(other, f"x.{other.domain}")):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    left = clusters.kubectl(OTHER, "-n", "kube-system", "get", "secrets,tlsstores", "-o", "name")
    assert "acme-certificate" not in left
    (clusters.folder / ".env").write_text(env)
    inv(clusters, "k3d-cluster-configure", "--all", "k3d-cluster-examples", "--n", f"0,{OTHER}")
    served(clusters, OTHER)
    assert orders() == before
