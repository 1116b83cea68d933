"""`inv matrix`: every connection between this machine and the running clusters, in one table."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from conftest import Project
from pretend import World, pages_of, world_of, written_out

from tasks.core.table import print_table
from tasks.matrix import LEGEND


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        yield world


def url(world: World, number: int, scheme: str = "https") -> str:
    port = world.https(number) if scheme == "https" else world.http(number)
    return f"{scheme}://example-nginx.cl{number}.k3d.internal:{port}/"


def page(number: int) -> str:
    return f"<h1>Hello from cl{number}.k3d.internal</h1>\n"


def clusters(world: World, *numbers: int, **options: Any) -> None:
    """These clusters are running, and each pod receives every page."""
    world.cluster_list(*(world.cluster(number, **options) for number in numbers))
    for number in numbers:
        pod(world, number, *((0, 200, page(target)) for target in numbers for _ in range(2)))


def pod(world: World, number: int, *answers: tuple[int, int, str]) -> None:
    """The answers that the pod in a cluster receives: for each target HTTP, then HTTPS."""
    failed = next((code for code, _, _ in answers if code), 0)
    world.fakes.answer(f"^kubectl .*--context k3d-cl{number} .*exec deployment/curl ", written_out(*answers),
                       exit=failed)


def matrix(world: World, *words: str, pages: tuple[int, ...], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it while these clusters serve their pages to this machine."""
    with ExitStack() as servers:
        for number in pages:
            servers.enter_context(pages_of(world, number))
        return world.inv("matrix", *words, **environment)


def cells(stdout: str) -> list[list[str]]:
    """The cells of the table: the heading, then a row for each source."""
    lines = stdout.strip().split("\n\n")[0].splitlines()
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


def test_working_routes_are_green_with_one_exec_for_each_cluster(world: World) -> None:
    clusters(world, 1, 2)
    done = matrix(world, pages=(1, 2))
    assert done.returncode == 0, done.stdout + done.stderr
    assert cells(done.stdout) == [["from", "cl1", "cl2"], ["this machine", "✓✓", "✓✓"],
                                  ["cl1", "✓✓", "✓✓"], ["cl2", "✓✓", "✓✓"]]
    assert done.stdout.endswith(f"\n\n{LEGEND}\n") and done.stderr == ""
    calls = world.fakes.calls("kubectl")
    assert sorted(words[4] for words in calls) == ["k3d-cl1", "k3d-cl2"]
    assert [words[-4:] for words in calls] == 2 * [
        [url(world, target, scheme) for target in (1, 2) for scheme in ("http", "https")]]
    assert world.changes() == []


def test_each_reason_is_shown_once_with_its_command(world: World) -> None:
    """Cluster 1 resolves no names; cluster 2 does not trust cluster 1; nothing listens on the ports of cluster 3."""
    clusters(world, 1, 2, 3)
    pod(world, 1, *(6 * [(6, 0, "Could not resolve host: x")]))
    pod(world, 2, (0, 200, page(1)), (60, 0, "unable to get local issuer certificate"), (0, 200, page(2)),
        (0, 200, page(2)), (7, 0, "Failed to connect"), (7, 0, "Failed to connect"))
    pod(world, 3, (0, 200, page(1)), (0, 200, page(2)), *(4 * [(0, 200, page(2))]))
    done = matrix(world, pages=(1, 2))
    assert done.returncode == 1
    assert cells(done.stdout)[1:] == [["this machine", "✓✓", "✓✓", "✗✗"], ["cl1", "✗✗", "✗✗", "✗✗"],
                                      ["cl2", "✓✗", "✓✓", "✗✗"], ["cl3", "✓✗", "✓✓", "✗✗"]]
    trace_3 = f"    inv trace {url(world, 3)}"
    assert done.stderr.splitlines() == [
        "14 of 24 routes do not work:",
        "  this machine to cl3 (http, https): [Errno 111] Connection refused", trace_3,
        "  cl1 to cl1, cl2 (http, https): CoreDNS in cl1 does not resolve the name",
        "    inv k3d-cluster-configure --n 1",
        "  cl1 to cl3 (http, https): CoreDNS in cl1 does not resolve the name", trace_3,
        "  cl2 to cl1 (https): the pod's trust bundle does not verify the certificate "
        "(unable to get local issuer certificate)", "    inv k3d-cluster-configure --n 2 k3d-cluster-examples --n 2",
        "  cl2 to cl3 (http, https): cl3 through this host: connection refused", trace_3,
        f"  cl3 to cl1 (https): got a different page than cl1's: {page(2)[:60]!r}", f"    inv trace {url(world, 1)}",
        f"  cl3 to cl3 (http, https): got a different page than cl3's: {page(2)[:60]!r}", trace_3,
    ]


def test_missing_examples_are_grey_and_stopped_clusters_are_omitted(world: World) -> None:
    clusters(world, 1, 2)
    world.cluster_list(world.cluster(1), world.cluster(2), world.cluster(3, running=False))
    pod(world, 1, (0, 200, page(1)), (0, 200, page(1)), (0, 404, "404 page not found\n"), (60, 0, "self-signed"))
    world.fakes.answer("^kubectl .*k3d-cl2 .*exec ", stderr='Error from server (NotFound): namespaces "examples"\n',
                       exit=1)
    done = matrix(world, pages=(1,))
    assert done.returncode == 0, done.stderr
    assert cells(done.stdout) == [["from", "cl1", "cl2"], ["this machine", "✓✓", "--"], ["cl1", "✓✓", "--"],
                                  ["cl2", "--", "--"]]
    assert done.stdout.endswith(
        f"{LEGEND}pod in cl2: the examples are not installed in cl2: inv k3d-cluster-examples --n 2\n\n")


def test_a_partly_running_cluster_is_shown_and_a_failing_exec_is_red(world: World) -> None:
    clusters(world, 1)
    partly_running = world.cluster(1)
    partly_running["nodes"][1]["State"] = {"Running": False}
    world.cluster_list(partly_running)
    world.fakes.answer("^kubectl .*exec ", stderr="The connection to the server was refused\n", exit=1)
    done = matrix(world, pages=())
    assert done.returncode == 1
    assert cells(done.stdout)[1:] == [["this machine", "✗✗"], ["cl1", "✗✗"]]
    reason = "kubectl cannot run curl in the pod: The connection to the server was refused"
    assert f"cl1 to cl1 (http, https): {reason}" in done.stderr


def test_ten_clusters_fit_into_80_columns_in_color(world: World) -> None:
    world.env()
    clusters(world, *range(10))
    done = matrix(world, pages=(), COLUMNS="80", FORCE_COLOR="1", TERM="xterm-256color")
    plain = re.sub(r"\033\[[0-9;]*m", "", done.stdout)
    assert plain != done.stdout, "a terminal gets colors"
    header, *rows = cells(plain)
    assert header == ["from", *(f"cl{number}" for number in range(10))]
    assert rows[0] == ["this machine", *(10 * ["✗✗"])] and rows[10] == ["cl9", *(10 * ["✓✓"])]
    assert max(map(len, plain.splitlines()[:13])) <= 80


def test_json_contains_every_route_and_nothing_else(world: World) -> None:
    clusters(world, 1)
    done = matrix(world, "--json", pages=())
    assert done.returncode == 1
    routes = json.loads(done.stdout)
    assert [(route["source"], route["target"], route["state"], route["code"]) for route in routes] == [
        ("this machine", url(world, 1, "http"), "red", "host-request-failed"),
        ("this machine", url(world, 1), "red", "host-request-failed"),
        ("pod in cl1", url(world, 1, "http"), "green", "ok"), ("pod in cl1", url(world, 1), "green", "ok")]
    assert routes[0]["command"] == f"inv trace {url(world, 1)}"
    assert "2 of 4 routes do not work" in done.stderr


def test_json_has_a_code_for_every_failure(world: World) -> None:
    clusters(world, 1, 2)
    ok = (0, 200, page(1))
    world.cluster_list(*(world.cluster(number) for number in (1, 2, 3, 4)))
    pod(world, 1, ok, ok, (6, 0, "Could not resolve host"), (7, 0, "Failed to connect"), (28, 0, "timed out"),
        (60, 0, "self-signed"), (52, 0, "Empty reply"), (0, 200, page(1)))
    world.fakes.answer("^kubectl .*k3d-cl3 .*exec ", stderr="error: unable to upgrade connection\n", exit=1)
    world.fakes.answer("^kubectl .*k3d-cl4 .*exec ", stderr='Error from server (NotFound): namespaces "examples"\n',
                       exit=1)
    rows = json.loads(matrix(world, "--json", pages=(1, 2, 3)).stdout)
    codes: dict[str, list[str]] = {}
    for row in rows:
        codes.setdefault(row["source"], []).append(row["code"])
        assert (row["state"] == "green") == (row["code"] == "ok"), row
        assert (row["state"] == "grey") == (row["code"] == "examples-missing"), row
    assert codes["this machine"] == 6 * ["ok"] + 2 * ["examples-missing"]
    assert codes["pod in cl1"] == ["ok", "ok", "name-not-resolved", "connection-refused", "timed-out",
                                   "certificate-not-trusted", "examples-missing", "examples-missing"]
    assert codes["pod in cl3"] == 6 * ["exec-failed"] + 2 * ["examples-missing"]
    assert codes["pod in cl4"] == 8 * ["examples-missing"]


def test_a_missing_root_is_reported_with_its_path(world: World) -> None:
    root = world.project.home / ".local-ca-certs" / "internal-ca.crt"
    root.unlink()
    world.cluster_list(world.cluster(1))
    assert f"the root {root} cannot be read: No such file or directory" in matrix(world, pages=(1,)).stderr


def test_without_a_running_cluster_the_commands_to_get_one_are_shown(world: World) -> None:
    world.cluster_list(world.cluster(1, running=False))
    done = matrix(world, pages=())
    assert done.returncode == 1 and done.stdout == ""
    assert "inv k3d-cluster-setup --n 1" in done.stderr and "inv k3d-cluster-start --all" in done.stderr


def test_a_narrow_table_folds_wide_cells_and_cuts_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in {"COLUMNS": "20", "FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(key, value)
    print_table(["name", "note"], [["x" * 30, "y"]])
    printed = re.sub(r"\033\[[0-9;]*[mK]", "", capsys.readouterr().out)
    assert printed.count("x") == 30 and "y" in printed
    assert max(map(len, printed.splitlines())) <= 20


def test_a_wide_url_is_folded_and_the_columns_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in {"COLUMNS": "60", "FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(key, value)
    address = "https://docs.example.com/" + 10 * "a/long/path/"
    print_table(["", "check", "found"], [["✗", "names-rebinding", f"see {address}"], ["✗", "names", address]])
    printed = re.sub(r"\033\[[0-9;]*[mK]", "", capsys.readouterr().out)
    assert re.search(r"check +found *\n✗  names-rebinding  see", printed)
    assert "".join(printed.split()).count(address) == 2 and max(map(len, printed.splitlines())) <= 60


@pytest.mark.parametrize(("columns", "lines"), [
    ("38", ["   name              ports    note", "✓  cl1.k3d.internal  11080    runs", 21 * " " + "11443    well"]),
    ("30", ["✓ cl1.k3d.internal", "  ports: 11080 11443", "  note: runs well"]),
])
def test_a_narrow_table_keeps_words_whole_in_columns_or_in_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str, lines: list[str]
) -> None:
    for key, value in {"COLUMNS": columns, "FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(key, value)
    print_table(["", "name", "ports", "note"], [["✓", "cl1.k3d.internal", "11080 11443", "runs well"]])
    printed = re.sub(r"\033\[[0-9;]*[mK]", "", capsys.readouterr().out)
    assert [line.rstrip() for line in printed.strip("\n").splitlines()] == lines
