"""What a user reads: a line for each step, what failed and what to do; never a secret, on whatever terminal."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from conftest import Project
from pretend import TOKEN, World, world_of

STEP = re.compile(r"([✓✗!]) (cl1 )?(│ )?(.+?): .+? +\d+\.\d s")


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.cluster_list(world.cluster(2))
        world.fakes.answer("^k3d cluster create", "INFO[0000] Prep: Network\n", stderr="WARN[0000] é\n")
        yield world


def refuse_secrets(world: World, *runs: subprocess.CompletedProcess[str]) -> None:
    """No token and no key in what was printed, on a command line, or in a file that is left."""
    printed = [run.stdout + run.stderr for run in runs]
    commands = [word for words in world.fakes.calls() for word in words]
    files = [file.read_text() for file in (world.project.folder / ".work").rglob("*") if file.is_file()]
    for text in printed + commands + files:
        assert TOKEN not in text
        assert "PRIVATE KEY" not in text
        assert "LS0tLS1CRUdJTiBFQyBQUklWQVRF" not in text, "that is the beginning of a key in base64"


def test_each_step_is_a_line_with_its_time_and_those_that_run_side_by_side_carry_a_bar(world: World) -> None:
    done = world.inv("k3d-cluster-setup", "--n", "1")
    steps, ready = done.stdout.split("\ncl1 is ready.")
    found = [STEP.fullmatch(line) for line in steps.splitlines()]
    assert all(found), steps
    titles = [(bool(line[3]), line[4]) for line in found if line]
    assert titles[:3] == [(False, "network dev-clusters"), (False, "cluster"),
                          (False, f"kubeconfig {world.project.home}/.kube/config")]
    assert sorted(titles[3:]) == [
        (False, f"HTTPS on port {world.https(1)}"),
        (True, "Traefik's access log"), (True, "cert-manager v1.21.2"), (True, "hosts of root-ca"),
        (True, "intermediate certificate"), (True, "issuer root-ca"), (True, "names in CoreDNS"), (True, "pod trust"),
        (True, "route to other clusters"),
        (True, "trust bundle default-ca-bundle"), (True, "trust-manager v0.26.0"),
    ]
    assert f"https://<name>.cl1.k3d.internal:{world.https(1)}/" in ready
    assert "kubectl --context k3d-cl1 get pods -A" in ready
    assert done.stderr == ""
    refuse_secrets(world, done)


def test_what_the_tools_say_is_shown_with_echo_alone(world: World) -> None:
    done = world.inv("--echo", "k3d-cluster-setup", "--n", "1")
    assert "\nk3d cluster create cl1 --image " in done.stdout
    assert "INFO[0000] Prep: Network" in done.stdout
    assert "WARN[0000] é" in done.stderr
    refuse_secrets(world, done)


def test_a_failure_tells_what_failed_the_command_its_last_lines_and_what_to_do(world: World) -> None:
    lines = [f"line {number}" for number in range(20)]
    world.fakes.answer("^k3d cluster create", stderr="\n".join(lines), exit=3)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    command = world.project.fakes.calls("k3d", "cluster", "create")[0]
    assert done.returncode == 1
    assert re.search("^✗ cl1 cluster: failed +[0-9.]+ s$", done.stdout, re.MULTILINE)
    *told, what_to_do = done.stderr.splitlines()
    assert told == ["cl1 cluster: k3d exited with code 3.", f"  {' '.join(command)}",
                    *(f"  | {line}" for line in lines[-12:])]
    assert what_to_do == "k3d rolled back. `inv doctor` may show why. Then run this task again."


def test_what_was_waited_for_is_told_and_what_runs_beside_it_comes_to_its_end(world: World) -> None:
    world.fakes.answer("^kubectl .*wait bundle", stderr="error: timed out waiting for the condition\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1
    assert "✓ cl1 │ issuer root-ca: ready" in done.stdout
    assert "cl1 is ready" not in done.stdout
    assert "cl1 trust bundle default-ca-bundle: kubectl exited with code 1." in done.stderr
    assert ("  | error: timed out waiting for the condition\nTimed out after 300 s waiting for the Bundle."
            in done.stderr)
    assert "Increase TIMEOUT_READY in .env" in done.stderr
    refuse_secrets(world, done)


@pytest.mark.process
def test_a_terminal_that_knows_ascii_alone_gets_plain_signs_and_a_question_mark_for_the_rest(world: World) -> None:
    world.env(K3D_KUBECONFIG_TARGET_DIR="~/é")
    world.fakes.answer("^k3d cluster create", "über\n", exit=1)
    ascii_alone = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    dry = world.project.process("--dry", "k3d-cluster-setup", "--n", "1", environment=ascii_alone)
    done = world.project.process("--echo", "k3d-cluster-setup", "--n", "1", environment=ascii_alone)
    assert dry.returncode == 0, dry.stderr
    assert f"--output '{world.project.home}/?/cl1'" in dry.stdout
    assert "\n?ber\nx cl1 cluster: failed" in done.stdout
    assert "cl1 cluster: k3d exited with code 1." in done.stderr and "ber" in done.stderr


@pytest.mark.process
def test_a_reader_that_has_read_enough_does_not_stop_the_work(world: World) -> None:
    world.fakes.answer("^k3d kubeconfig merge", exit=1)
    running = world.project.start("k3d-cluster-setup", "--n", "1")
    assert running.stdout and running.stderr
    running.stdout.close()
    assert "cl1 kubeconfig" in (said := running.stderr.read()) and "Broken pipe" not in said
    assert running.wait() == 1
    assert world.fakes.calls("k3d", "kubeconfig", "merge")


def test_a_file_that_cannot_be_written_is_an_error_with_its_name(world: World) -> None:
    work = world.project.folder / ".work"
    work.write_text("not a folder")
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"cl1 cluster: {work}/cl1: Not a directory. ")
    assert not world.fakes.calls("k3d", "cluster", "create")
