"""The check of images that could not be pulled; the cause is at the end of what the container runtime reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import unique

from tasks import providers
from tasks.core.problems import Problem, Reason, problem
from tasks.doctor.check import WARNING, Advice, Checks, ClusterView

CHECKS = Checks()


check = CHECKS.check

STATES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")

LENGTH = 160
"""How much of the end of a message is shown."""


@unique
class ImageReason(Reason):
    NODES_DO_NOT_RESOLVE_IT = ("{pod}: {image}: {error}. Nodes do not know the names of clusters and Services; only "
                               "pods know them")
    PROXY_NOT_REACHED = "{pod}: {image}: the proxy does not answer: {error}"
    CERTIFICATE_NOT_TRUSTED = "{pod}: {image}: the nodes do not trust the registry's certificate: {error}"
    HTTP_ONLY = "{pod}: {image}: the registry has no HTTPS: {error}"
    NAME_NOT_RESOLVED = "{pod}: {image}: the nodes cannot resolve the registry: {error}"
    REGISTRY_NOT_REACHED = "{pod}: {image}: the nodes cannot reach the registry: {error}"
    TOO_MANY_PULLS = "{pod}: {image}: the registry limits the number of pulls: {error}"
    ACCESS_DENIED = "{pod}: {image}: the registry denies access: {error}"
    OTHER_PLATFORM = "{pod}: {image}: not for the architecture of the nodes: {error}"
    DISK_FULL = "{pod}: {image}: the disk is full: {error}"
    IMAGE_MISSING = "{pod}: {image}: the registry does not have it: {error}"
    NOT_IMPORTED = "{pod}: {image}: it is not in the cluster: {error}"
    NAME_INVALID = "{pod}: {image}: the name is invalid: {error}"
    NOT_PULLED = "{pod}: {image}: {error}"


PATTERNS = {
    ImageReason.NOT_IMPORTED: "ErrImageNeverPull|pull policy of Never",
    ImageReason.NAME_INVALID: "InvalidImageName|invalid reference format|couldn't parse image",
    ImageReason.PROXY_NOT_REACHED: "proxyconnect ",
    ImageReason.CERTIFICATE_NOT_TRUSTED: r"x509: |tls: failed to verify|tls: unknown certificate",
    ImageReason.HTTP_ONLY: "server gave HTTP response to HTTPS client",
    ImageReason.NAME_NOT_RESOLVED: "no such host|server misbehaving|lookup .* i/o timeout|name resolution",
    ImageReason.REGISTRY_NOT_REACHED: ("connection refused|connection reset|i/o timeout|TLS handshake timeout|"
                                       "no route to host|network is unreachable|deadline exceeded|: EOF$|^EOF$"),
    ImageReason.TOO_MANY_PULLS: "toomanyrequests|429 Too Many Requests",
    ImageReason.ACCESS_DENIED: ("401 Unauthorized|403 Forbidden|pull access denied|authorization failed|"
                                "no basic auth credentials|unauthorized: "),
    ImageReason.OTHER_PLATFORM: "no match for platform|no matching manifest",
    ImageReason.DISK_FULL: "no space left on device",
    ImageReason.IMAGE_MISSING: "not found|manifest unknown|name unknown|404 Not Found",
}
"""How the end of a message shows the cause; the first that matches counts."""

NEW_CLUSTER = "in .env, then a new cluster; or: {load}"

ADVICE: dict[Reason, Advice] = {
    ImageReason.NODES_DO_NOT_RESOLVE_IT: Advice(
        "Nodes pull images, and they use the DNS of the Docker engine, not CoreDNS.",
        f"K3D_REGISTRY_CONFIG with an endpoint that the nodes reach (a mirror for this name) {NEW_CLUSTER}"),
    ImageReason.PROXY_NOT_REACHED: Advice(
        "HTTPS_PROXY of the nodes is wrong, or the proxy is not running.",
        f"HTTPS_PROXY {NEW_CLUSTER}"),
    ImageReason.CERTIFICATE_NOT_TRUSTED: Advice(
        "A company's proxy or the registry uses a CA that the nodes do not trust, or its certificate has expired.",
        f"ADDITIONAL_CA_BUNDLE_FILE {NEW_CLUSTER}"),
    ImageReason.HTTP_ONLY: Advice(
        "containerd uses HTTPS unless the registry's endpoint is configured as http://.",
        f"K3D_REGISTRY_CONFIG with an http:// endpoint for this registry {NEW_CLUSTER}"),
    ImageReason.NAME_NOT_RESOLVED: Advice(
        "The registry's name is misspelled, or the DNS of the Docker engine does not know it, as without a VPN.",
        "Correct the name, or connect to the network that knows it; or: {load}"),
    ImageReason.REGISTRY_NOT_REACHED: Advice(
        "The registry is not running, a firewall is in the way, or the nodes need a proxy. 127.0.0.1 and localhost are "
        "the node itself.",
        f"HTTPS_PROXY or K3D_REGISTRY_CONFIG {NEW_CLUSTER}"),
    ImageReason.TOO_MANY_PULLS: Advice(
        "The registry counts the pulls of everyone behind your address who is not logged in.",
        f"Wait, or K3D_REGISTRY_CONFIG with a login or a mirror {NEW_CLUSTER}"),
    ImageReason.ACCESS_DENIED: Advice(
        "The image is private and the pod has no valid imagePullSecrets, or the name is misspelled: some registries "
        "report both in the same way.",
        f"Correct the name or the imagePullSecrets, or K3D_REGISTRY_CONFIG with a login {NEW_CLUSTER}"),
    ImageReason.OTHER_PLATFORM: Advice(
        "The image was built for another architecture only.",
        "Use an image for the architecture that this command shows: kubectl --context {context} get nodes -L "
        "kubernetes.io/arch"),
    ImageReason.DISK_FULL: Advice(
        "Unused images and volumes fill the engine's disk.",
        "To see what uses the space: docker system df. To free some: docker image prune"),
    ImageReason.IMAGE_MISSING: Advice(
        "The image or its tag is misspelled, was deleted, or exists only in this machine's engine.",
        "Correct the name; or, if you built it on this machine: {load}"),
    ImageReason.NOT_IMPORTED: Advice(
        "The pod has imagePullPolicy: Never, and the image is not in the cluster.", "{load}"),
    ImageReason.NAME_INVALID: Advice(
        "An image's name has only lower-case letters, and no https:// or spaces.", "Correct the name of the image."),
    ImageReason.NOT_PULLED: Advice(
        "The events of the pod show more.", "kubectl --context {context} get events -A --field-selector reason=Failed"),
}

AT_CONNECTION = (ImageReason.NAME_NOT_RESOLVED, ImageReason.REGISTRY_NOT_REACHED)


@check("images", WARNING, "It differs by message.", "It differs by message.",
       needs=["api"], link="https://kubernetes.io/docs/concepts/containers/images/", advice=ADVICE)
def images(view: ClusterView) -> Iterator[Problem]:
    """Every image could be pulled"""
    for pod in view.snapshot.all("Pod"):
        for kind in ("initContainerStatuses", "containerStatuses"):
            for status in pod["status"].get(kind, []):
                waiting = status.get("state", {}).get("waiting", {})
                if waiting.get("reason") in STATES:
                    image = str(status.get("image", ""))
                    message = str(waiting.get("message") or waiting["reason"]).strip().splitlines()[-1]
                    yield problem(explain(image, f"{waiting['reason']}: {message}", view.settings.base_domain),
                                  pod=f"{pod['metadata']['namespace']}/{pod['metadata']['name']}",
                                  image=image, error=find_end(message),
                                  load=providers.of(view.cluster).load_command(view.cluster.name, image))


def find_end(message: str) -> str:
    """The end of a chain of errors, `a: b: c`, where the cause is; at least its last part."""
    *earlier, end = message.rstrip(". ").split(": ")
    while earlier and len(earlier[-1]) + len(end) + 2 <= LENGTH:
        end = f"{earlier.pop()}: {end}"
    return end[-2 * LENGTH:]


def explain(image: str, message: str, base_domain: str) -> ImageReason:
    """The reason by the end of the message; the names of the images in it do not count."""
    text = re.sub(r'"[^"]*"', '""', message)
    reason = next((reason for reason, pattern in PATTERNS.items() if re.search(pattern, text)), ImageReason.NOT_PULLED)
    in_cluster = f".{image.partition('/')[0].partition(':')[0]}".endswith(
        (f".{base_domain}", ".svc", ".svc.cluster.local"))
    return ImageReason.NODES_DO_NOT_RESOLVE_IT if in_cluster and reason in AT_CONNECTION else reason
