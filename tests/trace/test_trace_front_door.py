"""`inv trace` of a URL without the cluster's port: the front door is a hop."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from conftest import Project
from pretend_front_door import FrontDoor, front_door_of
from traced_app import HOST, App, traced_app


@pytest.fixture
def app(project: Project) -> Iterator[App]:
    with traced_app(project, App) as app:
        app.world.network(there=True)
        yield app


@pytest.fixture
def door(app: App) -> Iterator[FrontDoor]:
    """It is there."""
    with front_door_of(app.world) as door:
        app.prepare()
        done = app.world.inv("front-door")
        assert done.returncode == 0, done.stdout + done.stderr
        yield door


def rows(app: App, door: FrontDoor, scheme: str = "https") -> dict[str, tuple[str, str, str, str]]:
    """State, place, note and command of each hop."""
    port = door.https if scheme == "https" else door.http
    done = app.run("--json", f"{scheme}://{HOST}:{port}/")
    return {row["source"]: (row["state"], row["target"], row["note"], row["command"])
            for row in json.loads(done.stdout)}


def test_a_url_through_it_has_one_hop_more(app: App, door: FrontDoor) -> None:
    found = rows(app, door)
    assert {state for state, *_ in found.values()} == {"green"}
    assert found["port"][1] == f"127.0.0.1:{door.https}"
    assert found["front door"][1:3] == ("dev-clusters-front-door", "leads to k3d-cl1-serverlb")
    assert found["load balancer"][2] == "running"
    assert found["pod in cl2"][1] == "through the front door of this host"
    assert found["pod in cl1"][1] == "through traefik-internal"
    assert "front door" not in [row["source"] for row in json.loads(app.run().stdout)], "a URL with the cluster's port"


def test_one_that_was_stopped_is_the_hop_that_breaks_with_the_command_that_fixes_it(
    app: App, door: FrontDoor
) -> None:
    door.stop_container()
    state, _, note, command = rows(app, door)["port"]
    assert (state, command) == ("red", "inv front-door") and "although the front door should listen there" in note


def test_one_from_other_settings_is_made_again(app: App, door: FrontDoor) -> None:
    door.container["Config"]["Labels"]["dev-cluster-tasks.front-door-version"] = "older"
    state, _, note, command = rows(app, door)["front door"]
    assert (state, command) == ("red", "inv front-door") and "was created from other settings" in note


def test_something_else_on_its_port_has_no_command(app: App, door: FrontDoor) -> None:
    door.files["page.html"] = "another page"
    state, _, note, command = rows(app, door)["front door"]
    assert (state, command) == ("red", "") and "is answered by something else than the front door" in note


def test_a_cluster_that_it_does_not_reach_is_connected_by_the_command(app: App, door: FrontDoor) -> None:
    door.passes_tls = False
    state, _, note, command = rows(app, door)["front door"]
    assert (state, command) == ("red", "inv front-door") and f"{HOST} is not reached through" in note


def test_a_stopped_cluster_is_told_behind_it(app: App, door: FrontDoor) -> None:
    app.clusters[0] = app.world.cluster(1, running=False)
    app.listens = False
    state, _, note, command = rows(app, door, "http")["load balancer"]
    assert (state, note) == ("red", "the load balancer is not running; cl1 is stopped")
    assert command == "inv k3d-cluster-start --n 1"


def test_without_one_a_url_without_port_is_told_the_port_to_type(app: App) -> None:
    done = app.world.inv("trace", "https://app.cl1.k3d.internal/")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Port 443 does not belong to any cluster: cl1 uses {app.world.https(1)} for https. "
        f"Type: inv trace https://app.cl1.k3d.internal:{app.world.https(1)}/\n")
