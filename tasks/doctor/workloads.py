"""Checks of the user's own namespaces and pods: the trust bundle, and names."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.doctor.check import WARNING, Checks, ClusterView
from tasks.doctor.fixes import CONFIGURE

CHECKS = Checks()


check = CHECKS.check


@check("namespace-bundle", WARNING, "The ConfigMap was deleted, or trust-manager has not copied the bundle there yet.",
       CONFIGURE, needs=["bundle"])
def without_bundle(view: ClusterView) -> Iterator[str]:
    """The bundle is in every namespace with the label trust: enabled"""
    for namespace in view.snapshot.all("Namespace"):
        name, labels = namespace["metadata"]["name"], namespace["metadata"].get("labels") or {}
        if labels.get("trust") == "enabled" and name not in view.snapshot.with_bundle:
            yield f"{name} has no ConfigMap default-ca-bundle"
