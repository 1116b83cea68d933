"""`inv trace` of a cluster with a certificate of an ACME server: one that is fine, and each that is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import ca
import pytest
from conftest import Project
from traced_app import App, common_name, traced_app

DOMAIN = "cl1.k3d.internal"
NAMES = (DOMAIN, f"*.{DOMAIN}")
PUBLIC = ca.authority(excluded=[], subject=common_name("A public CA"))
STAGING = ca.authority(excluded=[], subject=common_name("(STAGING) Ersatz Emmer E1"))


class Public(App):
    """The application behind an Ingress without `tls`; Traefik serves the certificate of the ACME server."""

    def choose(self) -> None:
        file = self.world.project.home / "acme-ca.pem"
        file.write_bytes(PUBLIC.pem)
        self.world.env(CERTIFICATES="acme", ACME_SERVER="https://acme.example.com/dir", ACME_DNS="cloudflare",
                       ACME_CA_FILE=str(file))
        del self.ingress["spec"]["tls"]
        self.ingress["metadata"]["annotations"] = {}
        self.have(ca.leaf(PUBLIC, *NAMES))

    def have(self, leaf: ca.Signed, served: ca.Signed | None = None) -> None:
        """Put this certificate on this machine, and have Traefik serve it or another one."""
        folder = self.world.project.home / ".local-ca-certs" / "acme" / "acme.example.com_dir" / "certificates"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{DOMAIN}.crt").write_bytes(leaf.pem)
        (folder / f"{DOMAIN}.key").write_bytes(leaf.key_pem())
        self.leaf, self.sent = served or leaf, []


@pytest.fixture
def app(project: Project) -> Iterator[Public]:
    with traced_app(project, Public) as app:
        app.choose()
        yield app


def test_an_ingress_needs_neither_tls_nor_an_annotation(app: Public) -> None:
    rows = {row["source"]: row for row in json.loads(app.run().stdout)}
    assert [row["note"] for row in rows.values() if row["state"] == "red"] == []
    assert rows["certificate"]["note"].startswith("issued by A public CA, valid until ")
    assert (rows["name constraints"]["state"], rows["name constraints"]["code"]) == ("grey", "public-ca")


def test_one_that_has_expired_is_renewed(app: Public) -> None:
    app.have(ca.leaf(PUBLIC, *NAMES, starts=ca.NOW - timedelta(days=90), ends=ca.NOW - timedelta(days=1)))
    source, code, _, command = app.trace()
    assert (source, code, command) == ("certificate", "certificate-expired", "inv cert-renew")


def test_one_of_a_staging_server_is_told_without_a_command(app: Public) -> None:
    app.have(ca.leaf(STAGING, *NAMES))
    source, code, note, command = app.trace()
    assert (source, code, command) == ("certificate", "staging", "") and "(STAGING) Ersatz Emmer E1" in note


def test_one_for_other_names_is_told_apart(app: Public) -> None:
    app.have(ca.leaf(PUBLIC, "other.example.com"))
    assert app.trace()[:2] == ("certificate", "certificate-for-other-names")


def test_another_one_than_on_this_machine_is_applied_again(app: Public) -> None:
    app.have(ca.leaf(PUBLIC, *NAMES), served=ca.leaf(PUBLIC, *NAMES))
    source, code, _, command = app.trace()
    assert (source, code, command) == (
        "certificate", "acme-certificate-replaced", "inv k3d-cluster-configure --n 1")


def test_traefiks_own_certificate_is_none_of_the_acme_server(app: Public) -> None:
    traefik = ca.authority(excluded=[], subject=common_name("TRAEFIK DEFAULT CERT"))
    app.have(ca.leaf(PUBLIC, *NAMES), served=ca.leaf(traefik, "x.traefik.default"))
    source, code, _, command = app.trace()
    assert (source, code, command) == (
        "certificate", "acme-certificate-not-served", "inv k3d-cluster-configure --n 1")


def test_one_that_this_machine_does_not_trust_is_told_with_the_setting(app: Public) -> None:
    app.have(ca.leaf(ca.authority(excluded=[]), *NAMES))
    source, code, note, _ = app.trace()
    assert (source, code) == ("certificate", "chain-untrusted") and "ACME_CA_FILE" in note


def test_an_ingress_with_a_certificate_of_the_own_ca_is_judged_as_before(app: Public) -> None:
    app.ingress["spec"]["tls"] = [{"hosts": ["shop.cl1.k3d.internal"], "secretName": "shop-cert"}]
    app.leaf, app.sent = ca.leaf(app.intermediate, "shop.cl1.k3d.internal"), [app.intermediate]
    rows = {row["source"]: row for row in json.loads(app.run().stdout)}
    assert rows["certificate"]["note"].startswith("issued by CA cl1") and rows["name constraints"]["state"] == "green"
