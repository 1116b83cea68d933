"""What the user may choose, what is refused and how that is said, and that no value becomes more than a value."""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import ca
import pytest
import yaml
from conftest import SOURCE, Project
from hypothesis import example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from invoke import Exit
from pretend import World, world_of

from tasks import dns, trust
from tasks.ca.intermediate import Intermediate
from tasks.ca.openssl import ca_config
from tasks.cluster import oidc
from tasks.core import setting_types
from tasks.core.configuration import load
from tasks.core.setting_types import PROJECT
from tasks.core.settings import READERS, Settings
from tasks.core.templates import render, short_hash
from tasks.in_cluster import https_redirect, pod_trust
from tasks.in_cluster.apply import render_manifest
from tasks.in_cluster.bundle import load_company_certificates
from tasks.in_cluster.coredns import render_rules
from tasks.probe.example_page import example_host
from tasks.registries.containers import Registry

ODD = "$(touch pwned) `touch pwned`; touch pwned | 'é\" #@\\"
"""Text that a careless shell would run, and that ends a careless template's quotes or line."""

COMPANY = ca.authority(excluded=[])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder, as far as settings go: the defaults and no .env."""
    return with_defaults(tmp_path)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for tests that write nothing there."""
    return with_defaults(tmp_path_factory.mktemp("bare"))


def with_defaults(folder: Path) -> Path:
    shutil.copy(SOURCE / ".default.env", folder)
    return folder


def problems(folder: Path, environment: dict[str, str] | None = None) -> list[str]:
    """What is said to be wrong, line by line."""
    try:
        settings = load(folder, environment or {})
    except Exit as refused:
        first, *lines = str(refused.message).split("\n  ")
        assert first == "Invalid settings:"
        return lines
    lines = [refused.problem for refused in settings.refused]
    with pytest.raises(Exit, match="Invalid settings:\n  "):
        read_all(settings)
    return lines


def read_all(settings: Settings) -> Settings:
    """As tasks do that need every value: some are refused only then."""
    for field in fields(settings):
        getattr(settings, field.name)
    return settings


def quoted(value: str) -> str:
    """A value as it is written into .env so that it is taken literally."""
    return "'" + value.replace("\\", r"\\").replace("'", r"\'") + "'"


# --- the three places -------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_original_and_pinned_versions(bare: Path) -> None:
    assert load(bare, {}) == Settings(
        tld="internal",
        k3d_subdomain="k3d",
        k3d_cluster_name_prefix="cl",
        k3d_cluster_domain_prefix="",
        cert_folder=Path.home() / ".local-ca-certs",
        cert_cn="Development Setup .internal CA",
        cert_o="LocalDev",
        cert_c="NL",
        additional_ca_bundle_file=None,
        certificates="own-ca",
        acme_server="https://acme-staging-v02.api.letsencrypt.org/directory",
        acme_ca_file=None,
        acme_email="",
        acme_client="lego",
        acme_dns="",
        acme_dns_resolvers=("1.1.1.1:53", "9.9.9.9:53"),
        k3d_port_start=10,
        k3d_port_end=19,
        k3d_port_prefix_http="",
        k3d_port_suffix_http="080",
        k3d_port_prefix_https="",
        k3d_port_suffix_https="443",
        k3d_bind_address="",
        front_door=False,
        front_door_http_port=80,
        front_door_https_port=443,
        front_door_addresses=(),
        https_redirect=False,
        provider={None: "k3d"},
        context_ports={},
        cluster_address={None: "127.0.0.1"},
        k3d_network="dev-clusters",
        k3d_network_subnet="",
        k3d_kubeconfig_target_dir=None,
        k3d_switch_context=False,
        k3d_registry_config=None,
        pod_trust="variables",
        oidc_issuer_port=True,
        trust_stores=("system", "nss", "java", "windows"),
        dns_method="",
        k3s_image="docker.io/rancher/k3s:v1.36.4-k3s1",
        kind_image="docker.io/kindest/node:v1.36.4",
        chart_source="oci://quay.io/jetstack/charts",
        cert_manager_version="v1.21.2",
        trust_manager_version="v0.26.0",
        traefik_source="oci://ghcr.io/traefik/helm",
        traefik_version="41.6.0",
        image_nginx="docker.io/library/nginx:1.29-alpine",
        image_curl="docker.io/curlimages/curl:8.17.0",
        image_netshoot="docker.io/nicolaka/netshoot:v0.14",
        image_keycloak="quay.io/keycloak/keycloak:26.4.5",
        image_oauth2_proxy="quay.io/oauth2-proxy/oauth2-proxy:v7.15.6",
        image_front_door="docker.io/library/haproxy:3.2-alpine",
        k3d_version="v5.8.3",
        k3d_source="https://github.com/k3d-io/k3d/releases/download",
        kind_version="v0.33.0",
        kind_source="https://github.com/kubernetes-sigs/kind/releases/download",
        helm_version="v4.3.1",
        helm_source="https://get.helm.sh",
        kubectl_version="v1.37.1",
        kubectl_source="https://dl.k8s.io/release",
        registry_caches={"docker.io": "https://registry-1.docker.io", "quay.io": "https://quay.io",
                         "ghcr.io": "https://ghcr.io", "registry.k8s.io": "https://registry.k8s.io"},
        local_registry_port=5001,
        image_registry="docker.io/library/registry:3",
        timeout_create=600,
        timeout_ready=300,
        environment={},
    )


def test_the_defaults_the_readers_and_the_settings_name_the_same_keys() -> None:
    written = re.findall(r"^(\w+)=", (SOURCE / ".default.env").read_text(), re.MULTILINE)
    assert sorted(written) == sorted(READERS)
    assert sorted(written) == sorted(field.name.upper() for field in fields(Settings) if field.name != "environment")


def test_every_default_stands_below_a_comment_that_explains_it() -> None:
    above = ""
    for line in (SOURCE / ".default.env").read_text().splitlines():
        if line and not line.startswith("#"):
            assert above.startswith("# ") and not above.startswith("# ---"), f"{line} has no comment"
        else:
            above = line


def test_env_wins_over_the_defaults_and_the_environment_over_both(folder: Path) -> None:
    (folder / ".env").write_text("TLD=test\nCERT_O=From the file\n")
    settings = load(folder, {"CERT_O": "From the environment"})
    assert (settings.tld, settings.cert_o, settings.cert_c) == ("test", "From the environment", "NL")


@pytest.mark.parametrize(
    ("content", "tld"),
    [
        (b"\xef\xbb\xbfTLD=test\n", "test"),
        (b"TLD=test\r\nCERT_O=Some\r\n", "test"),
        (b"TLD=test", "test"),
        (b"export TLD=test # as in a shell\n", "test"),
        (b'  TLD = "test"\n', "test"),
        (b"TLD=one\nTLD=two\n", "two"),
        (b"# TLD=test\n", "internal"),
        (b"", "internal"),
    ],
    ids=["BOM", "CRLF", "no last newline", "export", "quotes and spaces", "twice", "comment", "empty"],
)
def test_env_is_read_as_editors_write_it(folder: Path, content: bytes, tld: str) -> None:
    (folder / ".env").write_bytes(content)
    assert load(folder, {}).tld == tld


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("CERT_O=Société\n".encode("latin-1"), [".env: cannot be read: 'utf-8' codec can't decode byte 0xe9"]),
        ("TLD=test\n".encode("utf-16"), [".env: cannot be read: 'utf-8' codec can't decode byte 0xff"]),
        ("TLD=test\n".encode("utf-16-le"), [".env: cannot be read: it contains NUL characters. Is it UTF-8?"]),
        (b"\n\n# a comment\n\nnot a setting\n", [".env, line 5: expected KEY=value"]),
        (b"TLD='test\n", [".env, line 1: expected KEY=value"]),
        (b"=test\n", [".env, line 1: expected KEY=value"]),
        (b"'A=B'=test\n", [".env, line 1: expected KEY=value"]),
        (b"TLD=test\n\nK3D_SUBDOMAIN\n", [
            ".env, line 3: K3D_SUBDOMAIN has no value. For an empty one write K3D_SUBDOMAIN=",
        ]),
        (b"what is this\n\n" + b"x " * 5000 + b"\nCERT_C=Holland\n", [
            ".env, line 1: expected KEY=value",
            ".env, line 3: expected KEY=value",
            ".env: CERT_C='Holland' is invalid: expected a two-letter country code",
        ]),
    ],
    ids=["latin-1", "UTF-16", "UTF-16 without BOM", "text", "open quote", "no key", "= in a key", "no value", "more"],
)
def test_an_env_that_cannot_be_read_is_told_by_line(
    folder: Path, content: bytes, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (folder / ".env").write_bytes(content)
    found = problems(folder)
    assert len(found) == len(said)
    for line, start in zip(found, said, strict=True):
        assert line.startswith(start) and len(line) < 200
    assert not caplog.records, "the library behind it says the same again"


def test_an_env_that_is_a_folder_is_told(folder: Path) -> None:
    (folder / ".env").mkdir()
    assert problems(folder)[0].startswith(".env: cannot be read: [Errno 21] Is a directory")


# --- names, domains and ports -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "number", "name", "domain", "http", "https"),
    [
        ({}, 0, "cl0", "cl0.k3d.internal", 10080, 10443),
        ({}, 1, "cl1", "cl1.k3d.internal", 11080, 11443),
        ({}, 2, "cl2", "cl2.k3d.internal", 12080, 12443),
        ({}, 9, "cl9", "cl9.k3d.internal", 19080, 19443),
        ({"TLD": "test"}, 1, "cl1", "cl1.k3d.test", 11080, 11443),
        ({"TLD": ".127.0.0.1.nip.io."}, 1, "cl1", "cl1.k3d.127.0.0.1.nip.io", 11080, 11443),
        ({"TLD": "Internal"}, 1, "cl1", "cl1.k3d.internal", 11080, 11443),
        ({"K3D_SUBDOMAIN": ""}, 1, "cl1", "cl1.internal", 11080, 11443),
        ({"K3D_SUBDOMAIN": "."}, 1, "cl1", "cl1.internal", 11080, 11443),
        ({"K3D_SUBDOMAIN": "a.b"}, 1, "cl1", "cl1.a.b.internal", 11080, 11443),
        ({"K3D_CLUSTER_NAME_PREFIX": "dev-"}, 1, "dev-1", "dev-1.k3d.internal", 11080, 11443),
        ({"K3D_CLUSTER_DOMAIN_PREFIX": "d"}, 1, "cl1", "d1.k3d.internal", 11080, 11443),
        ({"K3D_CLUSTER_NAME_PREFIX": "x", "K3D_CLUSTER_DOMAIN_PREFIX": ""}, 1, "x1", "x1.k3d.internal", 11080, 11443),
        ({"K3D_PORT_START": "8", "K3D_PORT_END": "12"}, 4, "cl4", "cl4.k3d.internal", 12080, 12443),
        ({"K3D_PORT_PREFIX_HTTP": "4", "K3D_PORT_SUFFIX_HTTP": "80"}, 1, "cl1", "cl1.k3d.internal", 41180, 11443),
        ({"K3D_PORT_PREFIX_HTTPS": "5", "K3D_PORT_SUFFIX_HTTPS": ""}, 1, "cl1", "cl1.k3d.internal", 11080, 511),
    ],
)
def test_a_clusters_name_domain_and_ports_follow_from_its_number(
    bare: Path, chosen: dict[str, str], number: int, name: str, domain: str, http: int, https: int
) -> None:
    cluster = load(bare, chosen).cluster(number)
    assert (cluster.name, cluster.domain, cluster.http_port, cluster.https_port) == (name, domain, http, https)
    assert cluster.context == f"k3d-{name}"


def test_with_a_subdomain_the_base_domain_is_ours_and_without_it_only_what_the_clusters_use(bare: Path) -> None:
    assert load(bare, {}).owned_domains == ("k3d.internal",)
    bare_tld = load(bare, {"K3D_SUBDOMAIN": "", "K3D_PORT_END": "12"})
    assert bare_tld.owned_domains == ("cl0.internal", "cl1.internal", "cl2.internal")


def test_a_number_beyond_the_ports_is_no_cluster(bare: Path) -> None:
    settings = load(bare, {"K3D_PORT_END": "12"})
    assert settings.cluster(2).https_port == 12443
    with pytest.raises(Exit, match="no cluster 3: K3D_PORT_START=10 and K3D_PORT_END=12 leave room for clusters 0 to"):
        settings.cluster(3)


@pytest.mark.parametrize(
    ("target", "listed", "file"),
    [
        ("", "", "~/.kube/config"),
        ("", "~/one:~/two", "~/one"),
        ("~/configs/", "~/one:~/two", "~/configs/cl1"),
    ],
)
def test_the_kubeconfig_is_the_first_listed_or_in_the_chosen_folder(
    bare: Path, monkeypatch: pytest.MonkeyPatch, target: str, listed: str, file: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", listed)
    cluster = load(bare, {"K3D_KUBECONFIG_TARGET_DIR": target}).cluster(1)
    assert cluster.kubeconfig == Path(file).expanduser()
    assert cluster.kubectl == ("kubectl", "--kubeconfig", str(cluster.kubeconfig), "--context", "k3d-cl1")


@pytest.mark.parametrize("tld", ["local", ".LOCAL.", "office.local"])
def test_the_tld_of_mdns_is_used_with_a_warning(bare: Path, capsys: pytest.CaptureFixture[str], tld: str) -> None:
    assert load(bare, {"TLD": tld}).tld == tld.strip(".").lower()
    assert capsys.readouterr().err == (
        "TLD=local is reserved for mDNS (RFC 6762), so many systems do not look it up in DNS. Use internal or test "
        "instead.\n"
    )
    load(bare, {"TLD": "localhost.test"})
    assert capsys.readouterr().err == ""


# --- values that are refused ------------------------------------------------------------------------------------------

LABELS = "DNS labels (a-z, 0-9, and - inside a label) separated by dots"
PREFIX = "the start of a DNS label: a-z, 0-9 and -, not starting with -"
TEXT = "1 to 64 printable characters"
COUNTRY = "a two-letter country code, such as NL"
PATH = "a path of printable characters"
NUMBER = "a whole number from 0 to 99999"
DIGITS = "up to 5 digits, or nothing"
ADDRESS = "an IPv4 address of this machine, such as 192.168.1.10 or 0.0.0.0"
OWN_NETWORK = "a network of its own: in Docker's built-in networks k3d nodes cannot find each other by name"
NETWORK = "a Docker network name: letters, digits, _ . and -"
SUBNET = "an IPv4 subnet, such as 172.30.0.0/16"
IMAGE = "an image reference, such as docker.io/library/nginx:1.29-alpine"
VERSION = "a version, such as v1.21.2"
CHARTS = "oci://..., https://..., or an existing folder"
REGISTRIES = "registries as in the names of images, such as docker.io,quay.io, or nothing"
SECONDS = "a whole number of seconds from 1 to 99999"

REFUSED = [
    *(("TLD", value, LABELS) for value in ("", ".", "a b", "-a", "a-", "a..b", "ü", "a_b", "x" * 64, "a;b", "a\n")),
    *(("K3D_SUBDOMAIN", value, LABELS) for value in ("_x", "a/b", "*", "$(touch pwned)")),
    *(("K3D_CLUSTER_NAME_PREFIX", value, PREFIX) for value in ("", "-cl", "Cl", "c.l", "c l", "é")),
    *(("K3D_CLUSTER_DOMAIN_PREFIX", value, PREFIX) for value in ("-cl", "c.l", "c_l")),
    *((key, value, TEXT) for key in ("CERT_CN", "CERT_O") for value in ("", "x" * 65, "a\nb", "a\tb", "a\x1b[31m")),
    *(("CERT_C", value, COUNTRY) for value in ("", "N", "NLD", "N1", "ÑL", "Holland")),
    *((key, value, PATH) for key in ("CERT_FOLDER", "K3D_KUBECONFIG_TARGET_DIR", "K3D_REGISTRY_CONFIG",
                                     "ADDITIONAL_CA_BUNDLE_FILE") for value in ("a\nb", "a\0b", "a\udcff")),
    ("CERT_FOLDER", "", PATH),
    *((key, value, NUMBER) for key in ("K3D_PORT_START", "K3D_PORT_END")
      for value in ("", "-1", "1.5", "ten", "123456", "１０", "1 0")),
    *((key, value, DIGITS) for key in ("K3D_PORT_PREFIX_HTTP", "K3D_PORT_SUFFIX_HTTP", "K3D_PORT_PREFIX_HTTPS",
                                       "K3D_PORT_SUFFIX_HTTPS") for value in ("x", "-1", "123456", "٣")),
    *(("K3D_BIND_ADDRESS", value, ADDRESS) for value in ("::1", "localhost", "1.2.3", "1.2.3.4/8", "010.1.1.1")),
    *(("K3D_NETWORK", value, NETWORK) for value in ("", "a", "a b", "-a", "a/b")),
    *(("K3D_NETWORK", value, OWN_NETWORK) for value in ("bridge", "host", "none")),
    *(("K3D_NETWORK_SUBNET", value, SUBNET) for value in ("172.30.0.0", "172.30.0.1/16", "fd00::/8", "x/16")),
    *((key, value, "true or false") for key in ("K3D_SWITCH_CONTEXT", "OIDC_ISSUER_PORT")
      for value in ("", "yes", "1")),
    *((key, value, IMAGE) for key in ("K3S_IMAGE", "IMAGE_NGINX", "IMAGE_CURL", "IMAGE_NETSHOOT", "IMAGE_KEYCLOAK",
                                      "IMAGE_OAUTH2_PROXY")
      for value in ("", "a b", "-a", "rancher/k3s:v1.36.4+k3s1", "a'b", "é")),
    *((key, value, "https://...") for key in ("K3D_SOURCE", "HELM_SOURCE", "KUBECTL_SOURCE")
      for value in ("", "http://mirror", "https://", "mirror/k3d")),
    *(("TRUST_STORES", value, "any of system, nss, java, windows, or nothing") for value in ("system,,nss", "System")),
    *(("POD_TRUST", value, "one of off, variables, system-file") for value in ("", "on", "Variables")),
    *(("DNS_METHOD", value, "one of brew-dnsmasq, systemd-resolved, network-manager, hosts-file, or nothing")
      for value in ("resolved", "a b")),
    *(("CHART_SOURCE", value, CHARTS) for value in ("", "ftp://x", "oci://", "oci:///", "https://a b", "/not/there")),
    *((key, value, VERSION) for key in ("CERT_MANAGER_VERSION", "TRUST_MANAGER_VERSION")
      for value in ("", "1.21", "latest", "v1.2.3 x")),
    *(("REGISTRY_CACHES", value, REGISTRIES) for value in ("docker", "https://docker.io", "Docker.io", "a b.io")),
    *(("REGISTRY_CACHES", value, "REGISTRY=https://... for another upstream")
      for value in ("docker.io=mirror.example", "docker.io=ftp://x", "docker.io=https://a b")),
    *(("LOCAL_REGISTRY_PORT", value, "a port from 1 to 65535, or nothing") for value in ("0", "65536", "x", "-1")),
    *((key, value, SECONDS) for key in ("TIMEOUT_CREATE", "TIMEOUT_READY") for value in ("", "0", "-1", "1.5", "1m")),
]


@pytest.mark.parametrize(("key", "value", "allowed"), REFUSED)
def test_a_value_that_is_not_allowed_is_refused_with_what_is(bare: Path, key: str, value: str, allowed: str) -> None:
    said = f"the environment: {key}={value!r} is invalid: expected {allowed}"
    found = problems(bare, {key: value})
    assert len(found) == 1 and found[0].startswith(said)
    assert found[0] == said or key == "CHART_SOURCE"  # which may be a path, and says so


def test_all_that_is_wrong_is_said_in_one_run(project: Project) -> None:
    project.env(
        TLD="a_b", CERT_C="Holland", CERT_CN="x" * 62, K3D_PORT_SUFFIX_HTTP="443", K3D_PORTS="1", TIMEOUT_READY="soon",
        ADDITIONAL_CA_BUNDLE_FILE="/not/there",
    )
    done = project.inv("cert", environment={"K3D_NETWORK": "-"})
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "Invalid settings:",
        "  .env: Unknown setting K3D_PORTS. Did you mean K3D_PORT_START?",
        f"  .env: TLD='a_b' is invalid: expected {LABELS}",
        f"  .env: CERT_C='Holland' is invalid: expected {COUNTRY}",
        "  .env: ADDITIONAL_CA_BUNDLE_FILE='/not/there' is invalid: expected a readable file, but /not/there is not "
        "one",
        f"  the environment: K3D_NETWORK='-' is invalid: expected {NETWORK}",
        f"  .env: TIMEOUT_READY='soon' is invalid: expected {SECONDS}",
        f"  .env: CERT_CN='{'x' * 62}' followed by a cluster name is longer than the 64 characters that the name in "
        "a certificate may have",
        "  .env: HTTPS of cluster 0 would be port 10443 (K3D_PORT_START=10, K3D_PORT_END=19, K3D_PORT_PREFIX_HTTPS=, "
        "K3D_PORT_SUFFIX_HTTPS=443), but HTTP of cluster 0 already has it",
    ]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("K3D_PORTSTART", "Did you mean K3D_PORT_START?"),
        ("K3D_SUB_DOMAIN", "Did you mean K3D_SUBDOMAIN?"),
        ("CERT_FOLDR", "Did you mean CERT_FOLDER?"),
        ("CERT_CC", "Did you mean CERT_C?"),
        ("IMAGE_NGNIX", "Did you mean IMAGE_NGINX?"),
        ("TIMEOUT_CREAT", "Did you mean TIMEOUT_CREATE?"),
        ("K3D_XYZZY", "See .default.env for all settings."),
        ("K3D_", "See .default.env for all settings."),
    ],
)
def test_a_key_that_looks_like_ours_and_is_not_is_told_with_the_near_miss(folder: Path, key: str, hint: str) -> None:
    (folder / ".env").write_text(f"{key}=1\n")
    assert problems(folder) == [f".env: Unknown setting {key}. {hint}"]
    (folder / ".env").unlink()
    load(folder, {key: "1"})  # in the environment it may be anyone's


@pytest.mark.parametrize(
    "key", ["K3D_FIX_DNS", "K3D_IMAGE_TOOLS", "K3D_HELPER_IMAGE_TAG", "K3D_DEBUG_COREDNS", "K3D_LOG_LEVEL"]
)
def test_k3ds_own_keys_are_for_k3d(folder: Path, key: str) -> None:
    (folder / ".env").write_text(f"{key}=1\n")
    assert load(folder, {}).environment == {key: "1"}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"K3D_PORT_END": "9"}, ["K3D_PORT_END=9 is below K3D_PORT_START=10, which leaves no room for a cluster"]),
        ({"K3D_PORT_START": "20"}, ["K3D_PORT_END=19 is below K3D_PORT_START=20, which leaves no room for a cluster"]),
        ({"K3D_PORT_END": "70"}, [
            "HTTP of cluster 56 would be port 66080 (K3D_PORT_START=10, K3D_PORT_END=70, K3D_PORT_PREFIX_HTTP=, "
            "K3D_PORT_SUFFIX_HTTP=080), but ports are 1 to 65535",
            "HTTPS of cluster 56 would be port 66443 (K3D_PORT_START=10, K3D_PORT_END=70, K3D_PORT_PREFIX_HTTPS=, "
            "K3D_PORT_SUFFIX_HTTPS=443), but ports are 1 to 65535",
        ]),
        ({"K3D_PORT_START": "0", "K3D_PORT_END": "3", "K3D_PORT_SUFFIX_HTTP": ""}, [
            "HTTP of cluster 0 would be port 0 (K3D_PORT_START=0, K3D_PORT_END=3, K3D_PORT_PREFIX_HTTP=, "
            "K3D_PORT_SUFFIX_HTTP=), but ports are 1 to 65535",
        ]),
        ({"K3D_PORT_SUFFIX_HTTPS": "080"}, [
            "HTTPS of cluster 0 would be port 10080 (K3D_PORT_START=10, K3D_PORT_END=19, K3D_PORT_PREFIX_HTTPS=, "
            "K3D_PORT_SUFFIX_HTTPS=080), but HTTP of cluster 0 already has it",
        ]),
        # Written one after another, 1 and 11 are 11 and 1: HTTPS of cluster 0 is HTTP of cluster 10.
        ({"K3D_PORT_START": "1", "K3D_PORT_END": "11", "K3D_PORT_SUFFIX_HTTP": "1", "K3D_PORT_SUFFIX_HTTPS": "11"}, [
            "HTTP of cluster 10 would be port 111 (K3D_PORT_START=1, K3D_PORT_END=11, K3D_PORT_PREFIX_HTTP=, "
            "K3D_PORT_SUFFIX_HTTP=1), but HTTPS of cluster 0 already has it",
        ]),
        ({"K3D_PORT_START": "0", "K3D_PORT_END": "99999"}, [
            "HTTP of cluster 66 would be port 66080 (K3D_PORT_START=0, K3D_PORT_END=99999, K3D_PORT_PREFIX_HTTP=, "
            "K3D_PORT_SUFFIX_HTTP=080), but ports are 1 to 65535",
            "HTTPS of cluster 66 would be port 66443 (K3D_PORT_START=0, K3D_PORT_END=99999, K3D_PORT_PREFIX_HTTPS=, "
            "K3D_PORT_SUFFIX_HTTPS=443), but ports are 1 to 65535",
        ]),
    ],
)
def test_of_ports_that_cannot_be_the_first_is_told(bare: Path, chosen: dict[str, str], said: list[str]) -> None:
    assert problems(bare, chosen) == [f"the environment: {line}" for line in said]


def test_ports_are_told_with_every_place_that_they_come_from(folder: Path) -> None:
    (folder / ".env").write_text("K3D_PORT_START=20\n")
    assert problems(folder, {"K3D_PORT_END": "15"}) == [
        ".env and the environment: K3D_PORT_END=15 is below K3D_PORT_START=20, which leaves no room for a cluster"
    ]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"K3D_CLUSTER_NAME_PREFIX": "c" * 32}, [
            f"K3D_CLUSTER_NAME_PREFIX='{'c' * 32}' makes the cluster name {'c' * 32}9, but k3d allows 32 characters",
        ]),
        ({"K3D_CLUSTER_NAME_PREFIX": "c" * 31, "K3D_PORT_END": "20", "CERT_CN": "CA"}, [
            f"K3D_CLUSTER_NAME_PREFIX='{'c' * 31}' makes the cluster name {'c' * 31}10, but k3d allows 32 characters",
        ]),
        ({"K3D_CLUSTER_DOMAIN_PREFIX": "d" * 63}, [
            f"the domain would be {'d' * 63}9.k3d.internal (K3D_CLUSTER_NAME_PREFIX=cl, "
            f"K3D_CLUSTER_DOMAIN_PREFIX={'d' * 63}, K3D_SUBDOMAIN=k3d, TLD=internal), "
            "but a label may have 63 characters and a domain 200",
        ]),
        ({"K3D_SUBDOMAIN": ".".join(["s" * 60] * 3), "TLD": "t" * 20}, [
            f"the domain would be cl9.{'.'.join(['s' * 60] * 3)}.{'t' * 20} (K3D_CLUSTER_NAME_PREFIX=cl, "
            f"K3D_CLUSTER_DOMAIN_PREFIX=, K3D_SUBDOMAIN={'.'.join(['s' * 60] * 3)}, TLD={'t' * 20}), "
            "but a label may have 63 characters and a domain 200",
        ]),
        ({"CERT_CN": "x" * 61}, [
            f"CERT_CN='{'x' * 61}' followed by a cluster name is longer than the 64 characters that the name in "
            "a certificate may have",
        ]),
    ],
)
def test_names_that_are_too_long_are_refused(bare: Path, chosen: dict[str, str], said: list[str]) -> None:
    assert problems(bare, chosen) == [f"the environment: {line}" for line in said]


def test_names_that_just_fit_are_allowed(bare: Path) -> None:
    chosen = {"K3D_CLUSTER_NAME_PREFIX": "c" * 31, "K3D_CLUSTER_DOMAIN_PREFIX": "d" * 62, "CERT_CN": "x" * 31}
    assert load(bare, chosen).cluster(9).name == "c" * 31 + "9"


# --- paths and files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("~/certs/", "/somewhere/certs"),
        ("$HOME/certs", "/somewhere/certs"),
        ("${HOME}/certs", "/somewhere/certs"),
        ("/else/where", "/else/where"),
        ("certs", str(PROJECT / "certs")),
        ("~/it's $5; & \\ é", "/somewhere/it's $5; & \\ é"),
    ],
)
def test_a_path_may_begin_at_home_or_in_the_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert load(folder, {"CERT_FOLDER": value}).cert_folder == Path(expected)
    (folder / ".env").write_text(f"CERT_FOLDER={quoted(value)}\n")
    assert load(folder, {}).cert_folder == Path(expected)


@pytest.mark.parametrize("key", ["CERT_FOLDER", "K3D_KUBECONFIG_TARGET_DIR", "ADDITIONAL_CA_BUNDLE_FILE"])
@pytest.mark.parametrize("value", ["~nobody-of-that-name/x", "/" + "x" * 300])
def test_a_path_that_the_system_refuses_is_an_error_of_that_key(bare: Path, key: str, value: str) -> None:
    (said,) = problems(bare, {key: value})
    assert said.startswith(f"the environment: {key}={value!r} is invalid: expected a path that can be accessed (")


@pytest.mark.parametrize("key", ["CERT_FOLDER", "K3D_KUBECONFIG_TARGET_DIR"])
@pytest.mark.parametrize("below", ["", "/x/y"])
def test_a_folder_may_not_be_a_file_or_lie_below_one(folder: Path, key: str, below: str) -> None:
    file = folder / ".default.env"
    (said,) = problems(folder, {key: f"{file}{below}"})
    assert said == f"the environment: {key}={f'{file}{below}'!r} is invalid: expected a folder, but {file} is a file"


@pytest.mark.parametrize(
    ("content", "allowed"),
    [
        (b"", "one or more PEM certificates ("),
        (b"no certificate", "one or more PEM certificates ("),
        (COMPANY.pem[:-40], "one or more PEM certificates ("),
        (COMPANY.pem + COMPANY.pem.replace(b"\nMII", b"\nAII"), "one or more PEM certificates ("),
        (COMPANY.pem + COMPANY.key_pem(), "certificates only, but this file contains a private key"),
        (COMPANY.key_pem(b"secret") + COMPANY.pem, "certificates only, but this file contains a private key"),
    ],
    ids=["empty", "text", "cut off", "second one broken", "with key", "with encrypted key"],
)
def test_a_ca_bundle_must_hold_certificates_and_no_key(folder: Path, content: bytes, allowed: str) -> None:
    bundle = folder / "company.pem"
    bundle.write_bytes(content)
    (said,) = problems(folder, {"ADDITIONAL_CA_BUNDLE_FILE": str(bundle)})
    assert said.startswith(f"the environment: ADDITIONAL_CA_BUNDLE_FILE={str(bundle)!r} is invalid: expected {allowed}")


def test_a_ca_bundle_may_hold_several_certificates_and_remarks(folder: Path) -> None:
    bundle = folder / "it's the company's $CA.pem"
    bundle.write_bytes(b"Subject: Soci\xe9t\xe9\n" + COMPANY.pem + b"\r\n# second\r\n" + COMPANY.pem)
    settings = load(folder, {"ADDITIONAL_CA_BUNDLE_FILE": str(bundle)})
    assert settings.additional_ca_bundle_file == bundle
    assert load_company_certificates(settings) == COMPANY.pem.decode() * 2, "the comments are left out"


SECOND = ca.authority("second.example")


def openssl(*words: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=given, capture_output=True, check=True).stdout


def der() -> bytes:
    return openssl("x509", "-outform", "der", given=COMPANY.pem)


def pkcs7(folder: Path, form: str) -> bytes:
    (folder / "both.pem").write_bytes(COMPANY.pem + SECOND.pem)
    return openssl("crl2pkcs7", "-nocrl", "-certfile", str(folder / "both.pem"), "-outform", form)


def pkcs12(folder: Path) -> bytes:
    (folder / "pair.pem").write_bytes(COMPANY.key_pem() + COMPANY.pem)
    return openssl("pkcs12", "-export", "-in", str(folder / "pair.pem"), "-passout", "pass:")


def trusted() -> bytes:
    return openssl("x509", "-trustout", given=COMPANY.pem)


BOTH = (COMPANY.pem + SECOND.pem).decode()

# The name of the file, what is in it, what it is called, and how many certificates it has once it is converted.
OTHER_FORMS: list[tuple[str, Callable[[Path], bytes], str, int]] = [
    ("company.cer", lambda _: der(), "a DER certificate", 1),
    ("company ca.pem", lambda _: der(), "a DER certificate", 1),
    ("company.cer", lambda _: base64.encodebytes(der()), "Base64 without its BEGIN line", 1),
    ("company.p7b", lambda folder: pkcs7(folder, "der"), "PKCS#7", 2),
    ("company.p7b", lambda folder: pkcs7(folder, "pem"), "PKCS#7", 2),
    ("certnew.p7b", lambda folder: pkcs7(folder, "pem").replace(b"PKCS7", b"CERTIFICATE"), "PKCS#7", 2),
    ("company.p7b", lambda folder: base64.encodebytes(pkcs7(folder, "der")), "PKCS#7", 2),
    ("company.pfx", pkcs12, "PKCS#12", 1),
    ("company.cer", lambda _: BOTH.encode("utf-16"), "UTF-16", 2),
    ("company.cer", lambda _: BOTH.encode("utf-16-le"), "UTF-16", 2),
    ("company.cer", lambda _: b"\xfe\xff" + BOTH.encode("utf-16-be"), "UTF-16", 2),
    ("company.crt", lambda _: trusted(), "TRUSTED CERTIFICATE", 1),
    ("company.crt", lambda _: SECOND.pem + trusted(), "TRUSTED CERTIFICATE", 2),
    ("company.crt", lambda _: BOTH.replace(" CERT", " X509 CERT").encode(), "X509 CERTIFICATE", 2),
    ("company.pem", lambda _: COMPANY.key_pem() + BOTH.encode(), "a private key", 2),
    ("company.pem", lambda _: BOTH.encode() + COMPANY.key_pem(b"secret"), "a private key", 2),
    ("company.pem", lambda _: b"\xef\xbb\xbf" + BOTH.encode(), "at the start of a line", 2),
    ("company.pem", lambda _: re.sub("^", "  ", BOTH, flags=re.MULTILINE).encode(), "at the start of a line", 2),
    ("company.pem", lambda _: BOTH.replace("\n", "\r").encode(), "at the start of a line", 2),
]


@pytest.mark.parametrize(("name", "made", "called", "count"), OTHER_FORMS,
                         ids=[f"{number} {name} {called}" for number, (name, _, called, _) in enumerate(OTHER_FORMS)])
def test_a_ca_bundle_in_another_form_is_named_and_the_command_that_is_printed_converts_it(
    folder: Path, name: str, made: Callable[[Path], bytes], called: str, count: int
) -> None:
    """Nodes mount the file itself, and containerd passes over what is not PEM as Go reads it."""
    bundle = folder / name
    bundle.write_bytes(made(folder))
    said, = problems(folder, {"ADDITIONAL_CA_BUNDLE_FILE": str(bundle)})
    assert called in said
    command = said.partition("Convert it, and name the new file here: ")[2]
    converted = Path(shlex.split(command)[-1])
    assert not converted.exists(), "the user's own file would be overwritten"
    subprocess.run(["bash", "-c", command], input=b"\n", check=True, capture_output=True, start_new_session=True)
    settings = load(folder, {"ADDITIONAL_CA_BUNDLE_FILE": str(converted)})
    assert load_company_certificates(settings).count("BEGIN CERTIFICATE") == count


@pytest.mark.parametrize(
    ("content", "called"),
    [
        (b"", "this file is empty"),
        (b"\xef\xbb\xbf\r\n", "this file is empty"),
        (b"\xff\xfe", "this file is empty"),
        (b"<!DOCTYPE html>\n<html><title>Log in</title>", "an HTML page"),
        (b"<?xml version='1.0'?><plist version='1.0'><dict/></plist>", "a configuration profile"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "CERTIFICATE REQUEST"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "X509 CRL"),
        (b"\xfe\xed\xfe\xed\0\0\0\2", "a Java key store"),
        pytest.param(COMPANY.key_pem(), "a private key", id="a private key"),  # another key in each worker
    ],
)
def test_a_file_without_certificates_is_called_what_it_is(folder: Path, content: bytes, called: str) -> None:
    bundle = folder / "company.pem"
    bundle.write_bytes(content)
    said, = problems(folder, {"ADDITIONAL_CA_BUNDLE_FILE": str(bundle)})
    assert called in said and len(said) < 500


@pytest.mark.filterwarnings("error")
def test_a_ca_bundle_may_be_that_of_a_whole_system(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Roots that everybody has break rules of today, such as that a serial number is positive."""
    bundle = folder / "ca-certificates.crt"
    odd = bytearray(der())
    odd[odd.index(b"\xa0\x03\x02\x01\x02\x02") + 7] |= 0x80  # the sign of the serial number
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(odd) + b"-----END CERTIFICATE-----\n"
    bundle.write_bytes(b"# A root\n" + pem * 140)
    settings = load(folder, {"ADDITIONAL_CA_BUNDLE_FILE": str(bundle)})
    assert load_company_certificates(settings).count("BEGIN CERTIFICATE") == 140
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("key", ["ADDITIONAL_CA_BUNDLE_FILE", "ACME_CA_FILE"])
def test_a_ca_bundle_whose_path_k3d_or_lego_would_split_is_refused(folder: Path, key: str) -> None:
    bundle = folder / "a:b.pem"
    bundle.write_bytes(COMPANY.pem)
    (said,) = problems(folder, {key: str(bundle)})
    assert said.endswith(f"expected a path without ':' (k3d and lego split there), but got {bundle}")


@pytest.mark.parametrize("key", ["ADDITIONAL_CA_BUNDLE_FILE", "K3D_REGISTRY_CONFIG"])
@pytest.mark.parametrize("name", ["not-there", "."])
def test_a_file_must_be_there(folder: Path, key: str, name: str) -> None:
    value = str(folder / name)
    (said,) = problems(folder, {key: value})
    assert said == f"the environment: {key}={value!r} is invalid: expected a readable file, but {value} is not one"


def test_the_port_of_the_registry_is_not_one_of_a_cluster(folder: Path) -> None:
    (said,) = problems(folder, {"LOCAL_REGISTRY_PORT": "11443"})
    assert said == "the environment: LOCAL_REGISTRY_PORT=11443, but HTTPS of cluster 1 already has that port"


def test_a_registry_has_its_own_address_as_upstream_unless_another_is_given(folder: Path) -> None:
    caches = load(folder, {"REGISTRY_CACHES": "docker.io, quay.io,registry.example:5000=http://mirror/x/"}).registry_caches
    assert caches == {"docker.io": "https://registry-1.docker.io", "quay.io": "https://quay.io",
                      "registry.example:5000": "http://mirror/x"}
    (said,) = problems(folder, {"REGISTRY_CACHES": "docker.io=https://me:hunter2@x"})
    assert said.endswith("expected URLs without a password, which would be displayed") and "hunter2" not in said


def test_charts_may_come_from_a_folder_or_any_registry(folder: Path) -> None:
    sources = ("oci://registry.example:5000/charts/", "https://charts.example/stable", str(folder))
    assert [load(folder, {"CHART_SOURCE": source}).chart_source for source in sources] == [
        "oci://registry.example:5000/charts", "https://charts.example/stable", str(folder)
    ]


# --- $NAME ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("unix://$HOME/.colima/default/docker.sock", "unix:///somewhere/.colima/default/docker.sock"),
        ('"unix://${HOME}/a b"', "unix:///somewhere/a b"),
        ("$HOME/.kube/other:$HOME/.kube/config", "/somewhere/.kube/other:/somewhere/.kube/config"),
        ("~/.kube/other", "/somewhere/.kube/other"),
        ("$ABOVE/${ABOVE}s # $UNSET", "above/aboves"),
        ("$BOTH", "environment"),
        ("${UNSET:-otherwise}", "otherwise"),
        ("${HOME:-otherwise}", "/somewhere"),
        ("$EMPTY", ""),
        ("'pa$$word $HOME ${HOME} ~'", "pa$$word $HOME ${HOME} ~"),
        ("'~/literally'", "~/literally"),
        ("pa$5word$", "pa$5word$"),
    ],
)
def test_one_rule_for_names_in_values_holds_for_our_keys_and_for_those_of_the_tools(
    folder: Path, written: str, expected: str
) -> None:
    key = "K3D_PORT_PREFIX_HTTP" if not expected else "CERT_O"  # one of ours that may have this value
    (folder / ".env").write_text(f"ABOVE=above\nBOTH=file\nDOCKER_HOST={written}\n{key}={written}\nUNSET=below\n")
    settings = load(folder, {"HOME": "/somewhere", "BOTH": "environment", "EMPTY": ""})
    assert settings.environment["DOCKER_HOST"] == expected
    assert getattr(settings, key.lower()) == expected


@pytest.mark.parametrize("written", ["$NOWHERE/x", "${NOWHERE}/x", '"/x/$NOWHERE"', "a$HOME$NOWHERE"])
@pytest.mark.parametrize("key", ["DOCKER_HOST", "KUBECONFIG", "CERT_FOLDER", "TLD", "K3S_IMAGE"])
def test_a_name_that_is_not_set_is_refused_with_its_line(folder: Path, key: str, written: str) -> None:
    (folder / ".env").write_text(f"# a comment\n\n{key}={written}\n")
    assert problems(folder, {"HOME": "/somewhere"}) == [
        f".env, line 3: {key} contains $NOWHERE, which is not set. For a literal $, put the value in single quotes"]


def test_a_part_of_a_password_that_looks_like_a_name_is_not_shown(folder: Path) -> None:
    (folder / ".env").write_text("HTTPS_PROXY=http://me:pa$hunter2@proxy\nTOKEN=$hunter2\nOTHER=${hunter2\n")
    said = problems(folder)
    assert [line.partition(":")[0] for line in said] == [f".env, line {number}" for number in (1, 2, 3)]
    assert "hunter2" not in "".join(said) and "single quotes" in said[0]


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_no_folder_is_made_that_is_called_after_a_variable(folder: Path, place: str) -> None:
    """The value reaches us unreplaced: from single quotes, or from a file of a CI."""
    written = "$HOME/.kube/other"
    (folder / ".env").write_text(f"KUBECONFIG='{written}'\n" if place == ".env" else "")
    said = problems(folder, {"KUBECONFIG": written} if place == "environment" else {})
    assert said == [f"{'the ' * (place != '.env')}{place}: KUBECONFIG={written!r} is invalid: nothing has replaced "
                    "$HOME in it"]
    path = load(folder, {"KUBECONFIG": "/elsewhere", "CERT_FOLDER": "$HOME/certs"}).cert_folder
    assert path == Path.home() / "certs"


# --- keys of others ---------------------------------------------------------------------------------------------------


def test_keys_of_others_reach_the_tools_and_the_environment_wins(project: Project) -> None:
    (project.folder / "company.pem").write_bytes(COMPANY.pem)
    project.env(ADDITIONAL_CA_BUNDLE_FILE="company.pem", DOCKER_HOST="unix:///a b", HTTPS_PROXY="http://from.file:1",
                K3D_FIX_DNS="0", ODD=quoted(ODD))
    project.fakes.add("podman")
    done = project.inv("podman-machine-prepare", environment={"HTTPS_PROXY": "http://from.environment:2"})
    assert done.returncode == 0, done.stderr
    received = project.fakes.environments("podman")
    assert len(received) == 5
    for environment in received:
        assert environment["DOCKER_HOST"] == "unix:///a b"
        assert environment["K3D_FIX_DNS"] == "0"
        assert environment["HTTPS_PROXY"] == "http://from.environment:2"
        assert environment["ODD"] == ODD


# --- a value stays a value --------------------------------------------------------------------------------------------

odd_text = st.one_of(st.text(), st.lists(st.sampled_from([*ODD, "\n", "{{", "}}", "${HOME}", "~", "/", ".", "x"]))
                     .map("".join))
odd_lines = st.lists(odd_text | odd_text.map("KEY={}".format))


@hypothesis(deadline=None)
@given(st.sampled_from(sorted(READERS)), odd_text)
@example("CERT_FOLDER", "~x")
@example("K3D_PORT_END", "99999")
def test_any_text_in_any_key_is_used_or_refused_by_name(bare: Path, key: str, value: str) -> None:
    try:
        settings = read_all(load(bare, {key: value}))
    except Exit as error:
        assert key in str(error.message) and "the environment: " in str(error.message)
    else:
        assert settings.cluster(0).domain.endswith(settings.base_domain)


@hypothesis(deadline=None)
@given(st.binary() | odd_lines.map(lambda lines: "\n".join(lines).encode("utf-8", "replace")))
def test_any_bytes_in_env_are_used_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = with_defaults(tmp_path_factory.getbasetemp())
    (folder / ".env").write_bytes(content)
    try:
        environment = load(folder, {}).environment
    except Exit as error:
        assert ".env" in str(error.message)
    else:
        for key, value in environment.items():  # what no process could be given would fail much later
            assert key and "=" not in key and "\0" not in key + value
            os.fsencode(key + value)


@hypothesis(deadline=None)
@given(st.text(min_size=1, max_size=40).filter(str.isprintable))
@example(ODD)
@example("$HOME ${HOME} ${")
def test_a_quoted_value_in_env_is_taken_as_it_is(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    folder = with_defaults(tmp_path_factory.getbasetemp())
    (folder / ".env").write_text(f"CERT_CN={quoted(value)}\n", encoding="utf-8")
    assert load(folder, {}).cert_cn == value


TEMPLATES = SOURCE / "templates"
MANIFESTS = sorted(file.relative_to(TEMPLATES).as_posix() for file in TEMPLATES.rglob("*.yaml"))

# Hexadecimal digests that YAML would take for numbers.
DIGESTS = st.sampled_from(["1234567890123456", "0000000000000000", "1234567890.12e+5"])

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
name = st.lists(label, min_size=1, max_size=3).map(".".join)
yaml_words = st.sampled_from(["null", "true", "no", "1e3", "0x1f", "1_000", "1:30", "a:b", "a@b"])
image = st.from_regex(re.compile(r"[a-zA-Z0-9][\w.:/@-]{0,20}", re.ASCII), fullmatch=True) | yaml_words
subject = st.text(min_size=1, max_size=50).filter(str.isprintable)

chosen_values = st.fixed_dictionaries({
    "TLD": name,
    "K3D_SUBDOMAIN": name | st.just(""),
    "K3D_CLUSTER_NAME_PREFIX": st.from_regex(r"[a-z0-9][a-z0-9-]{0,5}", fullmatch=True),
    "K3D_CLUSTER_DOMAIN_PREFIX": st.from_regex(r"([a-z0-9][a-z0-9-]{0,5})?", fullmatch=True),
    "CERT_CN": subject,
    "CERT_O": subject,
    "K3S_IMAGE": image,
    "IMAGE_NGINX": image,
    "IMAGE_CURL": image,
    "IMAGE_NETSHOOT": image,
    "IMAGE_KEYCLOAK": image,
    "IMAGE_OAUTH2_PROXY": image,
})


def documents(settings: Settings, digest: str) -> dict[str, list[Any]]:
    """Every manifest of cluster 0, as YAML reads it."""
    cluster, pem = settings.cluster(0), COMPANY.pem.decode()
    values = {"rules": render_rules(cluster, "192.0.2.1"), "rules_hash": digest, "root_pem": pem, "company_pem": pem,
              "sources_hash": digest, "intermediate": Intermediate(pem, pem), "host": example_host(cluster),
              "registry": Registry(settings, "localhost:5001"), "registries": [Registry(settings, "docker.io", "url")],
              "pod_trust": False, **oidc.template_values(cluster, cluster), **https_redirect.front_door_urls(cluster),
              **pod_trust.policy_values(settings, "v1"),
              "corefile": "", "adds_volume": True, "is_default": True, "node_ports": (30080, 30443),
              "name": "acme-certificate", "certificate": Intermediate(pem, pem), "folder": Path("/acme"),
              "environment": {},
              "publish": ["127.0.0.1"], "company_ca": "/ca.crt", "feature_gates": {}, "runtime_config": {}}
    return {
        template: list(yaml.load_all(render_manifest(cluster, template, **values).text,
                                     getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        for template in MANIFESTS
    }


def shape(value: Any) -> Any:
    """The keys and the types of the leaves: what a value that broke out of its place would change."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


@hypothesis(deadline=None, max_examples=25)
@given(chosen_values, DIGESTS)
def test_no_value_breaks_out_of_a_manifest(bare: Path, chosen: dict[str, str], digest: str) -> None:
    settings = load(bare, chosen)
    found = documents(settings, digest)
    assert shape(found) == shape(documents(load(bare, {}), "0123456789abcdef"))

    rules = found["in_cluster/coredns-custom.yaml"][0]["data"]["dev-clusters.override"]
    assert rules == render_rules(settings.cluster(0), "192.0.2.1")
    assert found["in_cluster/root-ca.yaml"][0]["data"]["company.pem"] == COMPANY.pem.decode()
    assert found["examples/nginx.yaml"][3]["spec"]["rules"][0]["host"] == example_host(settings.cluster(0))
    for template, document, expected in (
        ("nginx", 1, settings.image_nginx), ("curl", 0, settings.image_curl),
        ("curl-no-bundle", 0, settings.image_curl), ("netshoot", 0, settings.image_netshoot),
        ("oidc/keycloak", 2, settings.image_keycloak), ("oidc/app", 2, settings.image_nginx),
    ):
        container = found[f"examples/{template}.yaml"][document]["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == expected


def lines_of(settings: Settings) -> dict[str, list[str]]:
    """The first words of every line of the templates that are no YAML."""
    texts = {
        "ca.ini": ca_config(settings, settings.cert_cn, 1, settings.owned_domains[:1]),
        "dns/names.conf": render("dns/names.conf", domain=settings.owned_domains[0], used_by=["# used by"],
                                 address="127.0.0.1", place="this machine", elsewhere={}),
        "resolver": render("dns/resolver", used_by=["# used by"]),
        "override": render_rules(settings.cluster(0), "192.0.2.1"),
    }
    return {name: [re.split(r"[ =/]", line)[0] for line in text.splitlines()] for name, text in texts.items()}


@hypothesis(deadline=None, max_examples=25)
@given(chosen_values)
@example({"CERT_CN": "ends in \\", "CERT_O": "# [section]"})
def test_no_value_breaks_out_of_its_line(bare: Path, chosen: dict[str, str]) -> None:
    settings = load(bare, chosen)
    assert lines_of(settings) == lines_of(load(bare, {}))
    # openssl joins a line that ends in one backslash with the next, a comment too.
    for line in ca_config(settings, settings.cert_cn, 1, ("k3d.internal",)).splitlines():
        assert (len(line) - len(line.rstrip("\\"))) % 2 == 0


def test_odd_values_reach_the_tools_as_they_are_and_nothing_is_run(project: Project, tmp_path: Path) -> None:
    here = tmp_path / ODD
    here.mkdir()
    bundle, registries, charts = here / "company.pem", here / "registries.yaml", here / "charts"
    bundle.write_bytes(COMPANY.pem)
    registries.write_text("{}\n")
    charts.mkdir()
    for chart in ("cert-manager-v1.21.2.tgz", "trust-manager-v0.26.0.tgz"):
        (charts / chart).touch()
    values = {"CERT_FOLDER": here / "ca", "CERT_CN": f"CN {ODD}", "CERT_O": ODD, "ADDITIONAL_CA_BUNDLE_FILE": bundle,
              "K3D_REGISTRY_CONFIG": registries, "K3D_KUBECONFIG_TARGET_DIR": here / "kube", "CHART_SOURCE": charts}
    project.env(**{key: quoted(str(value)) for key, value in values.items()}, K3D_PORT_START="61", K3D_PORT_END="61",
                REGISTRY_CACHES="", LOCAL_REGISTRY_PORT="")
    project.fakes.add("uname", "docker", "k3d", "helm", "kubectl")
    project.fakes.answer("^uname", "Linux\n")
    project.fakes.answer("^docker network inspect", "192.0.2.1\n")  # an address that this machine has not
    project.fakes.answer("^k3d version", "k3d version v5.8.3\n")
    project.fakes.answer("^k3d cluster list", "[]")
    project.fakes.answer("^k3d cluster create", exit=1)
    project.fakes.answer("^helm version", "v3.19.0\n")

    done = project.inv("cert", "k3d-cluster-setup", "--n", "0", "--", "--k3s-arg", ODD)
    assert done.returncode == 1
    assert "k3d exited with code 1" in done.stderr
    mounted = str(bundle).replace("@", r"\@")  # or k3d takes what follows for a node filter
    assert project.fakes.calls("k3d", "cluster", "create") == [[
        "k3d", "cluster", "create", "cl0", "--image", "docker.io/rancher/k3s:v1.36.4-k3s1",
        "--network", "dev-clusters", "--api-port", "127.0.0.1:random",
        "-p", "127.0.0.1:61080:80@loadbalancer", "-p", "127.0.0.1:61443:443@loadbalancer",
        "--volume", f"{mounted}:/etc/ssl/certs/additional-ca.crt", "--registry-config", str(registries),
        "--runtime-label", f"dev-cluster-tasks.registries={short_hash(registries.read_text())}@server:*",
        "--kubeconfig-update-default=false", "--wait", "--timeout", "600s", "--k3s-arg", ODD,
    ]]
    assert (here / "ca" / "internal-ca.crt").is_file()
    assert not list(tmp_path.rglob("pwned"))


def test_a_line_that_cannot_be_read_is_not_shown_because_it_may_hold_a_password(folder: Path) -> None:
    (folder / ".env").write_text("PASSWORD hunter2\n")
    assert "hunter2" not in "".join(problems(folder))


def test_a_chart_source_with_a_password_is_refused_and_a_folder_of_an_unset_variable_is_not_made(folder: Path) -> None:
    (folder / ".env").write_text("CHART_SOURCE=https://user:hunter2@charts.example.com\nCERT_FOLDER='$UNSET_HOME/.certs'\n")
    said = problems(folder)
    assert "without a password" in said[1] and "$VARIABLES are all set" in said[0]
    assert "CHART_SOURCE='https://***@charts.example.com'" in said[1]


def test_a_password_in_an_address_is_not_shown_where_it_is_refused(folder: Path) -> None:
    (folder / ".env").write_text("HELM_SOURCE=https://user:hunter2@mirror\nCHART_SOURCE=oci://user:hunter2@mirror/x\n")
    said = "".join(problems(folder))
    assert said.count("without a password") == 2 and "hunter2" not in said


def test_a_user_without_a_home_folder_is_told_to_set_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert any("HOME is not set" in problem for problem in problems(folder))


def test_each_trust_store_and_way_to_resolve_names_can_be_chosen() -> None:
    assert (list(trust.KINDS), list(dns.METHODS)) == (list(setting_types.STORES), list(setting_types.METHODS))


def test_settings_are_given_by_name_because_38_values_in_a_row_would_be_mixed_up(bare: Path) -> None:
    assert all(field.kw_only for field in fields(Settings))
    with pytest.raises(AttributeError):
        load(bare, {}).tld = "test"  # type: ignore[misc]


# --- values that few tasks need ---------------------------------------------------------------------------------------

OF_TOOLS = {f"{tool}_{what}": value for tool in ("K3D", "HELM", "KUBECTL")
            for what, value in (("VERSION", "latest"), ("SOURCE", "http://mirror"))}
OF_CHARTS = {"CERT_MANAGER_VERSION": "1.20", "TRUST_MANAGER_VERSION": "latest", "CHART_SOURCE": "charts"}


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        yield world


@pytest.mark.parametrize("where", [".env", "environment"])
@pytest.mark.parametrize("words", [
    "k3d-cluster-list", "status", "k3d-cluster-stop --n 1", "k3d-cluster-delete --n 1", "cert", "trust-env",
    "k3d-cluster-start --n 1",
])
def test_a_value_that_only_other_tasks_need_closes_no_task(world: World, words: str, where: str) -> None:
    world.cluster_list(world.cluster(1))
    world.network(there=True)
    (world.project.root / "etc/ssl/certs").mkdir(parents=True)
    given = {**OF_TOOLS, **OF_CHARTS}
    world.env(**(given if where == ".env" else {}))
    done = world.inv(*words.split(), **(given if where == "environment" else {}))
    assert "Invalid settings" not in done.stderr, done.stderr


@pytest.mark.parametrize("words", ["k3d-cluster-setup --n 1", "up"])
def test_a_setup_needs_charts_and_no_values_of_tools_and_says_so_before_it_begins(world: World, words: str) -> None:
    done = world.inv(*words.split(), **OF_TOOLS, CERT_MANAGER_VERSION="1.20")
    assert done.returncode == 1 and world.changes() == []
    assert done.stderr == ("Invalid settings:\n  the environment: CERT_MANAGER_VERSION='1.20' is invalid: expected "
                           "a version, such as v1.21.2\n")
    assert "cl1 is ready" in world.inv("k3d-cluster-setup", "--n", "1", **OF_TOOLS).stdout


@pytest.mark.parametrize(("key", "value"), OF_TOOLS.items())
def test_the_task_that_needs_a_value_refuses_it(world: World, key: str, value: str) -> None:
    tool = key.partition("_")[0].lower()
    (world.fakes.bin / tool).unlink()
    world.fakes.add("curl")
    world.fakes.answer("^uname -m", "x86_64\n")
    done = world.inv("tools", "--install", **{key: value})
    assert done.returncode == 1 and f"the environment: {key}={value!r} is invalid: expected " in done.stderr
    assert not any(tool in call[-1] for call in world.fakes.calls("curl"))


def test_a_value_of_the_environment_that_changes_charts_or_images_is_shown_where_it_is_used(world: World) -> None:
    chosen = {"CERT_MANAGER_VERSION": "v1.20.0", "CHART_SOURCE": "oci://mirror.example/charts",
              "K3S_IMAGE": "rancher/k3s:v1.35.0-k3s1", "IMAGE_NGINX": "nginx:1"}
    said = world.inv("k3d-cluster-setup", "--n", "1", **chosen).stdout
    assert "cert-manager v1.20.0 (CERT_MANAGER_VERSION and CHART_SOURCE from the environment): installed" in said
    assert "trust-manager v0.26.0 (CHART_SOURCE from the environment): installed" in said
    assert "cluster: created (K3S_IMAGE from the environment)" in said
    said = world.inv("k3d-cluster-examples", "--n", "1", **chosen).stdout
    assert "examples (IMAGE_NGINX from the environment): " in said


def test_a_value_of_env_is_used_without_a_remark(world: World) -> None:
    world.env(CERT_MANAGER_VERSION="v1.20.0", K3S_IMAGE="rancher/k3s:v1.35.0-k3s1")
    assert "from the environment" not in world.inv("k3d-cluster-setup", "--n", "1").stdout
