"""Broken applications in a real cluster: `inv trace` names the cause, and the command that it prints fixes it."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from real_clusters import Clusters, one_cluster, why_not

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(why_not() != "", reason=why_not() or "-")]

PATIENCE_SECONDS = 60
DOMAIN = "dch0.k3d.internal"
SERVE_HTTPS = ("cd /tmp && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 "
               "-subj /CN=own && exec openssl s_server -accept 8443 -www -key key.pem -cert cert.pem -quiet")


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """One cluster, and in the namespace web a Deployment that serves HTTP, and one that serves HTTPS."""
    with one_cluster(tmp_path_factory.mktemp("clusters"), "dch", 32) as made:
        # Hosts outside the domain are refused; what is older than the refusal is what these tests are about.
        made.kubectl(0, "delete", "validatingadmissionpolicybinding", "hosts-of-root-ca")
        made.kubectl(0, "create", "namespace", "web")
        apply(made, *workload(made, "shop", made.settings.image_nginx, 80),
              *workload(made, "secure", made.settings.image_netshoot, 8443, ["sh", "-c", SERVE_HTTPS]),
              service("https", {"name": "https", "port": 443, "targetPort": 8443}, "secure"),
              service("wrong-target", {"port": 80, "targetPort": 8080}, "shop"),
              service("outside", {"port": 80}, type="ExternalName", externalName="shop.web.svc.cluster.local"))
        for name in ("shop", "secure"):
            made.kubectl(0, "-n", "web", "rollout", "status", f"deployment/{name}", "--timeout=120s")
        yield made


def apply(clusters: Clusters, *objects: dict[str, Any]) -> None:
    command = ["kubectl", "--kubeconfig", str(clusters.kubeconfig), "--context", "k3d-dch0", "-n", "web", "apply", "-f",
               "-"]
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    subprocess.run(command, check=True, capture_output=True, text=True, input=items)


def workload(
    clusters: Clusters, name: str, image: str, port: int, command: list[str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    container = {"name": name, "image": image, "ports": [{"containerPort": port}],
                 **({"command": command} if command else {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}}}, service(
            name, {"name": "main", "port": 80, "targetPort": port}, name)


def service(name: str, port: dict[str, Any], app: str = "", **spec: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {**({"selector": {"app": app}} if app else {}), "ports": [port], **spec}}


def ingress(
    name: str, annotations: dict[str, str] | None = None, *, service: str = "shop", port: int = 80,
    issuer: str = "root-ca", tls: list[dict[str, Any]] | None = None, **spec: str
) -> dict[str, Any]:
    host = f"{name}.{DOMAIN}"
    entry = {"hosts": [host], "secretName": f"{name}-cert"}
    notes = {**({"cert-manager.io/cluster-issuer": issuer} if issuer else {}), **(annotations or {})}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name, "annotations": notes},
            "spec": {"ingressClassName": "traefik", "tls": [entry] if tls is None else tls, "rules": [{
                "host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {
                    "name": service, "port": {"number": port}}}}]}}], **spec}}


def ingress_route(name: str, rule: str, **tls: str) -> dict[str, Any]:
    return {"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": {"name": name}, "spec": {
        "entryPoints": ["websecure"], "tls": tls,
        "routes": [{"kind": "Rule", "match": rule, "services": [{"name": "shop", "port": 80}]}]}}


TRAEFIK, CERT_MANAGER = "traefik.ingress.kubernetes.io", "cert-manager.io"

FIXED = {
    "no-secret-name": ingress("no-secret-name", tls=[{"hosts": [f"no-secret-name.{DOMAIN}"]}]),
    "common-name-too-long": ingress("common-name-too-long", {f"{CERT_MANAGER}/common-name": f"{'a' * 60}.{DOMAIN}"}),
    "issuer-missing": ingress("issuer-missing", issuer="letsencrypt-prod"),
    "ingress-rejected": ingress("ingress-rejected", {f"{CERT_MANAGER}/issuer": "letsencrypt"}),
    "no-issuer": ingress("no-issuer", issuer=""),
    "no-tls-section": ingress("no-tls-section", tls=[]),
    "class-missing": ingress("class-missing", ingressClassName="nginx"),
    "service-port-missing": ingress("service-port-missing", port=8080),
    "entry-point-excluded": ingress("entry-point-excluded", {f"{TRAEFIK}/router.entrypoints": "web"}),
    "https-backend-not-trusted": ingress("https-backend-not-trusted", service="https", port=443),
    "backend-not-answering": ingress("backend-not-answering", service="wrong-target"),
    "other-name-outside-constraint": ingress("other-name-outside-constraint", tls=[{
        "hosts": [f"other-name-outside-constraint.{DOMAIN}", "shop.example.com"], "secretName": "outside-cert"}]),
    "no-certificate-for-route": ingress_route(
        "no-certificate-for-route", f"Host(`no-certificate-for-route.{DOMAIN}`)", secretName="absent"),
}
"""Objects by the code of what is wrong with them; the host has that name, too."""

QUOTED = {
    "middleware-missing": (
        ingress("middleware-missing", {f"{TRAEFIK}/router.middlewares": "web-absent@kubernetescrd"}),
        'middleware "web-absent@kubernetescrd" does not exist'),
    "router-dropped": (ingress_route("router-dropped", f"Host(router-dropped.{DOMAIN})"), "error while parsing rule"),
    "external-name-not-allowed": (ingress("external-name-not-allowed", service="outside"), "ExternalName"),
    "service-missing": (ingress("service-missing", service="absent"), "Services in web: "),
}
"""The same for what no command is certain to fix, with a part of the reason."""


def trace(clusters: Clusters, name: str) -> list[dict[str, str]]:
    """The rows that are red, but for this machine's resolver."""
    url = f"https://{name}.{DOMAIN}:{clusters.cluster(0).https_port}/"
    done = clusters.inv("trace", "--json", url)
    return [row for row in json.loads(done.stdout) if row["state"] == "red" and row["source"] != "resolver"]


def wait_for(clusters: Clusters, name: str, code: str) -> list[dict[str, str]]:
    """The red rows, once they have this code; without a code, once there are none."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    rows = trace(clusters, name)
    while [row["code"] for row in rows] != ([code] if code else []):
        assert time.monotonic() < deadline, rows
        time.sleep(2)
        rows = trace(clusters, name)
    return rows


@pytest.mark.parametrize("code", FIXED)
def test_the_printed_command_fixes_what_it_is_printed_for(clusters: Clusters, code: str) -> None:
    apply(clusters, FIXED[code])
    row, = wait_for(clusters, code, code)
    assert row["command"]
    command = row["command"].replace("kubectl ", f"kubectl --kubeconfig {shlex.quote(str(clusters.kubeconfig))} ")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wait_for(clusters, code, "")


@pytest.mark.parametrize("code", QUOTED)
def test_without_a_certain_fix_the_cluster_is_quoted(clusters: Clusters, code: str) -> None:
    broken, text = QUOTED[code]
    apply(clusters, broken)
    row, = wait_for(clusters, code, code)
    assert text in row["note"] and row["command"] == ""
