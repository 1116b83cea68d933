"""What a newcomer sees while images are pulled: by the engine, and by the nodes of a cluster."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from conftest import Project
from pretend import World, world_of
from recording import Answer, Call

from tasks.core import console
from tasks.core.console import RunningSteps
from tasks.engine import images
from tasks.probe import pulls

NGINX, CURL = "docker.io/library/nginx:1", "docker.io/curlimages/curl:8"
CERT_MANAGER = "quay.io/jetstack/cert-manager:1"


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        yield world


def event(message: str) -> dict[str, object]:
    return {"kind": "Event", "metadata": {}, "message": message}


def pulling(image: str) -> dict[str, object]:
    return event(f'Pulling image "{image}"')


def pulled(image: str, size: str = "") -> dict[str, object]:
    return event(f'Successfully pulled image "{image}" in 2.5s (2.5s including waiting).{size}')


@pytest.mark.parametrize(("events", "text"), [
    ([], ""),
    ([event("Created container nginx"), event(f'Container image "{NGINX}" already present on machine')], ""),
    ([pulling(NGINX)], f"pulling {NGINX}"),
    ([pulling(NGINX), pulling(CURL), pulling(NGINX)], f"pulling {NGINX}, {CURL}"),
    ([pulling(NGINX), pulled(NGINX), pulling(CURL)], f"pulling {CURL} (1 pulled before)"),
    ([pulling(NGINX), pulled(NGINX, " Image size: 51234567 bytes."), pulling(CERT_MANAGER),
      pulled(CERT_MANAGER, " Image size: 20000000 bytes."), pulling(CURL)], f"pulling {CURL} (2 pulled before, 71 MB)"),
    ([pulling(NGINX), pulled(NGINX)], ""),
])
def test_the_images_that_the_nodes_pull_are_named_with_what_was_pulled_before(
    events: list[dict[str, object]], text: str
) -> None:
    assert pulls.describe(events) == text


def test_without_a_terminal_each_change_is_a_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the examples start, which waits until two changes were seen."""
    monkeypatch.setattr(pulls, "SECONDS", 0.01)
    states = [[pulling(NGINX)], [pulling(NGINX)], [pulling(NGINX), pulled(NGINX), pulling(CURL)], [pulled(CURL)]]
    seen = threading.Event()

    def kubectl(call: Call) -> Answer | None:
        if "events" in call.words:
            found = states.pop(0) if len(states) > 1 else states[0]
            if len(states) == 1:
                seen.set()
            return Answer(json.dumps({"items": found}))
        if "rollout" in call.words:
            assert seen.wait(10)
        return None

    world.fakes.behave("kubectl", kubectl)
    said = world.inv("k3d-cluster-examples", "--n", "0").stdout
    assert said.count(f"  cl0 pulling {NGINX}\n") == 1
    assert said.count(f"  cl0 pulling {CURL} (1 pulled before)\n") == 1


def test_a_line_of_a_running_step_tells_what_it_waits_for_and_what_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = RunningSteps()
    with steps.show("cl0 examples") as step, steps.show("network"):
        step.waits_for = "nginx to start"
        steps.pulls["cl0"] = f"pulling {NGINX}"
        made = console.make_console()
        made.width = 120
        lines = ["".join(segment.text for segment in line).strip() for line in made.render_lines(steps)]
    assert lines == [f"cl0 examples: waiting for nginx to start: pulling {NGINX} 0 s", "network 0 s"]


LAYERS = """\
v1.36.4-k3s1: Pulling from rancher/k3s
0123456789ab: Pulling fs layer
111111111111: Already exists
222222222222: Pulling fs layer
0123456789ab: Download complete
0123456789ab: Pull complete
"""


def test_the_layers_of_a_pull_are_counted() -> None:
    assert images.count_layers(LAYERS) == " (2 of 3 layers)"
    assert images.count_layers("Using default tag: latest\n") == ""


def missing_image(world: World, after_pull: bool) -> None:
    world.fakes.answer("^docker image inspect", exit=1)
    if after_pull:
        world.fakes.answer("^docker image inspect", after="^docker pull")


def test_the_node_image_is_pulled_before_the_cluster_is_created_and_only_if_it_is_missing(world: World) -> None:
    world.inv("k3d-cluster-setup", "--n", "0")
    assert not world.fakes.calls("docker", "pull")
    missing_image(world, after_pull=True)
    said = world.inv("k3d-cluster-setup", "--n", "1-2").stdout
    commands = [words[:3] for words in world.fakes.calls()]
    image = "docker.io/rancher/k3s:v1.36.4-k3s1"
    assert commands.count(["docker", "pull", image]) == 1, "two clusters need it once"
    assert commands.index(["docker", "pull", image]) < commands.index(["k3d", "cluster", "create"], 20)
    assert said.count(f"image {image}: pulled") == 1


def test_an_image_that_cannot_be_pulled_ends_the_run_with_the_engines_reason(world: World) -> None:
    missing_image(world, after_pull=False)
    world.fakes.answer("^docker pull", stderr="Error: manifest unknown\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "0")
    assert done.returncode == 1 and not world.fakes.calls("k3d", "cluster", "create")
    assert "docker.io/rancher/k3s:v1.36.4-k3s1 could not be pulled: Error: manifest unknown\n" in done.stderr
    dry = world.inv("--dry", "k3d-cluster-setup", "--n", "0")
    assert "\ndocker pull docker.io/rancher/k3s:v1.36.4-k3s1\n" in dry.stdout


def test_a_setup_that_pulls_nothing_and_ends_soon_queries_no_events(world: World) -> None:
    world.inv("k3d-cluster-setup", "--n", "0")
    assert not [words for words in world.fakes.calls("kubectl") if "events" in words]
