"""The ports and the pods behind a Service."""

from __future__ import annotations

from tasks.probe.snapshot import ClusterSnapshot, Object, read_condition


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


def explain_unready_pods(pods: list[Object]) -> str:
    """What the first pod with a problem reports about it; empty if none does."""
    for pod in pods:
        for status in [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]:
            for state in (status.get("state", {}).get("waiting"), status.get("lastState", {}).get("terminated")):
                if state and state.get("reason") not in (None, "PodInitializing", "ContainerCreating", "Completed"):
                    last = str(state.get("message", "")).strip().splitlines()[-1:]
                    return f"{pod['metadata']['name']}: {': '.join([state['reason'], *last])}"
        for kind in ("PodScheduled", "Ready"):
            true, message = read_condition(pod, kind)
            if not true and pod["status"].get("conditions"):
                return f"{pod['metadata']['name']}: {message}"
    return ""
