"""List, stop, start and restart; two commands at once; and a setup that is killed anywhere."""

from __future__ import annotations

import fcntl
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TextIO

import pytest
from conftest import Project
from pretend import World, pages_of, world_of


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    """Cluster 1 runs, cluster 2 is stopped, and others have clusters too."""
    with world_of(project) as world:
        others = [{**world.cluster(3), "name": name} for name in ("x1", "cl", "cl1-of-others", "cl77")]
        world.cluster_list(world.cluster(1), world.cluster(2, running=False), *others)
        world.network(there=True)
        yield world


def k3d(world: World) -> list[str]:
    return [shlex.join(words[2:]) for words in world.changes() if words[:2] == ["k3d", "cluster"]]


def test_the_list_shows_our_clusters_alone_and_what_their_names_and_ports_are(world: World) -> None:
    done = world.inv("k3d-cluster-list")
    assert done.returncode == 0, done.stderr
    heading, *rows = [line.split() for line in done.stdout.split("\n") if line]
    assert heading == ["NAME", "STATE", "DOMAIN", "HTTP", "HTTPS", "CONTEXT"]
    assert rows == [
        ["cl1", "running", "cl1.k3d.internal", str(world.http(1)), str(world.https(1)), "k3d-cl1"],
        ["cl2", "stopped", "cl2.k3d.internal", str(world.http(2)), str(world.https(2)), "k3d-cl2"],
    ]
    told = json.loads(world.inv("k3d-cluster-list", "--json").stdout)
    assert [[str(value) for key, value in cluster.items() if key not in ("url", "address")]
            for cluster in told] == rows
    assert told[0]["url"] == f"https://<name>.cl1.k3d.internal:{world.https(1)}/"
    assert told[0]["address"] == "127.0.0.1"
    assert world.changes() == []


def test_without_a_cluster_the_list_says_how_to_create_one(world: World) -> None:
    world.cluster_list()
    assert world.inv("k3d-cluster-list").stdout == (
        "There are no clusters. Create one with: inv k3d-cluster-setup --n 1\n")
    assert world.inv("k3d-cluster-list", "--json").stdout == "[]\n"
    done = world.inv("k3d-cluster-start", "--all")
    assert (done.returncode, done.stderr) == (
        1, "There are no clusters named cl0 to cl9. Create one with: inv k3d-cluster-setup --n 1\n")


@pytest.mark.parametrize(("words", "changes", "says"), [
    (["k3d-cluster-stop", "--n", "1"], ["stop cl1"], "cl1 cluster: stopped"),
    (["k3d-cluster-stop-1"], ["stop cl1"], "cl1 cluster: stopped"),
    (["cluster-stop", "--n", "1"], ["stop cl1"], "cl1 cluster: stopped"),
    (["cluster_stop_1"], ["stop cl1"], "cl1 cluster: stopped"),
    (["k3d-cluster-stop", "--n", "2"], [], "cl2 cluster: already stopped"),
    (["k3d-cluster-stop", "--all"], ["stop cl1"], "cl2 │ cluster: already stopped"),
    (["k3d-cluster-start", "--n", "1"], [], "cl1 cluster: already running"),
    (["k3d-cluster-start", "--n", "2"], ["start cl2 --wait --timeout 600s"], "cl2 cluster: started"),
    (["k3d-cluster-start", "--all"], ["start cl2 --wait --timeout 600s"], "cl1 │ cluster: already running"),
])
def test_a_cluster_is_stopped_or_started_where_it_is_not_so_already(
    world: World, words: list[str], changes: list[str], says: str
) -> None:
    done = world.inv(*words)
    assert done.returncode == 0, done.stderr
    assert k3d(world) == changes and says in done.stdout


def test_a_start_verifies_that_names_resolve_in_the_cluster(world: World) -> None:
    said = world.inv("k3d-cluster-start", "--n", "2").stdout
    assert "cl2 names in CoreDNS: resolved for this cluster and the others" in said
    dry = world.inv("--dry", "k3d-cluster-start", "--n", "2").stdout.splitlines()
    assert dry[dry.index("# cl2 cluster") + 1] == "k3d cluster start cl2 --wait --timeout 600s"


def test_a_start_ends_when_the_https_port_answers(world: World) -> None:
    world.project.patches.clear()
    with ExitStack() as pages:
        later = threading.Timer(1, lambda: pages.enter_context(pages_of(world, 2)))
        world.fakes.behave("k3d", lambda call: later.start() if call.words[1:3] == ["cluster", "start"] else None)
        done = world.inv("k3d-cluster-start", "--n", "2")
        assert done.returncode == 0, done.stderr
        assert not later.is_alive() and f"cl2 HTTPS on port {world.https(2)}: answers" in done.stdout


def test_a_start_fails_where_the_https_port_never_answers(world: World) -> None:
    world.project.patches.clear()
    done = world.inv("k3d-cluster-start", "--n", "1", TIMEOUT_READY="1")
    assert done.returncode == 1
    assert f"timed out after 1 s waiting for port {world.https(1)} to answer" in done.stderr
    assert "If cl1 was never configured: inv k3d-cluster-setup --n 1" in done.stderr


def test_a_restart_stops_all_and_then_starts_them(world: World) -> None:
    world.cluster_list(world.cluster(1), world.cluster(2))
    for number in (1, 2):
        world.fakes.answer("^k3d cluster list", json.dumps([world.cluster(1, running=False),
                           world.cluster(2, running=False)]), after=f"^k3d cluster stop cl{number}$")
    done = world.inv("k3d-cluster-restart", "--n", "2")
    assert done.returncode == 0, done.stderr
    assert k3d(world) == ["stop cl2", "start cl2 --wait --timeout 600s"]


def test_a_port_that_somebody_took_while_the_cluster_was_stopped_is_named(world: World) -> None:
    with socket.create_server(("127.0.0.1", world.https(2))) as taker:
        taker.listen()
        done = world.inv("k3d-cluster-start", "--n", "2")
    assert done.returncode == 1 and k3d(world) == []
    assert f"127.0.0.1:{world.https(2)} is taken" in done.stderr
    assert "cl2 cannot be started" in done.stderr and "K3D_PORT_" not in done.stderr, "its ports are fixed by now"


def test_a_partly_created_cluster_is_not_started_but_created_again(world: World) -> None:
    marker = world.project.folder / ".work" / "cl2" / "partly-created"
    marker.parent.mkdir(parents=True)
    marker.touch()
    done = world.inv("k3d-cluster-start", "--n", "2")
    assert done.returncode == 1 and k3d(world) == []
    assert "cl2 was only partly created" in done.stderr and "inv k3d-cluster-setup --n 2" in done.stderr


@pytest.mark.parametrize("task", ["stop", "start", "restart"])
def test_a_cluster_that_does_not_exist_is_reported(world: World, task: str) -> None:
    done = world.inv(f"k3d-cluster-{task}", "--n", "5")
    assert done.returncode == 1 and k3d(world) == []
    assert done.stderr == "There is no cluster cl5. Create it with: inv k3d-cluster-setup --n 5\n"


def test_all_and_a_number_do_not_go_together(world: World) -> None:
    done = world.inv("k3d-cluster-delete", "--all", "--n", "1")
    assert (done.returncode, done.stderr, world.changes()) == (1, "Use either --n or --all, not both.\n", [])


def test_delete_all_deletes_ours_alone(world: World) -> None:
    done = world.inv("k3d-cluster-delete", "--all")
    assert done.returncode == 0, done.stderr
    assert sorted(k3d(world)) == ["delete cl1", "delete cl2"]


# --- two at once ------------------------------------------------------------------------------------------------------


def start(world: World, *words: str) -> subprocess.Popen[str]:
    return world.project.start(*words, environment={"PYTHONUNBUFFERED": "1"})


def hold_lock(world: World, **holder: object) -> TextIO:
    """The lock of cluster 1, as another command holds it that works in any copy of the project."""
    file = world.project.home / ".cache/dev-cluster-tasks/cluster-cl1.lock"
    file.parent.mkdir(parents=True)
    held = file.open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    held.write(json.dumps(holder) if holder else "")
    held.flush()
    return held


@pytest.mark.process
def test_a_second_command_for_a_cluster_waits_and_says_for_whom(world: World) -> None:
    with hold_lock(world, command="inv k3d-cluster-setup --n 1", process=42, folder="/srv/a copy"):
        second = start(world, "k3d-cluster-stop", "--n", "1")
        assert second.stdout
        assert second.stdout.readline() == ("cluster cl1 is in use by `inv k3d-cluster-setup --n 1` (process 42, in "
                                            "/srv/a copy). Waiting for it to finish.\n")
        assert k3d(world) == []
        other = world.inv("k3d-cluster-start", "--n", "2")
        assert other.returncode == 0, "another cluster is free"
    assert second.wait(30) == 0
    assert k3d(world) == ["start cl2 --wait --timeout 600s", "stop cl1"]


@pytest.mark.process
def test_who_waits_can_be_interrupted(world: World) -> None:
    with hold_lock(world):
        second = start(world, "k3d-cluster-stop", "--n", "1")
        assert second.stdout
        assert second.stdout.readline() == "cluster cl1 is in use by another command. Waiting for it to finish.\n"
        second.send_signal(signal.SIGINT)
        assert second.wait(30) != 0
    assert k3d(world) == []


@pytest.mark.process
def test_two_setups_at_once_create_one_cluster(world: World) -> None:
    world.cluster_list()
    world.cluster_list(world.cluster(1), after="^k3d cluster create cl1 ")
    with ExitStack() as pages:
        creates = ["k3d", "cluster", "create"]
        world.fakes.behave("k3d", lambda call: pages.enter_context(pages_of(world, 1))
                           if call.words[:3] == creates else None)
        both = [start(world, "k3d-cluster-setup", "--n", "1") for _ in range(2)]
        assert [process.wait(120) for process in both] == [0, 0], [process.communicate() for process in both]
    assert [words[:4] for words in world.changes() if words[:3] == ["k3d", "cluster", "create"]] == [
        ["k3d", "cluster", "create", "cl1"]]


# --- killed anywhere --------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_setup_that_was_killed_at_any_of_its_commands_is_finished_by_the_next(world: World) -> None:
    world.cluster_list()
    world.cluster_list(world.cluster(1), after="^k3d cluster create cl1 ")
    world.network()
    world.fakes.add_spies("openssl")

    def begin_anew() -> None:
        world.fakes.forget()
        shutil.rmtree(world.project.folder / ".work", ignore_errors=True)

    def commands() -> list[str]:
        return list(dict.fromkeys(map(shlex.join, world.changes())))

    begin_anew()
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 0, done.stderr
    whole = commands()
    assert len(whole) >= 14
    for command in whole:
        begin_anew()
        pattern = f"^{re.escape(command)}$"
        world.fakes.answer(pattern, kill=True)
        killed = start(world, "k3d-cluster-setup", "--n", "1")
        assert killed.wait(60) == -signal.SIGKILL, command
        time.sleep(0.3)  # what ran beside it may still be writing down that it ran
        world.fakes.rules.pop()
        done = world.inv("k3d-cluster-setup", "--n", "1")
        assert done.returncode == 0, f"after a kill at {command}\n{done.stderr}"
        assert set(whole) <= set(commands()), command
        work = world.project.folder / ".work/cl1"
        assert not (work / "partly-created").exists() and not any((work / "intermediate").iterdir()), command
