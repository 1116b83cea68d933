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
