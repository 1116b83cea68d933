"""A cluster at another address than 127.0.0.1, beside one at that: names, routes, ports and what the tasks report.

The address is a second one of this machine, which root adds and removes again.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from real_clusters import Clusters, several_clusters, why_not
from tcp_engine import ENGINE, engine_at

ADDRESS = "198.51.100.7"
"""Of a network for documentation: RFC 5737."""

REASON = why_not() or ("" if shutil.which("ip") and os.geteuid() == 0 else "root and ip are needed to add an address")

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(REASON), reason=REASON)]

ELSEWHERE, HERE = 0, 2  # with the ports of 17 and 19, which no other test has


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    try:
        with several_clusters(tmp_path_factory.mktemp("clusters"), "dcx", 17, f"{ELSEWHERE},{HERE}",
                              "cluster-examples", settings=f"CLUSTER_ADDRESS={ELSEWHERE}={ADDRESS}\n") as made:
            yield made
    finally:
        subprocess.run(["ip", "address", "del", f"{ADDRESS}/32", "dev", "lo"], check=True)


def rows(clusters: Clusters, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(clusters.inv(*words, "--json").stdout)
    return found


def listens(address: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, port)) == 0


def test_its_ports_and_its_api_are_at_its_address_alone(clusters: Clusters) -> None:
    cluster = clusters.cluster(ELSEWHERE)
    assert listens(ADDRESS, cluster.https_port) and not listens("127.0.0.1", cluster.https_port)
    assert listens("127.0.0.1", clusters.cluster(HERE).https_port)
    assert f"https://{ADDRESS}:" in clusters.kubectl(ELSEWHERE, "config", "view", "--minify")


def test_every_route_works_and_the_matrix_says_which_machine_answers(clusters: Clusters) -> None:
    found = rows(clusters, "matrix")
    assert len(found) == 12 and {row["state"] for row in found} == {"green"}, found
    to_it = [row["note"] for row in found
             if f".dcx{ELSEWHERE}." in row["target"] and row["source"] != f"pod in dcx{ELSEWHERE}"]
    assert len(to_it) == 4 and all(f"page of dcx{ELSEWHERE} at {ADDRESS}" in note for note in to_it)
    assert f"dcx{ELSEWHERE} is at {ADDRESS}, not on this machine" in clusters.inv("matrix").stdout


def test_pods_of_the_other_cluster_connect_to_its_address(clusters: Clusters) -> None:
    cluster = clusters.cluster(ELSEWHERE)
    reached = clusters.kubectl(
        HERE, "-n", "examples", "exec", "deployment/curl", "--", "curl", "--silent", "--output", "/dev/null",
        "--write-out", "%{remote_ip}", f"https://example-nginx.{cluster.domain}:{cluster.https_port}/")
    assert reached == ADDRESS


def test_a_trace_connects_to_its_address(clusters: Clusters) -> None:
    cluster = clusters.cluster(ELSEWHERE)
    hops = {row["source"]: row for row in rows(
        clusters, "trace", f"https://example-nginx.{cluster.domain}:{cluster.https_port}/")}
    assert hops["port"]["target"] == f"{ADDRESS}:{cluster.https_port}"
    assert hops["port"]["note"] == "open on another machine"
    assert {hop for hop, row in hops.items() if row["state"] == "red"} <= {"resolver"}, hops
    assert hops[f"pod in dcx{HERE}"]["target"] == f"through {ADDRESS}"


def test_the_doctor_finds_no_error_and_a_second_setup_changes_nothing(clusters: Clusters) -> None:
    assert [found for found in rows(clusters, "doctor") if found["state"] == "red"] == []
    clusters.fakes.forget()
    done = clusters.inv("cluster-setup", "--n", f"{ELSEWHERE}")
    assert done.returncode == 0, done.stderr
    changes = {"upgrade", "apply", "patch", "delete", "set-cluster"}
    assert [words for words in clusters.fakes.calls() if changes & {*words}] == []


def test_it_starts_again_and_a_port_that_is_taken_there_is_named(clusters: Clusters) -> None:
    cluster = clusters.cluster(ELSEWHERE)
    assert clusters.inv("cluster-stop", "--n", f"{ELSEWHERE}").returncode == 0
    with socket.create_server((ADDRESS, cluster.http_port)):
        done = clusters.inv("cluster-start", "--n", f"{ELSEWHERE}")
        assert done.returncode == 1 and f"{ADDRESS}:{cluster.http_port} is taken" in done.stderr
    done = clusters.inv("cluster-start", "--n", f"{ELSEWHERE}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["state"] for row in rows(clusters, "matrix")} == {"green"}


@pytest.mark.skipif(not ENGINE.exists(), reason=f"no engine listens at {ENGINE}")
def test_an_engine_at_a_tcp_address_creates_a_cluster_there_and_every_route_works(clusters: Clusters) -> None:
    assert clusters.inv("cluster-delete", "--n", f"{ELSEWHERE}").returncode == 0
    with engine_at(ADDRESS) as (docker_host, clients):
        for words in (["cluster-setup", "--n", f"{ELSEWHERE}"], ["cluster-examples", "--n", f"{ELSEWHERE},{HERE}"],
                      ["matrix"], ["status"]):
            done = clusters.inv(*words, environment={"DOCKER_HOST": docker_host})
            assert done.returncode == 0, done.stdout + done.stderr
        assert len(clients) > 10
        done = clusters.inv("doctor", "--json", environment={"DOCKER_HOST": docker_host})
        assert [found for found in json.loads(done.stdout) if found["state"] == "red"] == []
        done = clusters.inv("cluster-delete", "--n", f"{ELSEWHERE}", environment={"DOCKER_HOST": docker_host})
        assert done.returncode == 0, done.stdout + done.stderr
