"""Machines that lack something, for real: a resolver to set up, a writable hosts file, root, an engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import real_clusters
from laptop import PROJECT, Laptop, why_not
from real_clusters import PASSED_ON

pytestmark = [pytest.mark.laptop, pytest.mark.skipif(bool(why_not()), reason=why_not())]

EXAMPLE, HOSTS = "example-nginx.cl3.k3d.internal", "/etc/hosts"


def address(laptop: Laptop, name: str) -> str:
    return laptop.run(f"getent ahostsv4 {name} | awk '{{print $1; exit}}'", check=False)


# --- no resolver ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """Debian without systemd, whose resolv.conf points nowhere. RFC 5737: nobody has that address."""
    container = Laptop.without_systemd(tmp_path_factory.mktemp("container"), "--dns", "192.0.2.1",
                                       "--dns-option", "timeout:1", "--dns-option", "attempts:1")
    yield container
    container.remove()


def test_names_are_added_to_the_mounted_hosts_file_and_all_files_are_as_before_in_the_end(container: Laptop) -> None:
    before, inode = container.files(), container.run(f"stat -c %i {HOSTS}")
    said = container.inv("cert dns")
    assert f"! {HOSTS}: 12 names written in place, because it cannot be replaced: Device or resource busy" in said
    assert (address(container, EXAMPLE), address(container, "other.k3d.internal")) == ("127.0.0.1", "")
    assert container.run(f"stat -c %i {HOSTS}") == inode
    assert "already has 12 names" in container.inv("dns")
    container.inv("uninstall --yes")
    assert container.files() == before and address(container, EXAMPLE) == ""


def test_a_hosts_file_that_is_mounted_read_only_is_refused(container: Laptop) -> None:
    container.run(f"cp {HOSTS} /root/hosts && mount --bind /root/hosts {HOSTS} && mount -o remount,bind,ro {HOSTS}")
    try:
        assert f"hosts-file: {HOSTS} is mounted read-only" in container.inv("dns", check=False)
    finally:
        container.run(f"umount {HOSTS}")


def test_no_line_is_lost_that_another_program_appends_meanwhile(container: Laptop) -> None:
    """To an ordinary file, which is replaced, with mode and owner; last, because Docker's mount is gone then."""
    container.run(f"umount {HOSTS} && printf '127.0.0.1 localhost\\n' > {HOSTS} && chmod 640 {HOSTS} && "
                  f"chgrp dev {HOSTS}")
    container.run(f"nohup sh -c 'for n in $(seq 500); do echo 10.0.0.1 other$n >> {HOSTS}; sleep 0.01; done; "
                  "touch /tmp/done' > /dev/null 2>&1 &")
    runs = 0
    while "done" not in container.run("ls /tmp"):
        container.run(f"cd {PROJECT} && DNS_METHOD=hosts-file .venv/bin/inv {('dns', 'dns-remove')[runs % 2]}", "dev",
                      check=False)
        runs += 1
    assert runs > 1
    container.inv("dns-remove")
    lines = container.run(f"cat {HOSTS}").splitlines()
    assert lines == ["127.0.0.1 localhost", *(f"10.0.0.1 other{number}" for number in range(1, 501))]
    assert container.run(f"stat -c '%a %U %G' {HOSTS}") == "640 root dev"
    assert container.run("ls -A /etc | grep hosts") == "hosts"


# --- no engine --------------------------------------------------------------------------------------------------------


def test_debians_engine_is_installed_started_and_used_in_the_same_run_and_removed_again(tmp_path: Path) -> None:
    """The run then ends where it would download k3d, unless there is a connection to the Internet."""
    machine = Laptop.without_systemd(tmp_path, "--volume", "/var/lib/docker")
    try:
        if "Err:" in machine.run("apt-get update", check=False):
            pytest.skip("no mirror of Debian answers")
        machine.run("rm -rf /var/lib/apt/lists/*")
        # A container may not raise its limits, which Docker's init script does.
        machine.run("echo 'ulimit() { :; }' > /etc/default/docker; echo force-confold > /etc/dpkg/dpkg.cfg.d/keep")
        said = machine.inv("up --yes; echo \"ended with $?\"", check=False)
        assert "✓ packages docker.io: installed with apt-get" in said, said
        assert "✓ Docker's engine: started" in said and "✓ group docker: dev is a member now" in said
        assert "Going on as a member of the group docker." in said and "engine does not answer" not in said
        assert "may not use its engine" not in said.partition("Going on as")[2]
        assert machine.dev("sg docker -c 'docker version --format {{.Server.Version}}'")
        assert "installed by inv up: docker.io, dev in the group docker: other programs may use it" in machine.inv(
            "uninstall --yes")
        machine.inv("uninstall --yes --tools")
        assert machine.run("which dockerd; id -nG dev", check=False).split() == ["dev"]
        assert machine.run("ls /etc/dev-cluster-tasks", check=False).startswith("ls: cannot access")
    finally:
        machine.run("kill $(cat /var/run/docker.pid)", check=False)
        machine.remove()


# --- from nothing but Python to a trusted page ------------------------------------------------------------------------

PREFIX, START = "dcb", 27
PAGE = f"https://example-nginx.{PREFIX}0.k3d.internal:{START}443/"


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Laptop]:
    """A container in this machine's network, with its engine and tools, as a devcontainer has them."""
    mounts = [f"{tool}:/usr/bin/{Path(tool).name}" for tool in map(shutil.which, ("docker", "k3d", "helm", "kubectl"))
              if tool]
    charts = os.environ.get("CHART_SOURCE", "")
    if Path(charts).is_dir():
        mounts.append(f"{charts}:{charts}")
    socket = "/var/run/docker.sock"
    machine = Laptop.without_systemd(tmp_path, "--network", "host", "--group-add", str(Path(socket).stat().st_gid), *(
        word for mount in (f"{socket}:{socket}", *mounts) for word in ("--volume", mount)))
    settings = {"K3D_CLUSTER_NAME_PREFIX": PREFIX, "K3D_NETWORK": PREFIX, "K3D_PORT_START": str(START),
                "K3D_PORT_END": str(START + 1), **{key: os.environ[key] for key in PASSED_ON if key in os.environ}}
    machine.run(f"groupadd --force --gid {Path(socket).stat().st_gid} engine; usermod -aG engine dev", check=False)
    machine.run(f"cat > {PROJECT}/.env <<'END'\n" + "".join(f"{key}={value}\n" for key, value in settings.items())
                + "END")
    yield machine
    machine.inv("uninstall --yes", check=False)  # what a failed test has left
    machine.remove()
    subprocess.run(["k3d", "cluster", "delete", f"{PREFIX}0"], capture_output=True)
    subprocess.run(["docker", "network", "rm", PREFIX], capture_output=True)


@pytest.mark.skipif(bool(real_clusters.why_not()), reason=real_clusters.why_not())
def test_without_root_then_with_it_and_as_ingresses_come(newcomer: Laptop) -> None:
    before = newcomer.files()
    said = newcomer.inv("up --no-root")
    assert said.count("Ask an administrator to run these commands") == 1 and "\nOpen " not in said
    curl = next(line for line in said.splitlines() if line.startswith("  curl "))
    assert f"Hello from {PREFIX}0.k3d.internal" in newcomer.dev(curl), curl

    left = said.partition("then run this task again:\n")[2].partition("\n\n")[0].splitlines()
    for line in left:
        newcomer.run(shlex.join(shlex.split(line, comments=True)))
    again = newcomer.inv("up --no-root")
    assert "Ask an administrator" not in again and again.endswith(f"\nOpen {PAGE}")
    assert f"Hello from {PREFIX}0.k3d.internal" in newcomer.dev(f"curl --silent --show-error {PAGE}")

    host = f"new.{PREFIX}0.k3d.internal"
    newcomer.dev("nohup setsid .venv/bin/inv dns --watch > /tmp/watch.log 2>&1 & echo $! > /tmp/watch.pid")
    newcomer.until(lambda: "Watching the Ingresses" in newcomer.run("cat /tmp/watch.log"))
    kubectl = f"kubectl --context k3d-{PREFIX}0 -n examples"
    newcomer.dev(f"{kubectl} create ingress new --rule={host}/=nginx:80")
    newcomer.until(lambda: address(newcomer, host) == "127.0.0.1", 60)
    newcomer.dev(f"{kubectl} delete ingress new")
    newcomer.until(lambda: address(newcomer, host) == "", 60)
    newcomer.run("kill -INT -- -$(cat /tmp/watch.pid)", check=False)

    newcomer.inv("uninstall --yes")
    after = newcomer.files()
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert not {name for name in changed if not re.search(r"/\.kube|/\.cache|/\.config", name)}, changed
