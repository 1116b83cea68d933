"""Everything at once, for a newcomer: on Linux, on macOS, and as a dry run on a machine that has nothing yet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import takewhile

import pytest
from conftest import Project
from pretend import World, pages_of, world_of


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.impatient()
        yield world


@pytest.fixture
def mac(world: World) -> World:
    """The same for macOS: recorders for what it brings along, and for what root would do there."""
    world.fakes.add("brew", "security", "dscacheutil", "mkdir", "install", "cp", "rm")
    world.fakes.answer("^uname", "Darwin\n")
    world.fakes.answer("^brew --prefix", f"{world.project.home / 'homebrew'}\n")
    world.fakes.answer("^brew list", exit=1)
    world.fakes.answer("^security verify-cert", exit=1)
    world.fakes.answer("^security verify-cert", after="security add-trusted-cert")
    world.fakes.answer("^dscacheutil", "name: proof.cl0.k3d.internal\nip_address: 127.0.0.1\n")
    return world


def proved(world: World) -> str:
    """What is said where cluster 0 is there and its page can be reached from everywhere."""
    world.network(there=True)
    world.cluster_list(world.cluster(0))
    world.fakes.answer("^kubectl .*exec ", "<h1>Hello from cl0.k3d.internal</h1>")
    world.fakes.answer("^kubectl .*exec deployment/curl-no-bundle", exit=60)
    with pages_of(world, 0):
        done = world.inv("up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(f"\nOpen https://example-nginx.cl0.k3d.internal:{world.https(0)}/\n")
    return done.stdout


def commands(world: World, *tools: str) -> list[str]:
    """What these tools were asked to change, in short: the words before the first option."""
    return [" ".join(takewhile(lambda word: word[0] != "-", words)) for words in world.changes() if words[0] in tools]


def test_on_linux_it_ends_with_the_page_to_open_and_says_what_is_left_to_type(world: World) -> None:
    said = proved(world)
    assert "✓ root certificate: already there" in said
    assert "! trust on this machine: not yet. To add the root to the system's store, type:\n" in said
    assert ("! names on this machine: not yet. For this one name, type:\n"
            '    echo "127.0.0.1 example-nginx.cl0.k3d.internal" | sudo tee -a /etc/hosts') in said
    assert commands(world, "docker", "k3d") == ["k3d kubeconfig merge cl0"]


def test_on_macos_the_root_is_trusted_and_names_resolve_before_the_cluster_is_made(mac: World) -> None:
    mac.fakes.answer("^k3d cluster create", exit=1)
    done = mac.inv("up")
    assert "✓ trust on this machine: now in the system keychain" in done.stdout
    assert commands(mac, "security", "brew", "k3d") == [
        "security add-trusted-cert", "brew install dnsmasq", "brew services start dnsmasq",
        "brew services restart dnsmasq", "k3d cluster create cl0",
    ]


def test_what_macos_refuses_is_said_and_the_cluster_is_created_all_the_same(mac: World) -> None:
    mac.fakes.answer("security add-trusted-cert", stderr="The authorization was canceled by the user.\n", exit=1)
    mac.fakes.answer("^brew install", stderr="Error: No internet\n", exit=1)
    mac.fakes.answer("^k3d cluster create", exit=1)
    done = mac.inv("up", "--", "--agents", "1")
    assert "The authorization was canceled by the user." in done.stdout and "Try again with: inv cert" in done.stdout
    assert "dnsmasq: brew ended with 1." in done.stdout and "Error: No internet" in done.stdout
    created = mac.fakes.calls("k3d", "cluster", "create", "cl0")
    assert len(created) == 1 and created[0][-2:] == ["--agents", "1"]


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
