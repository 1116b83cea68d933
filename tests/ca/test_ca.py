"""The certificate authority, created by the real openssl, and whether verifiers accept what it signs."""

from __future__ import annotations

import os
import shlex
import shutil
import ssl
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import ca
import pytest
from conftest import Project
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st
from invoke import Config, Context
from recording import Fakes

from tasks.ca.intermediate import Intermediate, find_reason_to_replace, make_intermediate
from tasks.ca.load import load_root
from tasks.ca.root import NEW_KEY, RootFiles
from tasks.core import setting_types
from tasks.core.configuration import load
from tasks.core.problems import describe
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import render

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")

OURS = ca.authority("k3d.internal")
"""A root as `inv cert` makes it."""


@pytest.fixture
def linux(project: Project) -> Project:
    return on_linux(project)


def on_linux(project: Project) -> Project:
    project.fakes.add("uname")
    project.fakes.answer("^uname", "Linux\n")
    return project


def folder_of(project: Project) -> Path:
    return project.home / ".local-ca-certs"


def root_of(project: Project) -> ca.Signed:
    folder = folder_of(project)
    return ca.read((folder / "internal-ca.crt").read_bytes(), (folder / "internal-ca.key").read_bytes())


def settings_of(project: Project) -> Settings:
    return load(project.folder, {"CERT_FOLDER": str(folder_of(project))})


def contents(folder: Path) -> dict[str, tuple[bytes, int, float]]:
    """Everything that could change in a folder: bytes, modes and times; without the locks in .cache."""
    found = {}
    for file in [folder, *folder.rglob("*")]:
        state = file.stat()
        found[str(file)] = (file.read_bytes() if file.is_file() else b"", state.st_mode, state.st_mtime)
    return {file: state for file, state in found.items() if "/.cache" not in file}


def extensions(certificate: x509.Certificate) -> set[tuple[bool, x509.ExtensionType]]:
    """What a certificate may do: whether that is critical, and what it is."""
    return {(extension.critical, extension.value) for extension in certificate.extensions}


def above(issuer: ec.EllipticCurvePublicKey) -> tuple[bool, x509.ExtensionType]:
    """How a certificate names the key that signed it."""
    return False, x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)


def names_allowed(certificate: x509.Certificate) -> list[str]:
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    return [name.value for name in constraints.permitted_subtrees or []]


# --- what `inv cert` makes --------------------------------------------------------------------------------------------


def test_the_root_may_sign_for_the_base_domain_and_nothing_else(linux: Project) -> None:
    done = linux.inv("cert")
    assert done.returncode == 0, done.stderr
    assert f"created: {folder_of(linux)}/internal-ca.crt, only for k3d.internal" in done.stdout

    root = root_of(linux).certificate
    public = root.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256r1"
    assert root.not_valid_after_utc - root.not_valid_before_utc == timedelta(days=3650)
    assert abs(root.not_valid_before_utc - ca.NOW) < timedelta(hours=1)
    assert extensions(root) - {above(public)} == {  # openssl 3 leaves that one out, where it names itself
        (True, x509.BasicConstraints(ca=True, path_length=1)),
        (True, ca.usage(key_cert_sign=True, crl_sign=True)),
        (True, x509.NameConstraints([x509.DNSName("k3d.internal")], ca.EVERY_ADDRESS)),
        (False, x509.SubjectKeyIdentifier.from_public_key(public)),
    }
    root.verify_directly_issued_by(root)


def test_the_key_is_for_the_user_alone_whatever_the_umask(linux: Project) -> None:
    before = os.umask(0)
    try:
        assert linux.inv("cert").returncode == 0
    finally:
        os.umask(before)
    folder = folder_of(linux)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "internal-ca.key").stat().st_mode) == 0o600
    assert sorted(file.name for file in folder.iterdir()) == ["internal-ca.crt", "internal-ca.csr", "internal-ca.key"]


def test_without_a_subdomain_the_root_lists_the_clusters_domains_and_not_the_tld(linux: Project) -> None:
    linux.env(K3D_SUBDOMAIN="", K3D_PORT_END="12")
    assert linux.inv("cert").returncode == 0
    assert names_allowed(root_of(linux).certificate) == ["cl0.internal", "cl1.internal", "cl2.internal"]


def test_a_subject_comes_out_as_it_was_written(linux: Project) -> None:
    subject = {"CERT_CN": r"""${ENV::HOME} $HOME "a" 'b' #c \d é;=,+@`[x]\ """, "CERT_O": "  ünder $(id)  "}
    assert linux.inv("cert", environment={**subject, "CERT_C": "de"}).returncode == 0
    assert list(root_of(linux).certificate.subject) == [
        x509.NameAttribute(NameOID.COMMON_NAME, subject["CERT_CN"]),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject["CERT_O"]),
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
    ]


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workbench")
    (folder / "key").write_bytes(OURS.key_pem())
    return folder


PRINTABLE = st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" \\$\"'#")


@settings(max_examples=40, deadline=None)
@given(value=st.text(PRINTABLE, min_size=1, max_size=16))
@example(value=" ")
@example(value="  two  ")
@example(value="\\")
def test_openssl_reads_any_value_as_it_was_written(workbench: Path, value: str) -> None:
    config = workbench / "ca.ini"
    config.write_text(
        render("ca.ini", cn=value, o=value, c="NL", pathlen=1, domains=("k3d.internal",)), encoding="utf-8"
    )
    request = ["openssl", "req", "-new", "-key", str(workbench / "key"), "-config", str(config)]
    done = subprocess.run(request, capture_output=True)
    assert done.returncode == 0, done.stderr
    subject = x509.load_pem_x509_csr(done.stdout).subject
    assert [attribute.value for attribute in subject] == [value, value, "NL"]


# --- what `inv cert` finds --------------------------------------------------------------------------------------------


def test_the_second_cert_reports_the_expiry_date_and_changes_nothing(linux: Project) -> None:
    assert linux.inv("cert").returncode == 0
    before = contents(linux.home)
    done = linux.inv("cert")
    assert done.returncode == 0
    until = root_of(linux).certificate.not_valid_after_utc.strftime("%Y-%m-%d")
    assert f"already exists: {folder_of(linux)}/internal-ca.crt, valid until {until}" in done.stdout
    assert "weakness" not in done.stdout
    assert contents(linux.home) == before


LONG_AGO, YESTERDAY, TOMORROW = ca.NOW - 4000 * ca.DAY, ca.NOW - ca.DAY, ca.NOW + ca.DAY
ENDED = ca.authority("k3d.internal", starts=LONG_AGO, ends=YESTERDAY)
EARLY = ca.authority("k3d.internal", starts=TOMORROW)
ELSEWHERE = ca.authority("dev.internal", "test")
TOO_NARROW = ca.authority("cl1.k3d.internal")
ONLY_ALIKE = ca.authority("3d.internal")
NO_AUTHORITY = ca.authority("k3d.internal", ca=False)
BY_HAND = "move {folder}/internal-ca.key, internal-ca.csr and internal-ca.crt away, then run: inv cert, "
NO_ROOM = ca.authority("k3d.internal", pathlen=0)
TORN = ssl.DER_cert_to_PEM_cert(OURS.certificate.public_bytes(Encoding.DER).replace(
    b"\x0ck3d.internal", b"\x0dk3d.internal")).encode()
"""With a name that says to be longer than it is, in the name constraint."""


@pytest.mark.parametrize(
    ("certificate", "key", "why", "remedy"),
    [
        pytest.param(OURS.pem, ENDED.key_pem(), "{crt} does not belong to the key {key}.", BY_HAND, id="another key"),
        pytest.param(ENDED.pem, ENDED.key_pem(), f"{{crt}} expired on {YESTERDAY:%Y-%m-%d}",
                     "inv cert-renew", id="expired"),
        pytest.param(EARLY.pem, EARLY.key_pem(), f"{{crt}} is not valid until {TOMORROW:%Y-%m-%d}",
                     "inv cert-renew", id="not yet valid"),
        pytest.param(ELSEWHERE.pem, ELSEWHERE.key_pem(),
                     "{crt} does not cover k3d.internal: it may sign only for dev.internal, test.",
                     NEW_KEY, id="another domain"),
        pytest.param(TOO_NARROW.pem, TOO_NARROW.key_pem(), "{crt} does not cover k3d.internal",
                     NEW_KEY, id="a part of the domain"),
        pytest.param(ONLY_ALIKE.pem, ONLY_ALIKE.key_pem(), "{crt} does not cover k3d.internal",
                     NEW_KEY, id="a domain that ends alike"),
        pytest.param(NO_AUTHORITY.pem, NO_AUTHORITY.key_pem(), "{crt} is not a certificate authority",
                     NEW_KEY, id="not an authority"),
        pytest.param(NO_ROOM.pem, NO_ROOM.key_pem(), "{crt} cannot sign intermediates",
                     NEW_KEY, id="no room for an intermediate"),
        pytest.param(b"", OURS.key_pem(), "{crt} cannot be read", BY_HAND, id="an empty certificate"),
        pytest.param(b"\xff\x00", OURS.key_pem(), "{crt} cannot be read", BY_HAND, id="garbage for a certificate"),
        pytest.param(TORN, OURS.key_pem(), "{crt} cannot be read", BY_HAND, id="garbage in an extension"),
        pytest.param(OURS.pem, b"garbage", "{key} cannot be read", BY_HAND, id="garbage for a key"),
        pytest.param(OURS.pem, OURS.key_pem(b"secret"), "encrypted", BY_HAND, id="an encrypted key"),
    ],
)
def test_a_root_that_cannot_be_used_is_refused_with_the_remedy(
    linux: Project, certificate: bytes, key: bytes, why: str, remedy: str
) -> None:
    folder = folder_of(linux)
    ca.put(folder, certificate, key)
    before = contents(folder)
    done = linux.inv("cert")
    assert done.returncode == 1
    assert why.format(crt=folder / "internal-ca.crt", key=folder / "internal-ca.key") in done.stderr
    assert f"Nothing was changed. To replace it: {remedy.format(folder=folder)}" in done.stderr
    assert contents(folder) == before


def test_a_certificate_without_its_key_is_refused_with_the_remedy(linux: Project) -> None:
    folder = folder_of(linux)
    ca.put(folder, OURS.pem, b"")
    (folder / "internal-ca.key").unlink()
    before = contents(folder)
    done = linux.inv("cert")
    assert done.returncode == 1
    assert f"key {folder}/internal-ca.key is missing" in done.stderr
    assert BY_HAND.format(folder=folder) in done.stderr
    assert contents(folder) == before


def test_a_key_without_a_certificate_is_used_and_stays(linux: Project) -> None:
    folder = folder_of(linux)
    ca.put(folder, b"", OURS.key_pem())
    (folder / "internal-ca.crt").unlink()
    assert linux.inv("cert").returncode == 0
    assert (folder / "internal-ca.key").read_bytes() == OURS.key_pem()
    assert root_of(linux).certificate.public_key() == OURS.key.public_key()


@pytest.mark.parametrize("key", [b"garbage", OURS.key_pem(b"secret")], ids=["garbage", "encrypted"])
def test_a_key_that_cannot_be_used_is_refused_before_anything_is_made(linux: Project, key: bytes) -> None:
    folder = folder_of(linux)
    ca.put(folder, b"", key)
    (folder / "internal-ca.crt").unlink()
    before = contents(folder)
    done = linux.inv("cert")
    assert done.returncode == 1
    assert BY_HAND.format(folder=folder) in done.stderr
    assert contents(folder) == before


OPENSSL_IN_THE_WAY = """\
#!/bin/sh
# The real openssl, until the call that is to go wrong: that one leaves a part of its output.
case "$*" in
*"$GOES_WRONG"*)
    for last in "$@"; do :; done
    echo "-----BEGIN" > "$last"
    {how}
esac
exec {openssl} "$@"
"""


def in_the_way(linux: Project, how: str) -> None:
    fake = linux.fakes.bin / "openssl"
    fake.write_text(OPENSSL_IN_THE_WAY.format(how=how, openssl=shutil.which("openssl")))
    fake.chmod(0o755)


def is_made_whole(linux: Project) -> None:
    assert not list(folder_of(linux).glob("internal-ca.*"))
    done = linux.inv("cert", environment={"GOES_WRONG": "nothing"})
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in folder_of(linux).iterdir()) == [
        "internal-ca.crt", "internal-ca.csr", "internal-ca.key",
    ]
    root_of(linux).certificate.verify_directly_issued_by(root_of(linux).certificate)


cut_short = pytest.mark.parametrize("call", ["ecparam", "req -new", "req -x509"])


@cut_short
def test_an_openssl_that_fails_leaves_no_half_root_and_the_next_run_makes_it_whole(linux: Project, call: str) -> None:
    in_the_way(linux, "exit 1")
    assert linux.inv("cert", environment={"GOES_WRONG": call}).returncode == 1
    is_made_whole(linux)


@pytest.mark.process
@cut_short
def test_a_run_that_was_killed_leaves_no_half_root_and_the_next_one_makes_it_whole(linux: Project, call: str) -> None:
    in_the_way(linux, "kill -9 $PPID; exit 1")
    assert linux.process("cert", environment={"GOES_WRONG": call}).returncode == -9
    is_made_whole(linux)


def test_the_originals_root_is_used_and_each_weakness_is_reported_once(linux: Project) -> None:
    folder = folder_of(linux)
    original = ca.root_of_the_original("internal")
    ca.put(folder, original.pem, original.key_pem())
    folder.chmod(0o755)
    (folder / "internal-ca.key").chmod(0o644)
    before = contents(folder)
    done = linux.inv("cert")
    assert done.returncode == 0, done.stderr
    assert [line.strip() for line in done.stdout.splitlines() if line.startswith("    - ")] == [
        "- its name constraint starts with a dot, which is not a valid DNS name there and fails in some verifiers",
        "- it may sign for all of .internal, not only for k3d.internal",
        "- it may sign for every IP address",
        "- it has no subject key identifier, which Python 3.13 and later require",
        f"- other users can read {folder} (mode 755); fix: chmod 700 {folder}",
        f"- other users can read {folder}/internal-ca.key (mode 644); fix: chmod 600 {folder}/internal-ca.key",
    ]
    assert "To replace it: inv cert-renew --new-key" in done.stdout
    assert contents(folder) == before


def test_a_root_without_any_constraint_is_used_and_reported_to_be_for_every_name(linux: Project) -> None:
    unconstrained = ca.authority(excluded=[], pathlen=None)
    ca.put(folder_of(linux), unconstrained.pem, unconstrained.key_pem())
    done = linux.inv("cert")
    assert done.returncode == 0
    assert "- it may sign for every name on the Internet (no name constraint)" in done.stdout
    assert "- it may sign for every IP address" in done.stdout


def test_openssl_receives_the_words_that_a_rehearsal_has_printed(linux: Project) -> None:
    linux.fakes.add_spies("openssl")
    folder = folder_of(linux)
    new = folder / ".new"
    rehearsed = linux.inv("--dry", "cert")
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert not folder.exists()

    linux.fakes.forget()
    assert linux.inv("cert").returncode == 0
    made = linux.fakes.calls("openssl")
    assert made == [
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{new}/internal-ca.key"],
        ["openssl", "req", "-new", "-key", f"{new}/internal-ca.key", "-config", f"{new}/ca.ini",
         "-out", f"{new}/internal-ca.csr"],
        ["openssl", "req", "-x509", "-in", f"{new}/internal-ca.csr", "-key", f"{new}/internal-ca.key",
         "-config", f"{new}/ca.ini", "-extensions", "authority", "-days", "3650", "-out", f"{new}/internal-ca.crt"],
    ]
    assert [line for line in rehearsed.stdout.splitlines() if not line.startswith("#")] == list(map(shlex.join, made))


@pytest.mark.parametrize("missing", ["the whole root", "the key"])
def test_setup_without_a_root_stops_before_anything_is_created_and_names_cert(project: Project, missing: str) -> None:
    project.fakes.add("docker", "k3d", "helm", "kubectl")
    project.fakes.answer("^docker version", "28.0.0\n")
    project.fakes.answer("^k3d version", "k3d version v5.8.3\n")
    project.fakes.answer("^helm version", "v3.18.0\n")
    project.env(TIMEOUT_READY="1")  # were it to go on, it would wait for what never comes
    if missing == "the key":
        ca.put(folder_of(project), OURS.pem, b"")
        (folder_of(project) / "internal-ca.key").unlink()
    for task in ("k3d-cluster-setup", "k3d-cluster-configure"):
        project.fakes.forget()
        done = project.inv(task, "--n", "1")
        assert done.returncode == 1
        assert "inv cert" in done.stderr
        assert project.fakes.calls() == [
            ["docker", "version", "--format", "{{.Server.Version}}"],
            ["k3d", "version"],
            ["helm", "version", "--short"],
        ]


def secret_lines(key_pem: bytes) -> list[str]:
    return [line for line in key_pem.decode().splitlines() if not line.startswith("-----")]


def test_the_roots_key_is_never_shown(linux: Project) -> None:
    shown = linux.inv("--echo", "cert")
    assert "openssl req -x509" in shown.stdout
    said = shown.stdout + shown.stderr
    assert "PRIVATE KEY" not in said
    key_file = folder_of(linux) / "internal-ca.key"
    assert not [line for line in secret_lines(key_file.read_bytes()) if line in said]


# --- the intermediates ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Issued:
    """A root of `inv cert`, and what make_intermediate has made of it for clusters 1 and 2."""

    project: Project
    settings: Settings
    root: ca.Signed
    made: dict[int, Intermediate]

    def make_intermediate(self, number: int, echo: bool = False) -> Intermediate:
        context = Context(Config(overrides={"run": {"echo": echo}}))
        return make_intermediate(Shell(context, self.settings.environment), self.settings.cluster(number),
                                 RootFiles.of(self.settings))

    def issuer(self, cluster: int | None) -> ca.Signed:
        """The intermediate of a cluster, or the root."""
        if cluster is None:
            return self.root
        return ca.read(self.made[cluster].chain.encode(), self.made[cluster].key.encode())


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issued]:
    folder = tmp_path_factory.mktemp("issued")
    project = on_linux(Project(folder / "it's a project", folder / "home", Fakes(folder / "fakes")))
    done = project.inv("cert")
    assert done.returncode == 0, done.stderr
    all_of_it = Issued(project, settings_of(project), root_of(project), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setting_types, "PROJECT", project.folder)
        all_of_it.made.update({number: all_of_it.make_intermediate(number) for number in (1, 2)})
        yield all_of_it


def test_an_intermediate_may_sign_for_its_cluster_and_nothing_else(issued: Issued) -> None:
    made = issued.issuer(1).certificate
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=730)
    public = made.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256r1"
    assert extensions(made) == {
        (True, x509.BasicConstraints(ca=True, path_length=0)),
        (True, ca.usage(key_cert_sign=True, crl_sign=True)),
        (True, x509.NameConstraints([x509.DNSName("cl1.k3d.internal")], ca.EVERY_ADDRESS)),
        (False, x509.SubjectKeyIdentifier.from_public_key(public)),
        above(issued.root.key.public_key()),
    }
    assert list(made.subject) == [
        x509.NameAttribute(NameOID.COMMON_NAME, "Development Setup .internal CA cl1"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "LocalDev"),
        x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"),
    ]


def test_the_words_that_make_an_intermediate(issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    project = issued.project
    project.fakes.add_spies("openssl")
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    project.fakes.forget()
    issued.make_intermediate(1)
    (project.fakes.bin / "openssl").unlink()
    root, new = folder_of(project), project.folder / ".work" / "cl1" / "intermediate"
    assert project.fakes.calls() == [
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{new}/ca.key"],
        ["openssl", "req", "-new", "-key", f"{new}/ca.key", "-config", f"{new}/ca.ini", "-out", f"{new}/ca.csr"],
        ["openssl", "x509", "-req", "-sha256", "-in", f"{new}/ca.csr", "-CA", f"{root}/internal-ca.crt",
         "-CAkey", f"{root}/internal-ca.key", "-CAserial", f"{new}/ca.srl", "-extfile", f"{new}/ca.ini",
         "-extensions", "authority", "-days", "730", "-out", f"{new}/ca.crt"],
    ]


def test_the_chain_is_the_intermediate_and_then_the_root(issued: Issued) -> None:
    chain = x509.load_pem_x509_certificates(issued.made[1].chain.encode())
    assert chain[1:] == [issued.root.certificate]
    chain[0].verify_directly_issued_by(issued.root.certificate)


def test_the_key_of_an_intermediate_belongs_to_it_and_is_left_in_no_file_and_no_output(
    issued: Issued, capfd: pytest.CaptureFixture[str]
) -> None:
    made = issued.make_intermediate(1, echo=True)
    assert ca.read(made.chain.encode(), made.key.encode()).belongs_together()
    shown = capfd.readouterr()
    assert "openssl x509 -req" in shown.out
    secret = secret_lines(made.key.encode())
    files = [file.read_bytes() for file in issued.project.folder.rglob("*") if file.is_file()]
    written = b"".join(files).decode(errors="replace")
    assert secret and not [line for line in secret if line in shown.out + shown.err + written]
    assert not (issued.project.folder / ".work" / "cl1" / "intermediate").exists()


def test_two_intermediates_of_one_cluster_have_different_serials(issued: Issued) -> None:
    first, second = issued.made[1], issued.make_intermediate(1)
    serials = {x509.load_pem_x509_certificate(made.chain.encode()).serial_number for made in (first, second)}
    assert len(serials) == 2
    assert all(2**120 <= serial < 2**159 for serial in serials)


def chain_of(issued: Issued, first: ca.Signed) -> bytes:
    return first.pem + issued.root.pem


def other_root(issued: Issued) -> bytes:
    """An intermediate of a root with the same subject, as it is after `inv cert` has made a new one."""
    other = ca.authority("k3d.internal", subject=issued.root.certificate.subject)
    return ca.authority("cl1.k3d.internal", issuer=other, pathlen=0).pem + other.pem


def soon_ending(issued: Issued, days: int) -> ca.Signed:
    return ca.authority("cl1.k3d.internal", issuer=issued.root, pathlen=0, ends=ca.NOW + days * ca.DAY)


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        pytest.param(lambda it: it.made[1].chain.encode(), "", id="good"),
        pytest.param(lambda it: chain_of(it, soon_ending(it, 31)), "", id="ends in 31 days"),
        pytest.param(lambda it: chain_of(it, soon_ending(it, 29)),
                     f"an intermediate that expires on {ca.NOW + 29 * ca.DAY:%Y-%m-%d}", id="ends in 29 days"),
        pytest.param(lambda it: b"", "no intermediate", id="none"),
        pytest.param(lambda it: b"garbage", "an intermediate issued by another root", id="garbage"),
        pytest.param(lambda it: it.root.pem, "the root itself instead of an intermediate", id="as in the original"),
        pytest.param(other_root, "an intermediate issued by another root", id="another root"),
        pytest.param(lambda it: it.made[2].chain.encode(), "an intermediate for other names", id="another cluster"),
        pytest.param(lambda it: chain_of(it, ca.authority("cl1.k3d.internal", issuer=it.root, excluded=[])),
                     "an intermediate for other names", id="for addresses too"),
        pytest.param(lambda it: chain_of(it, ca.authority(issuer=it.root)), "an intermediate for other names",
                     id="for every name"),
        pytest.param(lambda it: it.issuer(1).pem, "a chain that does not end with the root",
                     id="a chain without the root"),
        pytest.param(lambda it: it.issuer(1).pem + OURS.pem, "a chain that does not end with the root",
                     id="a chain with another root"),
    ],
)
def test_an_intermediate_is_kept_while_it_is_good(issued: Issued, chain: Callable[[Issued], bytes], why: str) -> None:
    cluster = issued.settings.cluster(1)
    found = find_reason_to_replace(chain(issued), load_root(issued.settings), cluster)
    assert (describe(found) if found else "") == why


# --- what verifiers make of it ----------------------------------------------------------------------------------------


INSIDE, OUTSIDE, ADDRESS = "OK", "permitted subtree violation", "excluded subtree violation"

# Who signs (the root where it is None), the names of the leaf, and what openssl says to it.
LEAVES: list[tuple[int | None, tuple[str, ...], str]] = [
    (None, ("k3d.internal",), INSIDE),
    (None, ("app.cl1.k3d.internal",), INSIDE),
    (None, ("a.b.c.d.cl9.k3d.internal",), INSIDE),
    (None, ("*.k3d.internal",), INSIDE),
    (None, ("example.com",), OUTSIDE),
    (None, ("app.cl1.k3d.internal", "example.com"), OUTSIDE),
    (None, ("evilk3d.internal",), OUTSIDE),
    (None, ("host.docker.internal",), OUTSIDE),
    (None, ("127.0.0.1",), ADDRESS),
    (None, ("app.cl1.k3d.internal", "10.0.0.1"), ADDRESS),
    (None, ("::1",), ADDRESS),
    (1, ("cl1.k3d.internal",), INSIDE),
    (1, ("app.cl1.k3d.internal",), INSIDE),
    (1, ("a.b.c.d.cl1.k3d.internal",), INSIDE),
    (1, ("*.cl1.k3d.internal",), INSIDE),
    (2, ("app.cl2.k3d.internal",), INSIDE),
    (1, ("app.cl2.k3d.internal",), OUTSIDE),
    (2, ("app.cl1.k3d.internal",), OUTSIDE),
    (1, ("cl10.k3d.internal",), OUTSIDE),
    (1, ("xcl1.k3d.internal",), OUTSIDE),
    (1, ("k3d.internal",), OUTSIDE),
    (1, ("*.k3d.internal",), OUTSIDE),
    (1, ("app.cl1.k3d.internal", "app.cl2.k3d.internal"), OUTSIDE),
    (1, ("example.com",), OUTSIDE),
    (1, ("127.0.0.1",), ADDRESS),
    (1, ("::1",), ADDRESS),
]


def case(leaf: tuple[int | None, tuple[str, ...], str]) -> str:
    cluster, names, verdict = leaf
    return f"{', '.join(names)} by {'root' if cluster is None else f'cl{cluster}'}: {verdict}"


def between(issued: Issued, cluster: int | None) -> list[ca.Signed]:
    """What a server sends after its leaf."""
    return [] if cluster is None else [issued.issuer(cluster)]


@pytest.mark.parametrize(("cluster", "names", "verdict"), LEAVES, ids=map(case, LEAVES))
def test_openssl_accepts_what_is_inside_the_constraint_alone(
    issued: Issued, tmp_path: Path, cluster: int | None, names: tuple[str, ...], verdict: str
) -> None:
    leaf = ca.leaf(issued.issuer(cluster), *names)
    (tmp_path / "root.pem").write_bytes(issued.root.pem)
    (tmp_path / "sent.pem").write_bytes(b"".join(one.pem for one in [leaf, *between(issued, cluster)]))
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "root.pem",
         "-untrusted", "sent.pem", "sent.pem"],
        cwd=tmp_path, capture_output=True, text=True,
    )
    assert verdict in done.stdout + done.stderr
    assert (done.returncode == 0) == (verdict == INSIDE)


@pytest.mark.parametrize(("cluster", "names", "verdict"), LEAVES, ids=map(case, LEAVES))
def test_python_accepts_what_is_inside_the_constraint_alone(
    issued: Issued, cluster: int | None, names: tuple[str, ...], verdict: str
) -> None:
    leaf = ca.leaf(issued.issuer(cluster), *names)
    store = verification.Store([issued.root.certificate])
    asked = ca.general_name(names[0].replace("*", "any"))
    assert isinstance(asked, (x509.DNSName, x509.IPAddress))
    verifier = verification.PolicyBuilder().store(store).build_server_verifier(asked)
    chain = [one.certificate for one in between(issued, cluster)]
    if verdict == INSIDE:
        assert verifier.verify(leaf.certificate, chain)[-1] == issued.root.certificate
    else:
        with pytest.raises(verification.VerificationError, match="constraint"):
            verifier.verify(leaf.certificate, chain)


JAVA = """import java.io.*;
import java.nio.file.*;
import java.security.KeyStore;
import java.security.cert.*;
import javax.net.ssl.*;

/** Says of each file of certificates, as a server sends them, whether Java trusts it below the first file's root. */
class Trusts {
    public static void main(String[] files) throws Exception {
        CertificateFactory pem = CertificateFactory.getInstance("X.509");
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setCertificateEntry("root", pem.generateCertificate(Files.newInputStream(Path.of(files[0]))));
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        factory.init(store);
        X509TrustManager manager = (X509TrustManager) factory.getTrustManagers()[0];
        for (int i = 1; i < files.length; i++) {
            X509Certificate[] sent = pem.generateCertificates(Files.newInputStream(Path.of(files[i])))
                .toArray(new X509Certificate[0]);
            try {
                manager.checkServerTrusted(sent, "ECDHE_ECDSA");
                System.out.println("accepted");
            } catch (CertificateException refused) {
                System.out.println("refused: " + refused.getMessage());
            }
        }
    }
}
"""


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("javac"), reason="no JDK is installed")
def test_java_accepts_what_is_inside_an_intermediates_constraint_alone(issued: Issued, tmp_path: Path) -> None:
    """Java ignores what a root says, which is why the intermediates say it again."""
    leaves = [leaf for leaf in LEAVES if leaf[0] is not None or leaf[2] == INSIDE]
    (tmp_path / "Trusts.java").write_text(JAVA)
    (tmp_path / "root").write_bytes(issued.root.pem)
    for number, (cluster, names, _) in enumerate(leaves):
        sent = [ca.leaf(issued.issuer(cluster), *names), *between(issued, cluster)]
        (tmp_path / str(number)).write_bytes(b"".join(one.pem for one in sent))
    done = subprocess.run(
        ["java", "Trusts.java", "root", *map(str, range(len(leaves)))], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = {case(leaf): line for leaf, line in zip(leaves, done.stdout.splitlines(), strict=True)}
    assert {leaf: "accepted" if line == "accepted" else "refused" for leaf, line in said.items()} == {
        case(leaf): "accepted" if leaf[2] == INSIDE else "refused" for leaf in leaves
    }, said
    assert all("name constraints" in line for line in said.values() if line != "accepted"), said
