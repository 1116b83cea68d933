"""A real Linux laptop: trust and names for a user with sudo, proved by what reads them, and undone without a trace."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from laptop import PROJECT, Laptop, why_not

pytestmark = [pytest.mark.laptop, pytest.mark.skipif(bool(why_not()), reason=why_not())]

OURS, OTHERS = "app.cl3.k3d.internal", {"example.com": "192.0.2.10", "other.internal": "192.0.2.11"}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """With a Firefox profile and Chrome's database, as they are there before."""
    laptop = Laptop(tmp_path_factory.mktemp("laptop"))
    for folder in (".pki/nssdb", ".mozilla/firefox/a b.default"):
        laptop.dev(f"mkdir -p \"$HOME/{folder}\" && certutil -N -d sql:\"$HOME/{folder}\" --empty-password")
    yield laptop
    laptop.remove()


@pytest.fixture
def before(laptop: Laptop) -> Iterator[dict[str, str]]:
    """What lies on the laptop before; it must be the same after the test and its uninstall."""
    files = laptop.files()
    yield files
    laptop.inv("uninstall --yes")
    assert laptop.files() == files
    assert names(laptop, OURS) == {OURS: ""}


def names(laptop: Laptop, *wanted: str) -> dict[str, str]:
    """What the system's resolver answers, through glibc as most programs do."""
    return {name: laptop.run(f"getent ahostsv4 {name} | awk '{{print $1; exit}}'", check=False) for name in wanted}


def test_one_command_makes_trust_and_names_work_and_another_undoes_it(laptop: Laptop, before: dict[str, str]) -> None:
    docker_reads = laptop.run("cat /run/systemd/resolve/resolv.conf")
    said = laptop.inv("cert trust dns")
    assert said.count("The following commands need root; sudo may prompt for your password:") == 2
    assert names(laptop, OURS, *OTHERS) == {OURS: "127.0.0.1", **OTHERS}
    assert names(laptop, "host.docker.internal", "evilk3d.internal") == {
        "host.docker.internal": "", "evilk3d.internal": ""}
    assert f"{OURS}: 127.0.0.1" in laptop.run(f"resolvectl query {OURS}")
    # This is what Docker gives to containers: they go on asking the same servers.
    assert laptop.run("cat /run/systemd/resolve/resolv.conf") == docker_reads
    assert "127.0.0.1:5399" in laptop.run("ss -Hlnu sport = :5399") and "0.0.0.0:5399" not in laptop.run("ss -Hlnu")

    proved = laptop.inv("trust-verify")
    assert proved.count("accepted; one for proof.example.com is rejected") == 3, proved
    assert "127.0.0.1" in laptop.inv("dns-verify")

    again = laptop.inv("cert trust dns")
    assert "need root" not in again and again.count("already there") >= 6
    settled = laptop.files()
    laptop.inv("cert trust dns")
    assert laptop.files() == settled


def test_curl_and_python_trust_a_server_of_the_root_and_refuse_one_outside_of_its_names(
    laptop: Laptop, before: dict[str, str]
) -> None:
    laptop.inv("cert trust dns")
    serve = """
import http.server, ssl, sys
from pathlib import Path
sys.path.insert(0, ".")
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.asymmetric import ec
from tasks.ca import probe_leaves as proof
from tasks.ca.load import load_root
from tasks.core import configuration
made = []
generate = ec.generate_private_key
ec.generate_private_key = lambda curve: made.append(generate(curve)) or made[-1]
name, port = sys.argv[1], int(sys.argv[2])
pem = proof.sign(load_root(configuration.load()), name) + made[0].private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
Path(f"/tmp/{port}.pem").write_bytes(pem)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"/tmp/{port}.pem")
server = http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
    laptop.dev(f"cat > /tmp/serve.py <<'END'\n{serve}\nEND")
    outside = "outside.localhost"  # systemd-resolved leads it here
    for name, port in ((OURS, 9443), (outside, 9444)):
        laptop.dev(f"nohup setsid .venv/bin/python /tmp/serve.py {name} {port} > /tmp/{port}.log 2>&1 &")
        laptop.until(lambda port=port: "LISTEN" in laptop.run(f"ss -Hltn sport = :{port}", check=False))  # type: ignore[misc]
    try:
        python = "python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)'"
        for client in ("curl -s -o /dev/null -w '%{http_code}'", python):
            assert laptop.dev(f"{client} https://{OURS}:9443/") == "200"
            refused = laptop.dev(f"{client} https://{outside}:9444/ 2>&1; echo \"ended with $?\"", check=False)
            assert "200" not in refused and "ended with 0" not in refused
        reason = laptop.dev(f"curl -sS https://{outside}:9444/ 2>&1", check=False)
        assert "permitted subtree violation" in reason
    finally:
        laptop.run("pkill -f /tmp/[s]erve.py", check=False)


def test_names_resolve_after_a_restart_of_resolved_of_its_dnsmasq_and_of_the_laptop(
    laptop: Laptop, before: dict[str, str]
) -> None:
    laptop.inv("cert dns")
    laptop.run("systemctl restart systemd-resolved")
    laptop.until(lambda: names(laptop, OURS)[OURS] == "127.0.0.1")

    service = "dev-cluster-tasks-dns.service"
    killed = laptop.run(f"systemctl show -p MainPID --value {service}")
    laptop.run(f"kill -9 {killed}")
    laptop.until(lambda: laptop.run(f"systemctl show -p MainPID --value {service}") not in ("0", killed))
    laptop.until(lambda: names(laptop, "b." + OURS)["b." + OURS] == "127.0.0.1")

    laptop.restart()
    laptop.until(lambda: names(laptop, "c." + OURS)["c." + OURS] == "127.0.0.1")
    assert names(laptop, *OTHERS) == OTHERS


def test_another_port_is_chosen_where_the_first_is_taken_also_later(laptop: Laptop, before: dict[str, str]) -> None:
    taker = "nohup setsid dnsmasq --keep-in-foreground --port={} --listen-address=127.0.0.1 --bind-interfaces " \
            "--no-resolv --pid-file=/tmp/{}.pid > /tmp/{}.log 2>&1 &"
    laptop.run(taker.replace("{}", "5399"))
    laptop.until(lambda: "127.0.0.1:5399" in laptop.run("ss -Hlnu sport = :5399"))
    laptop.inv("dns")
    assert "127.0.0.1:5400" in laptop.run("ss -Hlnu sport = :5400")
    assert names(laptop, OURS, *OTHERS) == {OURS: "127.0.0.1", **OTHERS}

    laptop.run("systemctl stop dev-cluster-tasks-dns.service")
    laptop.run(taker.replace("{}", "5400"))
    laptop.until(lambda: "127.0.0.1:5400" in laptop.run("ss -Hlnu sport = :5400"))
    laptop.inv("dns")
    assert "127.0.0.1:5401" in laptop.run("ss -Hlnu sport = :5401")
    assert names(laptop, "b." + OURS) == {"b." + OURS: "127.0.0.1"}
    laptop.run("kill $(cat /tmp/5399.pid /tmp/5400.pid)")


def test_a_changed_tld_takes_the_place_of_the_old_one(laptop: Laptop, before: dict[str, str]) -> None:
    laptop.inv("dns")
    laptop.dev("TLD=test .venv/bin/inv dns")
    assert names(laptop, "a.cl0.k3d.test", "b.cl0.k3d.internal", *OTHERS) == {
        "a.cl0.k3d.test": "127.0.0.1", "b.cl0.k3d.internal": "", **OTHERS}


def test_two_copies_work_beside_each_other_whichever_leaves_first(laptop: Laptop, before: dict[str, str]) -> None:
    """With another base domain and another CERT_FOLDER. One leaves, the other one still resolves and is trusted."""
    other = "/srv/other"
    laptop.run(f"cp -a {PROJECT} {other} && printf 'TLD=test\\nCERT_FOLDER=~/other-certs\\n' > {other}/.env")

    def inv(words: str) -> str:
        said = laptop.run(f"cd {other} && {PROJECT}/.venv/bin/inv {words} 2>&1", user="dev")
        assert "Traceback" not in said, said
        return said

    first, second = "a.cl0.k3d.internal", "a.cl0.k3d.test"
    try:
        for leaves_first in ("this", "other"):
            laptop.inv("cert trust dns")
            inv("cert trust dns")
            assert names(laptop, first, second, *OTHERS) == {first: "127.0.0.1", second: "127.0.0.1", **OTHERS}
            for run in (laptop.inv, inv):
                run("dns-verify trust-verify")
                assert "This needs root" not in run("cert trust dns")
            leave, stay, gone, kept = ((laptop.inv, inv, first, second) if leaves_first == "this" else
                                       (inv, laptop.inv, second, first))
            said = leave("uninstall --yes")
            assert "This belongs to another copy" in said and "inv uninstall --all-copies" in said
            assert "Warning" not in said
            unique = f"{leaves_first}."
            assert names(laptop, unique + gone, unique + kept, *OTHERS) == {
                unique + gone: "", unique + kept: "127.0.0.1", **OTHERS}
            stay("dns-verify trust-verify")
            stay("uninstall --yes")
            assert names(laptop, f"x.{first}", f"x.{second}") == {f"x.{first}": "", f"x.{second}": ""}

        laptop.inv("cert trust dns")
        inv("cert trust dns")
        laptop.run(f"rm -r {other}")
        said = laptop.inv("uninstall --yes")
        assert f"k3d.test: the copy in {other}, which no longer exists" in said
        laptop.inv("uninstall --yes --all-copies")
    finally:
        laptop.run(f"rm -rf {other} /home/dev/other-certs")


def test_a_resolver_that_asks_over_tls_only_is_passed_over_within_seconds(
    laptop: Laptop, before: dict[str, str]
) -> None:
    drop_in = "/etc/systemd/resolved.conf.d/tls.conf"
    laptop.run(f"mkdir -p /etc/systemd/resolved.conf.d && printf '[Resolve]\\nDNSOverTLS=yes\\n' > {drop_in} && "
               "systemctl restart systemd-resolved")
    try:
        started = time.monotonic()
        said = laptop.inv("dns")
        assert time.monotonic() - started < 15
        assert "systemd-resolved: systemd-resolved sends every query over TLS (DNSOverTLS=yes)" in said
        assert names(laptop, "proof.k3d.internal") == {"proof.k3d.internal": "127.0.0.1"}  # by the hosts file
        laptop.inv("dns-remove")
    finally:
        laptop.run(f"rm {drop_in}; rmdir --ignore-fail-on-non-empty /etc/systemd/resolved.conf.d; "
                   "systemctl restart systemd-resolved")


def test_without_sudo_it_says_what_is_left_to_do_and_a_script_of_it_does_so(
    laptop: Laptop, before: dict[str, str]
) -> None:
    laptop.run("mv /etc/sudoers.d/dev /root/dev.sudoers")
    try:
        said = laptop.inv("cert; echo \"ended with $?\"", check=False)
        assert "ended with 1" in said and "The remaining steps need root" in said, said
        assert "  update-ca-certificates --fresh " in said
        assert laptop.inv("trust-verify --stores nss").count("accepted; one for") == 2  # what needs no root was done
        script = laptop.inv("trust --print-sudo") + "\n" + laptop.inv("dns --print-sudo")
    finally:
        laptop.run("mv /root/dev.sudoers /etc/sudoers.d/dev")
    laptop.run(f"cat > /tmp/as-root.sh <<'END'\n{script}\nEND\nsh -eu /tmp/as-root.sh")
    assert "accepted" in laptop.inv("trust-verify")
    assert names(laptop, OURS, *OTHERS) == {OURS: "127.0.0.1", **OTHERS}


def test_a_file_that_somebody_has_changed_is_shown_and_stays(laptop: Laptop) -> None:
    before = laptop.files()
    laptop.inv("cert dns")
    drop_in = "/etc/systemd/resolved.conf.d/dev-cluster-tasks-k3d.internal.conf"
    laptop.run(f"cp {drop_in} /root/as-it-was && echo 'Cache=no' >> {drop_in}")
    said = laptop.inv("uninstall --yes; echo \"ended with $?\"", check=False)
    assert "ended with 1" in said and "| Cache=no" in said
    assert f"{drop_in} was changed after these tasks created it" in said
    assert "Cache=no" in laptop.run(f"cat {drop_in}")
    laptop.run(f"cp /root/as-it-was {drop_in}")
    laptop.inv("uninstall --yes")
    assert laptop.files() == before


def test_the_authority_can_be_kept(laptop: Laptop, before: dict[str, str]) -> None:
    laptop.inv("cert")
    laptop.inv("uninstall --yes --keep-ca")
    kept = laptop.files()
    assert {name.rpartition("/")[2] for name in kept if ".local-ca-certs" in name} == {
        ".local-ca-certs", "internal-ca.key", "internal-ca.csr", "internal-ca.crt"}
    assert {name: value for name, value in kept.items() if ".local-ca-certs" not in name} == before


@pytest.mark.skipif(not shutil.which("javac"), reason="no JDK is installed that could be put on the laptop")
def test_a_jdk_takes_the_root_is_proved_and_gives_it_back(laptop: Laptop, tmp_path: Path) -> None:
    home = Path(shutil.which("javac") or "").resolve().parents[1]
    shutil.copytree(home, tmp_path / "jdk", ignore=shutil.ignore_patterns("*.zip", "jmods", "src*"))
    laptop.copy(tmp_path / "jdk", "/opt/jdk")
    keytool = "/opt/jdk/bin/keytool -list -cacerts -storepass changeit"
    listed = laptop.run(keytool)
    laptop.inv("cert")
    assert "this store ignores name constraints on roots" in laptop.inv("trust-verify --stores java")
    assert "dev-cluster-tasks-" in laptop.run(keytool)
    laptop.inv("uninstall --yes")
    assert laptop.run(keytool) == listed
    laptop.run("rm -r /opt/jdk")


def test_every_command_made_to_fail_once_a_second_run_converges(laptop: Laptop, before: dict[str, str]) -> None:
    """A sudo that refuses its n-th command stands for every way in which a run can be broken off."""
    laptop.run("mv /usr/bin/sudo /usr/bin/sudo.real; cat > /usr/bin/sudo <<'END'\n"
               "#!/bin/sh\n"
               "echo x >> /tmp/sudo.count\n"
               "[ \"$(wc -l < /tmp/sudo.count)\" = \"$(cat /tmp/sudo.fails)\" ] && { echo broken >&2; exit 9; }\n"
               "exec /usr/bin/sudo.real \"$@\"\n"
               "END\nchmod 755 /usr/bin/sudo")
    try:
        for command, undo in (("cert dns", "uninstall --yes"), ("uninstall --yes", "")):
            failed = 1
            while True:
                if not undo:
                    laptop.dev("echo 0 > /tmp/sudo.fails"), laptop.inv("cert dns")
                laptop.dev(f": > /tmp/sudo.count; echo {failed} > /tmp/sudo.fails")
                said = laptop.inv(command, check=False)
                broken = "broken" in said
                if not broken:
                    break
                laptop.inv(command)
                if undo:
                    assert names(laptop, f"n{failed}.{OURS}") == {f"n{failed}.{OURS}": "127.0.0.1"}
                    laptop.inv(undo)
                assert laptop.files() == before, f"{command}, broken off at root's command {failed}"
                failed += 1
            assert failed > 4
            laptop.dev("echo 0 > /tmp/sudo.fails")
            laptop.inv("uninstall --yes")
    finally:
        laptop.run("mv /usr/bin/sudo.real /usr/bin/sudo; rm -f /tmp/sudo.*")
