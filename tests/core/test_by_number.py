"""Settings that have a value for each cluster number."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SOURCE
from invoke import Exit

from tasks.core.configuration import load
from tasks.core.settings import Cluster


def cluster(number: int, **settings: str) -> Cluster:
    return load(SOURCE, settings).cluster(number)


@pytest.mark.parametrize(("value", "contexts"), [
    ("k3d", ["k3d-cl0", "k3d-cl1", "k3d-cl2"]),
    ("kind", ["kind-cl0", "kind-cl1", "kind-cl2"]),
    ("1=kind,2=colima", ["k3d-cl0", "kind-cl1", "colima"]),
    ("kind, 0=k3d", ["k3d-cl0", "kind-cl1", "kind-cl2"]),
    ("2=arn:aws:eks:eu-west-1:123456789012:cluster/dev", ["k3d-cl0", "k3d-cl1",
                                                         "arn:aws:eks:eu-west-1:123456789012:cluster/dev"]),
])
def test_a_provider_is_chosen_for_all_numbers_or_by_number(value: str, contexts: list[str]) -> None:
    assert [cluster(number, PROVIDER=value).context for number in range(3)] == contexts


@pytest.mark.parametrize("value", ["", "K3D", "colima", "k3d,kind", "1=", "=kind", "1=kind,1=k3d", "x=kind", "1=Kind",
                                   "1=two words", "1=a=b", "1=kind,"])
def test_another_value_is_refused_with_its_place_and_what_is_allowed(value: str) -> None:
    with pytest.raises(Exit) as refused:
        load(SOURCE, {"PROVIDER": value})
    assert (f"the environment: PROVIDER={value!r} is invalid: expected k3d or kind; or by number, such as "
            "1=kind,2=colima: one of these, or a kubectl context") in str(refused.value.message)


@pytest.mark.parametrize(("value", "says"), [
    ("12=kind", "PROVIDER names cluster 12, but K3D_PORT_START=10, K3D_PORT_END=19 leave room for clusters 0 to 9"),
    ("1=colima,2=colima", "PROVIDER gives the context colima to the clusters 1 and 2, but a cluster has one number"),
])
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, value: str, says: str) -> None:
    (tmp_path / ".default.env").write_text((SOURCE / ".default.env").read_text())
    (tmp_path / ".env").write_text(f"PROVIDER={value}\n")
    with pytest.raises(Exit) as refused:
        load(tmp_path, {})
    assert f".env: {says}" in str(refused.value.message)


@pytest.mark.parametrize(("value", "addresses"), [
    ("", ["127.0.0.1", "127.0.0.1", "127.0.0.1"]),
    ("1=192.0.2.10", ["127.0.0.1", "192.0.2.10", "127.0.0.1"]),
    ("192.0.2.10, 2=127.0.0.1", ["192.0.2.10", "192.0.2.10", "127.0.0.1"]),
])
def test_an_address_is_chosen_for_all_numbers_or_by_number(value: str, addresses: list[str]) -> None:
    assert [cluster(number, CLUSTER_ADDRESS=value).address for number in range(3)] == addresses


@pytest.mark.parametrize("value", ["server", "1=server", "::1", "0.0.0.0", "1=0.0.0.0", "1=192.0.2.1,1=192.0.2.2",
                                   "1="])
def test_what_is_not_an_address_is_refused(value: str) -> None:
    with pytest.raises(Exit) as refused:
        load(SOURCE, {"CLUSTER_ADDRESS": value})
    assert (f"the environment: CLUSTER_ADDRESS={value!r} is invalid: expected an IPv4 address, or addresses by number, "
            "such as 3=192.0.2.10") in str(refused.value.message)


def test_an_address_of_a_number_that_there_is_not_is_refused() -> None:
    with pytest.raises(Exit) as refused:
        load(SOURCE, {"CLUSTER_ADDRESS": "12=192.0.2.10"})
    assert "CLUSTER_ADDRESS names cluster 12, but K3D_PORT_START=10" in str(refused.value.message)


def test_clusters_at_different_addresses_may_have_the_same_ports() -> None:
    chosen = {"PROVIDER": "1=colima,2=server", "CONTEXT_PORTS": "1=80/443,2=80/443"}
    with pytest.raises(Exit) as refused:
        load(SOURCE, chosen)
    assert "HTTP of cluster 1 already has it" in str(refused.value.message)
    assert cluster(2, **chosen, CLUSTER_ADDRESS="2=192.0.2.10").https_port == 443
    with pytest.raises(Exit) as refused:
        load(SOURCE, {**chosen, "CLUSTER_ADDRESS": "2=192.0.2.10", "FRONT_DOOR": "true"})
    assert "FRONT_DOOR_HTTPS_PORT=443, but HTTPS of cluster 1 already has that port" in str(refused.value.message)
    load(SOURCE, {"PROVIDER": "2=server", "CONTEXT_PORTS": "2=80/443", "CLUSTER_ADDRESS": "2=192.0.2.10",
                  "FRONT_DOOR": "true"})
