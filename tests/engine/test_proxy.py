"""The company's proxy reaches the nodes: the words that k3d receives, and what k3d makes of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise

import ca
import pytest
from conftest import Project
from hypothesis import assume, example, given
from hypothesis import strategies as st
from invoke import Exit
from pretend import GATEWAY, SUBNET, World, world_of

from tasks.engine.loopback_proxy import is_loopback, split_address
from tasks.providers.k3d import for_nodes

PROXY = "http://proxy.example.com:3128"
INSIDE = ("localhost,127.0.0.0/8,.svc,.cluster.local,10.42.0.0/16,10.43.0.0/16," + SUBNET + ",.k3d.internal")


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.fakes.answer("^k3d cluster create", exit=1)  # the rest of a setup is of no interest here
        yield world


def received(world: World, **environment: str) -> dict[str, str]:
    """The variables that `k3d cluster create` is to set, as k3d reads its words."""
    world.inv("k3d-cluster-setup", "--n", "1", **environment)
    words, = world.fakes.calls("k3d", "cluster", "create")
    variables = {}
    for flag, word in pairwise(words):
        if flag == "-e":
            variable, nodes = k3d_splits(word)
            assert nodes == ["server:*", "agent:*"]
            key, _, variables[key] = variable.partition("=")
    return variables


def k3d_splits(flag: str) -> tuple[str, list[str]]:
    """The value and the node filters: what SplitFiltersFromFlag does in k3d's cmd/util/filter.go."""
    pieces, buffer, parts = [], "", flag.split("@")
    for number, part in enumerate(parts):
        if part.endswith("\\") and number != len(parts) - 1:
            part = part[:-1]
            if not part.endswith("\\"):
                buffer += f"{part}@"
                continue
        pieces.append(buffer + part)
        buffer = ""
    assert len(pieces) == 2, f"k3d refuses {flag}"
    return pieces[0], pieces[1].split(";")


def test_without_a_proxy_nothing_is_set(world: World) -> None:
    assert received(world, NO_PROXY="example.com") == {}


@pytest.mark.parametrize("key", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("where", [".env", "environment"])
def test_a_proxy_of_env_or_the_environment_reaches_the_nodes_in_both_spellings(
    world: World, key: str, where: str
) -> None:
    if where == ".env":
        world.env(**{key: PROXY})
    assert received(world, **({} if where == ".env" else {key: PROXY})) == {
        "HTTPS_PROXY": PROXY, "https_proxy": PROXY, "NO_PROXY": INSIDE, "no_proxy": INSIDE}


def test_the_environment_wins_over_env_and_two_spellings_may_differ(world: World) -> None:
    world.env(HTTP_PROXY="http://in-env-file", HTTPS_PROXY="http://lost")
    variables = received(world, HTTPS_PROXY=PROXY, http_proxy="http://lower")
    assert variables["HTTP_PROXY"] == "http://in-env-file"
    assert variables["http_proxy"] == "http://lower"
    assert variables["HTTPS_PROXY"] == variables["https_proxy"] == PROXY


def test_an_empty_variable_of_the_environment_turns_the_proxy_of_env_off(world: World) -> None:
    world.env(HTTPS_PROXY=PROXY)
    assert received(world, HTTPS_PROXY="") == {}


def test_no_proxy_keeps_what_the_user_has_and_adds_the_clusters_each_once(world: World) -> None:
    world.env(HTTP_PROXY=PROXY, NO_PROXY="example.com, localhost,,.corp", K3D_SUBDOMAIN="")
    world.network(subnet="10.89.3.0/24 fd00:1::/64")
    domains = [f"cl{number}.internal" for number in range(10)]
    root = ca.authority(*domains)
    ca.put(world.project.home / ".local-ca-certs", root.pem, root.key_pem())
    entries = received(world)["NO_PROXY"].split(",")
    assert entries == ["example.com", "localhost", ".corp", "127.0.0.0/8", ".svc", ".cluster.local", "10.42.0.0/16",
                       "10.43.0.0/16", "10.89.3.0/24", "fd00:1::/64", *(f".{domain}" for domain in domains)]


def test_a_user_and_a_password_in_the_address_reach_the_nodes(world: World) -> None:
    proxy = "http://me@example.com:p@ss;w=rd,@proxy:3128"
    assert received(world, HTTPS_PROXY=proxy)["HTTPS_PROXY"] == proxy


@pytest.mark.parametrize(
    "proxy", ["http://me:hunter2@proxy:3128", "me:hunter2@proxy:3128", "http://me:a hunter2@proxy"],
    ids=["an address", "without http://", "with a space"],
)
def test_the_password_of_a_proxy_is_shown_by_no_dry_run_and_no_error(world: World, proxy: str) -> None:
    world.fakes.answer("^k3d cluster create", exit=1)
    for words in (["--dry"], ["--echo"], []):
        done = world.inv(*words, "k3d-cluster-setup", "--n", "1", HTTPS_PROXY=proxy)
        assert "hunter2" not in done.stdout + done.stderr
        assert "***@proxy" in done.stdout + done.stderr


def test_what_k3d_cannot_be_told_is_told_to_the_user_without_the_value(world: World) -> None:
    done = world.inv("k3d-cluster-setup", "--n", "1", HTTPS_PROXY=r"http://CORP\@secret@proxy:3128")
    assert done.returncode == 1
    assert r"HTTPS_PROXY contains \@, which k3d cannot pass to a node." in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert not world.fakes.calls("k3d", "cluster", "create")


@given(st.text(st.sampled_from("a@\\;:=,% ") | st.characters(exclude_categories=["Cs"])))
@example("\\")
@example("\\\\")
@example("@")
@example("a\\\\b@")
def test_every_value_survives_k3ds_splitting(value: str) -> None:
    assume("\\@" not in value)
    assert k3d_splits(for_nodes("HTTPS_PROXY", value)) == (f"HTTPS_PROXY={value}", ["server:*", "agent:*"])


@given(st.text(st.sampled_from("a@\\")), st.text(st.sampled_from("a@\\")))
def test_a_backslash_before_an_at_is_refused_as_k3d_has_no_form_for_it(before: str, after: str) -> None:
    with pytest.raises(Exit):
        for_nodes("HTTPS_PROXY", f"{before}\\@{after}")


# --- a proxy on this machine ------------------------------------------------------------------------------------------

LOOPBACK = [
    "http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://localhost:{port}/", "http://LOCALHOST.:{port}",
    "http://[::1]:{port}", "https://127.1:{port}", "http://proxy.localhost:{port}", "http://0.0.0.0:{port}",
    "http://me:hunter2@127.0.0.1:{port}", "me:hun/t#er2@localhost:{port}", "socks5://127.0.0.1:{port}",
    "http://my-laptop:{port}",
]


@pytest.mark.parametrize("key", ["HTTPS_PROXY", "http_proxy"])
@pytest.mark.parametrize("proxy", LOOPBACK)
def test_a_proxy_on_loopback_is_told_before_a_cluster_is_made_with_the_address_to_use(
    world: World, proxy: str, key: str
) -> None:
    hosts = world.project.root / "etc" / "hosts"
    hosts.parent.mkdir()
    hosts.write_text("127.0.0.1 localhost\n127.0.1.1 my-laptop # Debian\n")
    with socket.create_server((GATEWAY, 0)) as server:
        port = server.getsockname()[1]
        done = world.inv("k3d-cluster-setup", "--n", "1", **{key: proxy.format(port=port)})
    assert done.returncode == 1 and not world.fakes.calls("k3d", "cluster", "create")
    assert key.upper() in done.stderr and "in a node is the node itself" in done.stderr
    scheme = proxy.partition("://")[0] if "://" in proxy else "http"
    assert f"use {scheme}://{GATEWAY}:{port}\n" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr and "er2" not in done.stderr

    done = world.inv("k3d-cluster-setup", "--n", "1", **{key: proxy.format(port=port)})  # nobody is there any more
    assert f"Nothing listens on {GATEWAY}:{port}" in done.stderr
    assert "HTTP_PROXY= HTTPS_PROXY= inv" in done.stderr


def test_where_the_engine_is_a_virtual_machine_its_name_for_this_one_is_told(world: World) -> None:
    world.virtual_machine()
    world.fakes.answer("^docker run .* http://host.docker.internal:3128/", "192.168.65.254")
    done = world.inv("k3d-cluster-setup", "--n", "1", HTTPS_PROXY="http://127.0.0.1:3128")
    assert "use http://host.docker.internal:3128" in done.stderr
    assert not world.fakes.calls("k3d", "cluster", "create")


@pytest.mark.parametrize("proxy", [
    "http://proxy.example.com:3128", "10.1.2.3:3128", "http://[fd00::1]:3128", "http://127.0.0.1:x@proxy:3128",
    "http://localhost.example.com", "http://mylocalhost:3128",
])
def test_a_proxy_elsewhere_is_none_on_loopback(proxy: str) -> None:
    assert not is_loopback(split_address(proxy)[1])


@pytest.mark.parametrize("proxy", [
    "http://[::1", "http://proxy.example.com:abc", "://", "http://", "http://proxy.example.com:99999", "http://p:0",
])
def test_a_proxy_that_is_no_url_is_told_before_a_cluster_is_made(world: World, proxy: str) -> None:
    done = world.inv("k3d-cluster-setup", "--n", "1", HTTPS_PROXY=proxy)
    assert done.returncode == 1 and "HTTPS_PROXY is not the URL of a proxy" in done.stderr
    assert "Traceback" not in done.stderr
    assert not world.fakes.calls("k3d", "cluster", "create")


def test_a_dry_run_tells_it_too(world: World) -> None:
    done = world.inv("--dry", "k3d-cluster-setup", "--n", "1", HTTPS_PROXY="http://127.0.0.1:3128")
    assert "in a node is the node itself" in done.stderr and "<gateway of dev-clusters>" in done.stderr
