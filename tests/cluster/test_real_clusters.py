"""Real clusters during their whole lifecycle.

These tests depend on each other, in this order, because creating a cluster takes half a minute.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import SOURCE
from real_clusters import Clusters, why_not

from benchmarks import original

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(why_not() != "", reason=why_not() or "-")]

# Questions that change nothing: what a run asks and --dry does not print.
LOOKS = re.compile(
    r"docker (version|(network|image|container) inspect|run --rm|ps|inspect|exec)|"
    r"k3d (version|cluster list|kubeconfig get)|helm version|"
    r"kubectl --kubeconfig \S+ (config (current-context|get-)|--context \S+ (-n \S+ )?"
    r"(get|diff|wait|rollout status|port-forward|exec|api-resources|create --dry-run=server))"
)


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """No cluster yet, but a root certificate. What the tests leave behind is removed at the end."""
    made = Clusters(tmp_path_factory.mktemp("clusters"))
    made.remove()
    done = made.inv("cert")
    assert done.returncode == 0, done.stderr
    yield made
    made.remove()


def wait_until(what: str, so: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.2)


def kill_during_setup(clusters: Clusters, number: int, moment: Callable[[], object]) -> None:
    """Start a setup and kill -9 its `inv` when the moment has come; what it has started goes on."""
    words = [sys.executable, "-m", "invoke", "k3d-cluster-setup", "--n", str(number)]
    running = subprocess.Popen(words, cwd=clusters.folder, env=clusters.environment(), stdout=subprocess.DEVNULL)
    try:
        wait_until("the moment to kill", lambda: moment() or running.poll() is not None)
        assert running.poll() is None, "setup ended before it could be killed"
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


def table(output: str) -> list[str]:
    """The signs of the rows of the examples' table that are about clusters, not about this machine's set-up."""
    rows = [line for line in output.splitlines() if re.match(r"[✓✗!-]  ", line)]
    return [row for row in rows if "this machine's" not in row]


def all_green(clusters: Clusters, numbers: str) -> None:
    """The examples report that every route works, and each page comes from its own cluster.

    For each of these clusters, by HTTP and HTTPS: from the host, from its pod and from the others of these; and in both
    directions between it and each cluster that is not one of these.
    """
    asked = len(numbers.split(","))
    pages = 2 * asked * (2 + asked - 1 + 2 * (len(clusters.existing()) - asked))
    done = clusters.inv("k3d-cluster-examples", "--n", numbers)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = table(done.stdout)
    assert {row[0] for row in rows} <= {"✓"}, done.stdout
    answered = [re.search(r"\.(dct\d)\.k3d\.internal\S* +page of (dct\d)", row) for row in rows]
    assert [match[1] == match[2] for match in answered if match] == [True] * pages, done.stdout


def root_key(clusters: Clusters) -> str:
    return (clusters.home / ".local-ca-certs" / "internal-ca.key").read_text()


def secrets_hold_no_root_key(clusters: Clusters, number: int) -> bool:
    """Neither the data nor an annotation of any secret holds the root's key, as PEM or in base64."""
    everything = clusters.kubectl(number, "get", "secrets", "-A", "-o", "json")
    secrets = json.loads(everything)["items"]
    assert secrets
    key = root_key(clusters)
    body = "".join(key.splitlines()[1:-1])
    decoded = [base64.b64decode(value).decode(errors="replace")
               for secret in secrets for value in (secret.get("data") or {}).values()]
    texts = [everything, *decoded]
    return not any(part in text.replace("\n", "") for text in texts
                   for part in (body, base64.b64encode(key.encode()).decode()))


# --- in order ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_word_for_word_what_the_run_of_two_clusters_then_executes(clusters: Clusters) -> None:
    label = "app.kubernetes.io/managed-by=dev-cluster-tasks"
    subprocess.run(["docker", "network", "create", "--label", label, "dct"], check=True, capture_output=True)
    dry = clusters.inv("--dry", "k3d-cluster-setup", "--n", "1,2")
    assert dry.returncode == 0, dry.stderr
    assert clusters.existing() == set()
    printed = Counter(line for line in dry.stdout.splitlines() if re.match(r"(docker|k3d|helm|kubectl|openssl) ", line))
    assert not any("<" in line for line in printed), "everything can be known with the network there"

    clusters.fakes.forget()
    done = clusters.inv("k3d-cluster-setup", "--n", "1,2")
    assert done.returncode == 0, done.stdout + done.stderr
    executed = Counter(shlex.join(words) for words in clusters.fakes.calls())
    assert Counter(command for command in executed.elements() if not LOOKS.match(command)) == printed
    assert clusters.existing() == {"dct1", "dct2"}


def test_the_users_current_context_is_untouched_and_both_clusters_are_in_the_kubeconfig(clusters: Clusters) -> None:
    text = clusters.kubeconfig.read_text()
    assert "current-context: work\n" in text
    assert "name: k3d-dct1\n" in text and "name: k3d-dct2\n" in text


def test_every_route_between_host_and_both_clusters_works_and_is_verified(clusters: Clusters) -> None:
    first = clusters.inv("k3d-cluster-examples", "--n", "1")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "-" in {row[0] for row in table(first.stdout)}, "dct2 has no examples yet, which is a grey row"
    assert "inv k3d-cluster-examples --n 2" in first.stdout
    all_green(clusters, "1,2")
    all_green(clusters, "2")


def resolver(clusters: Clusters, *names: str) -> None:
    """Have this machine's resolver, as the tasks ask it, lead these names here; without names as it really does."""
    module = clusters.folder / "tasks" / "dns" / "resolver.py"
    text, _, _ = module.read_text().partition("\n# for the tests\n")
    replaced = f"def addresses(name: str) -> set[str]:\n    return {{'127.0.0.1'}} if name in {names!r} else set()\n"
    module.write_text(text + (f"\n# for the tests\n{replaced}" if names else ""))


def test_the_matrix_is_green_and_a_trace_finds_every_hop_in_order(clusters: Clusters) -> None:
    done = clusters.inv("matrix")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓✓") == 6 and "✗✗" not in done.stdout
    resolver(clusters, "example-nginx.dct1.k3d.internal")
    done = clusters.inv("trace", "--json", NGINX)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert {row["state"] for row in rows} == {"green"}
    assert [row["source"] for row in rows][-2:] == ["pod in dct1", "pod in dct2"] and len(rows) == 15


NGINX = "https://example-nginx.dct1.k3d.internal:21443/"
BACKEND = "/spec/rules/0/http/paths/0/backend/service/port/number"


@pytest.mark.parametrize(("words", "hop"), [
    (["-n", "examples", "delete", "ingress", "example-nginx"], "Ingress"),
    (["-n", "examples", "patch", "ingress", "example-nginx", "--type=json", "-p",
      json.dumps([{"op": "replace", "path": BACKEND, "value": 81}])], "Service"),
    (["-n", "examples", "scale", "deployment/nginx", "--replicas=0"], "endpoints"),
    (["-n", "examples", "patch", "ingress", "example-nginx", "--type=json", "-p",
      json.dumps([{"op": "remove", "path": "/spec/tls"}])], "certificate"),
    (["-n", "examples", "set", "env", "deployment/curl", "CURL_CA_BUNDLE=/etc/hosts"], "pod in dct1"),
    (["-n", "kube-system", "scale", "deployment/traefik", "--replicas=0"], "Traefik"),
    (["docker", "stop", "k3d-dct1-serverlb"], "port"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_hop_that_is_really_broken_is_named_by_trace_and_its_command_fixes_it(
    clusters: Clusters, words: list[str], hop: str
) -> None:
    def red() -> list[dict[str, str]]:
        rows = json.loads(clusters.inv("trace", "--json", NGINX).stdout)
        return [row for row in rows if row["state"] == "red"]

    if words[0] == "docker":
        subprocess.run(words, check=True, capture_output=True)
    else:
        clusters.kubectl(1, *words)
        clusters.kubectl(1, "-n", "examples", "rollout", "status", "deployment/curl", "--timeout=120s")
    wait_until("the break to be seen", red)
    found, = red()
    assert found["source"] == hop
    program, *rest = shlex.split(found["command"])
    if program == "inv":
        assert clusters.inv(*rest).returncode == 0
    else:
        subprocess.run([program, *rest], check=True, capture_output=True, env=clusters.environment())
    wait_until("the URL to work again", lambda: not red())


def test_a_cluster_that_is_red_in_the_matrix_is_so_from_everywhere(clusters: Clusters) -> None:
    resolver(clusters)
    subprocess.run(["docker", "stop", "k3d-dct1-serverlb"], check=True, capture_output=True)
    done = clusters.inv("matrix")
    assert done.returncode == 1
    lines = [line.split() for line in done.stdout.splitlines()[2:5]]
    assert [line[-2:] for line in lines] == [["✗✗", "✓✓"], ["✗✗", "✗✗"], ["✗✗", "✓✓"]], done.stdout
    assert f"inv trace {NGINX}" in done.stderr
    assert clusters.inv("k3d-cluster-start", "--n", "1").returncode == 0
    wait_until("the matrix to be green again", lambda: clusters.inv("matrix").returncode == 0)


def test_ports_are_published_on_loopback_and_the_gateway_alone(clusters: Clusters) -> None:
    said = subprocess.run(["docker", "port", "k3d-dct1-serverlb"], check=True, capture_output=True, text=True).stdout
    addresses = {line.split(" -> ")[1].rsplit(":", 1)[0] for line in said.splitlines()}
    assert "0.0.0.0" not in addresses and "127.0.0.1" in addresses
    assert len(addresses) == 2


def test_no_secret_of_any_cluster_holds_the_root_key(clusters: Clusters) -> None:
    assert secrets_hold_no_root_key(clusters, 1)
    assert secrets_hold_no_root_key(clusters, 2)


def test_each_cluster_serves_a_leaf_of_its_own_intermediate(clusters: Clusters) -> None:
    for number in (1, 2):
        name = f"example-nginx.dct{number}.k3d.internal"
        root = clusters.home / ".local-ca-certs" / "internal-ca.crt"
        said = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:2{number}443", "-servername", name, "-CAfile", str(root),
             "-verify_hostname", name, "-x509_strict", "-verify_return_error", "-showcerts"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert "Verify return code: 0 (ok)" in said.stdout, said.stdout + said.stderr
        assert f"CN = Development Setup .internal CA dct{number}" in said.stdout


def test_the_bundle_is_there_as_pem_jks_and_pkcs12_that_openssl_3_reads(clusters: Clusters, tmp_path: Path) -> None:
    found = json.loads(clusters.kubectl(1, "-n", "examples", "get", "configmap", "default-ca-bundle", "-o", "json"))
    root = (clusters.home / ".local-ca-certs" / "internal-ca.crt").read_text().strip()
    assert root in found["data"]["bundle.pem"]
    assert set(found["binaryData"]) == {"bundle.jks", "bundle.p12"}
    store = tmp_path / "bundle.p12"
    store.write_bytes(base64.b64decode(found["binaryData"]["bundle.p12"]))
    said = subprocess.run(["openssl", "pkcs12", "-in", str(store), "-nokeys", "-passin", "pass:"], capture_output=True)
    assert "".join(root.splitlines()[1:-1]).encode() in said.stdout.replace(b"\n", b""), said.stderr


def test_a_second_run_changes_nothing(clusters: Clusters) -> None:
    kinds = "all,configmaps,secrets,ingresses,clusterissuers,bundles,certificates,helmchartconfigs"
    by_themselves = ("lease", "kube-root-ca")

    def state() -> dict[str, str]:
        columns = '{.kind}/{.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{"\\n"}'
        said = clusters.kubectl(1, "get", kinds, "-A", "-o", f"jsonpath={{range .items[*]}}{columns}{{end}}")
        rows = (line.split() for line in said.splitlines())
        return {name: version for name, version in rows if not any(part in name for part in by_themselves)}

    before = state()
    clusters.fakes.forget()
    done = clusters.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [command for words in clusters.fakes.calls() if not LOOKS.match(command := shlex.join(words))] == []
    assert state() == before
    assert len(before) > 20


def test_all_routes_work_again_after_every_container_was_restarted(clusters: Clusters) -> None:
    restart(clusters, 1, 2)
    all_green(clusters, "1,2")


def restart(clusters: Clusters, *numbers: int) -> None:
    nodes = [f"k3d-dct{number}-{part}" for number in numbers for part in ("server-0", "serverlb")]
    subprocess.run(["docker", "restart", *nodes], check=True, capture_output=True)
    back_after_a_restart(clusters, *numbers)


def back_after_a_restart(clusters: Clusters, *numbers: int) -> None:
    """Wait for the clusters, which recover without any command."""
    for number in numbers:
        port = clusters.cluster(number).https_port

        def served(number: int = number, port: int = port) -> bool:
            name = f"example-nginx.dct{number}.k3d.internal"
            page = subprocess.run(["curl", "-sk", "--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}/"],
                                  capture_output=True, text=True).stdout
            return f"Hello from dct{number}.k3d.internal" in page

        wait_until(f"dct{number} to serve its page again", served, 180)


def test_a_setup_that_was_killed_while_k3d_created_the_cluster_converges(clusters: Clusters) -> None:
    """Cluster 3, with a company's CA, which the next tests look for."""
    company = clusters.folder / "company ca.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", "/dev/null", "-subj", "/CN=Company", "-days", "30", "-out", str(company)],
                   check=True, capture_output=True)
    with (clusters.folder / ".env").open("a") as env:
        env.write(f"ADDITIONAL_CA_BUNDLE_FILE='{company}'\n")
    kill_during_setup(clusters, 3, lambda: "dct3" in clusters.existing())
    assert (clusters.folder / ".work" / "dct3" / "partly-created").exists()

    kill_during_setup(clusters, 3, lambda: clusters.fakes.calls("helm", "upgrade", "--install", "cert-manager")
                      and "k3d-dct3" in shlex.join(clusters.fakes.calls("helm", "upgrade")[-1]))
    done = clusters.inv("k3d-cluster-configure", "--n", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    all_green(clusters, "3")


def test_the_companys_ca_reaches_node_and_bundle(clusters: Clusters) -> None:
    company = (clusters.folder / "company ca.pem").read_text()
    node = subprocess.run(["docker", "exec", "k3d-dct3-server-0", "cat", "/etc/ssl/certs/additional-ca.crt"],
                          check=True, capture_output=True, text=True).stdout
    assert node == company
    bundle = clusters.kubectl(3, "-n", "examples", "get", "configmap", "default-ca-bundle",
                              "-o", r"jsonpath={.data.bundle\.pem}")
    assert company.strip() in bundle


ENGINE = Path("/var/run/docker.pid")


def ready_containers() -> dict[str, set[str]]:
    """The IDs of the containers that are ready, by the node of each cluster on this machine; none where no API answers.
    """
    nodes = subprocess.run(["docker", "ps", "--filter", "label=k3d.role=server", "--format", "{{.Names}}"],
                           capture_output=True, text=True).stdout.split()
    always = "@.spec.restartPolicy=='Always'"  # a pod of a Job never comes back
    ready = f"jsonpath={{.items[?({always})].status.containerStatuses[?(@.ready==true)].containerID}}"
    return {node: {*subprocess.run(["docker", "exec", node, "kubectl", "get", "pods", "-A", "-o", ready],
                                   capture_output=True, text=True).stdout.split()} for node in nodes}


def have_restarted(before: dict[str, set[str]]) -> bool:
    """Whether as many containers as before are ready again, all of them new: in the clusters of other tests, too."""
    now = ready_containers()
    return all(len(now.get(node, set()) - old) >= len(old) for node, old in before.items())


@pytest.mark.alone
@pytest.mark.skipif(os.geteuid() != 0 or not ENGINE.exists(), reason="needs an engine of this machine, and root")
@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="the engine belongs to systemd")
def test_all_routes_between_three_clusters_work_without_a_command_after_the_engine_was_killed_and_started(
    clusters: Clusters,
) -> None:
    engine, before = int(ENGINE.read_text()), ready_containers()
    command = Path(f"/proc/{engine}/cmdline").read_text().split("\0")[:-1]
    inspect = ["docker", "inspect", "-f", "{{.State.Pid}}", *subprocess.run(
        ["docker", "ps", "-q"], check=True, capture_output=True, text=True).stdout.split()]
    containers = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.split()
    children = subprocess.run(["pgrep", "-P", str(engine)], capture_output=True, text=True).stdout.split()
    shims = subprocess.run(["pgrep", "-f", "--", "-namespace moby"], capture_output=True, text=True).stdout.split()
    for process in (engine, *map(int, {*containers, *children, *shims})):
        with contextlib.suppress(ProcessLookupError):  # it may have ended with another one
            os.kill(process, signal.SIGKILL)

    def answers() -> bool:
        return subprocess.run(["docker", "info"], capture_output=True).returncode == 0

    for _ in range(5):  # a service manager would start it again and again, too
        ENGINE.unlink(missing_ok=True)
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        wait_until("the engine to answer or to give up", lambda: answers() or started.poll() is not None)  # noqa: B023
        if answers():
            break
    deadline = time.monotonic() + 120  # pods of other tests may never come back, such as broken ones
    while not have_restarted(before) and time.monotonic() < deadline:
        time.sleep(1)
    back_after_a_restart(clusters, 1, 2, 3)
    wait_until("every route to work again", lambda: clusters.inv("matrix").returncode == 0)
    assert clusters.inv("matrix").stdout.count("✓✓") == 12
    all_green(clusters, "1,2,3")


def test_a_cluster_of_the_original_taskfile_is_adopted_and_reaches_the_others_in_both_directions(
    clusters: Clusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as environment:  # of the one who runs the tests, whose kubeconfig it would be
        environment.setenv("HOME", str(clusters.home))
        environment.delenv("KUBECONFIG", raising=False)
        original.setup(clusters.cluster(4), tmp_path)
    assert not secrets_hold_no_root_key(clusters, 4), "the original puts it there"
    clusters.kubectl(4, "apply", "-f", str(SOURCE / "tests" / "helpers" / "original-ingress.yaml"))
    wait_until("cert-manager to see the Ingress", lambda: clusters.kubectl(
        4, "-n", "shop", "get", "certificates", "-o", "name"))
    clusters.kubectl(4, "-n", "shop", "wait", "certificate/shop-cert", "--for=condition=Ready", "--timeout=120s")
    key = root_key(clusters)
    subprocess.run(["k3d", "cluster", "stop", "dct4"], check=True, capture_output=True)

    done = clusters.inv("adopt")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dct4 created by the original Taskfile: yes" in done.stdout
    assert "the cluster had the root itself" in done.stdout
    assert "reissued: shop/shop-cert" in done.stdout
    assert "dct4 route from its pods to other clusters: through this host" in done.stdout
    assert "dct4: adopted." in done.stdout
    assert secrets_hold_no_root_key(clusters, 4) and root_key(clusters) == key
    rules = clusters.kubectl(4, "-n", "kube-system", "get", "configmap", "coredns-custom", "-o", "jsonpath={.data}")
    assert list(json.loads(rules)) == ["dev-clusters.override"]
    all_green(clusters, "4")
    status = clusters.inv("status")
    assert status.returncode == 0 and "✓  dct4" in status.stdout, status.stdout

    clusters.fakes.forget()
    again = clusters.inv("adopt")
    assert again.returncode == 0 and "yes, and adopted before" in again.stdout, again.stdout + again.stderr
    assert [command for words in clusters.fakes.calls() if not LOOKS.match(command := shlex.join(words))] == []


def test_an_adopted_cluster_and_the_others_reach_each_other_after_every_container_was_restarted(
    clusters: Clusters,
) -> None:
    restart(clusters, 1, 2, 4)
    all_green(clusters, "4")


def test_a_new_root_takes_over_while_every_page_is_served_and_verified(clusters: Clusters) -> None:
    """Asked for all the while: by a client of this machine that trusts both, and by a pod with what its bundle has."""
    folder, name = clusters.home / ".local-ca-certs", "example-nginx.dct{}.k3d.internal"
    old, asked, refused, done = (folder / "internal-ca.crt").read_text(), Counter[str](), list[str](), threading.Event()

    def ask(number: int) -> None:
        both, host, port = clusters.folder / f"both{number}.pem", name.format(number), f"2{number}443"
        curl = ["curl", "-sS", "--max-time", "10", f"https://{host}:{port}/"]
        from_here = [*curl, "--cacert", str(both), "--resolve", f"{host}:{port}:127.0.0.1"]
        from_pod = ["kubectl", "--kubeconfig", str(clusters.kubeconfig), "--context", "k3d-dct1", "-n", "examples",
                    "exec", "deployment/curl", "--", *curl]
        while not done.wait(0.5):
            both.write_text(old + (folder / "internal-ca.crt").read_text())
            for words in (from_here, from_pod):
                said = subprocess.run(words, capture_output=True, text=True)
                asked[host] += 1
                if "Hello from" not in said.stdout:
                    refused.append(f"{words[0]} {host}: {said.stderr}")

    asking = [threading.Thread(target=ask, args=(number,)) for number in (1, 2, 4)]
    for thread in asking:
        thread.start()
    try:
        subprocess.run(["k3d", "cluster", "stop", "dct3"], check=True, capture_output=True)
        renewed = clusters.inv("cert-renew", "--new-key")
    finally:
        done.set()
        for thread in asking:
            thread.join()
    assert renewed.returncode == 0, renewed.stdout + renewed.stderr
    assert refused == [] and all(asked[name.format(number)] > 20 for number in (1, 2, 4))
    assert "dct3 is not running, so it cannot be checked: inv k3d-cluster-setup --n 3" in renewed.stdout
    assert "reissued: examples/example-nginx-cert" in renewed.stdout
    assert (folder / "internal-ca.crt").read_text() != old == (folder / "internal-ca.retiring.crt").read_text()

    last = clusters.inv("k3d-cluster-setup", "--n", "3")
    assert last.returncode == 0, last.stdout + last.stderr
    assert "former root: removed from trust stores and bundles" in last.stdout
    assert not list(folder.glob("*retiring*"))
    for number in (1, 2, 3, 4):
        bundle = clusters.kubectl(number, "-n", "examples", "get", "configmap", "default-ca-bundle",
                                  "-o", r"jsonpath={.data.bundle\.pem}")
        assert old.strip() not in bundle and (folder / "internal-ca.crt").read_text().strip() in bundle
    all_green(clusters, "1,2")


def test_a_tld_below_nip_io_works_between_clusters_with_a_root_of_its_own_and_nothing_to_install(
    clusters: Clusters,
) -> None:
    assert clusters.inv("k3d-cluster-delete", "--n", "1,2").returncode == 0
    tld = {"TLD": "127.0.0.1.nip.io"}
    for words in (["cert"], ["k3d-cluster-configure", "--n", "3,4"], ["k3d-cluster-examples", "--n", "3,4"]):
        done = clusters.inv(*words, environment=tld)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (clusters.home / ".local-ca-certs" / "127.0.0.1.nip.io-ca.crt").is_file()
    answered = re.findall(r"\.(dct\d)\.k3d\.127\.0\.0\.1\.nip\.io:\d+/ +page of (dct\d)", done.stdout)
    # From the host, the own pod and the other's pod, with HTTP and HTTPS.
    assert Counter(answered) == {("dct3", "dct3"): 6, ("dct4", "dct4"): 6}, done.stdout


def test_delete_leaves_no_cluster_no_kubeconfig_entry_and_after_the_last_no_network(clusters: Clusters) -> None:
    done = clusters.inv("k3d-cluster-delete", "--n", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert clusters.existing() == {"dct4"}
    done = clusters.inv("k3d-cluster-delete-4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert clusters.existing() == set()
    text = clusters.kubeconfig.read_text()
    assert "dct" not in text
    assert "current-context: work\n" in text
    assert subprocess.run(["docker", "network", "inspect", "dct"], capture_output=True).returncode != 0
