"""A real Keycloak in one cluster, and applications in two: one issuer for all, and each fault in it has its name."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from real_clusters import Clusters, why_not
from real_oidc import INSTALL, run, two_clusters

from tasks.cluster import oidc

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(why_not() != "", reason=why_not() or "-")]

PATIENCE_SECONDS = 300
"""Until a Keycloak that was restarted answers; it takes half a minute if nothing else is running here."""

CHECK = """
import dataclasses, json, sys
from invoke import Context
from tasks.cluster import examples, oidc, oidc_checks
from tasks.core import configuration
from tasks.core.shell import Shell
examples.PATIENCE_SECONDS = 0
exec(sys.argv[1])
loaded = configuration.load()
rows = oidc_checks.check(Shell(Context(), loaded.environment), [loaded.cluster(0), loaded.cluster(1)])
print(json.dumps([dataclasses.asdict(row) for row in rows]))
"""
"""The table of the example, without installing it again, which would repair what a test has broken."""


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """Clusters 0 and 1 with the example; Keycloak is in 0."""
    with two_clusters(tmp_path_factory.mktemp("clusters"), "dco", 35) as made:
        run(made, *INSTALL)
        yield made


def issuer(clusters: Clusters) -> str:
    return oidc.issuer_url(clusters.cluster(0))


def app(clusters: Clusters, number: int) -> str:
    return oidc.app_url(clusters.cluster(number))


def check(clusters: Clusters, prelude: str = "") -> dict[str, list[str]]:
    """What is red, by its code: from where."""
    words = [sys.executable, "-c", CHECK, prelude]
    done = subprocess.run(words, cwd=clusters.folder, env=clusters.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for row in json.loads(done.stdout):
        if row["state"] == "red":
            found.setdefault(row["code"], []).append(row["source"])
    return found


def wait_for(what: Callable[[], Any], wanted: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := what()) != wanted:
        assert time.monotonic() < deadline, f"{found} instead of {wanted}"
        time.sleep(2)


# --- it works ---------------------------------------------------------------------------------------------------------


def test_one_issuer_serves_this_machine_and_the_pods_of_both_clusters(clusters: Clusters) -> None:
    said = run(clusters, *INSTALL)
    assert said.count("already installed") == 5, "two times the examples, Keycloak, and two applications"
    table = said.rpartition("from  ")[2]
    assert [line[0] for line in table.splitlines() if line[:1] in "✓✗!-" and line] == ["✓"] * 7, said
    assert table.count(issuer(clusters)) == 5
    assert said.endswith(f"Open {app(clusters, 0)}/\nOpen {app(clusters, 1)}/\n"
                         "and sign in as dev with the password dev.\n")


def test_a_trace_of_an_application_goes_on_to_the_issuer_in_the_other_cluster(clusters: Clusters) -> None:
    rows = trace(clusters)
    assert {row["source"]: row["note"] for row in rows if row["state"] == "red"} == {
        source: "this machine does not resolve the name" for source in ("resolver", "issuer: resolver")
        if not resolves(rows)}
    sources = [row["source"] for row in rows]
    assert sources[sources.index("answer")] == "answer" and sources[-3:] == [
        "issuer", "issuer: pod in dco0", "issuer: pod in dco1"]
    assert {row["source"]: row["target"] for row in rows}["issuer: host name"] == "example-keycloak.dco0.k3d.internal"


def trace(clusters: Clusters) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(clusters.inv("trace", "--json", f"{app(clusters, 1)}/").stdout)
    return rows


def resolves(rows: list[dict[str, str]]) -> bool:
    return next(row["state"] for row in rows if row["source"] == "resolver") == "green"


def traced_red(clusters: Clusters) -> dict[str, str]:
    """What is red in a trace, but for this machine's resolver: the codes by the hop."""
    return {row["source"]: row["code"] for row in trace(clusters)
            if row["state"] == "red" and not row["source"].endswith("resolver")}


def doctor(clusters: Clusters) -> dict[str, str]:
    """What the doctor finds about Keycloak: the message by the check."""
    findings = json.loads(clusters.inv("doctor", "--json").stdout)
    return {finding["id"]: finding["message"] for finding in findings
            if finding["id"].startswith("keycloak") and finding["state"] not in ("green", "grey")}


# --- it does not ------------------------------------------------------------------------------------------------------


def test_a_realm_that_is_not_there_is_named(clusters: Clusters) -> None:
    assert check(clusters, "oidc.REALM = 'another'") == {
        "realm-missing": ["this machine", "pod in dco0", "pod in dco1"], "sent-to-other-issuer": ["a login"] * 2}


def test_a_wrong_password_is_named(clusters: Clusters) -> None:
    assert check(clusters, "oidc_checks.PASSWORD = 'another'") == {"user-refused": ["a login"] * 2}


def test_a_pod_that_does_not_trust_the_root_is_named(clusters: Clusters) -> None:
    curl = (1, "-n", "examples", "set", "env", "deployment/curl")
    clusters.kubectl(*curl, "CURL_CA_BUNDLE=/etc/hosts")
    wait_for(lambda: check(clusters), {"certificate-not-trusted": ["pod in dco1"]})
    clusters.kubectl(*curl, "CURL_CA_BUNDLE-")
    wait_for(lambda: check(clusters), {})


def test_an_application_whose_pod_does_not_trust_the_issuer_says_what_it_waits_for(clusters: Clusters) -> None:
    def label(value: str) -> None:
        """Of the application's namespace, and a new pod."""
        clusters.kubectl(1, "label", "namespace", oidc.NAMESPACE, value)
        clusters.kubectl(1, "-n", oidc.NAMESPACE, "delete", "pod", "-l", "app=app", "--wait=false")

    label("trust-")
    wait_for(lambda: check(clusters), {"waits-for-issuer": ["a login"]})
    assert [*traced_red(clusters)] == ["endpoints"]
    label("trust=enabled")
    wait_for(lambda: check(clusters), {})


def test_an_application_that_the_issuer_does_not_know_is_named_by_the_table_and_by_trace(clusters: Clusters) -> None:
    args = json.loads(clusters.kubectl(1, "-n", oidc.NAMESPACE, "get", "deployment", "app", "-o",
                                       "jsonpath={.spec.template.spec.containers[1].args}"))
    place = next(number for number, word in enumerate(args) if word.startswith("--redirect-url="))
    change = [{"op": "replace", "path": f"/spec/template/spec/containers/1/args/{place}",
               "value": f"--redirect-url={app(clusters, 1)}/other"}]
    clusters.kubectl(1, "-n", oidc.NAMESPACE, "patch", "deployment/app", "--type=json", "-p", json.dumps(change))
    wait_for(lambda: check(clusters), {"login-refused": ["a login"]})
    assert traced_red(clusters) == {"issuer": "login-refused"}
    run(clusters, *INSTALL)


def test_after_a_restart_of_all_containers_everything_comes_back_by_itself(clusters: Clusters) -> None:
    nodes = [f"k3d-dco{number}-{part}" for number in (0, 1) for part in ("server-0", "serverlb")]
    subprocess.run(["docker", "restart", *nodes], check=True, capture_output=True)
    wait_for(lambda: check(clusters), {})
    restarts = clusters.kubectl(1, "-n", oidc.NAMESPACE, "get", "pods", "-l", "app=app", "-o",
                                "jsonpath={.items[*].status.containerStatuses[?(@.name=='oauth2-proxy')].restartCount}")
    assert restarts in ("0", "1"), "the application waits for its issuer instead of ending again and again"


def test_a_keycloak_of_another_url_is_named_by_the_table_by_trace_and_by_the_doctor(clusters: Clusters) -> None:
    """The last test, because Keycloak starts slowly: it leaves it broken."""
    assert doctor(clusters) == {}
    other = "https://example-keycloak.dco0.k3d.internal"
    clusters.kubectl(0, "-n", oidc.NAMESPACE, "set", "env", "deployment/keycloak", f"KC_HOSTNAME={other}")
    wait_for(lambda: {code: sources for code, sources in check(clusters).items() if code == "issuer-differs"},
             {"issuer-differs": ["this machine", "pod in dco0", "pod in dco1"]})
    assert traced_red(clusters) == {"issuer": "issuer-differs"}
    assert list(doctor(clusters)) == ["keycloak-hostname"]
    assert f"KC_HOSTNAME={other}, but" in doctor(clusters)["keycloak-hostname"]
