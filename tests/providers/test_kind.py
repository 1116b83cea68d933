"""Clusters of kind: what docker, kind, helm and kubectl receive, and what is known of a cluster by its containers."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ca
import pytest
import yaml
from conftest import Project
from pretend import GATEWAY, World, world_of
from recording import Answer, Call

IMAGE = "docker.io/kindest/node:v1.36.4"
PASSWORD = "open-sesame"


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.env(PROVIDER="1=kind")
        world.fakes.add("kind", "env")
        world.fakes.answer("^kind version", "kind v0.33.0 go1.26.0 linux/amd64\n")
        world.fakes.answer("^docker ps")
        yield world


def node(world: World, *, running: bool = True, role: str = "control-plane", name: str = "cl1") -> dict[str, Any]:
    """A container as `docker inspect` describes it."""
    ports = {"30080/tcp": world.http(1), "30443/tcp": world.https(1)}
    bindings = {inside: [{"HostIp": address, "HostPort": str(port)} for address in ("127.0.0.1", GATEWAY)]
                for inside, port in ports.items()}
    return {
        "Name": f"/{name}-{role}", "State": {"Running": running}, "NetworkSettings": {"Networks": {"dev-clusters": {}}},
        "Config": {"Env": ["PATH=/bin"], "Image": IMAGE, "Labels": {
            "io.x-k8s.kind.cluster": name, "io.x-k8s.kind.role": role}},
        "HostConfig": {"NetworkMode": "dev-clusters", "Binds": ["/lib/modules:/lib/modules:ro"],
                       "PortBindings": bindings if role == "control-plane" else {}},
    }


def there(world: World, *nodes: dict[str, Any]) -> None:
    """These containers exist."""
    world.network(there=True)
    world.fakes.answer("^docker ps --all --quiet --filter label=io.x-k8s.kind.cluster", "a1\n" * len(nodes))
    world.fakes.answer("^docker inspect a1", json.dumps(nodes))
    world.fakes.answer("^docker inspect .*Image", f"{IMAGE}\n")


def created(world: World, *words: str, **environment: str) -> tuple[list[str], dict[str, Any]]:
    """How kind is called to create cluster 1, and its configuration; it refuses, and nothing follows."""
    world.fakes.answer("^env .* kind create", exit=1)
    world.inv("k3d-cluster-setup", "--n", "1", *words, **environment)
    command, = world.fakes.calls("env")
    return command, yaml.safe_load(Path(command[command.index("--config") + 1]).read_text())


def test_a_cluster_joins_our_network_and_publishes_the_node_ports_of_traefik(world: World) -> None:
    command, config = created(world)
    folder = world.project.folder / ".work" / "cl1"
    assert command == ["env", "KIND_EXPERIMENTAL_DOCKER_NETWORK=dev-clusters", "kind", "create", "cluster", "--name",
                       "cl1", "--config", str(folder / "kind.yaml"), "--image", IMAGE,
                       "--kubeconfig", str(folder / "kind-kubeconfig"), "--wait", "600s"]
    only, = config["nodes"]
    assert [(one["listenAddress"], one["hostPort"], one["containerPort"]) for one in only["extraPortMappings"]] == [
        (address, port, inside) for address in ("127.0.0.1", GATEWAY)
        for port, inside in ((world.http(1), 30080), (world.https(1), 30443))]
    assert not (folder / "partly-created").exists()


def test_the_users_configuration_is_kept_and_gets_what_these_tasks_need(world: World, tmp_path: Path) -> None:
    company, users = tmp_path / "company.pem", tmp_path / "kind.yaml"
    company.write_bytes(ca.authority().pem)
    users.write_text(yaml.safe_dump({
        "kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "containerdConfigPatches": ["[plugins]"],
        "nodes": [{"role": "worker"}, {"role": "control-plane", "extraPortMappings": [{"containerPort": 1}]}]}))
    world.env(PROVIDER="1=kind", ADDITIONAL_CA_BUNDLE_FILE=str(company))
    command, config = created(world, "--", "--retain", "--config", str(users))
    assert command[-1] == "--retain" and command.count("--config") == 1
    worker, control_plane = config["nodes"]
    assert config["containerdConfigPatches"] == ["[plugins]"]
    assert len(control_plane["extraPortMappings"]) == 5 and "extraPortMappings" not in worker
    mount = {"hostPath": str(company), "containerPath": "/etc/ssl/certs/additional-ca.crt", "readOnly": True}
    assert worker["extraMounts"] == control_plane["extraMounts"] == [mount]


@pytest.mark.parametrize("content", ["[", "5", "nodes: [5]", None])
def test_a_configuration_that_cannot_be_read_is_named_before_anything_is_created(
    world: World, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "kind.yaml"
    if content:
        file.write_text(content)
    done = world.inv("k3d-cluster-setup", "--n", "1", "--", f"--config={file}")
    assert done.returncode == 1 and f"--config {file} cannot be read: " in done.stderr
    assert world.changes() == []


def test_the_nodes_get_the_proxy_from_the_environment_so_that_its_password_is_in_no_command(world: World) -> None:
    proxy = f"http://me:{PASSWORD}@proxy.example.com:3128"
    command, _ = created(world, HTTPS_PROXY=proxy)
    assert PASSWORD not in " ".join(command)
    exceptions = next(word for word in command if word.startswith("NO_PROXY=")).split("=")[1].split(",")
    assert {".k3d.internal", ".svc", "10.244.0.0/16", "10.96.0.0/16"} <= {*exceptions}
    environment = next(environment for words, environment in world.fakes.received if words[0] == "env")
    assert environment["HTTPS_PROXY"] == proxy

    existing = node(world)  # kind adds its own exceptions
    existing["Config"]["Env"] += [f"{key}={proxy}" for key in ("HTTPS_PROXY", "https_proxy")]
    existing["Config"]["Env"] += [f"{key}={','.join(exceptions)},172.18.0.0/16" for key in ("NO_PROXY", "no_proxy")]
    there(world, existing)
    world.fakes.answer("^kubectl .*set-cluster", exit=1)  # the rest is of no interest here
    said = world.inv("k3d-cluster-setup", "--n", "1", HTTPS_PROXY=proxy).stdout
    assert "already running" in said and "different proxy" not in said
    assert "its nodes have a different proxy" in world.inv("k3d-cluster-setup", "--n", "1").stdout


def test_a_registry_configuration_of_k3s_is_said_not_to_apply(world: World, tmp_path: Path) -> None:
    (tmp_path / "registries.yaml").write_text("mirrors: {}\n")
    world.env(PROVIDER="1=kind", K3D_REGISTRY_CONFIG=str(tmp_path / "registries.yaml"))
    world.fakes.answer("^env .* kind create", exit=1)
    said = world.inv("k3d-cluster-setup", "--n", "1").stdout
    assert "cl1: K3D_REGISTRY_CONFIG is not applied to nodes of kind" in said and "containerdConfigPatches" in said


def test_the_entry_is_written_without_switching_the_context_and_without_a_key_in_a_command(world: World) -> None:
    there(world, node(world))
    key = base64.b64encode(b"the key").decode()
    world.fakes.answer("^kind get kubeconfig --name cl1", yaml.safe_dump({
        "clusters": [{"name": "kind-cl1", "cluster": {
            "server": "https://127.0.0.1:40001", "certificate-authority-data": base64.b64encode(b"the CA").decode()}}],
        "users": [{"name": "kind-cl1", "user": {"client-certificate-data": key, "client-key-data": key}}],
        "current-context": "kind-cl1"}))
    seen = {}

    def read_key(call: Call) -> Answer | None:
        for word in call.words:
            if word.startswith("--client-key="):
                file = Path(word.partition("=")[2])
                seen[file.read_bytes()] = stat.filemode(file.stat().st_mode)
        return None

    world.fakes.behave("kubectl", read_key)
    world.fakes.answer("^kubectl .*set-context", exit=1)
    world.inv("k3d-cluster-start", "--n", "1")
    kubectl = world.kubectl(1)[:3]
    assert [words[3:5] for words in world.changes() if words[:3] == kubectl] == [
        ["config", "set-cluster"], ["config", "set-credentials"], ["config", "set-context"]]
    assert seen == {b"the key": "-rw-------"}
    assert not any(key in word for words in world.fakes.calls() for word in words)


def test_traefik_is_installed_and_coredns_imports_our_rules(world: World) -> None:
    there(world, node(world))
    world.fakes.answer("^kubectl .*--raw=/readyz", "ok")
    corefile = ".:53 {\n    errors\n    loadbalance\n}\n"
    world.fakes.answer("^kubectl .*get configmap coredns ", json.dumps({"data": {"Corefile": corefile}}))
    world.inv("k3d-cluster-configure", "--n", "1")
    helm = next(words for words in world.fakes.calls("helm", "upgrade") if "traefik" in words)
    assert helm[3:5] == ["traefik", "oci://ghcr.io/traefik/helm/traefik"]
    assert helm[helm.index("--namespace") + 1] == "kube-system"
    assert helm[helm.index("--kube-context") + 1] == "kind-cl1"
    work = world.project.folder / ".work" / "cl1"
    values = yaml.safe_load((work / "traefik-values.yaml").read_text())
    assert values["ports"] == {"web": {"nodePort": 30080}, "websecure": {"nodePort": 30443}}
    changed = yaml.safe_load((work / "coredns-import.yaml").read_text())["data"]["Corefile"]
    assert changed == corefile.replace("{\n", "{\n    import /etc/coredns/custom/*.override\n", 1)
    restart = yaml.safe_load((work / "coredns-restart.yaml").read_text())["spec"]["template"]
    assert restart["spec"]["volumes"][0]["configMap"]["name"] == "coredns-custom", "volume and restart are one patch"
    assert restart["metadata"]["annotations"]


def test_a_corefile_without_a_block_for_all_names_is_reported(world: World) -> None:
    there(world, node(world))
    world.fakes.answer("^kubectl .*--raw=/readyz", "ok")
    world.fakes.answer("^kubectl .*get configmap coredns ", json.dumps({"data": {"Corefile": "example.com:53 {\n}\n"}}))
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 1 and "cl1: the Corefile in kube-system/coredns has no server block .:53" in done.stderr


def test_the_default_class_of_another_controller_stays(world: World) -> None:
    there(world, node(world))
    world.fakes.answer("^kubectl .*--raw=/readyz", "ok")
    world.fakes.answer("^kubectl .*get configmap coredns ", json.dumps({"data": {"Corefile": ".:53 {\n}\n"}}))
    world.fakes.answer("^kubectl .*get ingressclasses", json.dumps({"items": [{
        "metadata": {"name": "nginx", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "k8s.io/ingress-nginx"}}]}))
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert "cl1: the IngressClass nginx stays the default" in done.stdout
    values = yaml.safe_load((world.project.folder / ".work/cl1/traefik-values.yaml").read_text())
    assert values["ingressClass"]["isDefaultClass"] is False


def test_clusters_are_listed_stopped_started_and_deleted_beside_those_of_k3d(world: World) -> None:
    nodes = [node(world), node(world, role="worker")]
    there(world, *nodes)
    world.cluster_list(world.cluster(2))
    listed = json.loads(world.inv("k3d-cluster-list", "--json").stdout)
    assert [(one["name"], one["state"], one["context"]) for one in listed] == [
        ("cl1", "running", "kind-cl1"), ("cl2", "running", "k3d-cl2")]
    world.inv("k3d-cluster-stop", "--n", "1")
    assert world.changes() == [["docker", "stop", "cl1-control-plane", "cl1-worker"]]

    world.fakes.forget()
    there(world, *(node(world, running=False, role=role) for role in ("control-plane", "worker")))
    world.fakes.answer("^docker exec cl1-control-plane kubectl .*readyz", exit=1, before="^docker exec .*readyz")
    world.inv("k3d-cluster-start", "--n", "1")
    assert world.changes()[0] == ["docker", "start", "cl1-control-plane", "cl1-worker"]
    assert len(world.fakes.calls("docker", "exec", "cl1-control-plane", "kubectl")) == 2, "until its API answers"

    world.fakes.forget()
    world.fakes.answer("^kubectl .*get-users", "kind-cl1\n")
    assert world.inv("k3d-cluster-delete", "--n", "1").returncode == 0
    kubeconfig = world.project.folder / ".work/cl1/kind-kubeconfig"
    assert world.changes() == [
        ["kind", "delete", "cluster", "--name", "cl1", "--kubeconfig", str(kubeconfig)],
        [*world.kubectl(1)[:3], "config", "delete-user", "kind-cl1"]]


@pytest.mark.parametrize("words", [["k3d-cluster-setup"], ["k3d-cluster-stop"], ["k3d-cluster-delete"]])
def test_a_number_that_another_program_has_is_named_with_what_to_do(world: World, words: list[str]) -> None:
    world.env(PROVIDER="k3d")
    world.fakes.answer("^docker ps .*label=io.x-k8s.kind.cluster ", "cl1\n")
    done = world.inv(*words, "--n", "1")
    assert ("cl1 was created by kind, but PROVIDER says k3d. To keep it, set PROVIDER=1=kind in .env. "
            "To delete it: PROVIDER=1=kind inv k3d-cluster-delete --n 1") in done.stdout + done.stderr
    assert not world.fakes.calls("k3d", "cluster", "create")
    assert "cl1 was created by kind" in world.inv("k3d-cluster-list").stdout
