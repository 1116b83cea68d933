"""A machine and a cluster in which all is well, as their tools tell it, for tests that break one thing at a time."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import ca
from inside import resolver
from kubernetes_objects import Object, certificate, condition, config_map, deployment, endpoints, ingress, pod, service
from pretend import GATEWAY, ROOT, World
from pretend_front_door import FrontDoor

from tasks.core import configuration
from tasks.in_cluster import pod_trust
from tasks.in_cluster.coredns import render_rules

POLICIES = (*(("MutatingAdmissionPolicy", name) for name in pod_trust.POLICIES),
            ("ValidatingAdmissionPolicy", "hosts-of-root-ca"))
FILE_LABELS = {"trust": "enabled", "trust-system-file": "enabled"}


class Patient:
    """Cluster 1 of a world. Change `objects`, `leaves`, `names` or `engine`, or what the world's tools answer."""

    front_door: FrontDoor
    """Only where a test brings one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names = {r"\.k3d\.internal$": "127.0.0.1"}
        self.engine: Object = {
            "ServerVersion": "28.0.0", "MemTotal": 16 * 1024**3, "SecurityOptions": ["name=seccomp"],
            "SystemTime": datetime.now(timezone.utc).isoformat(), "DockerRootDir": "/", "Name": "laptop",
        }
        self.existing = world.cluster(1)
        self.root = ROOT
        self.chain = self.leaf_issuer = ca.authority("cl1.k3d.internal", issuer=ROOT, pathlen=0)
        self.chain_pem = self.chain.pem + ROOT.pem
        self.leaves = {("shop", "shop-cert"): ca.leaf(self.leaf_issuer, "shop.cl1.k3d.internal").pem}
        self.bundles = ["shop"]
        self.objects = [*self.kubernetes(), *self.charts(), *self.shop()]
        self.others = self.ours()
        self.policies: list[Object] = [policy for kind, name in POLICIES for policy in (
            {"kind": kind, "metadata": {"name": name}},
            {"kind": f"{kind}Binding", "metadata": {"name": name}, "spec": {"policyName": name, "matchResources": {
                "namespaceSelector": {"matchLabels": FILE_LABELS if "file" in name else {"trust": "enabled"}}}}})]
        self.processes: list[str] = []
        world.network(there=True)
        world.fakes.add("ip", "ifconfig", "chmod")
        world.fakes.answer("^docker inspect .*Image", "rancher/k3s:v1.36.4-k3s1\n")
        world.fakes.answer("^kubectl version", "Client Version: v1.37.1\n")
        world.fakes.answer("^helm version", "v3.22.0\n")
        world.fakes.answer("^kubectl .*diff ")
        world.fakes.answer("^ip ", "default via 192.0.2.1 dev eth0\n127.0.0.0/24 dev br-1 proto kernel\n"
                                   "192.168.1.0/24 dev eth0 proto kernel\n")

    # --- what lies in the cluster ---

    def kubernetes(self) -> list[Object]:
        rules = render_rules(self.settings.cluster(1), GATEWAY)
        return [
            {"kind": "Node", "metadata": {"name": "k3d-cl1-server-0"}, "status": {
                "nodeInfo": {"kubeletVersion": "v1.36.4+k3s1"}, "conditions": [
                    condition("Ready"), condition("DiskPressure", "False"), condition("MemoryPressure", "False")]}},
            {"kind": "IngressClass", "metadata": {"name": "traefik"}, "spec": {
                "controller": "traefik.io/ingress-controller"}},
            deployment("kube-system", "coredns"),
            deployment("kube-system", "traefik", args=["--accesslog=true"]),
            service("kube-system", "traefik-internal", 80, 443, self.world.http(1), self.world.https(1)),
            endpoints("kube-system", "traefik-internal"),
            config_map("kube-system", "coredns-custom", {"dev-clusters.override": rules}),
            config_map("cert-manager", "root-ca", {"root.pem": ROOT.pem.decode()}),
        ]

    def charts(self) -> list[Object]:
        versions = {"cert-manager": "v1.21.2", "trust-manager": "v0.26.0"}
        found = [deployment("cert-manager", name, version=versions.get(name, "v1.21.2")) for name in (
            "cert-manager", "cert-manager-cainjector", "cert-manager-webhook", "trust-manager")]
        for name in ("cert-manager-webhook", "trust-manager"):
            found += [service("cert-manager", name, 443), endpoints("cert-manager", name)]
        return found

    def shop(self) -> list[Object]:
        """What a user has in it."""
        return [
            {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"trust": "enabled"}}},
            ingress("shop", "shop", "shop.cl1.k3d.internal", "shop-cert"),
            service("shop", "shop", 80),
            endpoints("shop", "shop"),
            pod("shop", "shop-1"),
        ]

    def ours(self) -> list[Object]:
        until = datetime.now(timezone.utc) + timedelta(days=60)
        return [
            {"kind": "ClusterIssuer", "metadata": {"name": "root-ca"}, "status": {"conditions": [condition("Ready")]}},
            {"kind": "Bundle", "metadata": {"name": "default-ca-bundle"}, "status": {
                "conditions": [condition("Synced")]}},
            {"kind": "Certificate", "metadata": {"name": "shop-cert", "namespace": "shop"}, "status": {
                "conditions": [condition("Ready")], "renewalTime": f"{until:%Y-%m-%dT%H:%M:%SZ}",
                "notAfter": f"{until + timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"}},
        ]

    @property
    def settings(self) -> configuration.Settings:
        return configuration.load(self.world.project.folder, {})

    def find(self, kind: str, name: str) -> Object:
        return next(found for found in self.objects + self.others + self.policies
                    if found["kind"] == kind and found["metadata"]["name"] == name)

    def lose(self, kind: str, name: str) -> None:
        found = self.find(kind, name)
        for objects in (self.objects, self.others, self.policies):
            if found in objects:
                objects.remove(found)

    # --- asking ---

    def tell(self) -> None:
        """Have the tools say what is set here now."""
        answer = self.world.fakes.answer
        answer("^docker info", json.dumps(self.engine) if self.engine else "", exit=0 if self.engine else 1)
        self.world.cluster_list(self.existing)
        kubectl = "^kubectl .*--context k3d-cl1 "
        answer(f"{kubectl}get nodes,", json.dumps({"items": self.objects}))
        answer(f"{kubectl}get clusterissuers,", json.dumps({"items": self.others}))
        for kind in ("mutating", "validating"):
            answer(f"{kubectl}get {kind}admissionpolicies,", json.dumps({"items": [
                policy for policy in self.policies if policy["kind"].lower().startswith(kind)]}))
        answer("^docker exec k3d-cl1-server-0 ", "".join(f"{line}\n" for line in self.processes))
        answer(f"{kubectl}.*get secret root-ca", base64.b64encode(self.chain_pem).decode())
        answer(f"{kubectl}get certificates -A", json.dumps({"items": [certificate(*place) for place in self.leaves]}))
        answer(f"{kubectl}get secrets -A", "".join(
            f"{namespace}\t{name}\t{base64.b64encode(pem).decode()}\n"
            for (namespace, name), pem in self.leaves.items()))
        answer(f"{kubectl}get configmaps -A", "".join(f"{namespace}\n" for namespace in self.bundles))

    def inv(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.tell()
        return self.world.project.inv(*words, environment=environment, patches=[resolver(self.known)])

    def known(self, name: str) -> Iterator[str]:
        """What this machine's resolver knows: these names alone."""
        yield from [address for pattern, address in self.names.items() if re.search(pattern, name)][:1]


def stop_engine(patient: Patient) -> None:
    """Docker and k3d are there, and no engine answers them."""
    tell, answer = patient.tell, patient.world.fakes.answer

    def tell_without_engine() -> None:
        tell()
        answer("^docker version", stderr="Cannot connect to the Docker daemon\n", exit=1)
        answer("^k3d cluster list", stderr="\033[31mFATA\033[0m[0000] Cannot connect\n", exit=1)

    patient.tell = tell_without_engine  # type: ignore[method-assign]
