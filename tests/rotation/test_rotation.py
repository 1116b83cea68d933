"""Replacing the root: the same key with new dates, or a new key, while everything that is running stays trusted."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import ca
import pytest
import yaml
from conftest import Project
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from kubernetes_objects import pod
from machine import become
from pretend import ROOT, World, world_of
from recording import Answer, Call

from tasks.in_cluster import bundle
from tasks.probe.pod_trust import FILE_BY

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


class Keeps:
    """A cluster that keeps what is applied: `diff` compares with it, and the issuer's secret can be asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, call: Call) -> Answer | None:
        words = call.words
        if "--context" not in words:
            return None
        cluster = self.folder / words[words.index("--context") + 1]
        cluster.mkdir(exist_ok=True)
        given = [Path(words[at + 1]) for at, word in enumerate(words) if word == "-f"]
        texts = [file.read_text() for path in given for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
        kept = {"-".join(re.findall(r"^(?:kind:|  name:) (.+)", text, re.M)[:2]): text for text in texts}
        if "apply" in words:
            for name, text in kept.items():
                (cluster / name).write_text(text)
        elif "diff" in words:
            same = all((cluster / name).exists() and (cluster / name).read_text() == kept[name] for name in kept)
            return Answer(exit=0 if same else 1)
        elif words[7:10] == ["get", "secret", "root-ca"]:
            secret = cluster / "Secret-root-ca"
            found = re.search(r"tls.crt: (\S+)", secret.read_text()) if secret.exists() else None
            return Answer(f"{found[1] if found else ''}\n")
        return None


class Renewal:
    """A world with cluster 1 configured, and the root in the system's store of a Debian."""

    def __init__(self, world: World) -> None:
        self.world, self.fakes, self.project = world, world.fakes, world.project
        self.folder = self.project.home / ".local-ca-certs"
        self.anchors = self.project.root / "usr/local/share/ca-certificates"
        bundle = self.project.root / "etc/ssl/certs/ca-certificates.crt"
        for folder in (self.anchors, bundle.parent):
            folder.mkdir(parents=True)
        self.fakes.rules = [rule for rule in self.fakes.rules if "diff" not in str(rule["match"])]
        self.fakes.add("update-ca-certificates")
        self.fakes.add_spies("install", "rm", "openssl")
        self.fakes.behave("update-ca-certificates", self.update)
        self.fakes.behave("sudo", become)
        self.fakes.behave("kubectl", Keeps(self.fakes.folder))
        world.env(TRUST_STORES="system")
        world.cluster_list(world.cluster(1))
        self.good("cert")
        self.good("k3d-cluster-configure", "--n", "1")
        self.fakes.answer("^kubectl .*--raw=/readyz", "ok")
        for words in self.fakes.calls("helm", "upgrade"):
            label = words[words.index("--labels") + 1].removeprefix("dev-cluster-tasks=")
            self.fakes.answer(f"^kubectl .*name={words[3]},status=deployed", label)
        restart = yaml.safe_load((self.project.folder / ".work/cl1/coredns-restart.yaml").read_text())
        rules_hash, = restart["spec"]["template"]["metadata"]["annotations"].values()
        self.fakes.answer("^kubectl .*get deployment coredns", rules_hash)
        world.network(there=True)
        self.fakes.forget()

    def update(self, _: Call) -> None:
        """Debian's update-ca-certificates, as far as it matters here."""
        anchors = sorted(self.anchors.glob("*.crt"))
        bundle = self.project.root / "etc/ssl/certs/ca-certificates.crt"
        bundle.write_text("".join(file.read_text() for file in anchors))

    def inv(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.project.inv(*words)

    def good(self, *words: str) -> str:
        done = self.inv(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def root(self) -> ca.Signed:
        return ca.read((self.folder / "internal-ca.crt").read_bytes(), (self.folder / "internal-ca.key").read_bytes())

    @property
    def files(self) -> set[str]:
        return {file.name for file in self.folder.iterdir()}

    @property
    def trusted(self) -> set[str]:
        """The roots in the store, as PEM, each in a file and in what the system makes of them."""
        pem = r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n"
        bundle = (self.project.root / "etc/ssl/certs/ca-certificates.crt").read_text()
        files = "".join(file.read_text() for file in self.anchors.iterdir())
        assert set(re.findall(pem, files, re.S)) == set(re.findall(pem, bundle, re.S))
        return set(re.findall(pem, bundle, re.S))

    @property
    def bundled(self) -> str:
        """What the Bundle of cluster 1 is made of."""
        return str(yaml.safe_load((self.fakes.folder / "k3d-cl1/ConfigMap-root-ca").read_text())["data"]["root.pem"])

    @property
    def chain(self) -> list[x509.Certificate]:
        words = [*self.world.kubectl(1), "-n", "cert-manager", "get", "secret", "root-ca", "--ignore-not-found", "-o",
                 "jsonpath="]
        said = self.fakes.run(words, self.project.environment()).stdout
        return x509.load_pem_x509_certificates(base64.b64decode(said))

    def is_settled(self) -> None:
        """All is of the one root, and nothing of another is left."""
        root = self.root
        assert root.belongs_together()
        assert self.files == {"internal-ca.key", "internal-ca.crt", "internal-ca.csr"} & self.files
        assert self.trusted == {root.pem.decode()} and self.bundled == root.pem.decode()
        intermediate, last = self.chain
        intermediate.verify_directly_issued_by(root.certificate)
        assert last == root.certificate

    def state(self) -> dict[str, bytes]:
        places = (self.folder, self.anchors, self.fakes.folder / "k3d-cl1")
        return {str(file): file.read_bytes() for place in places for file in place.rglob("*") if file.is_file()}


@pytest.fixture
def renewal(project: Project) -> Iterator[Renewal]:
    with world_of(project) as world:
        yield Renewal(world)


# --- the same key -----------------------------------------------------------------------------------------------------


def test_the_same_key_gets_new_dates_everywhere_and_nothing_else_changes(renewal: Renewal) -> None:
    before = renewal.root
    said = renewal.good("cert-renew")
    after = renewal.root
    assert after.key_pem() == before.key_pem()
    assert after.certificate.subject == before.certificate.subject
    assert after.certificate.serial_number != before.certificate.serial_number
    assert after.certificate.not_valid_after_utc > before.certificate.not_valid_after_utc + 3000 * ca.DAY
    assert [extension.value for extension in after.certificate.extensions] == [
        extension.value for extension in before.certificate.extensions]
    renewal.is_settled()
    assert "intermediate certificate: created; the cluster had a chain that does not end with the root" in said


def test_an_expired_root_is_renewed(renewal: Renewal) -> None:
    root = renewal.root.certificate
    ended = x509.CertificateBuilder(
        root.issuer, root.subject, root.public_key(), 7, ca.NOW - 4000 * ca.DAY, ca.NOW - ca.DAY, [*root.extensions],
    ).sign(renewal.root.key, SHA256())
    renewal.good("untrust")
    (renewal.folder / "internal-ca.crt").write_bytes(ended.public_bytes(Encoding.PEM))
    assert "To replace it: inv cert-renew\n" in renewal.inv("cert").stderr
    renewal.good("cert-renew")
    assert renewal.root.certificate.public_key() == root.public_key()
    renewal.is_settled()


# --- a new key --------------------------------------------------------------------------------------------------------


def test_a_new_key_takes_over_in_an_order_in_which_both_roots_are_trusted_first(renewal: Renewal) -> None:
    before = renewal.root
    renewal.good("cert-renew", "--new-key")
    assert renewal.root.key_pem() != before.key_pem()
    assert stat.S_IMODE((renewal.folder / "internal-ca.key").stat().st_mode) == 0o600
    renewal.is_settled()
    done = [words for words in renewal.world.changes() if words[0] != "openssl"]
    new, old = ca.root_in(renewal.folder / "internal-ca.crt").label, f"/{label(before, renewal.project.home)}.crt"
    story = [name for words in done for name, sign in (
        ("into the store", f"{new}.crt"), ("into the Bundle", "bundle.yaml"), ("intermediate", "issuer-secret.yaml"),
        ("out of the store", old)) if sign in " ".join(words)]
    assert story == ["into the store", "into the Bundle", "intermediate", "out of the store", "into the Bundle"]


BUNDLE = {"configMap": {"name": "default-ca-bundle"}}


@pytest.mark.parametrize(("volumes", "waits"), [
    ([{"emptyDir": {}}, BUNDLE], True),
    ([{"projected": {"sources": [{"secret": {"name": "default-ca-bundle"}}, BUNDLE]}}], True),
    ([{"configMap": {"name": "another"}}, {"secret": {"secretName": "default-ca-bundle"}}], False),
], ids=["mounted", "projected", "not mounted"])
def test_a_new_key_waits_for_pods_that_mount_the_bundle(
    renewal: Renewal, volumes: list[dict[str, object]], waits: bool
) -> None:
    def ago(seconds: int) -> str:
        return f"{datetime.now(timezone.utc) - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"

    pods = [{"metadata": {"name": "idle"}, "spec": {}}, {"metadata": {"name": "web"}, "spec": {"volumes": volumes}}]
    fields = [{"manager": "dev-cluster-tasks", "time": ago(50)}, {"manager": "someone", "time": ago(0)},
              {"manager": "dev-cluster-tasks", "time": ago(500)}, {"manager": "dev-cluster-tasks"}]
    renewal.fakes.answer("^kubectl .*get pods -A ", json.dumps({"items": pods}))
    renewal.fakes.answer("^kubectl .*get configmap root-ca ", json.dumps({"metadata": {"managedFields": fields}}))
    renewal.project.patches.append((bundle, "IN_PODS_SECONDS", 53))
    started = time.monotonic()
    said = renewal.good("cert-renew", "--new-key")
    assert ("both roots in pods: updated" in said) == waits
    assert time.monotonic() - started < 45, "only the rest of the time is waited for"
    assert "both roots in pods" not in renewal.good("cert-renew"), "the former root is enough for the same key"


def test_pods_with_the_bundle_as_the_systems_file_restart_before_the_new_root_issues_anything(renewal: Renewal) -> None:
    """A bare pod is left running, and the command that replaces it is shown."""
    bare, owned, newer = (pod("shop", name, labels={"pod-template-hash": "5d"}) for name in ("bare", "owned", "newer"))
    for found in (bare, owned, newer):
        found["metadata"]["annotations"][FILE_BY] = "mutatingadmissionpolicy/pod-trust-system-file"
        found["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z"
    owned["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "web-5d", "controller": True}]
    newer["metadata"]["creationTimestamp"] = "2999-01-01T00:00:00Z"
    renewal.project.patches.append((bundle, "IN_PODS_SECONDS", 0))
    renewal.fakes.answer("^kubectl .*get pods -A", json.dumps({"items": [bare, owned, newer]}))
    shown = renewal.good("cert-renew", "--new-key")
    assert "pods with the bundle as the system's CA file: restarted: shop/web (Deployment)" in shown
    kubectl = "kubectl --context k3d-cl1 -n shop"
    assert f"    {kubectl} get pod bare -o yaml | {kubectl} replace --force -f -" in shown
    assert "newer" not in shown
    commands = [shlex.join(words) for words in renewal.fakes.calls()]
    story = [next(number for number, line in enumerate(commands) if sign in line) for sign in (
        "bundle.yaml", "rollout restart deployment/web", "rollout status deployment/web", "issuer-secret.yaml")]
    assert story == sorted(story)
    assert not [line for line in commands if "delete pod" in line or "replace" in line]


def label(root: ca.Signed, folder: Path) -> str:
    file = folder / "root.crt"
    file.write_bytes(root.pem)
    return ca.root_in(file).label


def test_a_weak_root_of_the_original_is_followed_by_one_for_our_domains_alone(renewal: Renewal) -> None:
    weak = ca.root_of_the_original("internal")
    ca.put(renewal.folder, weak.pem, weak.key_pem())
    assert "To replace it: inv cert-renew --new-key" in renewal.good("cert")
    renewal.good("cert-renew", "--new-key")
    constraints = renewal.root.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    assert [name.value for name in constraints.permitted_subtrees or []] == ["k3d.internal"]
    assert "weakness" not in renewal.good("cert")


def key_in(renewal: Renewal, name: str) -> bytes:
    return (renewal.folder / name).read_bytes()


def test_a_stopped_cluster_keeps_the_former_root_and_configuring_it_ends_the_renewal(renewal: Renewal) -> None:
    world, old, key = renewal.world, renewal.root, key_in(renewal, "internal-ca.key")
    world.cluster_list(world.cluster(1), world.cluster(2, running=False))
    said = renewal.good("cert-renew", "--new-key")
    both = {old.pem.decode(), renewal.root.pem.decode()}
    assert "    cl2 is not running, so it cannot be checked: inv k3d-cluster-setup --n 2\n" in said
    assert renewal.trusted == both and renewal.bundled == renewal.root.pem.decode() + old.pem.decode()
    renewal.chain[0].verify_directly_issued_by(renewal.root.certificate)
    assert stat.S_IMODE((renewal.folder / "internal-ca.retiring.key").stat().st_mode) == 0o600
    assert key_in(renewal, "internal-ca.retiring.key") == key

    # Meanwhile: a third root is not made, and each task that knows of roots knows of both.
    state = renewal.state()
    renewal.good("cert-renew", "--new-key")
    assert renewal.state() == state
    assert ", also the former root: already there" in renewal.good("trust")
    for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        exported, = re.findall(f"export {name}=(.+)", renewal.good("trust-env"))
        assert all(root in Path(shlex.split(exported)[0]).read_text() for root in both)
    plan = renewal.inv("--dry", "uninstall", "--keep-clusters").stdout
    trusted, = re.findall("^  trust: (.+)$", plan, re.MULTILINE)
    assert "internal-ca.retiring.key" in plan and len(trusted.split(", ")) == 2
    renewal.good("untrust")
    assert renewal.trusted == set()
    renewal.good("trust")
    assert renewal.trusted == both

    world.cluster_list(world.cluster(1))
    said = renewal.good("k3d-cluster-configure", "--n", "1")
    assert "former root: removed from trust stores and bundles" in said
    renewal.is_settled()


def test_a_cluster_that_runs_and_does_not_answer_stops_it_before_anything_is_signed_by_the_new_root(
    renewal: Renewal,
) -> None:
    world, chain = renewal.world, renewal.chain
    world.cluster_list(world.cluster(1), world.cluster(2))
    renewal.fakes.answer("^kubectl .*--context k3d-cl2 .*get secret root-ca", stderr="connection refused\n", exit=1)
    done = renewal.inv("cert-renew", "--new-key")
    assert done.returncode == 1 and "cl2 is running but does not answer" in done.stderr
    assert "inv k3d-cluster-stop --n 2" in done.stderr
    assert renewal.chain == chain and len(renewal.trusted) == 2

    world.cluster_list(world.cluster(1))
    renewal.good("cert-renew")
    renewal.is_settled()


def test_a_cluster_of_another_tld_or_not_configured_is_left_alone(renewal: Renewal) -> None:
    renewal.world.cluster_list(renewal.world.cluster(1), renewal.world.cluster(2))
    renewal.good("cert-renew", "--new-key")
    assert not [words for words in renewal.world.changes() if "k3d-cl2" in words]
    renewal.is_settled()


# --- interrupted ------------------------------------------------------------------------------------------------------

COMMANDS = [
    "^openssl ecparam .*/.new/", "^openssl req -new .*/.new/", "^openssl req -x509", "^install ",
    "^update-ca-certificates", "^kubectl .* -f .*/bundle.yaml", "^openssl ecparam .*/intermediate/",
    "^openssl req -new .*/intermediate/", "^openssl x509 -req", "^kubectl .*issuer-secret.yaml", "^rm ",
]
AFTER_RM = ["^update-ca-certificates", "^kubectl .* -f .*/bundle.yaml"]


@pytest.mark.parametrize("after", ["", "^rm "], ids=["at first", "at last"])
def test_each_command_may_fail_and_the_next_run_ends_what_was_begun(renewal: Renewal, after: str) -> None:
    rules, keys = [*renewal.fakes.rules], set()
    for command in AFTER_RM if after else COMMANDS:
        renewal.fakes.forget()
        renewal.fakes.rules = [*rules]
        renewal.fakes.answer(command, stderr="it failed this once\n", exit=1, before=f"{command}(?s:.*)", after=after)
        keys.add(renewal.root.key_pem())
        failed = renewal.inv("cert-renew", "--new-key")
        assert failed.returncode == 1 and "it failed this once" in failed.stderr, command
        assert renewal.root.belongs_together(), command
        done = renewal.good("cert-renew")
        assert "PRIVATE" not in failed.stdout + failed.stderr + done
        assert renewal.root.key_pem() not in keys, command
        renewal.is_settled()


def test_no_other_command_of_a_renewal_changes_anything(renewal: Renewal) -> None:
    renewal.good("cert-renew", "--new-key")
    lines = [" ".join(words) for words in renewal.world.changes()]
    assert [line for line in lines if not any(re.search(command, line) for command in COMMANDS)] == []


@pytest.mark.process
@pytest.mark.parametrize("command", ["ecparam", "req -x509"])
def test_killed_while_openssl_works_the_next_run_begins_that_again(renewal: Renewal, command: str) -> None:
    before = renewal.root
    (renewal.fakes.bin / "openssl").unlink()
    (renewal.fakes.bin / "openssl").write_text(
        f'#!/bin/sh\ncase "$*" in "{command}"*) kill -9 $PPID; exit 1; esac\nexec {shutil.which("openssl")} "$@"\n')
    (renewal.fakes.bin / "openssl").chmod(0o755)
    assert renewal.project.process("cert-renew", "--new-key").returncode == -9
    assert renewal.root.pem == before.pem
    (renewal.fakes.bin / "openssl").unlink()
    renewal.good("cert-renew")
    assert renewal.root.key_pem() != before.key_pem()
    renewal.is_settled()


def lay(renewal: Renewal, root: ca.Signed, key: bool = True) -> None:
    """Leave a root as the retiring one."""
    if key:
        (renewal.folder / "internal-ca.retiring.key").write_bytes(root.key_pem())
    (renewal.folder / "internal-ca.retiring.crt").write_bytes(root.pem)


def test_killed_between_the_new_key_and_its_certificate_the_key_is_used_and_every_task_names_cert_renew(
    renewal: Renewal,
) -> None:
    lay(renewal, renewal.root)
    key = ca.authority("k3d.internal").key_pem()
    (renewal.folder / "internal-ca.key").write_bytes(key)
    for words in (("cert",), ("k3d-cluster-configure", "--n", "1")):
        done = renewal.inv(*words)
        assert done.returncode == 1 and "inv cert-renew, which resumes the interrupted renewal" in done.stderr
    renewal.good("cert-renew")
    assert (renewal.folder / "internal-ca.key").read_bytes() == key
    renewal.is_settled()


def test_killed_before_there_is_a_new_root_configure_says_so_and_removes_nothing(renewal: Renewal) -> None:
    before = renewal.root
    lay(renewal, before)
    said = renewal.good("k3d-cluster-configure", "--n", "1")
    assert "interrupted before it created the new root. Resume it with: inv cert-renew" in said
    assert renewal.root.pem == before.pem and renewal.trusted == {before.pem.decode()}
    renewal.good("cert-renew")
    assert renewal.root.key_pem() != before.key_pem()
    renewal.is_settled()


def test_killed_between_the_old_roots_two_files_the_rest_goes(renewal: Renewal) -> None:
    lay(renewal, ca.authority("k3d.internal"), key=False)
    renewal.good("k3d-cluster-configure", "--n", "1")
    renewal.is_settled()


# --- what it does not begin with --------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("cert-renew",), ("cert-renew", "--new-key")])
def test_a_dry_run_describes_all_steps_and_changes_nothing(renewal: Renewal, words: tuple[str, ...]) -> None:
    state = renewal.state()
    said = renewal.good("--dry", *words)
    assert renewal.state() == state and not renewal.world.changes()
    assert "# add both roots to the bundles of the running clusters (cl1)" in said
    assert ("openssl x509 -sha256" in said) != ("openssl ecparam" in said)
    assert said.rstrip().endswith(
        "# then remove the former root from trust stores and bundles, and delete its files")


def test_what_needs_root_is_printed_once_there_is_a_new_root_to_print(renewal: Renewal) -> None:
    early = renewal.inv("cert-renew", "--print-sudo")
    assert early.returncode == 1 and "No renewal is in progress" in early.stderr
    renewal.fakes.answer("^install ", stderr="no\n", exit=1, before="^install (?s:.*)")
    assert renewal.inv("cert-renew", "--new-key").returncode == 1
    script = renewal.good("cert-renew", "--print-sudo")
    assert script.startswith("#!/bin/sh\nset -eu\ninstall -m 0644 /dev/stdin") and renewal.root.pem.decode() in script
    renewal.good("cert-renew")
    renewal.is_settled()


@pytest.mark.parametrize(("state", "why"), [
    ("no root", "There is no root CA: "),
    ("no key", "internal-ca.key is missing"),
    ("unreadable retiring certificate", "internal-ca.retiring.crt cannot be read"),
    ("a retiring key of nobody", "internal-ca.retiring.key is not a copy of internal-ca.key"),
    ("another renewal", "A renewal with the same key is in progress"),
])
def test_a_state_that_it_cannot_continue_is_refused_and_stays(renewal: Renewal, state: str, why: str) -> None:
    certificate, key = renewal.folder / "internal-ca.crt", renewal.folder / "internal-ca.key"
    if state == "no root":
        certificate.unlink()
        key.unlink()
    elif state == "no key":
        key.unlink()
    elif state == "unreadable retiring certificate":
        (renewal.folder / "internal-ca.retiring.crt").write_bytes(b"garbage")
    elif state == "a retiring key of nobody":
        (renewal.folder / "internal-ca.retiring.key").write_bytes(ROOT.key_pem()[:-9] + b"another\n")
    else:
        (renewal.folder / "internal-ca.retiring.crt").write_bytes(certificate.read_bytes())
    before = renewal.state()
    done = renewal.inv("cert-renew", "--new-key")
    assert done.returncode == 1 and why in done.stderr, done.stderr
    assert renewal.state() == before and not renewal.world.changes()
