"""The rules for pods in the real CoreDNS, in a Corefile like k3s', asked by dnspython and by this machine's glibc."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from conftest import SOURCE
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from invoke import Exit

from tasks.core.configuration import load
from tasks.core.settings import Cluster, Settings
from tasks.in_cluster.coredns import render_rules

pytestmark = pytest.mark.skipif(not shutil.which("coredns"), reason="coredns is not on the PATH")

TRAEFIK = "10.43.0.99"
"""What `traefik-internal` has in the cluster."""
HOST = "172.31.0.1"
"""This host, as the rules are told."""
ELSEWHERE = "192.0.2.10"
"""The CLUSTER_ADDRESS of a cluster on another machine."""
K3D = "172.18.0.1"
"""This host, as k3d has written it to NodeHosts."""
OUTSIDE = "192.0.2.53"
"""What the resolver outside the cluster answers to every question for an A record; to others it says NXDOMAIN."""
NO_SUCH_NAME = "NXDOMAIN"

# As k3s has it, but for the ports and for the zone file in place of the Kubernetes plugin:
# https://github.com/k3s-io/k3s/blob/main/manifests/coredns.yaml
COREFILE = """\
.:{port} {{
    bind 127.0.0.1
    errors
    file cluster.local cluster.local
    hosts NodeHosts {{
        ttl 60
        reload 15s
        fallthrough
    }}
    forward . 127.0.0.1:{outside}
    cache 30
    loop
    reload
    loadbalance
    import custom/*.override
}}
.:{outside} {{
    bind 127.0.0.1
    template IN A . {{
        answer "{{{{ .Name }}}} 60 IN A {address}"
    }}
    template IN ANY . {{
        rcode NXDOMAIN
    }}
}}
"""

ZONE = f"""\
$ORIGIN cluster.local.
@ 5 IN SOA ns.dns hostmaster 1 7200 1800 86400 5
traefik-internal.kube-system.svc 5 IN A {TRAEFIK}
"""


def write_corefile(folder: Path, rules: str, port: int, outside: int) -> None:
    (folder / "custom").mkdir(parents=True)
    (folder / "custom" / "dev-clusters.override").write_text(rules)
    (folder / "Corefile").write_text(COREFILE.format(port=port, outside=outside, address=OUTSIDE))
    (folder / "cluster.local").write_text(ZONE)
    (folder / "NodeHosts").write_text(f"{K3D} host.k3d.internal\n")


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def coredns(folder: Path, rules: str) -> Iterator[int]:
    """The port of a CoreDNS that has read these rules."""
    port, outside = free_ports(2)
    write_corefile(folder, rules, port, outside)
    log = folder / "log"
    with log.open("w") as said:
        server = subprocess.Popen(["coredns"], cwd=folder, stdout=subprocess.PIPE, stderr=said, text=True)
    with server:
        try:
            assert server.stdout
            # The first line that it says once it listens.
            if not any(line.startswith("CoreDNS-") for line in server.stdout):
                pytest.fail(f"CoreDNS does not start with\n{rules}\n{log.read_text()}")
            yield port
        finally:
            server.kill()


def ask(port: int, name: str, type_: str = "A", tcp: bool = False) -> str:
    """The addresses in the answer, or what there is instead of one. An answer under another name is an error."""
    question = dns.message.make_query(f"{name}.", type_)
    reply = (dns.query.tcp if tcp else dns.query.udp)(question, "127.0.0.1", port=port, timeout=10)
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode())
    assert all(rrset.name == question.question[0].name for rrset in reply.answer), reply
    return " ".join(record.to_text() for rrset in reply.answer for record in rrset)


def settings_with(project: Path, **chosen: str) -> Settings:
    shutil.copy(SOURCE / ".default.env", project)
    return load(project, chosen)


Server = Callable[..., int]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The port of a CoreDNS with the rules of one cluster under these settings; those asked for twice start once."""
    running: dict[str, int] = {}
    with ExitStack() as stack:

        def port_of(number: int, host: str = HOST, **chosen: str) -> int:
            rules = render_rules(settings_with(tmp_path_factory.mktemp("project"), **chosen).cluster(number), host)
            if rules not in running:
                running[rules] = stack.enter_context(coredns(tmp_path_factory.mktemp("coredns") / "etc", rules))
            return running[rules]

        yield port_of


TWELVE_CLUSTERS = {"K3D_PORT_END": "21"}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        # its own
        ("cl1.k3d.internal", TRAEFIK),
        ("app.cl1.k3d.internal", TRAEFIK),
        ("a.b.c.d.cl1.k3d.internal", TRAEFIK),
        ("APP.Cl1.K3D.internal", TRAEFIK),
        ("*.cl1.k3d.internal", TRAEFIK),
        # of other clusters
        ("cl0.k3d.internal", HOST),
        ("app.cl0.k3d.internal", HOST),
        ("a.b.c.d.cl0.k3d.internal", HOST),
        ("APP.Cl0.K3D.internal", HOST),
        ("cl10.k3d.internal", HOST),
        ("app.cl10.k3d.internal", HOST),
        ("app.cl11.k3d.internal", HOST),
        ("cl1.cl0.k3d.internal", HOST),
        # not ours
        ("k3d.internal", HOST),
        ("app.k3d.internal", OUTSIDE),
        ("app.cl12.k3d.internal", OUTSIDE),
        ("app.cl01.k3d.internal", OUTSIDE),
        ("app.xcl1.k3d.internal", OUTSIDE),
        ("app.xcl0.k3d.internal", OUTSIDE),
        ("app.cl1xk3d.internal", OUTSIDE),
        ("app.cl0xk3d.internal", OUTSIDE),
        ("cl1.k3d.internal.example.com", OUTSIDE),
        ("cl1.k3d.internal.k3d.internal", OUTSIDE),
        ("cl0.k3d.internal.k3d.internal", OUTSIDE),
        ("host.docker.internal", OUTSIDE),
        # records about a name, such as for an ACME server, which only the domain's own servers know
        ("_acme-challenge.cl1.k3d.internal", OUTSIDE),
        ("_acme-challenge.app.cl1.k3d.internal", OUTSIDE),
        ("_acme-challenge.cl0.k3d.internal", OUTSIDE),
        ("app._tcp.cl1.k3d.internal", TRAEFIK),
        ("example.com", OUTSIDE),
        # k3d's name for this host, which must not depend on what k3d has written
        ("host.k3d.internal", HOST),
        ("Host.K3D.internal", HOST),
        # what a resolver with a search list asks first
        ("app.cl1.k3d.internal.default.svc.cluster.local", NO_SUCH_NAME),
        ("app.cl0.k3d.internal.default.svc.cluster.local", NO_SUCH_NAME),
        ("host.k3d.internal.default.svc.cluster.local", NO_SUCH_NAME),
    ],
)
def test_a_pod_of_cluster_1_is_led_to(server: Server, name: str, answer: str) -> None:
    port = server(1, **TWELVE_CLUSTERS)
    assert ask(port, name) == answer
    assert ask(port, name, tcp=True) == answer


@pytest.mark.parametrize("name", [f"{app}cl{number}.k3d.internal" for app in ("", "app.") for number in (0, 1)])
@pytest.mark.parametrize("type_", ["AAAA", "TXT", "HTTPS", "SRV", "MX"])
def test_other_types_have_an_empty_answer_and_no_error(server: Server, name: str, type_: str) -> None:
    assert ask(server(1, **TWELVE_CLUSTERS), name, type_) == ""


@pytest.mark.parametrize(
    ("number", "host", "chosen", "answers"),
    [
        pytest.param(10, HOST, TWELVE_CLUSTERS, {
            "app.cl10.k3d.internal": TRAEFIK, "cl10.k3d.internal": TRAEFIK,
            "app.cl1.k3d.internal": HOST, "cl1.k3d.internal": HOST,
        }, id="a pod of cluster 10"),
        pytest.param(1, "", {}, {
            "app.cl1.k3d.internal": TRAEFIK, "app.cl0.k3d.internal": OUTSIDE, "host.k3d.internal": K3D,
        }, id="no address for the host"),
        pytest.param(0, HOST, {"K3D_PORT_END": "10"}, {
            "app.cl0.k3d.internal": TRAEFIK, "app.cl1.k3d.internal": OUTSIDE,
        }, id="room for one cluster"),
        pytest.param(1, HOST, {"K3D_SUBDOMAIN": ""}, {
            "app.cl1.internal": TRAEFIK, "cl1.internal": TRAEFIK, "app.cl0.internal": HOST, "cl0.internal": HOST,
            "internal": OUTSIDE, "host.docker.internal": OUTSIDE, "cl1.k3d.internal": OUTSIDE,
            "host.k3d.internal": HOST,
        }, id="no subdomain"),
        pytest.param(1, HOST, {"TLD": "127.0.0.1.nip.io"}, {
            "app.cl1.k3d.127.0.0.1.nip.io": TRAEFIK, "app.cl0.k3d.127.0.0.1.nip.io": HOST,
            "app.cl1.k3d.127x0.0.1.nip.io": OUTSIDE, "app.127.0.0.1.nip.io": OUTSIDE,
        }, id="a TLD of many labels"),
        pytest.param(1, HOST, {"K3D_CLUSTER_NAME_PREFIX": "my-dev-", "K3D_CLUSTER_DOMAIN_PREFIX": "a--b-"}, {
            "app.a--b-1.k3d.internal": TRAEFIK, "app.a--b-0.k3d.internal": HOST, "app.my-dev-1.k3d.internal": OUTSIDE,
        }, id="prefixes with dashes"),
        pytest.param(1, HOST, {"K3D_CLUSTER_NAME_PREFIX": "1"}, {
            "app.11.k3d.internal": TRAEFIK, "app.10.k3d.internal": HOST, "app.1.k3d.internal": OUTSIDE,
        }, id="a prefix that is a digit"),
        pytest.param(1, HOST, {"CLUSTER_ADDRESS": f"1={ELSEWHERE},3={ELSEWHERE}"}, {
            "app.cl1.k3d.internal": TRAEFIK, "app.cl3.k3d.internal": ELSEWHERE, "cl3.k3d.internal": ELSEWHERE,
            "app.cl0.k3d.internal": HOST, "k3d.internal": HOST, "host.k3d.internal": HOST,
        }, id="a cluster elsewhere"),
        pytest.param(1, "", {"CLUSTER_ADDRESS": f"3={ELSEWHERE}"}, {
            "app.cl3.k3d.internal": ELSEWHERE, "app.cl0.k3d.internal": OUTSIDE, "k3d.internal": OUTSIDE,
        }, id="a cluster elsewhere, and no way to this machine"),
        pytest.param(1, ELSEWHERE, {"CLUSTER_ADDRESS": ELSEWHERE}, {
            "app.cl1.k3d.internal": TRAEFIK, "app.cl3.k3d.internal": ELSEWHERE, "k3d.internal": ELSEWHERE,
            "host.k3d.internal": ELSEWHERE,
        }, id="all clusters elsewhere"),
    ],
)
def test_other_settings_lead_to(
    server: Server, number: int, host: str, chosen: dict[str, str], answers: dict[str, str]
) -> None:
    port = server(number, host, **chosen)
    assert {name: ask(port, name) for name in answers} == answers


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@settings(max_examples=15, deadline=None)
@given(
    tld=st.lists(LABEL, min_size=1, max_size=3).map(".".join),
    subdomain=st.lists(LABEL, max_size=2).map(".".join),
    prefix=st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True),
    number=st.integers(0, 55),
)
def test_coredns_starts_with_any_settings_and_finds_the_clusters(
    tmp_path_factory: pytest.TempPathFactory, tld: str, subdomain: str, prefix: str, number: int
) -> None:
    chosen = {"TLD": tld, "K3D_SUBDOMAIN": subdomain, "K3D_CLUSTER_NAME_PREFIX": prefix, "K3D_PORT_END": "65"}
    try:
        cluster = settings_with(tmp_path_factory.mktemp("project"), **chosen).cluster(number)
    except Exit:
        assume(False)
    other = Cluster(cluster.settings, (number + 1) % 56)
    with coredns(tmp_path_factory.mktemp("coredns") / "etc", render_rules(cluster, HOST)) as port:
        assert (ask(port, f"app.{cluster.domain}"), ask(port, f"app.{other.domain}")) == (TRAEFIK, HOST)


# In namespaces of its own: a network with nothing but a loopback device, and another /etc/resolv.conf.
GLIBC = """\
import fcntl, json, pathlib, socket, struct, subprocess, sys

up = struct.pack("16sh14x", b"lo", 0x1)  # IFF_UP
fcntl.ioctl(socket.socket(), 0x8914, up)  # SIOCSIFFLAGS
for file in ("resolv.conf", "nsswitch.conf"):
    if pathlib.Path("/etc", file).exists():
        subprocess.run(["mount", "--bind", file, f"/etc/{file}"], check=True)
server = subprocess.Popen(["coredns"], stdout=subprocess.PIPE, text=True)
while not server.stdout.readline().startswith("CoreDNS-"):
    assert server.poll() is None, "CoreDNS does not start"
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = sorted({entry[4][0] for entry in socket.getaddrinfo(name, 443)})
    except OSError as error:
        found[name] = [str(error)]
server.kill()
print(json.dumps(found))
"""

OWN_NAMESPACES = ("unshare", "--map-root-user", "--mount", "--net")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this machine's C library is not glibc")
@pytest.mark.parametrize(
    "resolv_conf",
    [
        pytest.param("nameserver 127.0.0.1\n", id="plain"),
        pytest.param("search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.1\n"
                     "options ndots:5\n", id="as in a pod"),
    ],
)
def test_glibc_takes_the_answers(tmp_path: Path, resolv_conf: str) -> None:
    """It refuses an answer under another name than the one it asked for, which musl and Go do not."""
    permitted = subprocess.run([*OWN_NAMESPACES, "true"], capture_output=True, text=True)
    if permitted.returncode:
        pytest.skip(f"namespaces are not permitted here: {permitted.stderr.strip()}")
    etc = tmp_path / "etc"
    write_corefile(etc, render_rules(settings_with(tmp_path).cluster(1), HOST), port=53, outside=54)
    (etc / "resolv.conf").write_text(resolv_conf)
    (etc / "nsswitch.conf").write_text("hosts: dns\n")
    expected = {
        "app.cl1.k3d.internal": [TRAEFIK],
        "cl1.k3d.internal": [TRAEFIK],
        "APP.CL1.K3D.INTERNAL": [TRAEFIK],
        "app.cl0.k3d.internal": [HOST],
        "cl0.k3d.internal": [HOST],
        "host.k3d.internal": [HOST],
        "example.com": [OUTSIDE],
    }
    done = subprocess.run(
        [*OWN_NAMESPACES, sys.executable, "-c", GLIBC, *expected], cwd=etc, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
