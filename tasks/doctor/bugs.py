"""Known bugs of what the clusters are made of, by version."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tasks.doctor.check import WARNING, Checks, ClusterView, Machine
from tasks.probe.snapshot import kubelet_version
from tasks.tools.required import VERSION_COMMANDS, parse_version

MACHINE, CLUSTER = Checks(), Checks()


class Bug(NamedTuple):
    what: str
    applies: Callable[[tuple[int, ...]], bool]
    """To this version."""
    link: str


# To each its table: a line more is a bug more.
K3D = (
    Bug("on Colima its change to the nodes' DNS breaks names: set K3D_FIX_DNS=0 in .env, or use k3d 5.9",
        lambda version: version < (5, 9, 0), "https://github.com/k3d-io/k3d/issues/1595"),
)


K3S = (
    Bug("its CoreDNS reads no *.override of coredns-custom, where our rules are",
        lambda version: version < (1, 24, 15) or any(
            (1, minor, 0) <= version < (1, minor, patch) for minor, patch in ((25, 11), (26, 6), (27, 3))),
        "https://github.com/k3s-io/k3s/issues/7640"),
)


TRUST_MANAGER = (
    Bug("the public CAs that it brings hold some that browsers have removed: set TRUST_MANAGER_VERSION=v0.26.0",
        lambda version: version < (0, 26, 0), "https://github.com/cert-manager/trust-manager/releases/tag/v0.26.0"),
)


def applying(name: str, text: str, table: tuple[Bug, ...]) -> Iterator[str]:
    found = re.search(r"\d+\.\d+\.\d+", text)
    if found:
        for bug in table:
            if bug.applies(parse_version(found[0])):
                yield f"{name} {found[0]}: {bug.what}. {bug.link}"


@MACHINE.check("bugs-k3d", WARNING, "Not mended yet in this version.",
               "What is named in .env, then a new cluster; or K3D_VERSION there, then: inv tools --install",
               needs=["tools", "engine"])
def of_k3d(machine: Machine) -> Iterator[str]:
    """No known bug of this k3d matters on this engine"""
    colima = str(machine.engine.get("Name", "")).startswith("colima")
    if colima and {**machine.settings.environment, **os.environ}.get("K3D_FIX_DNS") != "0":
        yield from applying("k3d", machine.shell.look(*VERSION_COMMANDS["k3d"]).stdout, K3D)


@CLUSTER.check("bugs", WARNING, "Not mended yet in this version.",
               "A newer version in .env, then: inv k3d-cluster-configure --n {n}; for k3s a new cluster", needs=["api"])
def in_cluster(view: ClusterView) -> Iterator[str]:
    """No known bug of its k3s and trust-manager matters here"""
    for node in view.snapshot.all("Node"):
        yield from applying("k3s", kubelet_version(node), K3S)
    yield from applying("trust-manager", view.snapshot.version("trust-manager"), TRUST_MANAGER)
