"""Traefik: its access log, and the wait for its pages."""

from __future__ import annotations

from invoke import Exit

from tasks import providers
from tasks.core.problems import describe
from tasks.core.progress import say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import KUBE_SYSTEM, MANAGER
from tasks.in_cluster import charts, flavour
from tasks.in_cluster.apply import apply, render_manifest, wait_for_kind
from tasks.probe import limits, tls
from tasks.probe.objects import get_object, list_objects
from tasks.probe.routes import CONTROLLER

KNOWN_NODE_PORTS = (30080, 30443)
"""Node ports that a node may publish on this machine, such as that of a cluster of kind."""

SECONDS_OF_OTHERS = 30
"""How long a cluster that exists already may take to publish its ports."""

DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"

# A HelmChartConfig with another value, or without this label, was not created by these tasks or by the original.
KNOWN_MANAGERS = (MANAGER, "taskfile-dev-cluster-config")


def configure(shell: Shell, cluster: Cluster) -> None:
    """Traefik with an access log: that of k3s, or our own where there is none. One of somebody else is left alone."""
    if limit := limits.find_traefik_limit(shell, cluster):
        with shell.step(cluster.name, "Traefik") as this:
            this.warn(f"not installed: {describe(limit)}. It is left alone; everything else is installed.")
        return
    k3s = flavour.is_k3s(shell, cluster)
    brought = k3s and is_brought_by_k3s(shell, cluster)
    if brought:
        configure_k3s(shell, cluster)
    else:
        install(shell, cluster)
    if not (providers.of(cluster).MANAGES_LIFE or (brought and cluster.number in cluster.settings.context_ports)):
        publish(shell, cluster, k3s)


def is_brought_by_k3s(shell: Shell, cluster: Cluster) -> bool:
    """Whether k3s installs its Traefik. Colima creates its clusters without."""
    if providers.of(cluster).MANAGES_LIFE:
        return providers.of(cluster).MAKES_K3S
    return bool(get_object(shell, cluster, "helmcharts.helm.cattle.io", "traefik", KUBE_SYSTEM)["metadata"])


def configure_k3s(shell: Shell, cluster: Cluster) -> None:
    """Turn on the access log, and wait while Traefik restarts, because requests would fail."""
    kubectl = (*cluster.kubectl, "-n", KUBE_SYSTEM)
    with shell.step(cluster.name, "Traefik's access log") as this:
        wait_for_kind(shell, cluster, "helmchartconfigs", "k3s' HelmChartConfig")
        config = get_object(shell, cluster, "helmchartconfig", "traefik", KUBE_SYSTEM)
        manager = config["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by")
        if config["metadata"] and manager not in KNOWN_MANAGERS:
            this.warn("not changed, because the HelmChartConfig traefik was not created by these tasks. "
                      "Add --accesslog=true to its additionalArguments.")
            return
        apply(shell, cluster, render_manifest(cluster, "in_cluster/traefik.yaml"))
        shell.until("k3s to turn on Traefik's access log", cluster.settings.timeout_ready,
                    lambda: "--accesslog=true" in shell.look(
                        *kubectl, "get", "deployment", "traefik", "-o",
                        "jsonpath={.spec.template.spec.containers[0].args}").stdout, pause=1)
        shell.wait("Traefik to restart", cluster.settings.timeout_ready, *kubectl, "rollout", "status",
                   "deployment/traefik", f"--timeout={cluster.settings.timeout_ready}s")
        this.outcome = "on"


def install(shell: Shell, cluster: Cluster) -> None:
    """Install the chart. Another controller stays, and keeps the default class if it has it."""
    classes = [entry for entry in list_objects(shell, cluster, "ingressclasses")
               if entry["spec"].get("controller") != CONTROLLER]
    default = [entry["metadata"]["name"] for entry in classes
               if entry["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true"]
    charts.install(shell, cluster, charts.TRAEFIK, is_default=not default,
                   node_ports=providers.of(cluster).NODE_PORTS)
    if default:
        say(f"{cluster.name}: the IngressClass {default[0]} stays the default. For these tasks' names, an Ingress "
            "needs ingressClassName: traefik")
    seconds = cluster.settings.timeout_ready
    with shell.step(cluster.name, "Traefik") as this:
        shell.wait("Traefik to start", seconds, *cluster.kubectl, "-n", KUBE_SYSTEM, "rollout", "status",
                   "deployment/traefik", f"--timeout={seconds}s")
        this.outcome = "running"


def publish(shell: Shell, cluster: Cluster, k3s: bool) -> None:
    """Give a cluster that exists already its ports, where LoadBalancers appear on this machine."""
    with shell.step(cluster.name, f"ports {cluster.http_port} and {cluster.https_port}") as this:
        # Not on k3s: its ServiceLB needs no fixed ones.
        ports = None if k3s else KNOWN_NODE_PORTS
        manifest = render_manifest(cluster, "in_cluster/traefik-published.yaml", node_ports=ports)
        this.outcome = "published" if apply(shell, cluster, manifest) else "already published"


def wait_for_pages(shell: Shell, cluster: Cluster) -> None:
    """Wait for the HTTPS port. Conditions do not show it: after a restart they are at first those of before it."""
    with shell.step(cluster.name, f"HTTPS on port {cluster.https_port}") as this:
        if limit := limits.find_traefik_limit(shell, cluster):
            this.skip(f"not waited for: {describe(limit)}")
            return
        managed = providers.of(cluster).MANAGES_LIFE
        try:
            shell.until(f"port {cluster.https_port} to answer",
                        cluster.settings.timeout_ready if managed else SECONDS_OF_OTHERS,
                        lambda: tls.is_answering(cluster), pause=1,
                        hint=f"If {cluster.name} was never configured: inv k3d-cluster-setup --n {cluster.number}")
        except Exit:
            if managed:
                raise
            this.warn(f"does not answer at {cluster.address}. If {cluster.context} publishes its ports elsewhere, set "
                      f"CONTEXT_PORTS={cluster.number}=HTTP/HTTPS or CLUSTER_ADDRESS={cluster.number}=ADDRESS in .env. "
                      "Pods use the names anyway.")
        else:
            this.outcome = "answers"
