"""The undo of everything: what is shown and asked, what goes, what stays, and what is said about it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ca
import pytest
from conftest import Project
from machine import become

from tasks.core import system_files

NOTHING = "Nothing that these tasks created is on this machine.\n"
LOOKS = ("docker network inspect", "docker container inspect", "docker ps", "docker volume ls", "docker version",
         "k3d cluster list", "uname", "pgrep", "systemctl is-active", "kubectl --kubeconfig {} config get-",
         "kubectl --kubeconfig {} config current-context")


class Machine:
    """A Linux with a little of everything of ours, and with things of others."""

    def __init__(self, project: Project) -> None:
        self.project, self.fakes, self.root = project, project.fakes, project.root
        self.fakes.add("docker", "k3d", "kubectl", "pgrep", "uname", "systemctl", "nmcli", "update-ca-certificates")
        self.fakes.add_spies("rm")
        self.fakes.answer("^uname", "Linux\n")
        self.fakes.answer("^pgrep", exit=1)
        self.kubeconfig = project.home / ".kube" / "config"
        self.certs = project.home / ".local-ca-certs"
        self.work, self.tools = project.folder / ".work", project.folder / ".tools"
        self.anchors = self.root / "usr/local/share/ca-certificates"
        self.names = self.root / "etc/NetworkManager/dnsmasq.d/dev-cluster-tasks.conf"
        for folder in (self.anchors, self.names.parent, self.kubeconfig.parent, project.home / ".cache"):
            folder.mkdir(parents=True)
        (self.anchors / "company.crt").write_text("of the company\n")
        self.kubeconfig.write_text("kubectl itself is a recorder\n")
        self.clusters("x1")
        self.contexts("k3d-x1", "cl7", "work")
        self.network(there=False)

    def fill(self) -> Machine:
        """Clusters 1 and 3, the entry of a cluster 5 that is gone, trust, names, the authority and our folders."""
        self.clusters("cl1", "cl3", "x1", "cl", "cl1-of-others")
        self.contexts("k3d-cl1", "k3d-cl3", "k3d-cl5", "k3d-x1", "cl7", "work")
        self.network()
        ca.put(self.certs, ca.authority("k3d.internal").pem, b"the key")
        root = ca.root_in(self.certs / "internal-ca.crt")
        self.anchor = self.anchors / f"{root.label}.crt"
        self.anchor.write_text(system_files.seal(root.pem))
        self.names.write_text(system_files.seal("address=/k3d.internal/127.0.0.1\n"))
        for folder in (self.work, self.tools):
            folder.mkdir()
            (folder / "file").touch()
        return self

    def clusters(self, *names: str, network: str = "bridge") -> None:
        def described(there: list[str]) -> str:
            return json.dumps([cluster(name, network) for name in there])

        self.fakes.answer("^k3d cluster list", described([*names]))
        for number in (1, 3):  # in this order they are deleted
            names = tuple(name for name in names if name != f"cl{number}")
            self.fakes.answer("^k3d cluster list", described([*names]), after=f"^k3d cluster delete cl{number}$")

    def contexts(self, *names: str) -> None:
        for kind, start in (("context", ""), ("cluster", ""), ("user", "admin@")):
            left = [start + name for name in names]
            self.fakes.answer(f"^kubectl .* config get-{kind}s", "\n".join(left))
            for number in (1, 3, 5):
                left = [name for name in left if name != f"{start}k3d-cl{number}"]
                self.fakes.answer(f"^kubectl .* config get-{kind}s", "\n".join(left),
                                  after=f"config delete-{kind} {start}k3d-cl{number}$")

    def network(self, there: bool = True) -> None:
        self.fakes.answer("^docker network inspect", exit=1)
        if there:
            self.fakes.answer("^docker network inspect .*Labels", "dev-cluster-tasks\n", before="^docker network rm")
            self.fakes.answer("^docker network inspect .*Labels.*Containers", "dev-cluster-tasks 0\n",
                              before="^docker network rm")

    def inv(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.project.inv("uninstall", *words, environment=environment)

    @property
    def changes(self) -> list[str]:
        looks = tuple(look.format(shlex.quote(str(self.kubeconfig))) for look in LOOKS)
        return [line for line in map(shlex.join, self.fakes.calls()) if not line.startswith(looks)]

    def forget(self, cluster: str) -> list[str]:
        kubectl = f"kubectl --kubeconfig {shlex.quote(str(self.kubeconfig))} config"
        return [f"{kubectl} delete-context k3d-{cluster}", f"{kubectl} delete-cluster k3d-{cluster}",
                f"{kubectl} delete-user admin@k3d-{cluster}"]

    def files(self) -> set[str]:
        places = (self.root, self.project.home, self.work, self.tools)
        return {str(file) for place in places for file in [place, *place.rglob("*")] if file.exists()}

    @property
    def plan(self) -> list[str]:
        return [
            "  cluster cl1", "  cluster cl3", "  kubeconfig entry k3d-cl5", "  Docker network dev-clusters",
            f"  names: network-manager ({self.names})", f"  trust: {self.anchor}",
            f"  certificate authority, with its key: {self.certs}/internal-ca.key, {self.certs}/internal-ca.crt",
            f"  {self.work}", f"  {self.tools}",
        ]


def cluster(name: str, network: str) -> dict[str, Any]:
    ours = name in ("cl1", "cl3")
    return {"name": name, "network": {"name": "dev-clusters" if ours else network}, "nodes": [
        {"name": f"k3d-{name}-server-0", "role": "server", "State": {"Running": True}}]}


@pytest.fixture
def machine(project: Project) -> Machine:
    return Machine(project)


def test_everything_of_ours_goes_in_order_and_nothing_of_others(machine: Machine) -> None:
    before = machine.files()
    machine.fill()
    done = machine.inv("--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:10] == ["This will be removed:", *machine.plan]
    assert machine.changes == [
        "k3d cluster delete cl1", *machine.forget("cl1"), "k3d cluster delete cl3", *machine.forget("cl3"),
        *machine.forget("cl5"), "docker network rm dev-clusters", "nmcli general reload conf",
        shlex.join(["rm", str(machine.names)]), "nmcli general reload dns-full",
        shlex.join(["rm", str(machine.anchor)]), "update-ca-certificates --fresh",
    ]
    assert machine.files() == before

    machine.fakes.answer("^docker network inspect", exit=1)
    again = machine.inv("--yes")
    assert (again.returncode, again.stdout, again.stderr) == (0, NOTHING, "")
    assert len(machine.changes) == 17


def front_door(machine: Machine, folder: str) -> None:
    """There is one, created by the copy in this folder."""
    machine.fakes.answer("^docker container inspect", json.dumps({
        "State": {"Status": "running"}, "Config": {"Labels": {"dev-cluster-tasks.front-door": folder}},
        "HostConfig": {}, "NetworkSettings": {}}), before="^docker rm")


def test_the_front_door_goes_before_the_network(machine: Machine) -> None:
    machine.fill()
    front_door(machine, str(machine.project.folder))
    assert "  front door dev-clusters-front-door" in machine.inv("--yes").stdout.splitlines()
    changes = machine.changes
    assert changes.index("docker rm --force dev-clusters-front-door") < changes.index("docker network rm dev-clusters")


def test_the_front_door_of_another_copy_stays_and_is_listed(machine: Machine, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "tasks.py").touch()
    front_door(machine, str(other))
    said = machine.inv("--yes").stdout
    assert f"  front door dev-clusters-front-door, created by the copy in {other}\n" in said
    assert not machine.fakes.calls("docker", "rm")


def test_a_run_leaves_no_folder_that_it_made_itself(machine: Machine) -> None:
    machine.fill()
    (machine.work / "file").unlink()
    machine.work.rmdir()
    assert machine.inv("--yes").returncode == 0
    assert not machine.work.exists()


def test_a_rehearsal_shows_the_plan_and_the_commands_and_changes_nothing(machine: Machine) -> None:
    machine.fill()
    before = machine.files()
    dry = machine.project.inv("--dry", "uninstall")
    assert (dry.returncode, machine.changes, machine.files()) == (0, [], before)
    lines = dry.stdout.splitlines()
    assert lines[:10] == ["This will be removed:", *machine.plan]
    printed = [line for line in lines[10:] if not line.startswith("#")]
    assert f"# remove {machine.certs}/internal-ca.key" in lines and f"# remove {machine.tools}" in lines
    machine.inv("--yes")
    assert printed == machine.changes


def test_without_a_terminal_to_ask_on_nothing_goes(machine: Machine) -> None:
    machine.fill()
    before = machine.files()
    done = machine.inv()
    assert (done.returncode, machine.changes, machine.files()) == (1, [], before)
    assert done.stderr == "Nothing was changed. Without a terminal, confirm with --yes.\n"


@pytest.mark.process
@pytest.mark.parametrize(("answer", "goes"), [
    ("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("\4", False)])
def test_on_a_terminal_it_asks_and_only_yes_is_yes(machine: Machine, answer: str, goes: bool) -> None:
    machine.fill()
    machine.fakes.add("sudo")  # for who is not root
    machine.fakes.behave("sudo", become)
    before = machine.files()
    ours, terminal = os.openpty()
    try:
        os.write(ours, answer.encode())
        done = machine.project.process("uninstall", stdin=terminal)
    finally:
        os.close(ours)
        os.close(terminal)
    assert "Continue? [y/N] " in done.stdout
    assert (done.returncode, done.stderr) == ((0, "") if goes else (1, "Nothing was changed.\n"))
    assert bool(machine.changes) == goes and (machine.files() == before) != goes


@pytest.mark.parametrize(("option", "kept"), [
    ("--keep-ca", ["certificate authority"]), ("--keep-clusters", ["cluster ", "kubeconfig", "Docker network"]),
])
def test_what_is_to_be_kept_stays(machine: Machine, option: str, kept: list[str]) -> None:
    machine.fill()
    done = machine.inv("--yes", option)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    plan = [line for line in machine.plan if not line.strip().startswith(tuple(kept))]
    assert shown[1:1 + len(plan)] == plan
    assert machine.certs.exists() == (option == "--keep-ca")
    assert any(line.startswith(("k3d", "docker", "kubectl")) for line in machine.changes) == (option == "--keep-ca")


def test_the_network_stays_while_clusters_of_others_are_on_it(machine: Machine) -> None:
    machine.fill().clusters("cl1", "x1", network="dev-clusters")
    done = machine.inv("--yes")
    assert done.returncode == 0 and "Docker network" not in done.stdout
    assert "k3d cluster delete cl1" in machine.changes and "docker network rm dev-clusters" not in machine.changes


def test_where_the_engine_does_not_answer_clusters_and_the_tools_for_them_are_left_and_said(machine: Machine) -> None:
    machine.fill()
    machine.fakes.answer("^k3d cluster list", stderr="FATA[0000] Cannot connect to the Docker daemon\n", exit=1)
    done = machine.inv("--yes")
    assert done.returncode == 1
    reason = "clusters: cannot be listed (k3d cluster list failed: FATA[0000] Cannot connect to the Docker daemon)"
    assert f"This will be kept:\n  {reason}\n" in done.stdout
    assert done.stderr.startswith(f"Left on this machine:\n  {reason}\n")
    assert not any(line.startswith(("k3d", "docker", "kubectl")) for line in machine.changes)
    assert not machine.anchor.exists() and not machine.names.exists() and machine.tools.exists()
    assert str(machine.tools) in done.stderr


def test_without_k3d_the_clusters_that_docker_runs_are_left_and_said(machine: Machine) -> None:
    machine.fill()
    (machine.fakes.bin / "k3d").unlink()
    machine.fakes.answer("^docker ps --all --filter label=k3d.cluster", "cl3\ncl1\ncl1\ncl1-of-others\nx1\n")
    done = machine.inv("--yes", PATH=str(machine.fakes.bin))
    assert done.returncode == 1
    why = "k3d is needed to delete it, and not installed: inv tools --install"
    assert done.stderr.splitlines()[:3] == ["Left on this machine:", f"  cluster cl1: {why}", f"  cluster cl3: {why}"]
    assert not machine.names.exists() and machine.tools.exists()


@pytest.mark.parametrize(("command", "what"), [
    ("^k3d cluster delete cl1", "cluster cl1"), ("^nmcli general reload conf", "names: network-manager"),
    ("^update-ca-certificates", "trust: "), ("^docker network rm", "Docker network dev-clusters"),
])
def test_past_what_fails_the_rest_goes_and_a_second_run_finishes(machine: Machine, command: str, what: str) -> None:
    before = machine.files()
    machine.fill()
    machine.fakes.answer(command, stderr="it failed this once\n", exit=1, before=command)
    done = machine.inv("--yes")
    assert done.returncode == 1
    left = done.stderr.split("Left on this machine:\n")[1]
    assert left.startswith(f"  {what}") and "it failed this once" in left
    assert f"{machine.certs}/internal-ca.crt: needed to find the rest" in left
    assert "k3d cluster delete cl3" in machine.changes and machine.work.exists()
    assert (machine.certs / "internal-ca.key").exists() and machine.tools.exists()

    again = machine.inv("--yes")
    assert again.returncode == 0, again.stderr
    assert machine.files() == before
    assert machine.inv("--yes").stdout == NOTHING


def test_files_that_somebody_has_changed_stay_and_are_shown(machine: Machine) -> None:
    machine.fill().names.write_text(machine.names.read_text() + "address=/mine/127.0.0.1\n")
    done = machine.inv("--yes")
    assert done.returncode == 1 and machine.names.exists() and not machine.anchor.exists()
    assert f"{machine.names} was changed after these tasks created it. Check it, remove it" in done.stderr
    assert "    | address=/mine/127.0.0.1\n" in done.stderr
    assert not any(line.startswith("nmcli") for line in machine.changes)


def test_the_key_of_another_tld_stays_and_is_named(machine: Machine) -> None:
    """Another copy with the same CERT_FOLDER may need it."""
    machine.fill()
    (machine.certs / "test-ca.key").write_text("another key")
    for more in ([], ["--all-copies"]):
        done = machine.inv("--yes", *more)
        assert done.returncode == 0, done.stderr
        assert (f"This belongs to another copy, or was left behind by one, and will be kept:\n"
                f"  {machine.certs}/test-ca.key: the key of "
                "another TLD, which only the copy that uses it removes\n") in done.stdout
        assert "--all-copies" not in done.stdout, "it would change nothing"
    assert [file.name for file in machine.certs.iterdir()] == ["test-ca.key"]


# --- other copies of the folder ---------------------------------------------------------------------------------------


def of_another_copy(machine: Machine, gone: bool = False) -> tuple[Path, Path]:
    """Names and a root of a copy with another base domain and another CERT_FOLDER."""
    other = machine.project.folder.with_name("another copy")
    other.mkdir()
    if not gone:
        (other / "tasks.py").touch()
    names = machine.names.with_name("dev-cluster-tasks-k3d.test.conf")
    names.write_text(system_files.seal(f"# used by the copy in {other}\naddress=/k3d.test/127.0.0.1\n"))
    ca.put(other / "certs", ca.authority("k3d.test").pem, b"the other key", tld="test")
    root = ca.root_in(other / "certs" / "test-ca.crt")
    anchor = machine.anchors / f"{root.label}.crt"
    anchor.write_text(system_files.seal(f"# root of {root.files.certificate}\n{root.pem}"))
    return names, anchor


@pytest.mark.parametrize("gone", [False, True])
def test_names_and_roots_of_another_copy_stay_and_are_shown(machine: Machine, gone: bool) -> None:
    names, anchor = of_another_copy(machine, gone)
    before = machine.files()
    machine.fill()
    done = machine.inv("--yes")
    assert done.returncode == 0, done.stderr
    other = machine.project.folder.with_name("another copy")
    assert (f"This belongs to another copy, or was left behind by one, and will be kept:\n"
            f"  names: network-manager, k3d.test: the copy in {other}{', which no longer exists' if gone else ''}\n"
            f"  trust: {anchor} (for k3d.test, from {other}/certs/test-ca.crt)\n"
            "To remove the names and roots of other copies too: inv uninstall --all-copies\n") in done.stdout
    assert machine.files() == before
    again = machine.inv("--yes")
    assert again.returncode == 0
    assert again.stdout.startswith("Nothing that this copy of the tasks created is on this machine.\n")

    machine.fakes.forget()
    every = machine.inv("--yes", "--all-copies")
    assert every.returncode == 0, every.stderr
    assert not names.exists() and not anchor.exists() and (other / "certs" / "test-ca.key").exists()
    assert machine.changes.count("update-ca-certificates --fresh") == 1
    assert machine.inv("--yes").stdout == NOTHING


def test_all_roots_go_with_one_update(machine: Machine) -> None:
    _, anchor = of_another_copy(machine)
    machine.fill()
    done = machine.inv("--yes", "--all-copies")
    assert done.returncode == 0, done.stderr
    assert f"  trust: {machine.anchor}, {anchor}\n" in done.stdout
    assert machine.changes.count("update-ca-certificates --fresh") == 1


def test_a_cluster_with_our_name_and_other_ports_may_be_another_copys_and_stays(machine: Machine) -> None:
    machine.fill()
    clusters = [cluster(name, "bridge") for name in ("cl1", "cl3")]
    for found, port in zip(clusters, ("21443", "13443"), strict=True):
        found["nodes"].append({"name": f"k3d-{found['name']}-serverlb", "role": "loadbalancer",
                               "portMappings": {"443/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}})
    machine.fakes.answer("^k3d cluster list", json.dumps(clusters))
    done = machine.inv("--yes", "--all-copies")
    assert done.returncode == 1 and f"{machine.tools}: its programs are needed to find the clusters" in done.stderr
    assert ("  cluster cl1: its ports differ from these settings, so another copy may have created it. If it is "
            "yours: inv k3d-cluster-delete --n 1\n") in done.stdout
    changes = machine.changes
    assert "k3d cluster delete cl3" in changes and "k3d cluster delete cl1" not in changes
    assert not any(line.startswith("docker network rm") for line in changes), "cl1 is on it"


def bare_key(certs: Path) -> None:
    """Somebody has moved the certificate away, or is about to bring one."""
    (certs / "internal-ca.crt").unlink()


def for_other_names(certs: Path) -> None:
    ca.put(certs, ca.authority("corp.internal", pathlen=0).pem, b"the company's key")


def of_the_original(certs: Path) -> None:
    ca.put(certs, ca.root_of_the_original("internal").pem, b"the original's key")


def not_pem(certs: Path) -> None:
    ca.put(certs, b"not PEM", b"a key")


def a_folder(certs: Path) -> None:
    (certs / "internal-ca.crt").unlink()
    (certs / "internal-ca.crt").mkdir()


@pytest.mark.parametrize("theirs", [bare_key, for_other_names, of_the_original, not_pem, a_folder])
def test_a_root_that_these_tasks_did_not_make_stays_with_its_key_and_the_rest_goes(
    machine: Machine, theirs: Callable[[Path], None]
) -> None:
    machine.fill()
    theirs(machine.certs)
    before = {file: file.is_file() and file.read_bytes() for file in machine.certs.iterdir()}
    done = machine.inv("--yes", "--all-copies")  # what these tasks had put into the store is of former days now
    assert done.returncode == 1
    assert f"  {machine.certs}/internal-ca.key" in done.stderr
    assert "not created by these tasks. Remove it yourself" in done.stderr
    assert {file: file.is_file() and file.read_bytes() for file in machine.certs.iterdir()} == before
    assert not machine.names.exists() and not machine.anchor.exists()


@pytest.mark.parametrize("root", [
    ca.authority("k3d.internal", ends=ca.NOW - ca.DAY), ca.authority("former.internal"),
], ids=["ended", "of another subdomain"])
def test_an_old_root_of_these_tasks_goes(machine: Machine, root: ca.Signed) -> None:
    ca.put(machine.certs, root.pem, root.key_pem())
    done = machine.inv("--yes")
    assert done.returncode == 0, done.stderr
    assert not machine.certs.exists()


def test_what_a_broken_off_run_has_left_of_a_new_root_goes(machine: Machine) -> None:
    before = machine.files()
    machine.fakes.add_spies("openssl")
    machine.fakes.answer("^openssl req -x509", stderr="the disk is full\n", exit=1)
    assert machine.project.inv("cert").returncode == 1
    assert list(machine.certs.rglob("*.key")), "a key is there, though no root"
    done = machine.inv("--yes")
    assert done.returncode == 0, done.stderr
    assert machine.files() == before


def test_a_folder_of_certificates_that_is_a_link_stays_as_the_user_made_it(machine: Machine, tmp_path: Path) -> None:
    machine.fill()
    elsewhere = tmp_path / "encrypted disk"
    machine.certs.rename(elsewhere)
    machine.certs.symlink_to(elsewhere)
    done = machine.inv("--yes")
    assert done.returncode == 0, done.stderr
    assert machine.certs.is_symlink() and not any(elsewhere.iterdir())


def test_entries_in_a_folder_of_kubeconfigs_go_too(machine: Machine, tmp_path: Path) -> None:
    machine.fill()
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "cl5").touch()
    machine.project.env(K3D_KUBECONFIG_TARGET_DIR=str(folder))
    assert machine.inv("--yes").returncode == 0
    assert f"kubectl --kubeconfig {folder}/cl5 config delete-context k3d-cl5" in machine.changes


def test_on_a_machine_without_anything_of_ours_it_says_so(machine: Machine) -> None:
    done = machine.inv()
    assert (done.returncode, done.stdout, done.stderr, machine.changes) == (0, NOTHING, "", [])
