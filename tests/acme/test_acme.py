"""Certificates of an ACME server: the words that its client receives, what becomes of its files, and what is refused.

The client is a recording program that writes what a real one would. For real ones: test_acme_real_clusters.py.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import ca
import pytest
from conftest import Project
from pretend import World, pages_of, world_of
from recording import Answer, Call

from tasks.acme import client
from tasks.core.problems import Problem
from tasks.in_cluster import default_certificate
from tasks.probe.limits import Limit

PUBLIC = ca.authority(excluded=[])
"""The CA that the pretended server issues under."""

PRODUCTION = "https://acme-v02.api.letsencrypt.org/directory"
SERVER = "https://acme.example.com:8443/directory"
DOMAIN = "cl1.k3d.internal"
NAMES = (f"*.{DOMAIN}", DOMAIN)
TOKEN = "a-secret-token-of-the-provider"


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.fakes.add("lego", "certbot")
        world.fakes.behave("lego", issue)
        chosen(world)
        world.cluster_list(world.cluster(1))
        project.patches.append((default_certificate, "is_served", lambda cluster, wanted: True))
        yield world


def chosen(world: World, **settings: str) -> None:
    world.env(**{"CERTIFICATES": "acme", "ACME_SERVER": SERVER, "TIMEOUT_READY": "10",
                 "ACME_EMAIL": "me@example.com", "ACME_DNS": "cloudflare", "CF_DNS_API_TOKEN": TOKEN, **settings})
    (world.project.folder / ".env").chmod(0o600)


def issue(call: Call) -> Answer:
    """What lego does: a certificate of the names, and its key, where it was told to keep its files."""
    options = dict(word.split("=", 1) for word in call.words if word.startswith("--") and "=" in word)
    names = [word.removeprefix("--domains=") for word in call.words if word.startswith("--domains=")]
    store(Path(options["--path"]) / "certificates", options["--cert.name"], ca.leaf(PUBLIC, *names))
    return Answer()


def store(folder: Path, name: str, leaf: ca.Signed) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.crt").write_bytes(leaf.pem + PUBLIC.pem)
    (folder / f"{name}.key").write_bytes(leaf.key_pem())


def folder(world: World) -> Path:
    return world.project.home / ".local-ca-certs" / "acme" / "acme.example.com_8443_directory"


def have(world: World, *names: str, days: float = 60, issuer: ca.Signed = PUBLIC) -> None:
    """A certificate on this machine with so many days left of its 90."""
    ends = ca.NOW + timedelta(days=days)
    leaf = ca.leaf(issuer, *(names or NAMES), starts=ends - timedelta(days=90), ends=ends)
    store(folder(world) / "certificates", DOMAIN, leaf)


def orders(world: World) -> list[list[str]]:
    return [*world.fakes.calls("lego"), *world.fakes.calls("certbot")]


def applied(world: World) -> bool:
    """Whether the cluster got the Secret and the TLSStore."""
    files = [Path(word).name for words in world.changes() if words[0] == "kubectl" for word in words]
    return {"acme-certificate.yaml", "tls-store.yaml"} <= {*files}


# --- the words of the clients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "credentials"), [
    ("cloudflare", {"CF_DNS_API_TOKEN": TOKEN}),
    ("route53", {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": TOKEN, "AWS_REGION": "eu-west-1"}),
])
def test_lego_gets_its_words_and_the_credentials_in_its_environment_alone(
    world: World, provider: str, credentials: dict[str, str]
) -> None:
    chosen(world, ACME_DNS=provider, **credentials)
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert orders(world) == [[
        "lego", "run", "--accept-tos", "--no-random-sleep", f"--server={SERVER}", "--email=me@example.com",
        f"--path={folder(world)}", f"--dns={provider}", "--dns.resolvers=1.1.1.1:53", "--dns.resolvers=9.9.9.9:53",
        f"--cert.name={DOMAIN}", f"--domains=*.{DOMAIN}", f"--domains={DOMAIN}"]]
    environment, = world.fakes.environments("lego")
    assert credentials.items() <= environment.items()
    assert TOKEN not in done.stdout + done.stderr + str(world.fakes.calls())
    assert not any(TOKEN in file.read_text(errors="replace") for file in world.project.home.rglob("*")
                   if file.is_file() and file.name != ".env")
    assert applied(world)


def test_certbot_gets_its_words_and_the_path_of_its_credentials(world: World) -> None:
    chosen(world, ACME_CLIENT="certbot", ACME_EMAIL="", ACME_CA_FILE=str(company(world)),
           CERTBOT_CREDENTIALS="/home/me/cloudflare.ini")

    def certonly(call: Call) -> Answer:
        live = folder(world) / "certbot" / "live" / DOMAIN
        leaf = ca.leaf(PUBLIC, *NAMES)
        live.mkdir(parents=True)
        (live / "fullchain.pem").write_bytes(leaf.pem + PUBLIC.pem)
        (live / "privkey.pem").write_bytes(leaf.key_pem())
        return Answer()

    world.fakes.behave("certbot", certonly)
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0, done.stderr
    own = f"{folder(world)}/certbot"
    assert orders(world) == [[
        "certbot", "certonly", "--non-interactive", "--agree-tos", "--force-renewal", f"--server={SERVER}",
        "--register-unsafely-without-email", f"--config-dir={own}", f"--work-dir={own}/work", f"--logs-dir={own}/logs",
        "--authenticator=dns-cloudflare", "--dns-cloudflare-credentials=/home/me/cloudflare.ini", "--key-type=ecdsa",
        f"--cert-name={DOMAIN}", f"--domain=*.{DOMAIN}", f"--domain={DOMAIN}"]]
    assert world.fakes.environments("certbot")[0]["REQUESTS_CA_BUNDLE"] == str(company(world))

    chosen(world, ACME_CLIENT="certbot", ACME_DNS="route53")  # whose plug-in reads variables
    world.fakes.forget()
    shutil.rmtree(folder(world))
    assert world.inv("k3d-cluster-configure", "--n", "1").returncode == 0
    assert "--authenticator=dns-route53" in orders(world)[0] and "credentials" not in str(orders(world))


def company(world: World) -> Path:
    file = world.project.home / "company.pem"
    file.write_bytes(PUBLIC.pem)
    return file


@pytest.mark.parametrize(("text", "says"), [
    ("install: by hand\ncommand: [lego]\nkey: /key\n", "the key certificate is missing"),
    ("command: lego\ncertificate: /c\nkey: /k\ninstall: by hand\n", "`command` must be a list of words"),
    ("command: [lego, 5]\ncertificate: /c\nkey: /k\ninstall: by hand\n", "`command` must be a list of words"),
    ("- lego\n", "expected the keys command, certificate, key and install"),
    ("", "expected the keys command, certificate, key and install"),
    ("command: [lego]\ncertificate: c.crt\nkey: /k\ninstall: by hand\n", "`certificate` must be an absolute path"),
    ("command: [lego]\ncertificate: /c\nkey: /k\ninstall: by hand\nenvironment: [A]\n", "`environment` must have"),
    ("command: [lego]\ncertificate: /c\nkey: /k\ninstall: by hand\nenvironment: {1: a}\n", "`environment` must have"),
    ("command: [lego\n", "while parsing a flow sequence"),
])
def test_a_template_of_another_form_is_named_with_what_is_wrong(world: World, text: str, says: str) -> None:
    world.project.patches.append((client, "render", lambda *_, **__: text))
    assert f"templates/acme/lego.yaml: {says}" in world.inv("k3d-cluster-configure", "--n", "1").stderr


# --- when it is ordered -----------------------------------------------------------------------------------------------


def test_one_that_is_there_is_given_to_the_cluster_and_nothing_is_ordered(world: World) -> None:
    have(world)
    assert world.inv("k3d-cluster-configure", "--n", "1").returncode == 0
    assert orders(world) == [] and applied(world)

    chain = (folder(world) / "certificates" / f"{DOMAIN}.crt").read_bytes()
    world.fakes.answer("^kubectl .*get secret acme-certificate", base64.b64encode(chain).decode())
    world.fakes.answer("^kubectl .*diff ")
    world.fakes.forget()
    assert world.inv("k3d-cluster-configure", "--n", "1").returncode == 0
    assert not applied(world)


@pytest.mark.parametrize(("names", "days", "ordered"), [
    (NAMES, 32, False), (NAMES, 29, True), (NAMES, -1, True), ((DOMAIN,), 60, True),
    (("*.k3d.internal", "k3d.internal"), 60, True),
])
def test_it_is_ordered_when_a_third_of_its_life_is_left_when_it_has_expired_or_lacks_a_name(
    world: World, names: tuple[str, ...], days: float, ordered: bool
) -> None:
    have(world, *names, days=days)
    assert world.inv("cert-renew").returncode == 0
    assert bool(orders(world)) == ordered


@pytest.mark.parametrize("spoil", ["certificate", "key", "other key", "extension"])
def test_files_that_cannot_be_used_are_ordered_again(world: World, spoil: str) -> None:
    have(world)
    key = folder(world) / "certificates" / f"{DOMAIN}.key"
    match spoil:
        case "certificate":
            key.with_suffix(".crt").write_text("no certificate")
        case "key":
            key.write_text("no key")
        case "extension":
            store(key.parent, DOMAIN, with_broken_names())
        case _:
            key.write_bytes(ca.leaf(PUBLIC, *NAMES).key_pem())
    assert world.inv("cert-renew").returncode == 0
    assert len(orders(world)) == 1


def with_broken_names() -> ca.Signed:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    names = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"junk")
    return ca.Signed(x509.CertificateBuilder(name, name, key.public_key(), 1, ca.NOW, ca.NOW + timedelta(days=90))
                     .add_extension(names, critical=False).sign(key, SHA256()), key)


def test_every_task_that_runs_renews_and_setup_comes_first(world: World) -> None:
    have(world, days=10)
    for words in (["k3d-cluster-setup", "--n", "1"], ["k3d-cluster-start", "--n", "1"], ["cert-renew"]):
        have(world, days=10)
        world.fakes.forget()
        done = world.inv(*words)
        assert len(orders(world)) == 1 and applied(world), (words, done.stdout + done.stderr)


def test_a_root_that_expires_soon_is_renewed_too(world: World) -> None:
    have(world)
    folder_of_root = world.project.home / ".local-ca-certs"
    soon = ca.authority("k3d.internal", ends=ca.NOW + timedelta(days=20))
    ca.put(folder_of_root, soon.pem, soon.key_pem())
    world.fakes.add_spies("openssl")
    world.cluster_list()
    done = world.inv("cert-renew")
    assert done.returncode == 0, done.stderr
    assert (folder_of_root / "internal-ca.crt").read_bytes() != soon.pem

    before = (folder_of_root / "internal-ca.crt").read_bytes()
    assert world.inv("cert-renew").returncode == 0
    assert (folder_of_root / "internal-ca.crt").read_bytes() == before


def test_staging_and_production_are_kept_apart(world: World) -> None:
    have(world)
    chosen(world, ACME_SERVER="https://staging.example.com/directory")
    assert world.inv("cert-renew").returncode == 0
    assert len(orders(world)) == 1
    chosen(world)
    assert world.inv("cert-renew").returncode == 0
    assert len(orders(world)) == 1


def test_a_rehearsal_prints_the_order_and_changes_nothing(world: World) -> None:
    done = world.inv("--dry", "k3d-cluster-configure", "--n", "1")
    assert re.search(r"^lego run --accept-tos .*'--domains=\*\.cl1\.k3d\.internal'", done.stdout, re.MULTILINE)
    assert orders(world) == [] and not folder(world).exists() and world.changes() == []


def test_the_folder_and_what_others_may_read(world: World) -> None:
    os.umask(0o022)
    assert world.inv("k3d-cluster-configure", "--n", "1").returncode == 0
    assert {place.stat().st_mode & 0o777 for place in (folder(world), folder(world).parent)} == {0o700}
    secret = world.project.folder / ".work" / "cl1" / "acme-certificate.yaml"
    assert not secret.exists()


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "advice"), [
    ("urn:ietf:params:acme:error:rateLimited :: too many certificates already issued, retry after 2026-11-27",
     "The ACME server's rate limit is reached."),
    ("x509: certificate has expired or is not yet valid: current time 2031-01-01", "Is this machine's clock correct?"),
    ("urn:ietf:params:acme:error:rejectedIdentifier :: the server will not issue", "issues no certificates"),
    ("cloudflare: [status code 403] 9109: Unauthorized to access requested resource",
     "The DNS provider may refuse the credentials."),
    ("Encountered error adding TXT record: The peer didn't like the signature we sent",
     "The DNS provider may refuse the credentials."),
    ("dnsupdate: DNS update failed: server replied: REFUSED", "The DNS provider may refuse the credentials."),
    ("urn:ietf:params:acme:error:unauthorized :: Incorrect TXT record \"x\" found", "The record was not seen in time."),
    ("dns01: time limit exceeded: last error: NS ns1. did not return the expected TXT record",
     "The record was not seen in time."),
    ("dial tcp 192.0.2.1:443: connect: connection refused", "The ACME server or the DNS provider does not answer"),
    ("PluginError: Encountered error when making query: The DNS operation timed out.",
     "The ACME server or the DNS provider does not answer"),
    ("Max retries exceeded with url: /dir (Caused by SSLError(SSLCertVerificationError(1, '[SSL: "
     "CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate",
     "If a CA of your company signed it, add that to ACME_CA_FILE."),
    ("tls: failed to verify certificate: x509: certificate signed by unknown authority",
     "If a CA of your company signed it, add that to ACME_CA_FILE."),
    ("tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-24",
     "Is this machine's clock correct?"),
    ("An unexpected error occurred: The ACME server refuses to issue a certificate for this domain name",
     "The ACME server issues no certificates for this name."),
    ("too many new orders (300) from this account in the last 3h0m0s", "The ACME server's rate limit is reached."),
    ("Detail: Cannot issue for *.x: Domain name does not end with a valid public suffix (TLD)",
     "The ACME server issues no certificates for this name."),
    ("Type: caa Detail: CAA record for x prevents issuance. Hint: The Certificate Authority failed to verify the DNS "
     "TXT records created by --dns-rfc2136.", "The ACME server issues no certificates for this name."),
    ("urn:ietf:params:acme:error:dns :: DNS problem: query timed out looking up TXT for _acme-challenge.x",
     "The record was not seen in time."),
    ("dns01: waiting for record propagation. Post https://acme.example: context deadline exceeded",
     "The ACME server or the DNS provider does not answer"),
    ("Unsafe permissions on credentials configuration file: /x. Encountered error: [Errno 113] No route to host",
     "The ACME server or the DNS provider does not answer"),
    ("something that nobody has seen before", "Fix the cause and run the task again"),
])
def test_a_refusal_is_quoted_with_its_meaning_and_the_cluster_is_left_alone(
    world: World, said: str, advice: str
) -> None:
    world.fakes.answer("^lego run", stderr=f"{said}\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1 and f"  | {said}" in done.stderr and advice in done.stderr
    assert [words for words in world.changes() if words[0] != "lego"] == []


def test_a_renewal_that_fails_is_a_warning_while_the_certificate_is_valid(world: World) -> None:
    have(world, days=10)
    world.fakes.answer("^lego run", stderr="connect: connection refused\n", exit=1)
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0 and applied(world)
    assert f"! cl1 certificate for *.{DOMAIN}: not renewed, issued by An authority, valid until" in done.stdout
    assert "connection refused" in done.stdout

    have(world, days=-1)
    assert world.inv("k3d-cluster-configure", "--n", "1").returncode == 1


def test_a_client_that_is_missing_and_one_that_writes_elsewhere_are_named(world: World) -> None:
    world.fakes.answer("^lego run")
    said = world.inv("k3d-cluster-configure", "--n", "1").stderr
    assert "lego exited without an error, but this machine has none" in said and "templates/acme/lego.yaml" in said
    (world.fakes.bin / "lego").unlink()
    said = world.inv("k3d-cluster-configure", "--n", "1").stderr
    assert "lego is not installed\nInstall it: brew install lego" in said


def test_a_token_that_the_client_prints_and_its_reason_on_stdout(world: World) -> None:
    world.fakes.answer("^lego run", f"Detail: Incorrect TXT record for {TOKEN}\n", stderr=f"{TOKEN} refused\n", exit=1)
    said = world.inv("k3d-cluster-configure", "--n", "1").stderr
    assert "  | *** refused" in said and "  | Detail: Incorrect TXT record for ***" in said and TOKEN not in said
    assert "The record was not seen in time." in said


def test_one_that_is_not_valid_yet_is_blamed_on_the_clock_and_not_ordered_again(world: World) -> None:
    leaf = ca.leaf(PUBLIC, *NAMES, starts=ca.NOW + timedelta(days=1))
    store(folder(world) / "certificates", DOMAIN, leaf)
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 1 and orders(world) == [] and "Is this machine's clock correct?" in done.stderr


def test_an_env_file_that_others_can_read_is_refused_before_the_client_runs(world: World) -> None:
    env = world.project.folder / ".env"
    env.chmod(0o644)
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 1 and orders(world) == []
    assert f"other users can read {env} (mode 644)" in done.stderr
    assert f"Restrict it: chmod 600 {shlex.quote(str(env))}\n" in done.stderr
    assert TOKEN not in done.stderr + done.stdout


@pytest.mark.parametrize(("settings", "message"), [
    ({"ACME_DNS": ""}, ".env: CERTIFICATES=acme needs ACME_DNS"),
    ({"ACME_SERVER": PRODUCTION}, f"TLD='internal' is not public, so {PRODUCTION} issues no certificate for it"),
    ({"CERTIFICATES": "both"}, "CERTIFICATES='both' is invalid: expected one of own-ca, acme"),
    *(({"ACME_SERVER": url}, f"ACME_SERVER='{url}' is invalid: expected") for url in (
        "http://acme.example", "https://[x", "https://../directory", "https://acme.example", "https://a.example/d?e=f",
        "https://a.example/../x/")),
    ({"ACME_CLIENT": "acme.sh"}, "expected a client with a template in templates/acme/: certbot, lego"),
    ({"ACME_EMAIL": "me"}, "ACME_EMAIL='me' is invalid: expected an e-mail address"),
    ({"ACME_DNS": "cloud flare"}, "expected the name that the ACME client has for a DNS provider"),
    *(({"ACME_DNS_RESOLVERS": value}, "expected addresses of DNS servers with their port") for value in (
        "1.1.1.1", "2620:fe::fe:9", "[1.1.1.1:53", "[[::1]]:53", "dns.example:53", "1.1.1.1:0")),
    ({"ACME_CA_FILE": "/nowhere"}, "ACME_CA_FILE='/nowhere' is invalid"),
])
def test_settings_that_cannot_work_are_refused(world: World, settings: dict[str, str], message: str) -> None:
    chosen(world, **settings)
    done = world.inv("k3d-cluster-list")
    assert done.returncode == 1 and message in done.stderr


# --- in the cluster ---------------------------------------------------------------------------------------------------


def test_another_default_store_is_left_alone_and_said(world: World) -> None:
    have(world)
    stores = [{"metadata": {"name": "default", "namespace": "team", "labels": {}}, "kind": "TLSStore"}]
    world.fakes.answer("^kubectl .*get tlsstores.traefik.io -A", json.dumps({"items": stores}))
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0 and "the TLSStore team/default, which these tasks did not create" in done.stdout
    assert not applied(world)


def test_a_traefik_of_somebody_else_is_left_alone_and_the_rest_is_installed(world: World) -> None:
    have(world)
    world.project.patches.append((default_certificate, "find_traefik_limit", lambda shell, cluster: Problem(
        Limit.TRAEFIK_ELSEWHERE, {"cluster": "cl1", "namespace": "team"})))
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0 and "not applied: cl1 has a Traefik in the namespace team" in done.stdout
    assert not applied(world)


def test_with_a_ca_of_our_own_again_it_is_taken_out_of_the_cluster(world: World) -> None:
    chosen(world, CERTIFICATES="own-ca")
    world.fakes.answer("^kubectl .*get secret acme-certificate", "secret/acme-certificate\n")
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0 and orders(world) == []
    removed = [words[5:] for words in world.changes() if words[0] == "kubectl" and "delete" in words]
    assert ["-n", "kube-system", "delete", "secret", "acme-certificate"] in removed
    assert any(words[2:4] == ["delete", "tlsstores.traefik.io"] for words in removed)


def test_the_examples_need_no_issuer_and_a_pod_without_the_bundle_is_not_asked(world: World) -> None:
    have(world)
    world.inv("k3d-cluster-examples", "--n", "1")
    page = (world.project.folder / ".work" / "cl1" / "nginx.yaml").read_text()
    assert "cert-manager.io" not in page and "tls:" not in page
    assert not any("curl-no-bundle" in word and "exec" in words for words in world.fakes.calls("kubectl")
                   for word in words if word.startswith("deployment/"))
    assert not any("certificate" in words for words in world.fakes.calls("kubectl"))


def test_no_trust_store_gets_the_root_unless_it_is_named(world: World) -> None:
    said = world.inv("trust").stdout
    assert "With CERTIFICATES=acme no trust store needs the root CA" in said and world.changes() == []


# --- what is shown ----------------------------------------------------------------------------------------------------


def findings(world: World) -> dict[str, dict[str, Any]]:
    world.fakes.answer("^docker info", json.dumps({"ServerVersion": "28.0.0"}))
    return {entry["id"]: entry for entry in json.loads(world.inv("doctor", "--json").stdout)
            if entry["id"].startswith("acme-") and entry["state"] != "green"}


def test_doctor_tells_a_missing_one_a_due_one_a_staging_one_and_an_env_file_that_others_can_read(world: World) -> None:
    missing = findings(world)["acme-certificates"]
    assert (missing["state"], missing["fix"]) == ("yellow", "inv cert-renew") and "has none" in str(missing)
    have(world, days=10)
    assert "expires on" in str(findings(world)["acme-certificates"])
    (world.project.folder / ".env").chmod(0o640)
    assert findings(world)["acme-credentials"]["state"] == "red"
    (world.project.folder / ".env").chmod(0o600)

    from cryptography import x509
    from cryptography.x509.oid import NameOID

    staging = ca.authority(excluded=[], subject=x509.Name([
        x509.NameAttribute(NameOID.COMMON_NAME, "(STAGING) Ersatz Emmer E1")]))
    have(world, issuer=staging)
    assert "(STAGING) Ersatz Emmer E1" in str(findings(world)["acme-staging"])


def test_status_shows_until_when_each_is_valid(world: World) -> None:
    have(world)
    shown = {entry["what"]: entry for entry in json.loads(world.inv("status", "--json").stdout)["machine"]}
    entry = shown[f"certificate for *.{DOMAIN}"]
    assert entry["state"] == "green" and entry["is"].startswith("issued by An authority, valid until ")
    have(world, days=10)
    shown = {entry["what"]: entry for entry in json.loads(world.inv("status", "--json").stdout)["machine"]}
    assert shown[f"certificate for *.{DOMAIN}"]["state"] == "yellow"


def test_a_request_from_this_machine_trusts_public_cas_and_that_of_the_server(world: World) -> None:
    have(world)
    chosen(world, ACME_CA_FILE=str(company(world)))
    leaf = ca.leaf(PUBLIC, *NAMES)
    with pages_of(world, 1, leaf.key_pem() + leaf.pem + PUBLIC.pem):
        said = world.inv("matrix", "--json").stdout
    assert "unable to get local issuer certificate" not in said
