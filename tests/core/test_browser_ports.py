"""Ports that no browser opens: named where they are shown, never as a URL to open."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import SOURCE, Project
from pretend import Ports, World, world_of

from tasks.core.browser_ports import (
    BLOCKED_PORTS,
    LINK,
    blocked_ports,
    describe_blocked,
    find_blocked_https,
    urls_to_open,
)
from tasks.core.configuration import load
from tasks.core.settings import Cluster

# The table of LINK, as a browser's source has it.
OF_THE_STANDARD = (
    "1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 "
    "135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 "
    "995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080")


DEFAULTS = load(SOURCE, {})


def cluster_on(port: int, scheme: str) -> Cluster:
    """Cluster 0 with this port for one scheme, and a harmless one for the other."""
    start, end = divmod(port, 10)
    other = "https" if scheme == "http" else "http"
    ports: dict[str, Any] = {
        "k3d_port_start": start, "k3d_port_end": start, f"k3d_port_suffix_{scheme}": str(end),
        f"k3d_port_prefix_{other}": "4" if start > 99 else "444", f"k3d_port_suffix_{other}": ""}
    return dataclasses.replace(DEFAULTS, **ports).cluster(0)


def test_the_list_is_that_of_the_standard() -> None:
    assert set(map(int, OF_THE_STANDARD.split())) == BLOCKED_PORTS


@pytest.mark.parametrize("port", sorted(BLOCKED_PORTS))
def test_each_port_of_the_list_is_found_for_http_and_for_https(port: int) -> None:
    http, https = cluster_on(port, "http"), cluster_on(port, "https")
    assert blocked_ports(http) == {"http": port} and find_blocked_https(http) is None
    assert [url.partition(":")[0] for url in urls_to_open(http)] == ["https"]
    assert blocked_ports(https) == {"https": port}
    wrong = find_blocked_https(https)
    assert wrong and wrong.code == "https-port-blocked"
    for cluster in (http, https):
        said, = describe_blocked([cluster])
        assert str(port) in said and LINK in said and f":{port}/" not in said


def test_of_the_defaults_only_http_of_cluster_0_is_on_the_list() -> None:
    clusters = [DEFAULTS.cluster(number) for number in DEFAULTS.numbers]
    assert [blocked_ports(cluster) for cluster in clusters] == [{"http": 10080}, *({} for _ in clusters[1:])]


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    """Cluster 0 has 10080 for HTTP, and 10085 for HTTPS."""
    with world_of(project) as world:
        world.ports.start = 1008
        world.env()
        yield world


@pytest.mark.parametrize("task", ["k3d-cluster-list", "status"])
def test_what_shows_the_port_says_once_that_browsers_refuse_it(world: World, task: str) -> None:
    world.cluster_list(world.cluster(0, running=False), world.cluster(1, running=False))
    said = world.inv(task).stdout
    assert said.count("Browsers refuse port 10080 (HTTP of cl0)") == 1 and said.count("Browsers refuse") == 1
    assert "Open https://<name>.cl0.k3d.internal:10085/ instead" in said and "K3D_PORT_START" in said
    assert ":10080/" not in said
    world.cluster_list(world.cluster(1, running=False))
    assert "Browsers refuse" not in world.inv(task).stdout


def test_what_programs_read_stays_as_it_is(world: World) -> None:
    world.cluster_list(world.cluster(0, running=False))
    told, = json.loads(world.inv("k3d-cluster-list", "--json").stdout)
    assert (told["http"], told["https"]) == (10080, 10085)


def test_setup_names_no_url_that_a_browser_refuses(world: World) -> None:
    said = world.inv("k3d-cluster-setup", "--n", "0,1").stdout
    assert "http://<name>.cl1.k3d.internal:10090/" in said
    assert "https://<name>.cl0.k3d.internal:10085/" in said and ":10080/" not in said
    assert said.count("Browsers refuse port 10080 (HTTP of cl0)") == 1


def test_a_cluster_that_no_browser_could_use_is_not_created(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ports, "HTTP", "1")
    monkeypatch.setattr(Ports, "HTTPS", "0")
    world.env()
    done = world.inv("k3d-cluster-setup", "--n", "0")
    assert done.returncode == 1 and not world.fakes.calls("k3d", "cluster", "create")
    assert "no browser opens port 10080, the HTTPS port of cl0" in done.stderr
    assert "Change K3D_PORT_START, K3D_PORT_PREFIX_HTTPS or K3D_PORT_SUFFIX_HTTPS in .env." in done.stderr
    world.cluster_list(world.cluster(0, running=False))  # one that exists can be stopped and deleted all the same
    assert world.inv("k3d-cluster-delete", "--n", "0").returncode == 0


def test_the_settings_the_pages_and_the_trace_of_such_a_url_say_so(world: World) -> None:
    comment = (SOURCE / ".default.env").read_text().partition("K3D_PORT_PREFIX_HTTP=")[0].rpartition("\n\n")[2]
    assert LINK in comment and "10080" in comment and "10443" in comment
    for page in ("how-it-works", "settings", "errors"):
        assert LINK in (SOURCE / "docs" / f"{page}.md").read_text(), page
    world.cluster_list(world.cluster(0))
    assert "Browsers refuse port 10080" in world.inv("trace", "http://app.cl0.k3d.internal:10080/").stdout
    assert "Browsers refuse" not in world.inv("trace", "https://app.cl0.k3d.internal:10085/").stdout
