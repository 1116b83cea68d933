"""Known bugs of k3d, k3s and trust-manager, by version."""

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
    description: str
    affects: Callable[[tuple[int, ...]], bool]
    """Whether this version has it."""
    link: str


# To add a bug, add an entry to its table.
K3D = (
    Bug("on Colima, its change to the nodes' DNS breaks name resolution: set K3D_FIX_DNS=0 in .env, or use k3d 5.9",
        lambda version: version < (5, 9, 0), "https://github.com/k3d-io/k3d/issues/1595"),
)


K3S = (
    Bug("its CoreDNS does not read *.override in coredns-custom, where the rules of these tasks are",
        lambda version: version < (1, 24, 15) or any(
            (1, minor, 0) <= version < (1, minor, patch) for minor, patch in ((25, 11), (26, 6), (27, 3))),
        "https://github.com/k3s-io/k3s/issues/7640"),
)


TRUST_MANAGER = (
    Bug("its public CAs include some that browsers have removed: set TRUST_MANAGER_VERSION=v0.26.0",
        lambda version: version < (0, 26, 0), "https://github.com/cert-manager/trust-manager/releases/tag/v0.26.0"),
)


def find_bugs(name: str, text: str, bugs: tuple[Bug, ...]) -> Iterator[str]:
    """The bugs of the version in this text."""
    version = re.search(r"\d+\.\d+\.\d+", text)
    if version:
        for bug in bugs:
            if bug.affects(parse_version(version[0])):
                yield f"{name} {version[0]}: {bug.description}. {bug.link}"


@MACHINE.check("bugs-k3d", WARNING, "The bug is not fixed in this version.",
               "Set what the message names in .env, then recreate the cluster; or set a newer K3D_VERSION, then run: "
               "inv tools --install",
               needs=["tools", "engine"])
def bugs_of_k3d(machine: Machine) -> Iterator[str]:
    """No known bug of this k3d version affects this engine"""
    colima = str(machine.engine.get("Name", "")).startswith("colima")
    if colima and {**machine.settings.environment, **os.environ}.get("K3D_FIX_DNS") != "0":
        yield from find_bugs("k3d", machine.shell.look(*VERSION_COMMANDS["k3d"]).stdout, K3D)


@CLUSTER.check("bugs", WARNING, "The bug is not fixed in this version.",
               "Set a newer version in .env, then run: inv k3d-cluster-configure --n {n}; for k3s, recreate the "
               "cluster", needs=["api"])
def bugs_in_cluster(view: ClusterView) -> Iterator[str]:
    """No known bug of its k3s and trust-manager versions affects it"""
    for node in view.snapshot.all("Node"):
        yield from find_bugs("k3s", kubelet_version(node), K3S)
    yield from find_bugs("trust-manager", view.snapshot.version("trust-manager"), TRUST_MANAGER)
