"""The ports and the pods behind a Service."""

from __future__ import annotations

from tasks.probe.snapshot import ClusterSnapshot, Object


def find_port(service: Object, expected: str) -> Object | None:
    """The port of a Service with this number or name."""
    ports: list[Object] = service["spec"].get("ports") or []
    return next((port for port in ports if expected in (str(port["port"]), port.get("name"))), None)


def find_deployment(snapshot: ClusterSnapshot, service: Object) -> Object | None:
    """The Deployment whose pods the Service selects."""
    return next((entry for entry in snapshot.all("Deployment") if selects(
        service, entry, entry["spec"].get("template", {}).get("metadata", {}).get("labels", {}))), None)


def find_pods(snapshot: ClusterSnapshot, service: Object) -> list[Object]:
    """The pods that the Service selects."""
    return [pod for pod in snapshot.all("Pod") if selects(service, pod, pod["metadata"].get("labels") or {})]


def selects(service: Object, entry: Object, labels: dict[str, str]) -> bool:
    selector = (service["spec"].get("selector") or {}).items()
    return bool(selector) and (entry["metadata"].get("namespace") == service["metadata"]["namespace"]
                               and selector <= labels.items())
