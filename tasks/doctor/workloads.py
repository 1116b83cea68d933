"""Checks of the user's own namespaces and pods: the trust bundle, and names."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.doctor.check import WARNING, Checks, ClusterView
from tasks.doctor.fixes import CONFIGURE
from tasks.probe.pod_trust import group_by_owner, is_running

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


@check("pods-host-network", WARNING, "Such a pod uses the DNS of its node, and nodes do not know the names of clusters "
       "and Services.", "Set dnsPolicy: ClusterFirstWithHostNet in the pods' template.", needs=["api"],
       link="https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy")
def with_host_network(view: ClusterView) -> Iterator[str]:
    """Every pod with hostNetwork in a namespace with the label trust: enabled resolves the clusters' names"""
    trusting = {namespace["metadata"]["name"] for namespace in view.snapshot.all("Namespace")
                if (namespace["metadata"].get("labels") or {}).get("trust") == "enabled"}
    # A pod with the policy None has its own name servers.
    pods = [pod for pod in view.snapshot.all("Pod") if pod["spec"].get("hostNetwork") and is_running(pod)
            and pod["metadata"].get("namespace") in trusting
            and pod["spec"].get("dnsPolicy", "ClusterFirst") not in ("ClusterFirstWithHostNet", "None")]
    for found in group_by_owner(pods):
        yield f"{found.owner.title} has hostNetwork without dnsPolicy: ClusterFirstWithHostNet"
