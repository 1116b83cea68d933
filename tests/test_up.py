"""Everything at once, for a newcomer: on Linux, on macOS, and as a dry run on a machine that has nothing yet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import takewhile

import pytest
from conftest import Project
from inside import resolver
from machine import become
from pretend import World, pages_of, world_of, written_out

USER = 1000


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    """The user is not root, and this machine's resolver knows what lies in /etc/resolver, and nothing else."""
    def known(name: str) -> list[str]:
        led = [file for file in (project.root / "etc/resolver").glob("*") if f".{name}".endswith(f".{file.name}")]
        return ["127.0.0.1"] if led else []

    with world_of(project) as world:
        world.impatient()
        project.patches += [(os, "geteuid", lambda: USER), resolver(known)]
        yield world


@pytest.fixture
def mac(world: World) -> World:
    """The same for macOS: recorders for what it brings along, and a root whose files lie in a folder of the test."""
    world.fakes.add("brew", "security", "dscacheutil")
    world.fakes.behave("sudo", become)
    (world.project.root / "etc").mkdir()
    world.fakes.answer("^uname", "Darwin\n")
    world.fakes.answer("^brew --prefix", f"{world.project.home / 'homebrew'}\n")
    world.fakes.answer("^brew list", exit=1)
    world.fakes.answer("^security verify-cert", exit=1)
    world.fakes.answer("^security verify-cert", after="^security add-trusted-cert")
    world.fakes.answer("^dscacheutil", "name: proof.cl0.k3d.internal\nip_address: 127.0.0.1\n")
    return world


def proved(world: World) -> str:
    """What is said where cluster 0 is there and its page can be reached from everywhere."""
    world.network(there=True)
    world.cluster_list(world.cluster(0))
    page = (0, 200, "<h1>Hello from cl0.k3d.internal</h1>")
    world.fakes.answer("^kubectl .*exec deployment/curl ", written_out(page, page))
    world.fakes.answer("^kubectl .*exec deployment/curl-no-bundle", exit=60)
    with pages_of(world, 0):
        done = world.inv("up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(f"\nOpen https://example-nginx.cl0.k3d.internal:{world.https(0)}/\n")
    return done.stdout


def commands(world: World, *tools: str) -> list[str]:
    """What these tools were asked to change, in short, and once: the words before the first option."""
    changes = [words for words in world.changes() if words[0] in tools]
    return [*dict.fromkeys(" ".join(takewhile(lambda word: word[0] != "-", words)) for words in changes)]


WITHOUT_A_RESOLVER = """
No method resolves names below k3d.internal on this machine:
  brew-dnsmasq: only on macOS, because no other system reads /etc/resolver
  systemd-resolved: {}
  network-manager: """


@pytest.mark.parametrize("store", [False, True], ids=["no trust store", "one that does not take the root"])
def test_on_linux_it_ends_with_the_page_to_open_and_names_the_tasks_for_what_is_yellow(
    world: World, store: bool
) -> None:
    """Nothing that fails for this machine alone keeps a cluster from being made and proved."""
    anchors = world.project.root / "usr/local/share/ca-certificates"
    world.fakes.add("systemctl", "update-ca-certificates")
    world.fakes.answer("^systemctl", exit=3)
    if store:
        anchors.mkdir(parents=True)
    said = proved(world)
    assert "✓ root certificate: already exists" in said
    refused = f"\nThe root was added to {anchors}, but a certificate that it signed is still rejected.\n"
    assert (refused in said) == store
    assert WITHOUT_A_RESOLVER.format("systemd-resolved is not running") in said
    assert commands(world, "docker", "k3d") == ["k3d kubeconfig merge cl0"]
    yellow = said.partition("\nFor what is yellow, type:\n")[2].partition("\n\n")[0]
    assert yellow.splitlines() == ["  inv dns", *(["  inv trust"] if store else [])]


def test_on_macos_the_root_is_trusted_and_names_resolve_before_the_cluster_is_made(mac: World) -> None:
    mac.fakes.answer("^k3d cluster create", exit=1)
    done = mac.inv("up")
    assert "✓ trust in /Library/Keychains/System.keychain: the root is trusted now " in done.stdout
    assert "✓ this machine's resolver: resolves names below k3d.internal, other names as before " in done.stdout
    assert commands(mac, "security", "brew", "k3d") == [
        "security add-trusted-cert", "brew install dnsmasq", "brew services start dnsmasq",
        "brew services restart dnsmasq", "k3d cluster create cl0",
    ]


def test_what_needs_root_is_told_once_for_trust_and_names(mac: World) -> None:
    mac.fakes.answer("^k3d cluster create", exit=1)
    said = mac.inv("up").stdout
    heading = "The following commands need root; sudo may prompt for your password:\n"
    listed = said.partition(heading)[2].partition("\n\n")[0].splitlines()
    programs = [line.split("  # ")[0].split()[1] for line in listed]
    assert programs == ["security", "brew", "brew", "mkdir", "install"]
    assert said.count("need root") == 1


def test_on_macos_all_is_green_in_the_end(mac: World) -> None:
    said = proved(mac)
    assert "For what is yellow" not in said
    assert said.count("this machine's resolver") == 2 and "trusted" in said.partition("this machine's trust store")[2]


def test_what_macos_refuses_is_said_and_the_cluster_is_created_all_the_same(mac: World) -> None:
    mac.fakes.answer("security add-trusted-cert", stderr="The authorization was canceled by the user.\n", exit=1)
    mac.fakes.answer("^brew install", stderr="Error: No internet\n", exit=1)
    mac.fakes.answer("^k3d cluster create", exit=1)
    done = mac.inv("up", "--", "--agents", "1")
    assert "The authorization was canceled by the user." in done.stdout and "Try again with: inv trust" in done.stdout
    assert "dnsmasq: brew exited with code 1." in done.stdout and "Error: No internet" in done.stdout
    created = mac.fakes.calls("k3d", "cluster", "create", "cl0")
    assert len(created) == 1 and created[0][-2:] == ["--agents", "1"]


def test_without_admin_rights_the_commands_that_are_left_are_told_and_the_cluster_is_created(mac: World) -> None:
    mac.fakes.answer("^sudo", stderr="dev is not in the sudoers file.\n", exit=1)
    mac.fakes.answer("^k3d cluster create", exit=1)
    said = mac.inv("up").stdout
    left = said.partition("(--print-sudo prints them as a script):\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in left] == ["security", "brew", "brew", "mkdir", "install"]
    assert len(mac.fakes.calls("sudo")) == 1, "nothing is asked again"
    assert mac.fakes.calls("k3d", "cluster", "create", "cl0")


def test_a_dry_run_on_a_machine_without_a_root_shows_the_whole_way(world: World) -> None:
    shutil.rmtree(world.project.home / ".local-ca-certs")
    done = world.inv("--dry", "up")
    assert done.returncode == 0, done.stderr
    assert not (world.project.home / ".local-ca-certs").exists()
    assert world.changes() == []
    commands = [line.split(" -")[0] for line in done.stdout.splitlines() if not line.startswith("#")]
    assert commands[:6] == ["openssl ecparam", "openssl req", "openssl req", "docker network create",
                            "k3d cluster create cl0", "k3d kubeconfig merge cl0"]
    assert {"helm upgrade", "openssl x509", "kubectl"} <= set(commands)
    assert "/nginx.yaml" in done.stdout.splitlines()[-1]
