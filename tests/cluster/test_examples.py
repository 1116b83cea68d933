"""How the checks of the examples become a table. What they ask is tested with real clusters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Project
from pretend import World, world_of

from tasks.cluster import examples


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.cluster_list(world.cluster(1))
        yield world


@pytest.mark.parametrize(("seconds", "row"), [(2, "rejected, as expected"), (0, "Could not resolve host")])
def test_a_check_that_fails_at_first_is_repeated_for_a_while(world: World, seconds: int, row: str) -> None:
    world.project.patches.append((examples, "PATIENCE_SECONDS", seconds))
    pod = "^kubectl .*exec deployment/curl-no-bundle "
    world.fakes.answer(pod, stderr="Could not resolve host\n", exit=6)
    world.fakes.answer(pod, exit=60, after=pod)
    assert row in world.inv("k3d-cluster-examples", "--n", "1").stdout
