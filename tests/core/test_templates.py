"""What is sent to a cluster is ours, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tasks.ca.intermediate import Intermediate
from tasks.cluster import oidc
from tasks.core.configuration import load
from tasks.core.templates import render
from tasks.in_cluster import https_redirect, pod_trust
from tasks.registries.containers import Registry

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
SETTINGS = load(environment={})
VALUES = {
    "cluster": SETTINGS.cluster(1), "settings": SETTINGS, "host": "app.cl1.k3d.internal", "rules": "", "rules_hash": "",
    "root_pem": "root", "company_pem": "company", "sources_hash": "2", "intermediate": Intermediate("chain", "key"),
    "registry": Registry(SETTINGS, "localhost:5001"), "pod_trust": True, "node_ports": None,
    "name": "acme-certificate", "certificate": Intermediate("chain", "key"),
    **oidc.template_values(SETTINGS.cluster(1), SETTINGS.cluster(0)),
    **https_redirect.front_door_urls(SETTINGS.cluster(1)), **pod_trust.policy_values(SETTINGS, "v1"),
}
MANIFESTS = [
    file for file in sorted(TEMPLATES.rglob("*.yaml"))
    # Commands of ACME clients, Helm's values, files for nodes and for a program, patches of the cluster's own CoreDNS,
    # and a ConfigMap that others share, of which we own one key.
    if file.parent.name != "acme" and not file.name.endswith("-values.yaml") and file.name not in (
        "kind.yaml", "registries.yaml", "coredns-import.yaml", "coredns-remove.yaml",
        "coredns-restart.yaml", "coredns-custom.yaml")
]


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_every_object_that_we_apply_carries_our_label(file: Path) -> None:
    documents = list(yaml.safe_load_all(render(str(file.relative_to(TEMPLATES)), **VALUES)))
    assert documents
    for document in documents:
        assert document["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "dev-cluster-tasks"


def test_the_shared_configmap_of_coredns_gets_no_label_of_ours() -> None:
    assert "labels" not in yaml.safe_load(render("in_cluster/coredns-custom.yaml", **VALUES))["metadata"]


def test_the_client_has_nothing_about_trust_where_pods_get_it_and_mounts_the_bundle_where_not() -> None:
    """And then it trusts it whatever its image says."""
    pod = yaml.safe_load(render("examples/curl.yaml", **VALUES))["spec"]["template"]["spec"]
    assert "volumes" not in pod and set(pod["containers"][0]) == {"name", "image", "command"}

    pod = yaml.safe_load(render("examples/curl.yaml", **{**VALUES, "pod_trust": False}))["spec"]["template"]["spec"]
    container = pod["containers"][0]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    mounted = container["volumeMounts"][0]["mountPath"]
    assert variables == {"CURL_CA_BUNDLE": f"{mounted}/bundle.pem", "SSL_CERT_FILE": f"{mounted}/bundle.pem"}
    assert pod["volumes"][0]["configMap"]["name"] == "default-ca-bundle"


def test_the_client_without_the_bundle_opts_out() -> None:
    template = yaml.safe_load(render("examples/curl-no-bundle.yaml", **VALUES))["spec"]["template"]
    assert template["metadata"]["annotations"] == {"dev-cluster-tasks/trust": "none"}


def test_a_mistake_in_a_template_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from invoke import Exit

    from tasks.core import setting_types
    from tasks.core import templates as rendering

    monkeypatch.setattr(setting_types, "SOURCE", tmp_path)
    rendering.templates.cache_clear()
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.yaml").write_text("fine\n{% if x %}\n")
    (tmp_path / "templates" / "b.yaml").write_text("{{ domian }}\n")
    try:
        with pytest.raises(Exit, match=r"templates/a.yaml, line 2: "):
            render("a.yaml", x=1)
        with pytest.raises(Exit, match=r"templates/b.yaml: 'domian' is undefined"):
            render("b.yaml")
    finally:
        rendering.templates.cache_clear()
