"""Kubernetes objects as `kubectl get --output json` prints them, with the parts that the tasks read."""

from __future__ import annotations

from typing import Any

from pretend import TRAEFIK

from tasks.in_cluster.pod_trust import VARIABLE_VALUES
from tasks.probe.pod_trust import TRUSTED_BY, VOLUME

Object = dict[str, Any]


def condition(kind: str, status: str = "True", message: str = "", reason: str = "") -> Object:
    return {"type": kind, "status": status, "message": message, "reason": reason}


def deployment(
    namespace: str, name: str, *, args: list[str] | None = None, version: str = "",
    labels: dict[str, str] | None = None,
) -> Object:
    """An available Deployment; its pods have these labels."""
    release = {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace} if version else {}
    return {"kind": "Deployment",
            "metadata": {"namespace": namespace, "name": name, "annotations": release,
                         "labels": {"app.kubernetes.io/version": version}},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": labels or {}},
                                                 "spec": {"containers": [{"args": args or []}]}}},
            "status": {"conditions": [condition("Available")]}}


def service(namespace: str, name: str, *ports: int, selector: dict[str, str] | None = None) -> Object:
    return {"kind": "Service", "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": TRAEFIK, "selector": selector or {},
                     "ports": [{"port": port} for port in ports]}}


def endpoints(namespace: str, service: str, address: str = "10.42.0.9") -> Object:
    return {"kind": "EndpointSlice", "metadata": {
        "namespace": namespace, "name": f"{service}-x", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}]}


def config_map(namespace: str, name: str, data: dict[str, str]) -> Object:
    return {"kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": data}


def ingress(namespace: str, name: str, host: str, secret: str = "", port: str | int = 80) -> Object:
    """An Ingress that cert-manager issues a certificate for, and a Service of the same name behind it."""
    return {
        "kind": "Ingress",
        "metadata": {"namespace": namespace, "name": name, "annotations": {
            "cert-manager.io/cluster-issuer": "root-ca",
            "cert-manager.io/usages": "server auth,digital signature,key encipherment"}},
        "spec": {
            "tls": [{"hosts": [host], **({"secretName": secret} if secret else {})}],
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "backend": {"service": {
                "name": name, "port": {"name" if isinstance(port, str) else "number": port}}}}]}}]},
    }


def certificate(namespace: str, name: str, issuer: str = "ClusterIssuer") -> Object:
    """A Certificate that is ready, with a secret of the same name, issued by root-ca of this kind."""
    return {"kind": "Certificate", "metadata": {"namespace": namespace, "name": name},
            "spec": {"secretName": name, "issuerRef": {"kind": issuer, "name": "root-ca"}},
            "status": {"conditions": [condition("Ready")]}}


CONTAINER = "c0ffee" + "0" * 58
"""The ID of a pod's container."""


def pod(namespace: str, name: str, *, labels: dict[str, str] | None = None) -> Object:
    """A running pod to which pod trust has given the bundle."""
    variables = [{"name": name, "value": value} for name, value in VARIABLE_VALUES.items()]
    return {
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": labels or {},
                     "annotations": {TRUSTED_BY: "mutatingadmissionpolicy/pod-trust"}},
        "spec": {"containers": [{"name": "main", "env": variables}],
                 "volumes": [{"name": VOLUME, "configMap": {"name": "default-ca-bundle"}}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"image": "nginx", "state": {"running": {}}, "containerID": f"containerd://{CONTAINER}"}]},
    }
