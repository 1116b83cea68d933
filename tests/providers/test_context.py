"""Clusters that exist already, reached by their kubectl contexts: what is installed, what is left to their owner."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Project
from pretend import World, pages_of, world_of, written_out

COLIMA = "^kubectl .*--context colima "
HOST = "192.168.5.2"


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.env(PROVIDER="1=colima")
        world.network(there=True)
        world.fakes.answer("^kubectl .*get-contexts", "colima\nwork\n")
        world.fakes.answer(f"{COLIMA}.*--raw=/readyz", "ok")
        world.fakes.answer(f"{COLIMA}.* run ", f"{HOST}\n")
        world.names[1].host = HOST
        world.others["cl1"] = "colima"
        yield world


def sent(world: World, name: str) -> Path:
    return world.project.folder / ".work" / "cl1" / name


def test_a_context_that_does_not_exist_is_named_with_those_that_do(world: World) -> None:
    world.env(PROVIDER="1=colima-x")
    done = world.inv("cluster-setup", "--n", "1")
    kubeconfig = world.project.home / ".kube" / "config"
    assert done.returncode == 1
    assert (f"cl1: PROVIDER says colima-x, but {kubeconfig} has no such context. It has: colima, work") in done.stderr


@pytest.mark.parametrize(("context", "start", "stop"), [
    ("colima", "colima start", "colima stop"),
    ("colima-dev", "colima start --profile dev", "colima stop --profile dev"),
    ("rancher-desktop", "rdctl start", "rdctl shutdown"),
    ("orbstack", "orb start k8s", "orb stop k8s"),
    ("docker-desktop", "docker desktop start", "docker desktop stop"),
    ("minikube", "minikube start", "minikube stop"),
])
def test_its_owner_starts_and_stops_it_and_the_command_is_shown(
    world: World, context: str, start: str, stop: str
) -> None:
    world.env(PROVIDER=f"1={context}")
    world.fakes.answer("^kubectl .*get-contexts", f"{context}\n")
    world.fakes.answer("^kubectl .*--raw=/readyz", "ok")
    done = world.inv("cluster-stop", "--n", "1")
    assert done.returncode == 1 and f"these tasks do not stop {context}. Stop it with: {stop}" in done.stderr
    world.fakes.answer("^kubectl .*--raw=/readyz", exit=1)
    done = world.inv("cluster-start", "--n", "1")
    assert done.returncode == 1 and f"{context} does not answer" in done.stderr
    assert f"Start it with: {start}" in done.stderr
    assert world.changes() == []


def test_it_is_listed_with_its_context(world: World) -> None:
    cluster, = json.loads(world.inv("cluster-list", "--json").stdout)
    assert (cluster["name"], cluster["state"], cluster["context"]) == ("cl1", "running", "colima")


def test_a_service_gives_it_the_ports_of_its_number_and_pods_reach_this_machine(world: World) -> None:
    done = world.inv("cluster-configure", "--n", "1")
    assert f"route to other clusters: through this host, {HOST}" in done.stdout
    service = yaml.safe_load(sent(world, "traefik-published.yaml").read_text())
    assert service["spec"]["type"] == "LoadBalancer"
    assert [port["port"] for port in service["spec"]["ports"]] == [world.http(1), world.https(1)]
    rules = yaml.safe_load(sent(world, "coredns-custom.yaml").read_text())["data"]["dev-clusters.override"]
    assert f"IN A {HOST}" in rules
    tried = next(words for words in world.fakes.calls("kubectl") if "run" in words)
    names = [word.partition(":")[0] for word in tried if word.endswith(f":{world.http(1)}")]
    assert {"host.docker.internal", "host.lima.internal", "host.minikube.internal", "host.orb.internal",
            "host.rancher-desktop.internal"} <= {*names}


def test_ports_of_its_own_are_used_everywhere(world: World) -> None:
    world.env(PROVIDER="1=colima", CONTEXT_PORTS="1=80/443")
    world.inv("cluster-configure", "--n", "1")
    assert not sent(world, "traefik-published.yaml").exists(), "k3s' own Traefik has them already"
    cluster, = json.loads(world.inv("cluster-list", "--json").stdout)
    assert (cluster["http"], cluster["https"]) == (80, 443)


def test_without_a_route_to_this_machine_its_own_names_work_and_the_rest_is_said(world: World) -> None:
    world.fakes.answer(f"{COLIMA}.* run ", "\n\n")
    said = world.inv("cluster-configure", "--n", "1").stdout
    assert "route to other clusters: none: its pods reach this machine by none of 127.0.0.9, host.docker" in said
    rules = yaml.safe_load(sent(world, "coredns-custom.yaml").read_text())["data"]["dev-clusters.override"]
    assert "rewrite stop name" in rules and "IN A" not in rules


def test_routes_that_it_cannot_offer_are_grey_with_the_reason(world: World) -> None:
    world.cluster_list(world.cluster(2))
    page = "<h1>Hello from cl{}.k3d.internal</h1>"
    not_found, refused = (6, 0, "Could not resolve host"), (7, 0, "Failed to connect")
    for context, cl1, cl2 in (("colima", (0, 200, page.format(1)), not_found), ("k3d-cl2", refused,
                                                                               (0, 200, page.format(2)))):
        world.fakes.answer(f"^kubectl .*--context {context} .*exec deployment/curl", written_out(cl1, cl1, cl2, cl2))
    # A pod without a route, and ports on 127.0.0.1 alone.
    with pages_of(world, 1), pages_of(world, 2):
        done = world.inv("matrix", "--json")
    assert done.returncode == 0, done.stderr
    grey = {(row["source"], row["note"]) for row in json.loads(done.stdout) if row["state"] == "grey"}
    assert grey == {
        ("pod in cl1", "pods of colima do not reach this machine, so names of other clusters do not resolve in them"),
        ("pod in cl2", "colima does not publish its ports where pods of other clusters reach this machine")}


def test_deleting_it_removes_what_has_our_label_and_leaves_cluster_and_context(world: World) -> None:
    world.fakes.answer(f"{COLIMA}.*get namespaces -A -l", "namespace/examples\n")
    world.fakes.answer(f"{COLIMA}.*get services -A -l", "service/traefik-internal\n")
    world.fakes.answer(f"{COLIMA}.*name=trust-manager,status=deployed", "0123456789abcdef")
    world.fakes.answer(f"{COLIMA}.*get configmap coredns-custom", json.dumps(
        {"data": {"dev-clusters.override": "", "users.override": ""}}))
    done = world.inv("cluster-delete", "--n", "1")
    assert done.returncode == 0, done.stderr
    kubectl = ["kubectl", "--kubeconfig", str(world.project.home / ".kube" / "config"), "--context", "colima"]
    label = "app.kubernetes.io/managed-by=dev-cluster-tasks"
    assert [words for words in world.changes() if words[0] in ("kubectl", "helm")] == [
        *([*kubectl, "delete", kind, "-A", "-l", label, "--ignore-not-found"] for kind in ("services", "namespaces")),
        [*kubectl, "-n", "kube-system", "patch", "configmap", "coredns-custom", "--patch-file",
         str(sent(world, "coredns-custom-remove.yaml"))],
        ["helm", "uninstall", "trust-manager", *kubectl[1:3], "--kube-context", "colima", "--namespace", "cert-manager",
         "--wait"]]
    assert "colima itself stays" in done.stdout


def test_uninstall_says_that_the_cluster_stays(world: World) -> None:
    assert "what these tasks installed in colima; the cluster stays" in world.inv("--dry", "uninstall").stdout
    world.fakes.answer(f"{COLIMA}.*--raw=/readyz", exit=1)
    assert "what these tasks installed in colima; the cluster stays: colima does not answer" in (
        world.inv("--dry", "uninstall").stdout)


@pytest.mark.parametrize("missing", ["docker", "k3d"])
def test_uninstall_needs_no_other_tool_for_what_is_installed_in_a_context(world: World, missing: str) -> None:
    world.fakes.answer(f"{COLIMA}.*get namespaces -A -l", "namespace/examples\n")
    (world.fakes.bin / missing).unlink()
    done = world.inv("uninstall", "--yes", "--keep-ca")
    assert done.returncode == 0, done.stderr
    assert "what these tasks installed in colima; the cluster stays" in done.stdout
    deleted = ["--context", "colima", "delete", "namespaces", "-A"]
    assert deleted in [words[3:8] for words in world.fakes.calls("kubectl")]


def test_uninstall_says_that_kubectl_is_missing_for_it(world: World) -> None:
    (world.fakes.bin / "kubectl").unlink()
    done = world.inv("uninstall", "--yes", "--keep-ca")
    assert done.returncode == 1
    assert "what these tasks installed in colima: kubectl is needed to remove it, and not installed" in done.stderr


# --- what belongs to somebody else ------------------------------------------------------------------------------------

def without_coredns(world: World) -> str:
    world.fakes.answer(f"{COLIMA}.*get deployment.apps/coredns")
    world.fakes.answer(f"{COLIMA}.*get configmap coredns ")
    return ("colima has no deployment.apps/coredns and configmap/coredns in kube-system, so cluster names do not "
            "resolve in its pods")


def read_only_coredns(world: World) -> str:
    world.fakes.answer(f"{COLIMA}.*auth can-i patch configmap/coredns", "no\n", exit=1)
    return ("the user of colima may not change configmap/coredns in kube-system, so cluster names do not resolve in "
            "its pods")


def coredns_without_block(world: World) -> str:
    world.fakes.answer(f"{COLIMA}.*get configmap/coredns -o", "example.com:53 {\n}\n")
    return ("the Corefile of colima has no server block .:53, so cluster names do not resolve in its pods. To change "
            "that, add this line to the block that answers pods: import /etc/coredns/custom/*.override")


@pytest.mark.parametrize("changed", [without_coredns, read_only_coredns, coredns_without_block])
def test_a_coredns_that_cannot_be_changed_is_said_at_once_and_the_rest_is_installed(
    world: World, changed: Callable[[World], str]
) -> None:
    why = changed(world)
    world.env(PROVIDER="1=colima", TIMEOUT_READY="5")
    done = world.inv("cluster-configure", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert f"names in CoreDNS: not changed: {why}" in " ".join(done.stdout.split())
    assert "cl1 is ready" in done.stdout
    assert not sent(world, "coredns-custom.yaml").exists() and not sent(world, "coredns-restart.yaml").exists()
    assert sent(world, "bundle.yaml").exists() and world.fakes.calls("helm", "upgrade")
    assert not [words for words in world.fakes.calls("kubectl") if "run" in words], "no pod looks for this machine"


def test_names_in_pods_of_such_a_cluster_are_grey_with_the_reason(world: World) -> None:
    why = without_coredns(world)
    not_found = (6, 0, "Could not resolve host")
    world.fakes.answer(f"{COLIMA}.*exec deployment/curl ", written_out(not_found, not_found))
    with pages_of(world, 1):
        done = world.inv("matrix", "--json")
        assert done.returncode == 0, done.stderr
        rows = {(row["source"], row["state"], row["note"]) for row in json.loads(done.stdout)}
        assert ("pod in cl1", "grey", why) in rows and {state for source, state, _ in rows
                                                       if source == "this machine"} == {"green"}
    world.fakes.answer(f"{COLIMA}.*get .*-o json", json.dumps({"items": []}))
    assert f"cl1: {why}" in " ".join(world.inv("status").stdout.split())
    world.fakes.answer("^docker info", json.dumps({"ServerVersion": "28.0.0"}))
    found = {row["id"]: row for row in json.loads(world.inv("doctor", "--json").stdout) if row["where"] == "cl1"}
    assert (found["coredns"]["state"], found["coredns"]["message"]) == ("grey", why)
    assert {found[check]["state"] for check in ("coredns-rules", "coredns-answers")} == {"grey"}


def test_the_doctor_names_what_its_owner_does_where_a_task_would_be_refused(world: World) -> None:
    traefik = {"kind": "Deployment", "metadata": {"name": "traefik", "namespace": "kube-system"}, "spec": {},
               "status": {"conditions": [{"type": "Available", "status": "True"}]}}
    world.fakes.answer("^docker info", json.dumps({"ServerVersion": "28.0.0"}))
    world.fakes.answer(f"{COLIMA}.*get .*-o json", json.dumps({"items": [traefik]}))
    found = {row["id"]: row for row in json.loads(world.inv("doctor", "--json").stdout) if row["where"] == "cl1"}
    assert found["ports-answer"]["state"] == "red"
    assert found["ports-answer"]["fix"] == (
        "If colima publishes its ports elsewhere: CONTEXT_PORTS=1=HTTP/HTTPS or CLUSTER_ADDRESS=1=ADDRESS in .env. "
        "Otherwise restart it with its own program.")
    assert "k3d-cluster-restart" not in found["node"]["fix"]


def test_a_traefik_of_somebody_else_is_left_alone_and_said(world: World) -> None:
    theirs = {"metadata": {"name": "traefik", "namespace": "ingress", "labels": {"app.kubernetes.io/name": "traefik"}},
              "spec": {}}
    world.fakes.answer(f"{COLIMA}.*get deployments,daemonsets -A -l app.kubernetes.io/name=traefik",
                       json.dumps({"items": [theirs]}))
    world.env(PROVIDER="1=colima", HTTPS_REDIRECT="true")
    done = world.inv("cluster-configure", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert ("Traefik: not installed: cl1 has a Traefik in the namespace ingress, which these tasks did not install, "
            "and their names need one in kube-system. It is left alone") in " ".join(done.stdout.split())
    assert not sent(world, "traefik-published.yaml").exists() and not sent(world, "traefik.yaml").exists()
    assert {words[3] for words in world.fakes.calls("helm", "upgrade")} == {"cert-manager", "trust-manager"}
    world.fakes.answer(f"{COLIMA}.*exec deployment/curl ", written_out((7, 0, "refused"), (7, 0, "refused")))
    rows = json.loads(world.inv("matrix", "--json").stdout)
    assert {(row["state"], row["code"]) for row in rows} == {("grey", "traefik-elsewhere")}


def test_a_k3s_without_its_traefik_gets_the_chart(world: World) -> None:
    world.fakes.answer(f"{COLIMA}.*get helmcharts.helm.cattle.io traefik")
    world.env(PROVIDER="1=colima", CONTEXT_PORTS="1=80/443")
    done = world.inv("cluster-configure", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert "traefik" in {words[3] for words in world.fakes.calls("helm", "upgrade")}
    service = yaml.safe_load(sent(world, "traefik-published.yaml").read_text())
    assert [port["port"] for port in service["spec"]["ports"]] == [80, 443]


# --- on another machine -----------------------------------------------------------------------------------------------

SERVER = "127.0.0.8"
"""Of this machine, but none that anything else listens on."""


def test_a_cluster_elsewhere_is_asked_at_its_address_and_every_table_says_so(world: World) -> None:
    world.env(PROVIDER="1=colima", CLUSTER_ADDRESS=f"1={SERVER}")
    page = "<h1>Hello from cl1.k3d.internal</h1>"
    world.fakes.answer(f"{COLIMA}.*exec deployment/curl ", written_out((0, 200, page), (0, 200, page)))
    rows = json.loads(world.inv("matrix", "--json").stdout)
    assert {(row["source"], row["state"]) for row in rows} == {("this machine", "red"), ("pod in cl1", "green")}
    with pages_of(world, 1, address=SERVER):
        done = world.inv("matrix", "--json")
        assert done.returncode == 0, done.stdout
        notes = {row["note"] for row in json.loads(done.stdout) if row["source"] == "this machine"}
        assert notes == {f"page of cl1 at {SERVER}", f"page of cl1 at {SERVER}, certificate verified"}
        assert f"cl1 is at {SERVER}, not on this machine." in world.inv("matrix").stdout
    world.fakes.answer(f"{COLIMA}.*get .*-o json", json.dumps({"items": []}))
    assert f"{world.http(1)} {world.https(1)} at {SERVER}" in " ".join(world.inv("status").stdout.split())


def test_its_pods_look_for_this_machine_only_where_the_settings_say(world: World) -> None:
    world.env(PROVIDER="1=colima", CLUSTER_ADDRESS=f"1={SERVER}")
    done = world.inv("cluster-configure", "--n", "1")
    assert "none: its pods reach this machine by none of K3D_BIND_ADDRESS, which is empty" in " ".join(
        done.stdout.split())
    world.env(PROVIDER="1=colima", CLUSTER_ADDRESS=f"1={SERVER}", K3D_BIND_ADDRESS="192.0.2.9")
    world.cluster_list(world.cluster(2))
    world.inv("cluster-configure", "--n", "1")
    tried = next(words for words in world.fakes.calls("kubectl") if "run" in words)
    assert tried[tried.index("sh", tried.index("-c")) + 1:] == [f"192.0.2.9:{world.http(2)}"]


def test_a_cluster_elsewhere_is_not_behind_the_front_door(world: World) -> None:
    world.env(PROVIDER="1=colima", CLUSTER_ADDRESS=f"1={SERVER}", FRONT_DOOR="true")
    world.fakes.answer(f"{COLIMA}.*exec deployment/curl ", written_out(*[(7, 0, "refused")] * 2))
    targets = {row["target"] for row in json.loads(world.inv("matrix", "--json").stdout)}
    assert targets == {f"{scheme}://example-nginx.cl1.k3d.internal:{port}/" for scheme, port in (
        ("http", world.http(1)), ("https", world.https(1)))}
    cluster, = json.loads(world.inv("cluster-list", "--json").stdout)
    assert cluster["url"] == f"https://<name>.cl1.k3d.internal:{world.https(1)}/"
