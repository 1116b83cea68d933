"""Whose a taken port is, as far as that can be known, and which range of ports is free instead."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from typing import Any

import pytest
from conftest import SOURCE
from invoke import Config, Context, Exit
from invoke.runners import Result

from tasks.core.configuration import load
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.engine import ports
from tasks.engine.clusters import ExistingCluster
from tasks.providers import k3d

real_is_taken = ports.is_taken

HERE = "127.0.0.9"


class Engine(Shell):
    """Docker as it answers: containers by the port that they publish; and the clusters that exist."""

    def __init__(self) -> None:
        super().__init__(Context(Config()), {})
        self.published: dict[int, str] = {}
        self.clusters: list[ExistingCluster] = []
        self.our_networks: set[str] = set()

    def look(self, *words: str, seconds: float = 0) -> Result:
        if words[:2] == ("docker", "ps"):
            port = int(re.sub(r"\D", "", words[words.index("--filter") + 1]))
            return Result(stdout=self.published.get(port, ""))
        if words[:3] == ("docker", "network", "inspect"):
            return Result(stdout="dev-cluster-tasks\n" if words[3] in self.our_networks else "\n")
        return Result(exited=1)

    def cluster(self, name: str, *published: int, network: str = "dev-clusters") -> None:
        """A cluster of somebody, running or not, that publishes these ports."""
        mappings = {f"{443 + n}/tcp": [{"HostIp": HERE, "HostPort": str(port)}] for n, port in enumerate(published)}
        self.clusters.append(k3d.read_cluster({"name": name, "network": {"name": network}, "nodes": [
            {"name": f"k3d-{name}-serverlb", "role": "loadbalancer", "portMappings": mappings}]}))
        self.published |= dict.fromkeys(published, f"k3d-{name}-serverlb\n")


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def settings() -> Settings:
    return replace(load(SOURCE, {}), k3d_port_start=10, k3d_port_end=19)


@pytest.fixture(autouse=True)
def listen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Simulate servers on these ports, because clusters of this machine may use the real ones."""
    listening: set[int] = set()
    monkeypatch.setattr(ports, "is_taken", lambda address, port: port in listening)
    return lambda *wanted: listening.update(wanted)


def refusal(engine: Engine, settings: Settings, number: int = 1, there: bool = False) -> str:
    with pytest.raises(Exit) as error:
        ports.check_free_ports(engine, settings.cluster(number), [HERE, "<gateway>"], engine.clusters, there)
    return str(error.value.message)


@pytest.mark.parametrize(("name", "network", "whose"), [
    ("ab1", "dev-clusters", "created by another copy of these tasks"),
    ("ab1", "k3d-ab1", "created by another copy of these tasks, or by k3d itself"),
    ("cl3", "dev-clusters",
     "named by these settings, but created with other K3D_PORT_ settings or by another copy of these tasks"),
])
def test_a_port_of_another_cluster_is_told_as_that_with_a_range_that_is_free(
    engine: Engine, settings: Settings, listen: Any, name: str, network: str, whose: str
) -> None:
    engine.our_networks = {"dev-clusters"}
    engine.cluster(name, 11443, network=network)
    listen(11443)
    assert refusal(engine, settings) == (
        f"cl1 cannot be created:\n  {HERE}:11443 is taken by cluster {name} ({whose})\n"
        "Free range: K3D_PORT_START=20 K3D_PORT_END=29\n"
        f"Set that in .env. Or stop the other cluster: k3d cluster stop {name}")


def test_the_range_is_free_of_what_listens_and_of_clusters_that_are_stopped(
    engine: Engine, settings: Settings, listen: Any
) -> None:
    engine.cluster("ab1", 11080, 11443)
    engine.cluster("ab9", 29443)  # stopped: nobody listens
    listen(11080, 11443)
    assert "START=20" not in refusal(engine, settings) and "Free range: K3D_PORT_START=30 K3D_PORT_END=39" not in (
        refusal(engine, settings)), "ports from 32768 are given away by Linux"
    found = re.search(r"Free range: K3D_PORT_START=(\d+) K3D_PORT_END=(\d+)", refusal(engine, settings))
    assert found
    start, end = int(found[1]), int(found[2])
    assert end - start == 9
    chosen = replace(settings, k3d_port_start=start, k3d_port_end=end)
    every = {chosen.port(number, scheme) for number in chosen.numbers for scheme in ("http", "https")}
    assert len(every) == 20 and not every & {11080, 11443, 29443} and max(every) < 32768
    assert not any(ports.is_taken(HERE, port) for port in every)
    listen(min(every))
    assert f"K3D_PORT_START={start} " not in refusal(engine, settings)


def test_a_cluster_that_is_there_is_told_to_be_made_again_for_another_range(
    engine: Engine, settings: Settings, listen: Any
) -> None:
    engine.cluster("ab1", 11443)
    listen(11443)
    told = refusal(engine, settings, there=True)
    assert told.startswith("cl1 cannot be started:\n")
    assert ("Set that in .env and recreate it: inv k3d-cluster-delete --n 1 k3d-cluster-setup --n 1. "
            "Or stop the other cluster: k3d cluster stop ab1") in told


def test_a_program_or_another_container_is_no_cluster(engine: Engine, settings: Settings, listen: Any) -> None:
    engine.published[11443] = "some-proxy\n"
    listen(11443)
    assert refusal(engine, settings) == (
        f"cl1 cannot be created:\n  {HERE}:11443 is taken by the container some-proxy\n"
        "Stop what uses the port, or change K3D_PORT_START or another K3D_PORT_ key in .env.")


def test_a_stopped_cluster_with_the_same_ports_is_told_and_holds_nothing_up(
    engine: Engine, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.cluster("ab1", 11443)
    engine.cluster("ab2", 12443)
    ports.check_free_ports(engine, settings.cluster(1), [HERE], engine.clusters)
    assert capsys.readouterr().out == (
        "cl1: cluster ab1 publishes the same ports and is stopped: only one of them can run at a time. "
        "Free range: K3D_PORT_START=20 K3D_PORT_END=29\n")
    ports.check_free_ports(engine, settings.cluster(1), [HERE], engine.clusters, there=True)
    ports.check_free_ports(engine, settings.cluster(3), [HERE], engine.clusters)
    assert capsys.readouterr().out == ""


def test_where_no_such_range_is_free_that_is_said(engine: Engine, settings: Settings) -> None:
    wide = replace(settings, k3d_port_start=1, k3d_port_end=64)
    engine.cluster("ab1", 11443)
    assert ports.describe_free_range(wide, [HERE], engine.clusters).startswith("No range of that size is free.")
    fixed = replace(settings, k3d_port_prefix_http="1", k3d_port_suffix_http="80",
                    k3d_port_prefix_https="2", k3d_port_suffix_https="43")
    assert re.fullmatch(r"Free range: K3D_PORT_START=2\d K3D_PORT_END=\d\d",
                        ports.describe_free_range(fixed, [HERE], engine.clusters))


def test_a_port_is_taken_while_a_program_listens_on_it() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        server.listen()
        assert real_is_taken("127.0.0.1", port)
    assert not real_is_taken("127.0.0.1", port)


def test_a_range_with_a_port_that_browsers_refuse_comes_last(engine: Engine, settings: Settings, listen: Any) -> None:
    """10080 is one of those."""
    before = replace(settings, k3d_port_start=20, k3d_port_end=29)
    engine.cluster("ab1", 11443)
    assert ports.possible_starts(before).index(10) > ports.possible_starts(before).index(11)
