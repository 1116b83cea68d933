"""Everything at once, for a newcomer: on Linux, on macOS, and as a dry run on a machine that has nothing yet."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from itertools import takewhile

import pytest
from conftest import Project
from inside import resolver
from machine import become, hosts_lines
from pretend import World, pages_of, world_of, written_out
from pretended_registries import registries_of
from recording import Answer, Call

USER = 1000


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    """The user is not root, and this machine's resolver knows what lies in /etc/resolver, and nothing else."""
    def known(name: str) -> list[str]:
        led = [file for file in (project.root / "etc/resolver").glob("*") if f".{name}".endswith(f".{file.name}")]
        return ["127.0.0.1"] if led else []

    with world_of(project) as world:
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


def proved(world: World, *flags: str, resolved: bool = True) -> str:
    """What is said where cluster 0 is there and its page can be reached from everywhere."""
    world.network(there=True)
    world.cluster_list(world.cluster(0))
    page = (0, 200, "<h1>Hello from cl0.k3d.internal</h1>")
    world.fakes.answer("^kubectl .*exec deployment/curl ", written_out(page, page))
    world.fakes.answer("^kubectl .*exec deployment/curl-no-bundle", exit=60)
    with pages_of(world, 0):
        done = world.inv("up", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    opened = f"\nOpen https://example-nginx.cl0.k3d.internal:{world.https(0)}/\n"
    assert done.stdout.endswith(opened) if resolved else "\nOpen " not in done.stdout
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

NOT_RESOLVED = "\nThis machine does not resolve the names yet. These commands need no resolver:\n"


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
    said = proved(world, resolved=False)
    assert "✓ root certificate: already exists" in said
    refused = f"\nThe root was added to {anchors}, but a certificate that it signed is still rejected.\n"
    assert (refused in said) == store
    assert WITHOUT_A_RESOLVER.format("systemd-resolved is not running") in said
    assert commands(world, "docker", "k3d") == ["k3d kubeconfig merge cl0"]
    yellow = said.partition("\nFor what is yellow, type:\n")[2].partition(NOT_RESOLVED)[0]
    assert yellow.splitlines() == ["  inv dns", *(["  inv trust"] if store else [])]
    assert commands_to_type(world, said) == without_resolver(world, "chromium")


def commands_to_type(world: World, said: str) -> list[list[str]]:
    """Those at the end, as a shell would split them."""
    return [shlex.split(line) for line in said.partition(NOT_RESOLVED)[2].splitlines() if line.startswith("  ")]


def without_resolver(world: World, browser: str) -> list[list[str]]:
    url = f"https://example-nginx.cl0.k3d.internal:{world.https(0)}/"
    return [["curl", "--cacert", f"{world.project.home}/.local-ca-certs/internal-ca.crt", "--resolve",
             f"example-nginx.cl0.k3d.internal:{world.https(0)}:127.0.0.1", url],
            [browser, "--user-data-dir=$(mktemp -d)", "--host-resolver-rules=MAP *.k3d.internal 127.0.0.1", url]]


# --- without root -----------------------------------------------------------------------------------------------------


@pytest.fixture
def container(world: World) -> World:
    """A Linux that has a trust store and a hosts file, which its resolver reads, and nothing that runs services."""
    anchors, hosts = (world.project.root / path for path in ("usr/local/share/ca-certificates", "etc/hosts"))
    for folder in (anchors, hosts.parent):
        folder.mkdir(parents=True)
    hosts.write_text("127.0.0.1 localhost\n")
    bundle = world.project.root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True)

    def update(call: Call) -> Answer:
        bundle.write_text("".join(file.read_text() for file in anchors.iterdir()))
        return Answer()

    world.fakes.add("update-ca-certificates", "google-chrome")
    world.fakes.behave("update-ca-certificates", update)
    world.fakes.link("curl", "certutil")
    world.fakes.add_spies("install")

    def known(name: str) -> list[str]:
        return ["127.0.0.1"] if f"127.0.0.1 {name}" in hosts_lines(world.project.root) else []

    world.project.patches.append(resolver(known))
    return world


LEFT = "then run this task again:\n"


@pytest.mark.parametrize("how", ["by a flag", "by sudo", "no sudo"])
def test_without_root_all_else_is_done_and_what_is_left_is_printed_once(container: World, how: str) -> None:
    match how:
        case "by sudo":
            container.fakes.answer("^sudo", stderr="dev is not in the sudoers file.\n", exit=1)
        case "no sudo":
            (container.fakes.bin / "sudo").unlink()
    said = proved(container, *(["--no-root"] if how == "by a flag" else []), resolved=False)
    assert len(container.fakes.calls("sudo")) == (1 if how == "by sudo" else 0)
    assert ("sudo may prompt" in said) == (how != "by a flag")
    assert said.count("Ask an administrator to run these commands") == 1
    left = [shlex.split(line, comments=True)
            for line in said.partition(LEFT)[2].partition("\n\n")[0].splitlines()]
    assert [words[0] for words in left] == ["install", "update-ca-certificates", sys.executable]
    assert said.index(LEFT) < said.index(NOT_RESOLVED), "the page to open is what the run ends with"
    assert commands_to_type(container, said) == without_resolver(container, "google-chrome")
    assert (container.project.home / ".pki/nssdb/cert9.db").exists(), "Chrome needs no root to trust it"
    for words in left:
        container.fakes.run(words, {"PATH": f"{container.fakes.bin}:/usr/bin:/bin"})
    assert proved(container, "--no-root").count("Ask an administrator") == 0


def test_root_itself_may_do_without_root(container: World) -> None:
    container.project.patches.append((os, "geteuid", lambda: 0))
    said = proved(container, "--no-root", resolved=False)
    assert not container.fakes.calls("install") and "Ask an administrator to run these commands" in said


@pytest.mark.parametrize("kept", [True, False])
def test_what_the_caches_keep_is_told_once_and_only_if_they_keep_something(container: World, kept: bool) -> None:
    container.env(REGISTRY_CACHES="docker.io", LOCAL_REGISTRY_PORT="")
    with registries_of(container) as registries:
        if kept:
            registries.server.add_image("library/nginx", b"config", b"layer", kept=True)
        said = proved(container, "--no-root", resolved=False)
    assert said.count("images for work offline") == int(kept)


def test_public_dns_is_offered_where_it_answers(container: World) -> None:
    container.project.patches.append(resolver(lambda name: ["127.0.0.1"] if name.endswith(".nip.io") else []))
    said = proved(container, "--no-root", resolved=False)
    assert said.endswith("In .env: TLD=127.0.0.1.nip.io, then: inv up\n")


# --- on macOS ---------------------------------------------------------------------------------------------------------


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
    left = said.partition("then run this task again:\n")[2].partition("\n\n")[0].splitlines()
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
