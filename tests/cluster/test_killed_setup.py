"""A real setup that is killed at each of its commands in turn, while the commands that it has started continue."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from real_clusters import Clusters, why_not

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(why_not() != "", reason=why_not() or "-")]

CHANGES = (r"^(docker network create|k3d (cluster|kubeconfig) (create|delete|merge|start)|helm upgrade|openssl|"
           r"kubectl .*--context \S+ (-n \S+ )?(apply|patch|delete|label|scale) )")


def test_a_setup_killed_at_every_command_comes_to_its_end_and_everything_works(tmp_path: Path) -> None:
    clusters = Clusters(tmp_path, "dck", 30)
    clusters.remove()
    try:
        assert clusters.inv("cert").returncode == 0
        clusters.fakes.answer(CHANGES, kill=True)  # at each that was not received before
        kills = 0
        while (ended := run(clusters)) == -signal.SIGKILL:
            kills += 1
            assert kills < 40, "it does not come to an end"
        assert ended == 0 and kills >= 10, kills

        work = clusters.folder / ".work" / "dck0"
        assert not (work / "partly-created").exists() and not (work / "intermediate").exists()
        clusters.fakes.rules.clear()
        clusters.fakes.answer("^nothing")
        done = clusters.inv("k3d-cluster-examples", "--n", "0")
        assert done.returncode == 0, done.stdout + done.stderr
        wrong = [finding["id"] for finding in json.loads(clusters.inv("doctor", "--json").stdout)
                 if finding["state"] == "red"]
        assert wrong == []
    finally:
        clusters.remove()


def run(clusters: Clusters) -> int:
    """How a setup ends that leads a process group, which the recorders kill."""
    return clusters.process("k3d-cluster-setup", "--n", "0", stdout=subprocess.DEVNULL, stderr=None).returncode
