"""The front door: what the engine is asked for, when it is made again, and what is told where it cannot be."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Project
from kubernetes_objects import ingress
from pretend import GATEWAY, World, pages_of, world_of, written_out
from pretend_front_door import ID, NAME, FrontDoor, front_door_of

from tasks import front_door
from tasks.core import configuration
from tasks.front_door.files import render_configuration


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    """Clusters 1 and 2 are running, with their pages."""
    with world_of(project) as world, pages_of(world, 1), pages_of(world, 2):
        world.network(there=True)
        world.cluster_list(world.cluster(1), world.cluster(2))
        project.patches.append((front_door, "SECONDS", 1))
        yield world


@pytest.fixture
def door(world: World) -> Iterator[FrontDoor]:
    with front_door_of(world) as door:
        hosts(door, 1, "example-nginx.cl1.k3d.internal")
        hosts(door, 2, "example-nginx.cl2.k3d.internal")
        yield door


def hosts(door: FrontDoor, number: int, *names: str, tls: bool = True) -> None:
    """The hosts of the Ingresses in a cluster."""
    items = [ingress("web", name.partition(".")[0], name) for name in names]
    for item in items if not tls else []:
        del item["spec"]["tls"]
    door.world.fakes.answer(f"^kubectl .*k3d-cl{number} get ingresses", json.dumps({"items": items}))


def make(door: FrontDoor) -> str:
    """The front door is there; what the task says."""
    return good(door.world.inv("front-door"))


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(door: FrontDoor, *words: str) -> str:
    done = door.world.inv(*(words or ("front-door",)))
    assert done.returncode == 1, done.stdout
    return done.stderr


def changes(door: FrontDoor) -> list[list[str]]:
    found = door.world.changes()
    door.world.fakes.forget()
    return found


# --- made -------------------------------------------------------------------------------------------------------------


def test_one_container_without_rights_is_published_where_clusters_are_and_a_second_run_changes_nothing(
    door: FrontDoor
) -> None:
    said = make(door)
    assert f"front door: created; it lists the clusters at http://k3d.internal:{door.http}/" in said
    create, copy, start = changes(door)
    assert create[:2] == ["docker", "create"] and create[-1] == "docker.io/library/haproxy:3.2-alpine"
    options = " ".join(create)
    for part in ("--cap-drop ALL", "--security-opt no-new-privileges", "--restart unless-stopped",
                 "--network dev-clusters", "--dns-opt ndots:1",
                 "--label app.kubernetes.io/managed-by=dev-cluster-tasks"):
        assert part in options
    published = [word for word in create if re.fullmatch(r"[\d.]+:\d+:\d+", word)]
    assert published == [f"{address}:{port}" for address in ("127.0.0.1", GATEWAY)
                         for port in (f"{door.http}:8080", f"{door.https}:8443")]
    assert copy[:2] == ["docker", "cp"] and start == ["docker", "start", NAME]
    assert "front door: already running" in make(door) and changes(door) == []


def test_the_page_links_the_hosts_of_ingresses_once_each_and_no_wildcard(door: FrontDoor) -> None:
    hosts(door, 1, "b.cl1.k3d.internal", "a.cl1.k3d.internal", "a.cl1.k3d.internal", "*.cl1.k3d.internal",
          "elsewhere.example")
    hosts(door, 2, "plain.cl2.k3d.internal", tls=False)
    make(door)
    assert re.findall(r'href="(http[^"]+)"', door.files["page.html"]) == [
        f"https://a.cl1.k3d.internal:{door.https}/", f"https://b.cl1.k3d.internal:{door.https}/",
        f"http://plain.cl2.k3d.internal:{door.http}/"]
    assert len(re.findall("<section", door.files["page.html"])) == 10, "every number of the range"


def test_another_host_changes_the_page_and_closes_no_connection(door: FrontDoor) -> None:
    make(door)
    changes(door)
    hosts(door, 2, "new.cl2.k3d.internal")
    assert "front door: page updated" in make(door)
    copy, reload = changes(door)
    assert copy[-1] == f"{NAME}:/usr/local/etc/haproxy/page.html"
    assert reload == ["docker", "kill", "--signal", "HUP", NAME]
    assert "new.cl2.k3d.internal" in door.files["page.html"]


def test_nothing_in_the_page_comes_from_the_internet(door: FrontDoor) -> None:
    make(door)
    loaded = re.findall(r'(?:src|srcset)="|url\(|@import|<link[^>]*href="([^"]+)"', door.files["page.html"])
    assert loaded == ["data:,"]


@pytest.mark.parametrize("change", [
    {"K3D_CLUSTER_DOMAIN_PREFIX": "app"}, {"IMAGE_FRONT_DOOR": "mirror.example/haproxy:3.2"},
    {"FRONT_DOOR_ADDRESSES": "127.0.0.1"}])
def test_a_setting_that_it_depends_on_makes_it_again(door: FrontDoor, change: dict[str, str]) -> None:
    make(door)
    changes(door)
    door.env(**change)
    assert "front door: created again" in make(door)
    assert [words[1] for words in changes(door)] == ["rm", "create", "cp", "start"]


def test_one_that_was_stopped_or_lost_its_network_is_made_again(door: FrontDoor) -> None:
    make(door)
    door.stop_container()
    assert "created again" in make(door)
    door.container["NetworkSettings"]["Networks"]["dev-clusters"]["NetworkID"] = "of a network that was removed"
    assert "created again" in make(door)
    door.container["State"]["Health"]["Status"] = "unhealthy"
    assert "created again" in make(door)


def test_a_cluster_with_a_network_of_its_own_is_connected(door: FrontDoor) -> None:
    door.world.cluster_list(door.world.cluster(1), door.world.cluster(2, network="k3d-cl2"))
    door.world.fakes.answer("^docker inspect .*NetworkID.* k3d-cl2-serverlb$",
                            "/k3d-cl2-serverlb running k3d-cl2=abc\n")
    make(door)
    assert changes(door)[0] == ["docker", "network", "connect", "dev-clusters", "k3d-cl2-serverlb"]


def test_a_dry_run_shows_all_commands_and_changes_nothing(door: FrontDoor) -> None:
    done = door.world.inv("--dry", "front-door")
    commands = [line.split()[:2] for line in good(done).splitlines() if line.startswith("docker")]
    assert commands == [["docker", "create"], ["docker", "cp"], ["docker", "start"]]
    assert changes(door) == [] and not (door.world.project.folder / ".work").exists()
    make(door)
    changes(door)
    door.env(IMAGE_FRONT_DOOR="mirror.example/haproxy:3.2")
    said = good(door.world.inv("--dry", "front-door"))
    assert [line.split()[1] for line in said.splitlines() if line.startswith("docker")] == [
        "rm", "create", "cp", "start"]
    assert changes(door) == []


# --- the configuration ------------------------------------------------------------------------------------------------


def targets(folder: Path, **values: str) -> dict[str, str]:
    """The lines of the map from names to load balancers."""
    text = render_configuration(configuration.load(folder, values))["clusters.map"]
    return dict(line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_each_number_of_the_range_leads_to_its_load_balancer(project: Project) -> None:
    found = targets(project.folder)
    assert list(found) == [f".cl{number}.k3d.internal" for number in range(10)]
    assert found[".cl3.k3d.internal"] == "k3d-cl3-serverlb:80:443"
    other = targets(project.folder, K3D_SUBDOMAIN="", K3D_CLUSTER_DOMAIN_PREFIX="app", K3D_PORT_END="10",
                    K3D_PORT_PREFIX_HTTPS="1", K3D_PORT_SUFFIX_HTTPS="44")
    assert other == {".app0.internal": "k3d-cl0-serverlb:80:443"}


# --- where it cannot be -----------------------------------------------------------------------------------------------


def test_a_taken_port_is_told_with_its_holder_and_nothing_is_left_behind(door: FrontDoor) -> None:
    door.world.fakes.answer("^docker ps .*publish=.*Names", "ddev-router\n")
    door.files["page.html"] = "another page"
    door.listen()
    assert refused(door) == (f"127.0.0.1:{door.http} is taken by the container ddev-router\n"
                             "Stop what uses the port, then run: inv front-door\n")
    assert changes(door) == []


def test_everything_else_goes_on_with_ports_where_one_is_taken(door: FrontDoor) -> None:
    door.files["page.html"] = "another page"
    door.listen()
    door.env(FRONT_DOOR="true")
    said = good(door.world.inv("k3d-cluster-start", "--n", "1"))
    assert "front door: failed" in said and f"127.0.0.1:{door.http} is taken" in said
    assert "Every URL works with its port" in said


@pytest.mark.parametrize(("error", "told"), [
    ("driver failed programming external connectivity: Error starting userland proxy: error while calling "
     "PortManager.AddPort(): cannot expose privileged port 443, you can add 'net.ipv4.ip_unprivileged_port_start=443'",
     "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80"),
    ("Error starting userland proxy: listen tcp4 127.0.0.1:443: bind: address already in use",
     "the engine cannot open the ports: Error response from daemon: "),
    ("no space left on device", "docker exited with code 1."),
])
def test_what_the_engine_refuses_is_told_and_the_container_does_not_stay(
    door: FrontDoor, error: str, told: str
) -> None:
    door.start_error = error
    assert told in refused(door)
    assert door.container == {} and changes(door)[-1] == ["docker", "rm", "--force", NAME]


def test_a_port_that_the_engine_does_not_open_is_told_after_a_request(door: FrontDoor) -> None:
    door.opens_ports = False
    assert re.match(rf"127.0.0.1:{door.http}, the front door, does not answer: .*refused", refused(door))


def test_an_answer_of_something_else_is_no_front_door(door: FrontDoor) -> None:
    make(door)
    door.files["page.html"] = "<h1>It works!</h1>"
    door.world.fakes.answer("^docker exec .* cat ", "")
    door.world.fakes.answer("^docker cp ")
    door.world.fakes.answer("^docker ps .*publish=.*Names", "apache\n")
    assert f"127.0.0.1:{door.http} is answered by something else than the front door by the container apache" in (
        refused(door))


def test_without_a_cluster_it_says_what_to_make_first(door: FrontDoor) -> None:
    door.world.cluster_list()
    door.world.fakes.answer("^docker network inspect", exit=1)
    assert "there is no network dev-clusters, because there is no cluster\nCreate a cluster first" in refused(door)


def test_pods_that_cannot_reach_it_are_a_warning(door: FrontDoor) -> None:
    door.world.fakes.answer(f"^docker run .* http://{GATEWAY}:", exit=28)
    said = make(door)
    assert f"a container on the network dev-clusters cannot reach {GATEWAY}:{door.http}" in said and "ufw" in said


# --- several copies ---------------------------------------------------------------------------------------------------


def of_another_copy(door: FrontDoor, folder: Path, **labels: str) -> None:
    make(door)
    changes(door)
    door.container["Config"]["Labels"] |= {"dev-cluster-tasks.front-door": str(folder), **labels}


@pytest.fixture
def other(tmp_path: Path) -> Path:
    folder = tmp_path / "another copy"
    folder.mkdir()
    (folder / "tasks.py").touch()
    return folder


def test_the_one_of_another_copy_with_other_clusters_is_told_and_left_alone(door: FrontDoor, other: Path) -> None:
    of_another_copy(door, other, **{"dev-cluster-tasks.front-door-version": "another"})
    for words in (["front-door"], ["front-door-remove"]):
        assert f"belongs to the copy of these tasks in {other}" in refused(door, *words)
    assert changes(door) == []
    (other / "tasks.py").unlink()
    assert "created again" in make(door), "that copy no longer exists"


def test_copies_with_the_same_settings_share_one(door: FrontDoor, other: Path) -> None:
    of_another_copy(door, other)
    assert "already running" in make(door) and changes(door) == []
    assert f"belongs to the copy of these tasks in {other}" in refused(door, "front-door-remove")


def test_ports_that_another_copys_front_door_has_are_told_with_its_folder(door: FrontDoor, other: Path) -> None:
    door.world.fakes.answer("^docker ps .*label=dev-cluster-tasks.front-door ", f"{other}\n")
    door.files["page.html"] = "its page"
    door.listen()
    assert f"127.0.0.1:{door.http} is taken by the front door of the copy of these tasks in {other}" in refused(door)


def test_a_container_with_that_name_that_is_not_ours_is_left_alone(door: FrontDoor) -> None:
    door.container = {"State": {"Status": "running"}, "Config": {"Labels": {}}, "HostConfig": {},
                      "NetworkSettings": {"Networks": {"dev-clusters": {"NetworkID": ID}}}}
    for words in (["front-door"], ["front-door-remove"]):
        assert f"there is a container {NAME} that these tasks did not create" in refused(door, *words)
    assert changes(door) == []


# --- removed ----------------------------------------------------------------------------------------------------------


def test_it_is_removed_and_a_second_time_there_is_none(door: FrontDoor) -> None:
    make(door)
    changes(door)
    assert "front door: removed" in good(door.world.inv("front-door-remove"))
    assert changes(door) == [["docker", "rm", "--force", NAME]]
    assert "front door: there is none" in good(door.world.inv("front-door-remove")) and changes(door) == []


def test_it_goes_with_the_last_cluster_and_before_the_network(door: FrontDoor) -> None:
    make(door)
    door.world.fakes.answer("^docker network inspect .*Labels", "dev-cluster-tasks 0\n")
    changes(door)
    good(door.world.inv("k3d-cluster-delete", "--n", "1"))
    assert door.container and not [words for words in changes(door) if words[0] == "docker"]
    door.world.cluster_list(door.world.cluster(2))
    good(door.world.inv("k3d-cluster-delete", "--n", "2"))
    assert [words for words in changes(door) if words[0] == "docker"] == [
        ["docker", "rm", "--force", NAME], ["docker", "network", "rm", "dev-clusters"]]


# --- in the other tasks -----------------------------------------------------------------------------------------------


def pods(world: World) -> None:
    """Every pod receives every page: of each cluster two, and two through the front door."""
    pages = [(0, 200, f"<h1>Hello from cl{number}.k3d.internal</h1>") for number in (1, 2) for _ in range(4)]
    world.fakes.answer("^kubectl .*exec deployment/curl ", written_out(*pages))


def test_matrix_tests_both_forms_of_every_url(door: FrontDoor) -> None:
    make(door)
    pods(door.world)
    said = good(door.world.inv("matrix"))
    assert re.findall(r"^(?:this machine|cl\d) +(\S+) +(\S+)$", said, re.MULTILINE) == [("✓✓✓✓", "✓✓✓✓")] * 3
    assert "First with the cluster's ports, then both again through the front door." in said
    door.stop_container()
    assert "this machine to cl1 (http through the front door, https through the front door): " in (
        refused(door, "matrix"))


def test_the_list_of_clusters_has_urls_through_it(door: FrontDoor) -> None:
    make(door)
    said = good(door.world.inv("k3d-cluster-list"))
    assert f"https://<name>.cl2.k3d.internal:{door.https}/" in said
    assert f"The front door lists their pages: http://k3d.internal:{door.http}/" in said


def test_status_has_a_line_for_it_and_what_is_wrong_with_it(door: FrontDoor) -> None:
    def line() -> dict[str, Any] | None:
        found = json.loads(door.world.inv("status", "--json").stdout)["machine"]
        return next((entry for entry in found if entry["what"] == "front door"), None)

    assert line() is None
    make(door)
    assert line() == {"what": "front door", "state": "green", "code": "ok",
                      "is": f"running, lists the clusters at http://k3d.internal:{door.http}/"}
    door.stop_container()
    found = line()
    assert found and (found["state"], found["code"]) == ("yellow", "not-running")


def test_default_ports_are_not_written_in_urls(project: Project) -> None:
    settings = configuration.load(project.folder, {})
    assert front_door.files.page_url(settings) == "http://k3d.internal/"
    bare = configuration.load(project.folder, {"K3D_SUBDOMAIN": ""})
    assert front_door.files.page_url(bare) == "http://127.0.0.1/", "a bare TLD is nobody's"
    assert front_door.links.url_of(settings.cluster(1), "https", "a.cl1.k3d.internal", front_door=True) == (
        "https://a.cl1.k3d.internal/")


@pytest.mark.parametrize("start", ["taken", "free"])
def test_up_takes_it_where_ports_are_free_and_opens_the_url_without_port(door: FrontDoor, start: str) -> None:
    """With --yes; without a terminal and without --yes it is not asked for."""
    world = door.world
    world.cluster_list(world.cluster(1))
    pages = [(0, 200, "<h1>Hello from cl1.k3d.internal</h1>")] * (4 if start == "free" else 2)
    world.fakes.answer("^kubectl .*exec deployment/curl ", written_out(*pages))
    world.fakes.answer("^kubectl .*exec deployment/curl-no-bundle", exit=60)
    if start == "taken":
        door.files["page.html"] = "another page"
        door.listen()
    said = good(world.inv("up", "--n", "1", "--yes"))
    port = door.https if start == "free" else world.https(1)
    assert f" --resolve example-nginx.cl1.k3d.internal:{port}:127.0.0.1 " in said
    assert said.endswith(f" https://example-nginx.cl1.k3d.internal:{port}/\n")
    assert ("front door: created" in said) == (start == "free")
