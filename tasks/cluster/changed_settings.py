"""Settings that changed since a cluster was created."""

from __future__ import annotations

from collections.abc import Iterator

from invoke import Exit

from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.templates import short_hash
from tasks.core.well_known import COMPANY_CA
from tasks.engine import network, proxy
from tasks.engine.clusters import K3dCluster


def check_published_ports(cluster: Cluster, found: K3dCluster) -> None:
    for key, wanted in (("80/tcp", cluster.http_port), ("443/tcp", cluster.https_port)):
        published = found.ports.get(key, set())
        if str(wanted) not in published:
            raise Exit(
                f"{cluster.name} publishes its port {key} on {', '.join(sorted(published)) or 'no port'}, and the "
                f"settings say {wanted}.\nChange the K3D_PORT_ keys in .env back, or make the cluster again: "
                f"{recreate_command(cluster)}"
            )


def warn_about_changed_settings(shell: Shell, cluster: Cluster, found: K3dCluster) -> None:
    changed = list(find_changed_settings(shell, cluster, found))
    if changed:
        with shell.step(cluster.name, "settings") as this:
            this.warn("\n".join(["some are for a new cluster only, and this one has others:",
                                 *(f"    - {change}" for change in changed),
                                 f"    To make it again: {recreate_command(cluster)}"]))


def recreate_command(cluster: Cluster) -> str:
    return f"inv k3d-cluster-delete --n {cluster.number} k3d-cluster-setup --n {cluster.number}"


def find_changed_settings(shell: Shell, cluster: Cluster, found: K3dCluster) -> Iterator[str]:
    """The settings that configure cannot bring to a cluster that exists, each with what it has instead."""
    settings = cluster.settings
    image = shell.look("docker", "inspect", "--format", "{{.Config.Image}}", *found.servers).stdout.split()
    if image and short_image(image[0]) != short_image(settings.k3s_image):
        yield f"K3S_IMAGE={settings.k3s_image}, and it runs {image[0]}"
    wanted = [address for address in network.publish_addresses(shell, settings) if not address.startswith("<")]
    if "0.0.0.0" in found.addresses and "0.0.0.0" not in wanted:
        yield "its ports are open to the local network, and would be on this machine alone (K3D_BIND_ADDRESS)"
    elif "0.0.0.0" not in found.addresses and not found.addresses.issuperset(wanted):
        yield f"its ports would be on {', '.join(wanted)}, and are on {', '.join(sorted(found.addresses))}"
    mounts = [volume.rpartition(":")[0] for volume in found.volumes if volume.split(":")[1:2] == [COMPANY_CA]]
    company = [str(settings.additional_ca_bundle_file)] if settings.additional_ca_bundle_file else []
    if mounts != company:
        yield (f"ADDITIONAL_CA_BUNDLE_FILE={''.join(company)}, and its nodes have {', '.join(mounts) or 'none'} "
               "(its pods get the new one)")
    if found.registries != registries_hash(settings):
        yield f"K3D_REGISTRY_CONFIG={settings.k3d_registry_config or ''}, and it was made with another one"
    if set(found.environment) != set(proxy.proxy_variables(shell, settings)):
        yield "the proxy (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) is another one than its nodes have"


def short_image(image: str) -> str:
    """Without what Docker adds where a name has none: https://github.com/distribution/reference/blob/main/normalize.go"""
    return image.removeprefix("docker.io/").removeprefix("library/")


def registries_hash(settings: Settings) -> str:
    file = settings.k3d_registry_config
    return short_hash(file.read_text(encoding="utf-8", errors="replace")) if file else ""
