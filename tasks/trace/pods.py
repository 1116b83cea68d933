"""What the pods behind the URL trust when they request such a URL themselves."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.core.problems import Reason
from tasks.probe.objects import Object
from tasks.probe.pod_trust import FILE_BY, TRUSTED_BY
from tasks.probe.tls_clients import find_clients
from tasks.trace.context import HopResult, TraceContext, unknown
from tasks.trace.service import ServiceUnknown


class PodReason(Reason):
    """Why the pods may not trust the root."""

    NO_POD = "not known: no pod matches the selector"
    NOT_GIVEN = "no pod trust (docs/pod-trust.md){clients}"
    NO_VARIABLE_READ = "pod trust, but {clients}: the namespace needs the label trust-system-file=enabled"


def check_pod_trust(trace: TraceContext) -> HopResult:
    """The pods of the application trust the root, by a variable that their program reads."""
    if trace.route is None or trace.service is None:
        return unknown("", ServiceUnknown.NO_ROUTE)
    pods = [*list_pods(trace, trace.service)]
    metadata = trace.service["metadata"]
    at = f"{metadata['namespace']}/{metadata['name']}"
    if not pods:
        return unknown(at, PodReason.NO_POD)
    clients = dict.fromkeys(client for _, client in find_clients(trace.shell, trace.existing.workers, pods))
    told = "; ".join(client.sentence for client in clients)
    given = [pod["metadata"].get("annotations") or {} for pod in pods]
    if not all(TRUSTED_BY in annotations for annotations in given):
        return unknown(at, PodReason.NOT_GIVEN, clients=f"; {told}" if told else "")
    if any(not client.variables for client in clients) and not all(FILE_BY in annotations for annotations in given):
        return unknown(at, PodReason.NO_VARIABLE_READ, clients=told)
    return HopResult(at, f"pod trust{f'; {told}' if told else ''}")


def list_pods(trace: TraceContext, service: Object) -> Iterator[Object]:
    """The pods that a Service selects."""
    selector = (service["spec"].get("selector") or {}).items()
    for pod in trace.snapshot.all("Pod"):
        metadata = pod["metadata"]
        if (selector and metadata.get("namespace") == service["metadata"]["namespace"]
                and selector <= (metadata.get("labels") or {}).items() and "deletionTimestamp" not in metadata):
            yield pod
