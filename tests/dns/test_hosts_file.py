"""Names where no resolver can be set up: a block in the hosts file for each copy, which follows the clusters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Project
from inside import resolver
from machine import Machine, as_root, become, hosts_lines
from pretend import World, world_of
from recording import Answer, Call

from tasks.core.shell import Shell
from tasks.dns import edit_hosts
from tasks.dns.edit_hosts.blocks import find_blocks

BEFORE = b"127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\n# f\xfcr mich\n"
EXAMPLES = [f"example-nginx.cl{number}.k3d.internal" for number in range(10)]
ALWAYS = sorted([*EXAMPLES, "k3d.internal", "proof.k3d.internal"])


@pytest.fixture
def machine(project: Project) -> Machine:
    """A Linux without systemd-resolved and NetworkManager, as a container is."""
    machine = Machine(project, "Linux")
    (machine.root / "etc/hosts").write_bytes(BEFORE)
    return machine


def hosts(machine: Machine | World) -> Path:
    root: Path = machine.root if isinstance(machine, Machine) else machine.project.root
    return root / "etc/hosts"


def names(file: Path) -> list[str]:
    """In the blocks of all copies."""
    return [line.removeprefix("127.0.0.1 ") for block in find_blocks(file.read_bytes())
            for line in block.body.splitlines()]


def editor(machine: Machine, *names: str) -> list[str]:
    return [sys.executable, "-IB", str(Path(edit_hosts.__file__).parent), str(hosts(machine)),
            str(machine.project.folder), *names]


# --- the method -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [
    BEFORE, b"", b"127.0.0.1 localhost", b"127.0.0.1 localhost\r\n# Windows\r\n", b"\x00\xff no text",
])
def test_it_is_chosen_where_nothing_else_works_and_leaves_the_file_byte_for_byte(
    machine: Machine, before: bytes
) -> None:
    hosts(machine).write_bytes(before)
    hosts(machine).chmod(0o640)
    run = machine.good("dns")
    assert names(hosts(machine)) == ALWAYS and hosts(machine).read_bytes().startswith(before)
    assert run.changes == as_root(editor(machine, machine.copy(hosts(machine))))
    assert f"! {hosts(machine)}: 12 names written " in run.stdout
    assert ("A hosts file has no wildcard, so only the names of existing Ingresses resolve. After you create one: "
            "inv dns\n") in run.stdout
    assert ("No method with a wildcard works here:\n"
            "  brew-dnsmasq: only on macOS, because no other system reads /etc/resolver\n"
            "  systemd-resolved: systemd-resolved is not running\n"
            "  network-manager: NetworkManager is not running\n") in run.stdout

    settled = hosts(machine).read_bytes()
    again = machine.good("dns")
    assert (again.changes, hosts(machine).read_bytes()) == ([], settled)
    assert "already has 12 names" in again.stdout
    verified = machine.good("dns-verify").stdout
    assert f"{hosts(machine)} has 12 names, and no wildcard for others" in " ".join(verified.split())

    assert machine.good("dns-remove").changes == as_root(editor(machine))
    assert (hosts(machine).read_bytes(), hosts(machine).stat().st_mode & 0o777) == (before, 0o640)
    assert [file.name for file in hosts(machine).parent.iterdir()] == ["hosts"]
    assert machine.good("dns-remove").changes == []


def test_names_of_a_cluster_elsewhere_have_its_address_and_follow_it(machine: Machine) -> None:
    for address in ("198.51.100.7", "198.51.100.8"):
        machine.good("dns", CLUSTER_ADDRESS=f"1={address}")
        lines = [line.split() for block in find_blocks(hosts(machine).read_bytes()) for line in block.body.splitlines()]
        assert {name for at, name in lines if at == address} == {
            "example-nginx.cl1.k3d.internal", "proof.cl1.k3d.internal"}
        assert {at for at, _ in lines} == {"127.0.0.1", address}
        assert machine.good("dns", CLUSTER_ADDRESS=f"1={address}").changes == []
        verified = machine.good("dns-verify", CLUSTER_ADDRESS=f"1={address}").stdout
        assert f"proof.cl1.k3d.internal {address}" in " ".join(verified.split())


def test_uninstall_shows_it_and_removes_it(machine: Machine) -> None:
    machine.good("dns")
    run = machine.good("uninstall", "--yes")
    assert f"names: hosts-file ({hosts(machine)})" in run.stdout
    assert hosts(machine).read_bytes() == BEFORE


def test_root_is_told_the_names_in_the_script(machine: Machine) -> None:
    script = machine.good("dns", "--print-sudo").stdout
    assert hosts(machine).read_bytes() == BEFORE
    assert "<<'END-OF-FILE'\n127.0.0.1 example-nginx.cl0.k3d.internal\n" in script
    subprocess.run(["sh"], input=script, text=True, check=True)
    assert names(hosts(machine)) == ALWAYS
    assert machine.good("dns").changes == []


def test_a_dry_run_changes_nothing(machine: Machine) -> None:
    run = machine.good("--dry", "dns")
    assert hosts(machine).read_bytes() == BEFORE and f" {hosts(machine)} " in run.stdout


def refuse(machine: Machine, how: str) -> str:
    file = hosts(machine)
    match how:
        case "link":
            file.rename(file.with_name("of-the-system"))
            file.symlink_to("of-the-system")
            return (f"{file} is a symbolic link to of-the-system, which the system generates. On NixOS, add the names "
                    "to networking.hosts")
        case "folder":
            file.unlink()
            file.mkdir()
            return f"{file} is not a file"
        case "edited":
            machine.good("dns")
            file.write_bytes(file.read_bytes().replace(b"# END", b"10.0.0.1 mine\n# END"))
            return (f"in {file}, the lines from `# BEGIN dev-cluster-tasks in {machine.project.folder}` to `# END` "
                    "were edited. Move your lines out of them, or delete all of them")
    file.unlink()
    return f"{file} is not a file"


@pytest.mark.parametrize("how", ["link", "folder", "missing", "edited"])
def test_what_is_not_a_hosts_file_to_write_is_refused_with_the_reason(machine: Machine, how: str) -> None:
    reason = refuse(machine, how)
    before = machine.tree()
    run = machine.inv("dns", DNS_METHOD="hosts-file")
    assert (run.exit, run.changes, machine.tree()) == (1, [], before)
    assert f"\n  hosts-file: {reason}\n" in run.stderr
    assert "nip.io" not in run.stderr, "public DNS does not answer here, so it is not offered"


def test_a_file_that_is_mounted_read_only_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(hosts(machine))
    machine.project.patches.append((os, "statvfs", lambda _: type("", (), {"f_flag": real.f_flag | os.ST_RDONLY})))
    assert f"  hosts-file: {hosts(machine)} is mounted read-only\n" in machine.inv("dns").stderr


def test_an_edited_block_stays_and_is_reported(machine: Machine) -> None:
    refuse(machine, "edited")
    edited = hosts(machine).read_bytes()
    for command in (["dns-remove"], ["uninstall", "--yes"]):
        run = machine.inv(*command)
        assert run.exit == 1 and "were edited. Move your lines out of them, or delete all of them" in run.stderr
        assert hosts(machine).read_bytes() == edited


def test_copies_have_a_block_each(machine: Machine) -> None:
    machine.good("dns")
    first = machine.project.folder
    second = first.with_name("second")
    second.mkdir()
    (second / ".default.env").write_bytes((first / ".default.env").read_bytes())
    (first / "tasks.py").touch()
    (second / ".env").write_text("TLD=test\n")
    machine.project.folder = second
    machine.good("dns")
    assert {block.copy for block in find_blocks(hosts(machine).read_bytes())} == {str(first), str(second)}
    kept = machine.good("dns-remove").stdout
    assert f"k3d.internal: the copy in {first}" in kept
    assert names(hosts(machine)) == ALWAYS
    machine.good("dns-remove", "--all-copies")
    assert hosts(machine).read_bytes() == BEFORE


def test_names_that_disappear_from_the_file_are_reported_as_not_written(machine: Machine) -> None:
    """Another program that restores the file at once, as a management tool may."""
    def restore(call: Call) -> Answer:
        return Answer() if "edit_hosts" in " ".join(call.words) else become(call)

    machine.fakes.behaviours["sudo"].insert(0, restore)
    run = machine.inv("dns")
    assert run.exit == 1 and "does not have the names that were just written" in run.stderr


# --- it follows the clusters ------------------------------------------------------------------------------------------


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    (project.root / "etc").mkdir()
    (project.root / "etc/hosts").write_bytes(BEFORE)

    def known(name: str) -> list[str]:
        return ["127.0.0.1"] if f"127.0.0.1 {name}" in hosts_lines(project.root) else []

    with world_of(project) as world:
        project.patches.append(resolver(known))
        yield world


def routes(world: World, number: int, *found: dict[str, Any]) -> None:
    """What this cluster routes."""
    for kind in ("ingresses", "ingressroutes.traefik.io", "httproutes.gateway"):
        items = [entry for entry in found if entry["kind"].lower() in (kind.partition(".")[0][:-1], kind[:-2])]
        world.fakes.answer(rf"^kubectl .*k3d-cl{number} get {kind}\S* -A -o json", json.dumps({"items": items}))


def ingress(host: str, tls: str = "") -> dict[str, Any]:
    return {"kind": "Ingress", "metadata": {"name": "a", "namespace": "b"},
            "spec": {"rules": [{"host": host}, {}], "tls": [{"hosts": [tls]}] if tls else None}}


def others(rule: str, hostname: str) -> list[dict[str, Any]]:
    metadata = {"name": "a", "namespace": "b"}
    return [{"kind": "IngressRoute", "metadata": metadata, "spec": {"routes": [{"match": rule}]}},
            {"kind": "HTTPRoute", "metadata": metadata, "spec": {"hostnames": [hostname]}}]


def added(world: World) -> set[str]:
    return {*names(hosts(world))} - {*ALWAYS}


def test_every_host_of_running_clusters_below_their_domain_is_in_it(world: World) -> None:
    world.cluster_list(world.cluster(0), world.cluster(1), world.cluster(2, running=False))
    routes(world, 0, ingress("Shop.cl0.k3d.internal", "*.cl0.k3d.internal"), ingress("app.example.com"),
           *others("Host(`a.cl0.k3d.internal`) || (Host(`b.cl0.k3d.internal`) && Path(`/`))", "c.cl0.k3d.internal"))
    routes(world, 1, ingress("cl1.k3d.internal", "shop.cl1.k3d.internal"), ingress("stolen.cl0.k3d.internal"),
           *others("Host(`x\n10.0.0.1 y.cl1.k3d.internal`)", "*.cl1.k3d.internal"))
    assert world.inv("dns").returncode == 0
    assert added(world) == {"shop.cl0.k3d.internal", "a.cl0.k3d.internal", "b.cl0.k3d.internal", "c.cl0.k3d.internal",
                            "cl1.k3d.internal", "shop.cl1.k3d.internal"}


def test_a_stopped_cluster_and_one_that_does_not_answer_keep_their_names_and_a_deleted_one_does_not(
    world: World
) -> None:
    for number in range(3):
        routes(world, number, ingress(f"shop.cl{number}.k3d.internal"))
    world.cluster_list(*map(world.cluster, range(3)))
    world.inv("dns")
    world.fakes.answer("^kubectl .*k3d-cl1 get ingresses", exit=1)
    world.cluster_list(world.cluster(0, running=False), world.cluster(1))
    world.inv("dns")
    assert added(world) == {"shop.cl0.k3d.internal", "shop.cl1.k3d.internal"}
    world.fakes.answer("^k3d cluster list", exit=1)
    world.inv("dns")
    assert added(world) == {"shop.cl0.k3d.internal", "shop.cl1.k3d.internal"}


def test_tasks_that_change_clusters_write_the_names_again_only_where_they_are_there(world: World) -> None:
    world.inv("k3d-cluster-setup", "--n", "0")
    assert hosts(world).read_bytes() == BEFORE
    world.inv("dns")
    world.configured(0)
    routes(world, 0, ingress("shop.cl0.k3d.internal"))
    done = world.inv("k3d-cluster-setup", "--n", "0")
    assert done.returncode == 0, done.stderr
    assert added(world) == {"shop.cl0.k3d.internal"}
    settled = hosts(world).stat().st_mtime_ns
    assert str(hosts(world)) not in world.inv("k3d-cluster-setup", "--n", "0").stdout
    routes(world, 0, ingress("cart.cl0.k3d.internal"))
    world.inv("k3d-cluster-start", "--n", "0")
    assert added(world) == {"cart.cl0.k3d.internal"} and hosts(world).stat().st_mtime_ns > settled
    world.cluster_list(after="^k3d cluster delete")
    assert world.inv("k3d-cluster-delete", "--n", "0").returncode == 0
    assert added(world) == set()


def test_a_failure_to_write_them_does_not_fail_the_task(world: World) -> None:
    world.inv("dns")
    world.cluster_list(world.cluster(0))
    routes(world, 0, ingress("shop.cl0.k3d.internal"))
    world.project.patches.append((os, "geteuid", lambda: 1000))
    world.fakes.answer("^sudo", stderr="dev is not in the sudoers file.\n", exit=1)
    done = world.inv("k3d-cluster-start", "--n", "0")
    assert done.returncode == 0, done.stderr
    assert "Ask an administrator to run these commands" in done.stdout


def test_watch_writes_them_after_each_change_until_it_is_interrupted(world: World) -> None:
    world.inv("dns")
    world.cluster_list(world.cluster(0))
    routes(world, 0, ingress("shop.cl0.k3d.internal"))
    opened: list[str] = []

    def watch(call: Call) -> Answer | None:
        """The first watch of the Ingresses reports a change at once; those that are opened after it report nothing."""
        if "--watch-only" not in call.words:
            return None
        opened.append(call.words[call.words.index("get") + 1])
        if opened.count("ingresses") > 1:
            return Answer(holds=True)
        routes(world, 0, ingress("shop.cl0.k3d.internal"), ingress("cart.cl0.k3d.internal"))
        return Answer("ingress.networking.k8s.io/cart\n", holds=opened[-1] == "ingresses")

    def pause(this: Shell, seconds: float) -> None:
        raise KeyboardInterrupt

    world.fakes.behave("kubectl", watch)
    world.project.patches.append((Shell, "pause", pause))
    done = world.inv("dns", "--watch")
    assert done.returncode == 0, done.stderr
    assert opened == 2 * ["ingresses", "ingressroutes.traefik.io", "httproutes.gateway.networking.k8s.io"]
    assert added(world) == {"shop.cl0.k3d.internal", "cart.cl0.k3d.internal"}


def test_a_script_for_root_has_nothing_to_watch(world: World) -> None:
    done = world.inv("dns", "--watch", "--print-sudo")
    assert done.returncode == 1 and "choose one of them" in done.stderr and done.stdout == ""


def test_watch_is_for_the_hosts_file_alone(world: World) -> None:
    world.project.patches.append(resolver(lambda name: ["127.0.0.1"] if "proof" in name else []))
    done = world.inv("dns", "--watch")
    assert done.returncode == 1 and "The names of this copy are not in a hosts file" in done.stderr


# --- what is missing in it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("routed", "reason", "command"), [
    (True, "{file}, from which this machine resolves the names, does not have this one yet", "inv dns"),
    (False, "this machine resolves the names from {file}, which has no wildcard; it gets the hosts of Ingresses, "
            "IngressRoutes and HTTPRoutes, and none in cl0 has this host", ""),
])
def test_trace_names_a_host_that_is_not_in_it_and_the_command_only_if_that_adds_it(
    world: World, routed: bool, reason: str, command: str
) -> None:
    world.inv("dns")
    world.cluster_list(world.cluster(0))
    found = [ingress("shop.cl0.k3d.internal")] if routed else []
    world.fakes.answer("^kubectl .*get nodes,namespaces", json.dumps({"items": found}))
    rows = json.loads(world.inv("trace", f"https://shop.cl0.k3d.internal:{world.https(0)}/", "--json").stdout)
    row = next(row for row in rows if row["source"] == "resolver")
    assert (row["note"], row["command"]) == (reason.format(file=hosts(world)), command)


def test_doctor_names_the_hosts_that_are_not_in_it_and_fixes_that(world: World) -> None:
    world.inv("dns")
    world.cluster_list(world.cluster(0))
    routes(world, 0, ingress("shop.cl0.k3d.internal"))
    world.fakes.answer("^docker info", json.dumps({"ServerVersion": "28"}))
    world.fakes.answer("^kubectl .*get nodes,namespaces", json.dumps({"items": [ingress("shop.cl0.k3d.internal")]}))
    found = [finding for finding in json.loads(world.inv("doctor", "--json").stdout)
             if finding["id"] == "names-hosts-file"]
    assert [(finding["state"], finding["message"], finding["fix"]) for finding in found] == [
        ("yellow", f"shop.cl0.k3d.internal of cl0 is not in {hosts(world)}", "inv dns")]
    assert "names-hosts-file" not in [finding["id"] for finding in json.loads(
        world.inv("doctor", "--fix", "--json").stdout) if finding["state"] != "green"]
