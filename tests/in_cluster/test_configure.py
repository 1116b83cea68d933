"""What is installed in a cluster: the words that helm and kubectl receive; and the examples that check it."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import ca
import pytest
from conftest import Project
from kubernetes_objects import certificate
from pretend import GATEWAY, ROOT, World, pages_of, world_of, written_out
from recording import Answer, Call

POD_TRUST = ("pod-trust", "pod-trust-debug", "pod-trust-system-file")
APPLY = ["apply", "--server-side", "--force-conflicts", "--field-manager=dev-cluster-tasks"]


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        yield world


def rendered(world: World, name: str) -> str:
    return str(world.project.folder / ".work" / "cl1" / name)


def applied(world: World, *names: str) -> list[str]:
    files = [word for name in names for word in ("-f", rendered(world, name))]
    return [*world.kubectl(1), *APPLY, *files]


def patched(world: World, kind: str, name: str, file: str) -> list[str]:
    return [*world.kubectl(1), "-n", "kube-system", "patch", kind, name, "--patch-file", rendered(world, file)]


def installed(world: World, name: str, *chart: str, label: str) -> list[str]:
    return ["helm", "upgrade", "--install", name, *chart, "--kubeconfig", world.kubectl(1)[2],
            "--kube-context", "k3d-cl1", "--namespace", "cert-manager", "--create-namespace",
            "--values", rendered(world, f"{name}-values.yaml"), "--labels", label]


def in_cluster(world: World) -> list[list[str]]:
    """What has been changed by helm and kubectl, sorted, because it is done side by side."""
    return sorted(words for words in world.changes() if words[0] in ("helm", "kubectl"))


def labels(world: World) -> dict[str, str]:
    """The label that each release was installed with."""
    return {words[3]: words[-1] for words in world.fakes.calls("helm", "upgrade")}


def asked_for(world: World, host: str) -> list[str]:
    """The command that checks whether a container on the clusters' network reaches cluster 1 at this host."""
    return ["docker", "run", "--rm", "--network", "dev-clusters", "--entrypoint", "curl",
            "docker.io/curlimages/curl:8.17.0", "--ipv4", "--silent", "--noproxy", "*", "--output", "/dev/null",
            "--max-time", "5", "--write-out", "%{remote_ip}", f"http://{host}:{world.http(1)}/"]


# --- a new cluster ----------------------------------------------------------------------------------------------------


def test_a_new_cluster_is_filled_and_a_second_run_changes_nothing(world: World) -> None:
    assert world.inv("k3d-cluster-setup", "--n", "1").returncode == 0
    label = labels(world)
    assert all(re.fullmatch("dev-cluster-tasks=[0-9a-f]{16}", value) for value in label.values())
    source = "oci://quay.io/jetstack/charts"
    assert in_cluster(world) == sorted([
        installed(world, "cert-manager", f"{source}/cert-manager", "--version", "v1.21.2",
                  label=label["cert-manager"]),
        installed(world, "trust-manager", f"{source}/trust-manager", "--version", "v0.26.0",
                  label=label["trust-manager"]),
        applied(world, "intermediate/issuer-secret.yaml"),
        applied(world, "issuer.yaml"),
        applied(world, "root-ca.yaml", "bundle.yaml"),
        applied(world, "traefik-internal.yaml", "coredns-custom.yaml"),
        applied(world, "traefik.yaml"),
        applied(world, "pod-trust-namespace.yaml"),
        applied(world, *(f"{name}.yaml" for name in POD_TRUST)),
        applied(world, "hosts-of-root-ca.yaml"),
        patched(world, "deployment", "coredns", "coredns-restart.yaml"),
    ])
    assert not Path(rendered(world, "intermediate/issuer-secret.yaml")).exists()
    assert world.fakes.calls("docker", "run") == [asked_for(world, GATEWAY)]
    assert f"60 IN A {GATEWAY}" in Path(rendered(world, "coredns-custom.yaml")).read_text()

    world.configured(1)
    world.fakes.forget()
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 0
    assert "intermediate certificate: kept" in done.stdout
    assert world.changes() == []


@pytest.mark.parametrize("task", ["setup", "examples"])
def test_every_command_to_a_cluster_names_its_own_kubeconfig_and_context(world: World, task: str) -> None:
    # A user whose current context is a production cluster must be safe whatever fails.
    world.env(K3D_KUBECONFIG_TARGET_DIR="~/kubeconfigs")
    world.cluster_list(world.cluster(1), world.cluster(2), world.cluster(3))
    world.fakes.answer("^kubectl .*get-contexts", "k3d-cl1\nk3d-cl2\n")
    world.fakes.answer("^kubectl .*--context k3d-cl3 .*exec deployment/curl ", stderr="(NotFound)\n", exit=1)
    world.inv(f"k3d-cluster-{task}", "--n", "1,2")
    calls = world.fakes.calls("kubectl") + world.fakes.calls("helm", "upgrade")
    own = {number: str(world.project.home / "kubeconfigs" / f"cl{number}") for number in (1, 2, 3)}
    seen = set()
    for words in calls:
        file = words[words.index("--kubeconfig") + 1]
        number = next(number for number, name in own.items() if name == file)
        seen.add(number)
        if "config" not in words:
            option = "--context" if words[0] == "kubectl" else "--kube-context"
            assert words[words.index(option) + 1] == f"k3d-cl{number}"
    assert {1, 2} <= seen


# --- charts -----------------------------------------------------------------------------------------------------------


def refused(world: World) -> str:
    """The error if helm cannot download a chart."""
    world.fakes.answer("^helm upgrade", stderr="Error: no such host\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1
    return done.stderr


def test_charts_of_a_helm_repository_are_named_so_and_a_failure_says_what_may_help(world: World) -> None:
    world.env(CHART_SOURCE="https://charts.example.com/jetstack/")
    said = refused(world)
    assert said.count("  | Error: no such host\n") == 2, "both charts, which are fetched side by side, are told"
    assert "Set CHART_SOURCE in .env to a mirror" in said
    label = labels(world)
    where = ["--repo", "https://charts.example.com/jetstack", "--version"]
    assert sorted(world.fakes.calls("helm", "upgrade")) == [
        installed(world, "cert-manager", "cert-manager", *where, "v1.21.2", label=label["cert-manager"]),
        installed(world, "trust-manager", "trust-manager", *where, "v0.26.0", label=label["trust-manager"]),
    ]


def test_a_client_of_the_examples_in_which_someone_set_a_variable_is_created_again(world: World) -> None:
    with pages_of(world, 1):
        for variables, deleted in (("", []), ("CURL_CA_BUNDLE", [
                [*world.kubectl(1), "-n", "examples", "delete", "deployment", "curl"]])):
            world.fakes.forget()
            world.fakes.answer("^kubectl .*get deployment curl .*env", variables)
            world.inv("k3d-cluster-examples", "--n", "1")
            assert [words for words in world.fakes.calls("kubectl") if "delete" in words] == deleted


@pytest.mark.parametrize(("version", "forced"), [("v3.22.0+g1", False), ("v4.3.1", True)])
def test_helm_4_overwrites_what_a_controller_has_changed(world: World, version: str, forced: bool) -> None:
    """Helm 3 does so without being told, and has no such flag."""
    world.tools(helm=version)
    assert world.inv("k3d-cluster-setup", "--n", "1").returncode == 0
    upgrades = world.fakes.calls("helm", "upgrade")
    assert len(upgrades) == 2 and all((words[-1] == "--force-conflicts") == forced for words in upgrades)


def test_charts_of_a_folder_are_its_files_and_a_missing_one_is_named_before_anything_is_created(world: World) -> None:
    charts = world.project.home / "my charts"
    charts.mkdir()
    world.env(CHART_SOURCE="~/my charts")
    (charts / "cert-manager-v1.21.2.tgz").touch()
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert "is a folder without trust-manager-v0.26.0.tgz. Download with: helm pull" in done.stderr
    assert world.changes() == []

    (charts / "trust-manager-v0.26.0.tgz").touch()
    refused(world)
    label = labels(world)
    assert sorted(world.fakes.calls("helm", "upgrade")) == [
        installed(world, name, f"{charts}/{name}-{version}.tgz", label=label[name])
        for name, version in (("cert-manager", "v1.21.2"), ("trust-manager", "v0.26.0"))
    ]


def test_what_a_killed_helm_left_is_removed_once_that_helm_has_ended(world: World) -> None:
    world.fakes.answer("^kubectl .*name=cert-manager,status in", "secret/sh.helm.release.v1.cert-manager.v1\n")
    running = "^pgrep .*helm upgrade --install cert-manager"
    world.fakes.answer(running, "4711\n")
    world.fakes.answer(running, exit=1, after=running)
    assert world.inv("k3d-cluster-setup", "--n", "1").returncode == 0
    pgrep = ["pgrep", "-u", "0", "-f", "--",
             "^([^ ]+ (-[^ ]+ )*)?([^ ]*/)?helm upgrade --install cert-manager .*--kube-context k3d-cl1( |$)"]
    delete = [*world.kubectl(1), "-n", "cert-manager", "delete", "secrets", "-l",
              "owner=helm,name=cert-manager,status in (pending-install,pending-upgrade,pending-rollback)"]
    seen = [words for words in world.fakes.calls() if words in (pgrep, delete) or words[:4] == [
        "helm", "upgrade", "--install", "cert-manager"]]
    assert seen[:3] == [pgrep, pgrep, delete] and seen[3][0] == "helm" and len(seen) == 4


@pytest.mark.parametrize(("said", "fetching"), [
    ('Error: failed to perform "FetchReference" on source: quay.io/jetstack/charts/cert-manager:v9: not found', True),
    ("Error: failed to do request: Head \"https://quay.io/v2/\": dial tcp 192.0.2.1:443: i/o timeout", True),
    ("Error: UPGRADE FAILED: cannot patch \"cert-manager\" with kind Deployment: field is immutable", False),
    ("Error: Kubernetes cluster unreachable: Get \"https://0.0.0.0:6443/version\": dial tcp: refused", False),
    ("Error: Unable to continue with install: ServiceAccount \"cert-manager\" exists and cannot be imported", False),
])
def test_only_a_chart_that_could_not_be_downloaded_leads_to_the_setting_for_its_source(
    world: World, said: str, fetching: bool
) -> None:
    world.fakes.answer("^helm upgrade", stderr=f"{said}\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1 and said in done.stderr
    assert ("CHART_SOURCE" in done.stderr) == fetching


OWNERS = [
    ({"helm.toolkit.fluxcd.io/name": "certs", "helm.toolkit.fluxcd.io/namespace": "flux-system"},
     {"meta.helm.sh/release-name": "cert-manager", "meta.helm.sh/release-namespace": "cert-manager"},
     "Flux (HelmRelease flux-system/certs)"),
    ({"kustomize.toolkit.fluxcd.io/name": "infra", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}, {},
     "Flux (Kustomization flux-system/infra)"),
    ({}, {"argocd.argoproj.io/tracking-id": "platform:apps/Deployment:cert-manager/cert-manager"},
     "Argo CD (Application platform)"),
    ({"argocd.argoproj.io/instance": "platform"}, {}, "Argo CD (Application platform)"),
    ({"app.kubernetes.io/managed-by": "Helm"},
     {"meta.helm.sh/release-name": "platform", "meta.helm.sh/release-namespace": "cert-manager"},
     "Helm (release cert-manager/platform)"),
    ({"app.kubernetes.io/managed-by": "terraform"}, {}, "terraform"),
    ({}, {}, "kubectl or another program"),
]


def deployed(
    world: World, name: str, version: str, labels: dict[str, str], notes: dict[str, str],
    namespace: str = "cert-manager",
) -> None:
    """This Deployment is in the cluster."""
    found = {"metadata": {"name": name, "namespace": namespace, "annotations": notes,
                          "labels": {"app.kubernetes.io/name": name, **labels}},
             "spec": {"template": {"spec": {"containers": [{"image": f"mirror:5000/{name}:{version}@sha256:1"}]}}}}
    world.fakes.answer(f"^kubectl .*get deployments -A -l app.kubernetes.io/name={name} ",
                       json.dumps({"items": [found]}))


def crds(world: World, **served: bool) -> None:
    for name, version in (("clusterissuers.cert-manager.io", "v1"), ("bundles.trust.cert-manager.io", "v1alpha1")):
        versions = [{"name": version, "served": served.get(version, True)}]
        world.fakes.answer(f"^kubectl .*get crd {name} ", json.dumps({"spec": {"versions": versions}}))


@pytest.mark.parametrize(("labels", "notes", "owner"), OWNERS)
def test_charts_that_somebody_else_has_installed_are_used_as_they_are(
    world: World, labels: dict[str, str], notes: dict[str, str], owner: str
) -> None:
    for name, version in (("cert-manager", "v1.18.2"), ("trust-manager", "v0.18.0")):
        deployed(world, name, version, labels, notes)
    crds(world)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert f"v1.18.2 of {owner} is used as it is" in done.stdout and f"v0.18.0 of {owner}" in done.stdout
    assert not world.fakes.calls("helm", "upgrade")
    assert applied(world, "issuer.yaml") in world.changes()
    assert applied(world, "root-ca.yaml", "bundle.yaml") in world.changes()


@pytest.mark.parametrize(("version", "namespace", "served", "why"), [
    ("v1.9.1", "cert-manager", True, "1.12.0 or newer is needed"),
    ("v1.18.2", "platform", True, "it is in the namespace platform, and cert-manager is needed"),
    ("v1.18.2", "cert-manager", False, "the CRD clusterissuers.cert-manager.io with version v1 is missing"),
])
def test_a_chart_of_somebody_else_that_will_not_do_is_reported_with_whose_it_is(
    world: World, version: str, namespace: str, served: bool, why: str
) -> None:
    labels, notes, owner = OWNERS[1]
    deployed(world, "cert-manager", version, labels, notes, namespace)
    crds(world, v1=served)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1
    assert (f"cl1: cert-manager {version} was not installed by these tasks, but by {owner}, and cannot be used: {why}. "
            "Change or remove it there") in done.stderr
    assert [words[3] for words in world.fakes.calls("helm", "upgrade")] == ["trust-manager"]
    assert "CHART_SOURCE" not in done.stderr


def test_a_helm_release_of_the_same_name_is_upgraded(world: World) -> None:
    """As the original Taskfile left it, or an interrupted run."""
    deployed(world, "cert-manager", "v1.15.0", {"app.kubernetes.io/managed-by": "Helm"}, {
        "meta.helm.sh/release-name": "cert-manager", "meta.helm.sh/release-namespace": "cert-manager"})
    assert world.inv("k3d-cluster-setup", "--n", "1").returncode == 0
    assert "cert-manager" in labels(world)


# --- what is already there --------------------------------------------------------------------------------------------


def base64_of(*certificates: ca.Signed) -> str:
    return base64.b64encode(b"".join(certificate.pem for certificate in certificates)).decode()


def chart_config(manager: str) -> str:
    """The HelmChartConfig of Traefik, created by this one; without a label if that is empty."""
    labels = {"app.kubernetes.io/managed-by": manager} if manager else {}
    return json.dumps({"metadata": {"name": "traefik", "labels": labels}})


def test_what_the_original_taskfile_left_is_adopted(world: World) -> None:
    world.cluster_list(world.cluster(1, network="k3d-cl1"))
    world.fakes.answer("^kubectl .*get secret root-ca", base64_of(ROOT))
    rules = {"data": {"k3d.internal.server": "k3d.internal:53 {}", "other.server": "example.com:53 {}"}}
    world.fakes.answer("^kubectl .*get configmap coredns-custom", json.dumps(rules))
    world.fakes.answer("^kubectl .*get helmchartconfig traefik", chart_config("taskfile-dev-cluster-config"))
    world.fakes.answer("^kubectl .*get secret trust-manager-tls", "trust-manager-tls\t")
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert "intermediate certificate: created; the cluster had the root itself" in done.stdout
    assert "key k3d.internal.server of the original Taskfile in coredns-custom: removed" in done.stdout
    assert [*world.kubectl(1), "-n", "cert-manager", "delete", "secret", "trust-manager-tls"] in world.changes()
    assert applied(world, "intermediate/issuer-secret.yaml") in world.changes()
    assert applied(world, "traefik.yaml") in world.changes()
    assert patched(world, "configmap", "coredns-custom", "coredns-custom-remove.yaml") in world.changes()
    assert Path(rendered(world, "coredns-custom-remove.yaml")).read_text() == "data:\n  k3d.internal.server: null\n"
    assert world.fakes.calls("docker", "network", "create"), "the route to other clusters needs it"


def test_a_leaf_of_a_former_intermediate_is_reissued_and_those_of_others_stay(world: World) -> None:
    world.cluster_list(world.cluster(1))
    present, earlier = (ca.authority("cl1.k3d.internal", issuer=ROOT, pathlen=0) for _ in range(2))
    world.fakes.answer("^kubectl .*get secret root-ca", base64_of(present, ROOT))

    def secrets(issuer: ca.Signed) -> str:
        new, old = (base64_of(ca.leaf(authority, "a.cl1.k3d.internal")) for authority in (issuer, earlier))
        rows = (("shop", "web", new), ("shop", "deleted", old), ("shop", "other", old), ("kube-system", "k3s", old),
                ("shop", "empty", ""))
        return "".join("\t".join(row) + "\n" for row in rows)

    listed = [certificate("shop", "web"), certificate("shop", "empty"), certificate("shop", "other", issuer="Issuer")]
    world.fakes.answer("^kubectl .*get certificates -A", json.dumps({"items": listed}))
    world.fakes.answer("^kubectl .*get secrets -A", secrets(earlier))
    world.fakes.answer("^kubectl .*get secrets -A", secrets(present), after="annotate secret web")
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert "certificates of a former issuer: reissued: shop/web " in done.stdout
    assert "intermediate certificate: kept" in done.stdout
    assert [words for words in world.changes() if "annotate" in words] == [
        [*world.kubectl(1), "-n", "shop", "annotate", "secret", "web", "--overwrite",
         "cert-manager.io/issuer-name=an-earlier-one"]]
    assert not [words for words in world.changes() if "delete" in words], "until then it is served as before"


@pytest.mark.parametrize("manager", ["someone-else", ""])
def test_what_is_not_ours_stays_and_a_host_that_cannot_be_reached_is_reported(world: World, manager: str) -> None:
    world.network(there=True, gateway="127.0.0.9", subnet="172.30.0.0/16")
    world.cluster_list(world.cluster(1))
    world.fakes.answer("^docker run ", exit=7)
    world.fakes.answer("^kubectl .*get helmchartconfig traefik", chart_config(manager))
    world.fakes.answer("^kubectl .*get secret trust-manager-tls", "trust-manager-tls\tHelm")
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert ("! cl1 │ Traefik's access log: not changed, because the HelmChartConfig traefik was not created by these "
            "tasks.") in done.stdout
    assert applied(world, "traefik.yaml") not in world.changes()
    assert not [words for words in world.changes() if "trust-manager-tls" in words]
    assert "! cl1 │ route to other clusters: a container cannot reach this machine" in done.stdout
    assert "sudo ufw allow in from 172.30.0.0/16" in done.stdout


def test_an_engine_in_a_virtual_machine_is_asked_for_this_hosts_address(world: World) -> None:
    world.virtual_machine(name="host.containers.internal", address="192.168.127.254")
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 0, done.stderr
    published = [word for word in world.fakes.calls("k3d", "cluster", "create")[0] if word.endswith("@loadbalancer")]
    assert published == [f"127.0.0.1:{world.http(1)}:80@loadbalancer", f"127.0.0.1:{world.https(1)}:443@loadbalancer"]
    asked = [asked_for(world, name) for name in ("host.docker.internal", "host.containers.internal")]
    assert world.fakes.calls("docker", "run") == asked
    assert "60 IN A 192.168.127.254" in Path(rendered(world, "coredns-custom.yaml")).read_text()


def test_a_valid_intermediate_is_not_replaced_if_the_api_fails_for_a_moment(world: World) -> None:
    world.cluster_list(world.cluster(1))
    world.fakes.answer("^kubectl .*get secret root-ca", stderr="Error: etcdserver: request timed out\n", exit=1)
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 1
    assert "etcdserver: request timed out" in done.stderr
    assert applied(world, "intermediate/issuer-secret.yaml") not in world.changes()


# --- examples ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def examples(world: World) -> World:
    """A cluster in which everything works, with checks that are not retried."""
    world.cluster_list(world.cluster(1))
    (world.project.root / "usr/local/share/ca-certificates").mkdir(parents=True)  # Debian
    world.fakes.behave("kubectl", curl_in_pod)
    world.fakes.answer("^kubectl .*exec deployment/curl-no-bundle", stderr="curl: (60) SSL problem\n", exit=60)
    return world


def curl_in_pod(call: Call) -> Answer | None:
    """The pod `curl` gets the page of each URL's cluster, but for cl3, which has no examples."""
    if "deployment/curl" not in call.words:
        return None
    clusters = [name for name in map(CLUSTER_OF_URL.match, call.words) if name]
    found = [(0, 404, "404 page not found\n") if name[1] == "cl3" else (0, 200, page(name[1])) for name in clusters]
    return Answer(written_out(*found))


CLUSTER_OF_URL = re.compile(r"https?://example-nginx\.(cl\d)\.")


def page(cluster: str) -> str:
    return f"<h1>Hello from {cluster}.k3d.internal</h1>"


def table(stdout: str) -> list[list[str]]:
    """The rows of the table: sign, from, to, note."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in stdout.splitlines()]
    return [row for row in rows if row[0] in ("✓", "✗", "!", "-")]


def url(world: World, number: int, scheme: str) -> str:
    port = world.https(number) if scheme == "https" else world.http(number)
    return f"{scheme}://example-nginx.cl{number}.k3d.internal:{port}/"


def reached(world: World, source: str, number: int) -> list[list[str]]:
    return [["✓", source, url(world, number, "http"), f"page of cl{number}"],
            ["✓", source, url(world, number, "https"), f"page of cl{number}, certificate verified"]]


def test_examples_that_work_from_everywhere_pass_and_report_what_this_machine_lacks(examples: World) -> None:
    dry = examples.inv("--dry", "k3d-cluster-examples", "--n", "1")
    with pages_of(examples, 1):
        done = examples.inv("k3d-cluster-examples", "--n", "1")
    assert done.returncode == 0, done.stderr
    *rows, resolver, store = table(done.stdout)
    assert rows == [
        *reached(examples, "this machine", 1),
        *reached(examples, "pod in cl1", 1),
        ["✓", "pod in cl1 without bundle", url(examples, 1, "https"), "rejected, as expected"],
    ]
    name = "example-nginx.cl1.k3d.internal"
    assert resolver == ["!", "this machine's resolver", name, "not resolved"]
    anchors = str(examples.project.root / "usr/local/share/ca-certificates")
    assert store == ["!", "this machine's trust store", anchors, "not trusted"]
    assert "\nFor what is yellow, type:\n  inv dns\n  inv trust\n" in done.stdout
    files = ("namespace", "nginx", "curl", "curl-no-bundle", "netshoot")
    assert examples.changes() == [applied(examples, *(f"{file}.yaml" for file in files))]
    assert dry.stdout.splitlines()[-1] == shlex.join(examples.changes()[0])


def test_what_does_not_work_is_red_and_listed_again_at_the_end(examples: World) -> None:
    """Among it a pod without the bundle that accepts the certificate, and a page that is another cluster's."""
    examples.fakes.answer("^kubectl .*exec deployment/curl-no-bundle", page("cl1"))
    examples.fakes.answer("^kubectl .*exec deployment/curl ", written_out((0, 200, page("cl2")), (35, 0, "TLS alert")),
                          exit=35)
    done = examples.inv("k3d-cluster-examples", "--n", "1", LANG="C", LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert done.stdout.count("\nx  this machine") == 2, "the table is readable in a terminal without Unicode"
    refused = f"[Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"
    assert done.stderr.splitlines() == [
        "5 of 7 checks failed:",
        f"  this machine to {url(examples, 1, 'http')}: {refused}",
        f"  this machine to {url(examples, 1, 'https')}: {refused}",
        f"  pod in cl1 to {url(examples, 1, 'http')}: got a different page than cl1's: '{page('cl2')}'",
        f"  pod in cl1 to {url(examples, 1, 'https')}: traefik-internal of cl1: TLS alert",
        f"  pod in cl1 without bundle to {url(examples, 1, 'https')}: accepted a certificate that it must reject",
    ]


def test_other_running_clusters_are_checked_in_both_directions_or_shown_in_grey(examples: World) -> None:
    examples.cluster_list(*(examples.cluster(number, running=number < 4) for number in (1, 2, 3, 4)))
    examples.fakes.answer("^kubectl .*--context k3d-cl3 .*exec deployment/curl ", exit=1,
                          stderr='Error from server (NotFound): deployments.apps "curl" not found\n')
    with pages_of(examples, 1):
        done = examples.inv("k3d-cluster-examples", "--n", "1")
    assert done.returncode == 0, done.stderr
    rows = table(done.stdout)
    assert rows[:9] == [
        *reached(examples, "this machine", 1),
        *reached(examples, "pod in cl1", 1), *reached(examples, "pod in cl1", 2),
        *reached(examples, "pod in cl2", 1),
        ["-", "the examples are not installed in cl3: inv k3d-cluster-examples --n 3"],
    ]
    assert len(rows) == 12 and "cl4" not in done.stdout


def test_a_cluster_without_an_issuer_is_reported_with_the_command_that_sets_it_up(examples: World) -> None:
    examples.fakes.answer("^kubectl .*get clusterissuer root-ca", exit=1)
    done = examples.inv("k3d-cluster-examples", "--n", "1")
    assert done.returncode == 1
    assert "cl1 does not answer, or has no issuer root-ca. Set it up with: inv k3d-cluster-setup --n 1" in done.stderr
    assert examples.changes() == []
