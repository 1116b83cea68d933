"""Settings that changed since a cluster was created."""

from __future__ import annotations

from collections.abc import Iterator

from tasks import providers
from tasks.core.problems import Problem, ProblemExit, Reason, describe, problem
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.engine import network, proxy
from tasks.engine.clusters import ExistingCluster, registries_hash


class ChangedSetting(Reason):
    """A setting that applies only to new clusters, and the value that an existing cluster has instead."""

    PORT_CHANGED = "{cluster} publishes its port {key} on {published}, but the settings say {wanted}."
    IMAGE_CHANGED = "{key}={wanted}, but its nodes run {found}"
    PORTS_OPEN_TO_NETWORK = ("its ports are open to the local network; the settings restrict them to this machine "
                             "(K3D_BIND_ADDRESS)")
    ADDRESSES_CHANGED = "its ports should be published on {wanted}, but are published on {found}"
    COMPANY_CA_CHANGED = "ADDITIONAL_CA_BUNDLE_FILE={wanted}, but its nodes have {found} (its pods get the new one)"
    REGISTRIES_CHANGED = "K3D_REGISTRY_CONFIG={wanted}, but it was created with a different one"
    PROXY_CHANGED = "its nodes have a different proxy (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)"


def require_published_ports(cluster: Cluster, found: ExistingCluster) -> None:
    """Exit if the cluster publishes other ports than the settings say."""
    if wrong := find_port_change(cluster, found):
        raise ProblemExit(wrong, "Change the K3D_PORT_ keys in .env back, or recreate the cluster: "
                                 f"{recreate_command(cluster)}")


def require_needed_parts(cluster: Cluster, found: ExistingCluster) -> None:
    """Exit when it lacks a part that would be waited for in vain."""
    if found.obstacle:
        raise ProblemExit(found.obstacle, f"{cluster.name} was created with it. To recreate it without: "
                                 f"{recreate_command(cluster)}")


def find_port_change(cluster: Cluster, found: ExistingCluster) -> Problem | None:
    for key, wanted in (("80/tcp", cluster.http_port), ("443/tcp", cluster.https_port)):
        published = found.ports.get(key, set())
        if str(wanted) not in published:
            return problem(ChangedSetting.PORT_CHANGED, cluster=cluster.name, key=key, wanted=wanted,
                           published=", ".join(sorted(published)) or "no port")
    return None


def warn_about_changed_settings(shell: Shell, cluster: Cluster, found: ExistingCluster) -> None:
    changed = [*find_changed_settings(shell, cluster, found)]
    if changed:
        with shell.step(cluster.name, "settings") as this:
            this.warn("\n".join(["these take effect only when a cluster is created, and differ from this one:",
                                 *(f"    - {describe(change)}" for change in changed),
                                 f"    To recreate it: {recreate_command(cluster)}"]))


def recreate_command(cluster: Cluster) -> str:
    return f"inv k3d-cluster-delete --n {cluster.number} k3d-cluster-setup --n {cluster.number}"


def find_changed_settings(shell: Shell, cluster: Cluster, found: ExistingCluster) -> Iterator[Problem]:
    """The settings that `configure` cannot apply to an existing cluster."""
    settings = cluster.settings
    if not providers.of(cluster).MANAGES_LIFE:
        return
    image = shell.look("docker", "inspect", "--format", "{{.Config.Image}}", *found.servers).stdout.split()
    if image and short_image(image[0]) != short_image(providers.node_image(cluster)):
        key = providers.of(cluster).IMAGE_KEY
        yield problem(ChangedSetting.IMAGE_CHANGED, key=key, found=image[0],
                      wanted=f"{providers.node_image(cluster)}{settings.from_environment(key)}")
    wanted = [address for address in network.publish_addresses(shell, settings, cluster.address)
              if not address.startswith("<")]
    if "0.0.0.0" in found.addresses and "0.0.0.0" not in wanted:
        yield problem(ChangedSetting.PORTS_OPEN_TO_NETWORK)
    elif "0.0.0.0" not in found.addresses and not found.addresses.issuperset(wanted):
        yield problem(ChangedSetting.ADDRESSES_CHANGED, wanted=", ".join(wanted),
                      found=", ".join(sorted(found.addresses)))
    company = [str(settings.additional_ca_bundle_file)] if settings.additional_ca_bundle_file else []
    if found.company_ca != company:
        yield problem(ChangedSetting.COMPANY_CA_CHANGED, wanted="".join(company),
                      found=", ".join(found.company_ca) or "none")
    if found.registries not in (None, registries_hash(settings)):
        yield problem(ChangedSetting.REGISTRIES_CHANGED, wanted=settings.k3d_registry_config or "")
    if proxy.differs(found.environment, proxy.proxy_variables(shell, settings, found.inner_networks)):
        yield problem(ChangedSetting.PROXY_CHANGED)


def short_image(image: str) -> str:
    """The image without the default registry and path: https://github.com/distribution/reference/blob/main/normalize.go
    """
    return image.removeprefix("docker.io/").removeprefix("library/")
