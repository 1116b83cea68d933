"""A cluster of kind, with a worker, beside one of k3d: every route, restarts with other addresses, and the end.

KIND_IMAGE, TRAEFIK_SOURCE and TRAEFIK_VERSION come from the environment, as charts and other images do.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from real_clusters import Clusters, why_not
from real_oidc import bring, run

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(why_not("kind")), reason=f"no clusters can be made: {why_not('kind')}"),
]

KIND, K3D = 0, 1

FRONT_DOOR = "FRONT_DOOR=true\nFRONT_DOOR_HTTP_PORT=12780\nFRONT_DOOR_HTTPS_PORT=12743\nOIDC_ISSUER_PORT=false\n"

WITH_WORKER = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
  - role: worker
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    folder = tmp_path_factory.mktemp("clusters")
    made = Clusters(folder, "dcp", 12)
    made.remove()
    with (made.folder / ".env").open("a") as env:
        env.write(f"TRUST_STORES=\nK3D_PORT_END=13\nPROVIDER={KIND}=kind\n")
    (folder / "kind.yaml").write_text(WITH_WORKER)
    try:
        for words in (["cert"], ["cluster-setup", "--n", f"{KIND}", "--", "--config", str(folder / "kind.yaml")],
                      ["cluster-setup", "--n", f"{K3D}"], ["cluster-examples", "--n", f"{KIND},{K3D}"]):
            done = made.inv(*words)
            assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        made.remove()


def routes(both: Clusters) -> dict[tuple[str, str], str]:
    done = both.inv("matrix", "--json")
    return {(row["source"], row["target"]): row["state"] for row in json.loads(done.stdout)}


def address(both: Clusters) -> str:
    node = f"{both.prefix}{KIND}-control-plane"
    return subprocess.run(["docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
                           node], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.alone  # kubeadm gives up after a minute if the API server is slow
def test_every_route_between_them_works(both: Clusters) -> None:
    states = routes(both)
    assert len(states) == 12 and set(states.values()) == {"green"}, states


def test_pods_run_on_the_worker_and_resolve_names_there(both: Clusters) -> None:
    nodes = both.kubectl(KIND, "-n", "examples", "get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert set(nodes) == {f"{both.prefix}{KIND}-worker"}


def test_the_users_context_stays_current_and_the_entry_works(both: Clusters) -> None:
    current = ["kubectl", "--kubeconfig", str(both.kubeconfig), "config", "current-context"]
    assert subprocess.run(current, check=True, capture_output=True, text=True).stdout == "work\n"
    assert "Ready" in both.kubectl(KIND, "get", "nodes")


def test_a_second_setup_changes_nothing(both: Clusters) -> None:
    both.fakes.forget()
    done = both.inv("cluster-setup", "--n", f"{KIND}")
    assert done.returncode == 0, done.stderr
    changes = {"upgrade", "apply", "patch", "delete", "set-cluster"}
    assert [words for words in both.fakes.calls() if changes & {*words}] == []


def test_the_doctor_finds_no_error(both: Clusters) -> None:
    done = both.inv("doctor", "--json")
    wrong = [found for found in json.loads(done.stdout) if found["state"] == "red"]
    assert wrong == []


def test_a_trace_goes_through_every_hop(both: Clusters) -> None:
    cluster = both.cluster(KIND)
    done = both.inv("trace", f"https://example-nginx.{cluster.domain}:{cluster.https_port}/", "--json")
    hops = {row["source"]: row["state"] for row in json.loads(done.stdout)}
    assert {hop for hop, state in hops.items() if state != "green"} <= {"resolver"}, hops


def test_one_issuer_serves_both_through_one_front_door(both: Clusters) -> None:
    """Keycloak in the cluster of kind, an application in each: their pods trust the issuer by pod trust."""
    settings, env = both.settings, (both.folder / ".env").read_text()
    for image in (settings.image_keycloak, settings.image_oauth2_proxy):
        bring(image)
        subprocess.run(["kind", "load", "docker-image", image, "--name", both.cluster(KIND).name], check=True,
                       capture_output=True)
    both.import_images(K3D, settings.image_oauth2_proxy)
    (both.folder / ".env").write_text(env + FRONT_DOOR)
    try:
        run(both, "cluster-setup", "--n", f"{KIND},{K3D}")
        said = run(both, "cluster-examples", "--n", f"{KIND},{K3D}", "--with", "oidc")
        table = said.rpartition("from  ")[2].partition("\nOpen ")[0]
        assert [line[0] for line in table.splitlines()[1:] if line] == ["✓"] * 7, said
        assert table.count(f"https://example-keycloak.{both.cluster(KIND).domain}:12743/realms/dev") == 5
        states = routes(both)
        assert len(states) == 24 and set(states.values()) == {"green"}, states
        assert [found for found in json.loads(both.inv("doctor", "--json").stdout) if found["state"] == "red"] == []
    finally:
        run(both, "front-door-remove")
        (both.folder / ".env").write_text(env)


def test_everything_works_at_once_after_a_restart_with_other_addresses(both: Clusters) -> None:
    before = address(both)
    assert both.inv("cluster-stop", "--all").returncode == 0
    squatter = ["docker", "run", "--detach", "--rm", "--network", both.prefix, "--entrypoint", "sleep",
                both.settings.image_curl, "300"]
    squatters = [subprocess.run(squatter, check=True, capture_output=True, text=True).stdout.strip() for _ in range(4)]
    try:
        done = both.inv("cluster-start", "--all")
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(routes(both).values()) == {"green"}
        assert address(both) != before
    finally:
        subprocess.run(["docker", "rm", "--force", *squatters], capture_output=True)


def test_a_number_of_kind_is_refused_for_k3d(both: Clusters) -> None:
    done = both.process("cluster-setup", "--n", f"{KIND}", environment={"PROVIDER": "k3d"})
    assert done.returncode == 1 and f"{both.prefix}{KIND} was created by kind, but PROVIDER says k3d" in done.stderr


def test_deleting_it_leaves_the_other_and_the_last_one_takes_the_network(both: Clusters) -> None:
    network = ["docker", "network", "inspect", both.prefix]
    assert both.inv("cluster-delete", "--n", f"{KIND}").returncode == 0
    assert f"kind-{both.prefix}{KIND}" not in both.kubeconfig.read_text()
    assert set(routes(both).values()) == {"green"} and subprocess.run(network, capture_output=True).returncode == 0
    assert both.inv("uninstall", "--yes").returncode == 0
    assert subprocess.run(network, capture_output=True).returncode == 1
