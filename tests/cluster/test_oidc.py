"""The example with OpenID Connect: what is installed where, what its table says, and what is refused at once."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest
import yaml
from conftest import Project
from pretend import world_of, written_out
from pretended_keycloak import Login, serving_login
from recording import Answer, Call

from tasks.cluster import oidc

INSTALL = ("k3d-cluster-examples", "--n", "1,2", "--with", "oidc")


@pytest.fixture
def login(project: Project) -> Iterator[Login]:
    """Two clusters in which everything works, with checks that are not retried."""
    with world_of(project) as world:
        world.cluster_list(world.cluster(1), world.cluster(2))
        login = Login(world, keycloak=1)
        world.fakes.behave("kubectl", lambda call: curl_in_pod(login, call))
        world.fakes.answer("^kubectl .*exec deployment/curl-no-bundle", stderr="curl: (60) SSL problem\n", exit=60)
        yield login


def curl_in_pod(login: Login, call: Call) -> Answer | None:
    """The pods `curl` get the page of each URL's cluster, and the issuer's document."""
    if "deployment/curl" not in call.words:
        return None
    urls = [word for word in call.words if "://" in word]
    pages = [re.sub(r".*example-nginx\.(cl\d)\..*", r"<h1>Hello from \1.k3d.internal</h1>", url) for url in urls]
    return Answer(written_out(*((0, *login.document) if "openid" in url else (0, 200, page)
                                for url, page in zip(urls, pages, strict=True))))


def install(login: Login, *words: str) -> subprocess.CompletedProcess[str]:
    with serving_login(login, 1, 2):
        return login.world.inv(*(words or INSTALL))


def table(stdout: str) -> list[list[str]]:
    """The rows of the last table: sign, from, to, note."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in stdout.rpartition("from  ")[2].splitlines()]
    return [row for row in rows if row[0] in ("✓", "✗", "!", "-")]


def manifests(login: Login, number: int, name: str) -> dict[str, dict[str, object]]:
    """The objects of a rendered file, by their kind."""
    file = login.world.project.folder / ".work" / f"cl{number}" / name
    return {found["kind"]: found for found in yaml.safe_load_all(file.read_text())}


# --- what is installed ------------------------------------------------------------------------------------------------


def test_one_issuer_is_proved_from_everywhere_and_it_ends_with_the_urls_and_the_password(login: Login) -> None:
    done = install(login)
    assert done.returncode == 0, done.stdout + done.stderr
    same, signed_in = "the same document, certificate verified", "signed in as dev, by a token of this issuer"
    assert table(done.stdout) == [
        ["✓", "this machine", login.issuer, "issuer of this URL, certificate verified"],
        *(["✓", f"pod in cl{number}", login.issuer, same] for number in (1, 2)),
        *(["✓", "a login", login.app(number), signed_in] for number in (1, 2)),
        *(["✓", f"pod in cl{number} without bundle", login.issuer, "rejected, as expected"] for number in (1, 2)),
    ]
    assert done.stdout.endswith(f"\nOpen {login.app(1)}/\nOpen {login.app(2)}/\n"
                                "and sign in as dev with the password dev.\n")


def test_keycloak_is_in_the_cluster_that_is_named_first_and_an_application_in_each(login: Login) -> None:
    login.__init__(login.world, keycloak=2)  # type: ignore[misc]
    done = install(login, "k3d-cluster-examples", "--n", "2,1", "--with", "oidc")
    assert done.returncode == 0, done.stdout + done.stderr
    applied = [(words[words.index("--context") + 1], words[-1].rpartition("/")[2])
               for words in login.world.changes() if words[-1].endswith(("keycloak.yaml", "app.yaml"))]
    assert applied[0] == ("k3d-cl2", "keycloak.yaml")
    assert sorted(applied[1:]) == [("k3d-cl1", "app.yaml"), ("k3d-cl2", "app.yaml")]


def test_the_pods_have_nothing_about_trust_in_their_manifests(login: Login) -> None:
    install(login)
    folder = login.world.project.folder / ".work"
    for file in (folder / "cl1" / "keycloak.yaml", folder / "cl1" / "app.yaml", folder / "cl2" / "app.yaml"):
        text = file.read_text()
        assert "trust: enabled" in text
        assert not re.search("ca-file|_CA_|SSL_CERT|bundle\\.pem|default-ca-bundle", text)


@pytest.mark.parametrize("with_port", [True, False])
def test_the_issuer_has_one_form_and_keycloak_takes_back_users_by_both(
    login: Login, with_port: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "find_cluster_problem", lambda cluster, host: None)
    login.world.env(OIDC_ISSUER_PORT=str(with_port).lower())
    install(login)
    world = login.world
    port = f":{world.https(1)}" if with_port else ""
    text = yaml.dump_all(manifests(login, 2, "app.yaml").values(), width=1000)
    assert f"--oidc-issuer-url=https://example-keycloak.cl1.k3d.internal{port}/realms/dev" in text
    assert f"--redirect-url={login.app(2) if with_port else 'https://example-app.cl2.k3d.internal'}/oauth2/call" in text
    found = manifests(login, 1, "keycloak.yaml")
    assert f"'https://example-keycloak.cl1.k3d.internal{port}'" in str(found["Deployment"])
    realm = str(found["ConfigMap"])
    for number in range(world.ports.CLUSTERS):
        for form in (f":{world.https(number)}", ""):
            assert f'"https://example-app.cl{number}.k3d.internal{form}/oauth2/callback"' in realm


def test_a_dry_run_prints_what_a_run_does(login: Login) -> None:
    dry = login.world.inv("--dry", *INSTALL)
    assert dry.returncode == 0, dry.stderr
    done = install(login)
    assert done.returncode == 0
    printed = [line for line in dry.stdout.splitlines() if line.startswith("kubectl ")]
    assert len(printed) == len(login.world.changes()) == 5
    assert not (login.world.project.folder / ".work" / "cl3").exists()


def test_without_the_flag_nothing_of_it_is_installed(login: Login) -> None:
    done = install(login, "k3d-cluster-examples", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert not any("oidc" in word for words in login.world.fakes.calls("kubectl") for word in words)


# --- what is refused at once ------------------------------------------------------------------------------------------


def refused(login: Login, *words: str) -> str:
    done = install(login, *words)
    assert done.returncode == 1
    assert login.world.changes() == []
    return done.stderr


def test_another_example_is_refused_with_the_one_that_there_is(login: Login) -> None:
    said = refused(login, "k3d-cluster-examples", "--n", "1,2", "--with", "saml")
    assert said == "There is no example 'saml'. Type: inv k3d-cluster-examples --n 1,2 --with oidc\n"


def test_without_pod_trust_it_is_refused_before_anything_is_installed(login: Login) -> None:
    login.world.env(POD_TRUST="off")
    said = refused(login)
    assert said.startswith("POD_TRUST=off: the pods of this example would not trust")
    assert "Set POD_TRUST=variables in .env, then run: inv k3d-cluster-configure --n 1,2" in said


@pytest.mark.parametrize(("mutating", "version", "remedy"), [
    ("v1", "v1.36.4+k3s1", "Run: inv k3d-cluster-configure --n 1\n"),
    ("", "v1.33.1+k3s1", "With a K3S_IMAGE of Kubernetes 1.34 or newer in .env, a new cluster has it: "),
])
def test_a_cluster_that_gives_its_pods_no_trust_is_named_with_the_remedy(
    login: Login, mutating: str, version: str, remedy: str
) -> None:
    login.world.policies(mutating, "v1", version=version)
    login.world.fakes.answer("^kubectl .*get mutatingadmissionpolicybindings", "")
    said = refused(login)
    assert said.startswith("cl1 gives its pods no trust, which this example needs\n") and remedy in said


def test_urls_without_a_port_that_lead_nowhere_are_refused_with_both_ways_out(login: Login) -> None:
    closed = login.world.http(0)
    login.world.env(OIDC_ISSUER_PORT="false", FRONT_DOOR_HTTPS_PORT=str(closed))
    said = refused(login)
    assert (f"OIDC_ISSUER_PORT=false, but example-keycloak.cl1.k3d.internal is not reached through 127.0.0.1:{closed}, "
            "the front door: ") in said
    assert "inv front-door" in said and "OIDC_ISSUER_PORT=true" in said


def test_a_cluster_that_is_not_set_up_is_named_with_the_command_that_does(login: Login) -> None:
    login.world.fakes.answer("^kubectl .*--context k3d-cl2 .*get clusterissuer root-ca", exit=1)
    assert "Set it up with: inv k3d-cluster-setup --n 2" in refused(login)


# --- what does not work -----------------------------------------------------------------------------------------------


def other_name(login: Login) -> None:
    login.named = login.issuer.replace("https", "http")


def other_realm(login: Login) -> None:
    login.realm = "another"


def other_user(login: Login) -> None:
    login.password = "secret"


def other_client(login: Login) -> None:
    login.client = "another"


def no_token(login: Login) -> None:
    login.exchanges = False


def token_of_another(login: Login) -> None:
    login.token = "https://accounts.example"


def sent_elsewhere(login: Login) -> None:
    login.sent_to = login.issuer.replace("realms/dev", "realms/master")


def waits(login: Login) -> None:
    login.waits = True
    login.world.fakes.answer("^kubectl .*logs deployment/app -c issuer", "curl: (60) SSL certificate problem\n")


def not_ready(login: Login) -> None:
    login.waits = True


def pod_without_trust(login: Login) -> None:
    login.world.fakes.answer("^kubectl .*--context k3d-cl2 .*exec deployment/curl .*openid",
                             written_out((60, 0, "unable to get local issuer certificate")), exit=60)


def pod_without_name(login: Login) -> None:
    login.world.fakes.answer("^kubectl .*--context k3d-cl2 .*exec deployment/curl .*openid",
                             written_out((6, 0, "Could not resolve host")), exit=6)


def pod_with_another_document(login: Login) -> None:
    document = login.document[1].replace("{", "{ ")
    login.world.fakes.answer("^kubectl .*--context k3d-cl2 .*exec deployment/curl .*openid",
                             written_out((0, 200, document)))


def other_certificate(login: Login) -> None:
    login.host = lambda number, name: f"example-{name}.cl{number}.k3d.internal".replace(  # type: ignore[method-assign]
        "keycloak", "other")


@pytest.mark.parametrize(("broken", "rows", "says"), [
    (other_name, 3, "the issuer calls itself http://example-keycloak."),
    (other_realm, 3, "Keycloak answers, but has no realm dev"),
    (other_user, 2, "the issuer does not accept the user dev: Invalid username or password"),
    (other_client, 2, "the issuer refuses what the application asks for: Invalid parameter: redirect_uri"),
    (no_token, 2, "dev is signed in, but the application cannot use that: HTTP 500"),
    (token_of_another, 2, "the token was issued by https://accounts.example, and not by https://example-keycloak."),
    (sent_elsewhere, 2, "the application sends the browser to https://example-keycloak.cl1.k3d.internal:"),
    (waits, 2, "the application's pod waits for the issuer: curl: (60) SSL certificate problem"),
    (not_ready, 2, "HTTP 503, and nobody is sent to the issuer"),
    (pod_without_trust, 1, "the pod's trust bundle does not verify the certificate (unable to get local issuer"),
    (pod_without_name, 1, "CoreDNS in cl2 does not resolve the name"),
    (pod_with_another_document, 1, "another document than this machine is given"),
    (other_certificate, 3, "certificate verify failed: Hostname mismatch, certificate is not valid for 'example-key"),
], ids=lambda value: value.__name__ if callable(value) else "")
def test_what_is_wrong_is_named_in_red(login: Login, broken: Callable[[Login], None], rows: int, says: str) -> None:
    broken(login)
    done = install(login)
    assert done.returncode == 1
    failed = done.stderr.splitlines()
    assert failed[0] == f"{rows} of 7 checks failed:"
    assert all(says in line for line in failed[1:]), failed


def test_what_keeps_keycloak_from_starting_is_told_with_the_time_that_it_was_given(login: Login) -> None:
    answer, state = login.world.fakes.answer, {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    answer("^kubectl .*rollout status deployment/keycloak", stderr="error: timed out waiting for the condition", exit=1)
    pod = {"metadata": {"name": "keycloak-1"}, "status": {"containerStatuses": [{"state": {"waiting": state}}]}}
    answer("^kubectl .*get pods -A --field-selector metadata.namespace=oidc-example -l app=keycloak",
           json.dumps({"items": [pod]}))
    done = install(login)
    assert done.returncode == 1
    assert "Timed out after 300 s waiting for keycloak to start. " in done.stderr
    assert done.stderr.endswith("\nkeycloak-1: ImagePullBackOff: Back-off pulling image\n")


# --- another cluster first --------------------------------------------------------------------------------------------


def deployments(login: Login, number: int, *found: tuple[str, str]) -> None:
    """The cluster has these Deployments of the example, each with an argument."""
    items = [{"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": [{"args": [argument]}]}}}}
             for name, argument in found]
    login.world.fakes.answer(f"^kubectl .*--context k3d-cl{number} get deployments -A", json.dumps({"items": items}))


def test_a_keycloak_that_an_earlier_run_left_unused_is_shown_with_the_command_that_deletes_it(login: Login) -> None:
    former = login.issuer.replace("cl1", "cl2").replace(str(login.world.https(1)), str(login.world.https(2)))
    deployments(login, 2, ("keycloak", "start-dev"), ("app", f"--oidc-issuer-url={login.issuer}"))
    done = install(login)
    assert done.returncode == 0, done.stderr
    assert table(done.stdout)[-1] == ["!", "-", former, "Keycloak of an earlier run in cl2, which no application uses"]
    assert ("For what is yellow, type:\n  kubectl --context k3d-cl2 -n oidc-example delete "
            "deployment,service,ingress,configmap -l app=keycloak\n") in done.stdout

    deployments(login, 2, ("keycloak", "start-dev"), ("app", f"--oidc-issuer-url={former}"))
    assert "of an earlier run" not in install(login).stdout
