"""Clusters are created here, and configured. What comes after is in tasks/life.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from invoke import Context, Exit, task

from tasks import in_cluster, kubeconfig, network, proxy, rotation
from tasks import settings as configuration
from tasks.ca import load_root
from tasks.existing import REGISTRIES_LABEL, Existing, existing, ours
from tasks.in_cluster import charts
from tasks.names import ClusterTask, cluster_numbers
from tasks.ports import check_free_ports
from tasks.progress import per_cluster
from tasks.render import short_hash, work_folder, write
from tasks.settings import Cluster, Settings
from tasks.shell import Shell, words_after_dashes
from tasks.tools import require

TOOLS = ("docker", "k3d", "helm", "kubectl", "openssl")

COMPANY_CA = "/etc/ssl/certs/additional-ca.crt"
"""Where a node has it: containerd reads this folder."""

N_HELP = {"n": "cluster number: 1, or 1,2 or 1-3 side by side"}
ALL_HELP = {**N_HELP, "all": "every cluster that exists"}


@task(klass=ClusterTask, help=N_HELP)
def k3d_cluster_setup(context: Context, n: str = "") -> None:
    """Create and configure cluster N: --n 1, 1,2 or 1-3

    Also called as k3d-cluster-setup-1.
    Words after -- go to `k3d cluster create`, last, so that they win: inv k3d-cluster-setup --n 1 -- --agents 1
    A cluster that exists is started if it was stopped, and configured again.
    """
    shell, clusters = open_clusters(context, n)
    load_root(clusters[0].settings)
    setup(shell, clusters, words_after_dashes())


@task(klass=ClusterTask, help={**ALL_HELP, "reinstall": "have Helm install its charts again, over what is there"})
def k3d_cluster_configure(context: Context, n: str = "", all: bool = False, reinstall: bool = False) -> None:
    """Configure a running cluster N again"""
    shell, clusters = open_clusters(context, n, every=all)
    load_root(clusters[0].settings)
    per_cluster(clusters, lambda cluster: configure(shell, cluster, reinstall), at_once=not shell.dry)
    rotation.finish(shell, clusters[0].settings)


def open_clusters(context: Context, n: str, *tools: str, every: bool = False) -> tuple[Shell, list[Cluster]]:
    """What every cluster task begins with: numbers, settings and tools, checked before anything is done.

    `every` is --all: those that exist.

    :raises Exit: when there is no such cluster, or a tool is missing.
    """
    settings = configuration.load()
    if every and n:
        raise Exit("Say either --n or --all.")
    clusters = [] if every else [settings.cluster(number) for number in cluster_numbers(n)]
    shell = Shell(context, settings.environment)
    require(shell, *(tools or TOOLS))
    if every:
        clusters = list(ours(settings, existing(shell)))
        if not clusters:
            raise Exit(f"No cluster is called {settings.k3d_cluster_name_prefix}0 to "
                       f"{settings.k3d_cluster_name_prefix}{settings.numbers[-1]}. "
                       "Make one with: inv k3d-cluster-setup --n 1")
    return shell, clusters


# --- the story --------------------------------------------------------------------------------------------------------


def setup(shell: Shell, clusters: list[Cluster], extra: list[str]) -> None:
    """Create what is missing, start what is stopped, configure all; several clusters side by side."""
    settings = clusters[0].settings
    charts.check_source(settings)
    ensure_network(shell, settings, existing(shell).values())

    def one(cluster: Cluster) -> None:
        with shell.one_at_a_time(cluster.name):
            bring_up(shell, cluster, existing(shell).get(cluster.name), extra)
            kubeconfig.merge(shell, cluster)
            in_cluster.configure(shell, cluster)

    per_cluster(clusters, one, at_once=not shell.dry)
    rotation.finish(shell, settings)


def configure(shell: Shell, cluster: Cluster, reinstall: bool = False) -> None:
    """Configure a cluster that runs; Exit says how to bring it up where it does not."""
    settings = cluster.settings
    with shell.one_at_a_time(cluster.name):
        clusters = existing(shell)
        must_be_up(shell, cluster, clusters.get(cluster.name))
        charts.check_source(settings)
        ensure_network(shell, settings, clusters.values())  # one of the original Taskfile has a network of its own
        kubeconfig.merge(shell, cluster)
        in_cluster.configure(shell, cluster, reinstall)


def must_be_up(shell: Shell, cluster: Cluster, found: Existing | None) -> None:
    state = ""
    if not shell.dry and (found is None or not found.running):
        state = "does not exist" if found is None else f"is {found.state}"
    elif creation_marker(cluster).exists():
        state = "is half made: k3d cluster create was broken off"
    if state:
        raise Exit(f"{cluster.name} {state}. Bring it up with: inv k3d-cluster-setup --n {cluster.number}")
    if found:
        check_published_ports(cluster, found)
        tell_what_needs_a_new_cluster(shell, cluster, found)


def ensure_network(shell: Shell, settings: Settings, found: Iterable[Existing]) -> None:
    """Make the shared network where it is missing, as the clusters on it knew it."""
    on_it = [cluster for cluster in found if cluster.network == settings.k3d_network]
    with shell.one_at_a_time():
        network.ensure(shell, settings, next((cluster.subnet for cluster in on_it), ""),
                       [container for cluster in on_it for container in cluster.containers])


def bring_up(shell: Shell, cluster: Cluster, found: Existing | None, extra: list[str]) -> None:
    """See to it that the cluster exists and runs."""
    with shell.step(cluster.name, "cluster") as this:
        marker, again = creation_marker(cluster), ""
        if marker.exists():
            shell.until_ended(f"k3d cluster create {cluster.name} ")
            if marker.exists():  # else that command has ended well by now
                shell.change("k3d", "cluster", "delete", cluster.name)
                again = ", after a half made one was deleted"
            found = None if again else existing(shell).get(cluster.name)
        if found:
            check_published_ports(cluster, found)
            tell_what_needs_a_new_cluster(shell, cluster, found)
        if found is None:
            create(shell, cluster, extra)
            this.outcome = f"created{again}"
        elif not found.running:
            shell.change("k3d", "cluster", "start", cluster.name, "--wait", "--timeout",
                         f"{cluster.settings.timeout_create}s")
            this.outcome = "started"
        else:
            this.skip("already running")
        if found and extra:
            this.warn(f"{this.outcome}; what is behind -- is for a new cluster only")


def create(shell: Shell, cluster: Cluster, extra: list[str]) -> None:
    """Create the cluster, with the marker there until it is whole, or until k3d has undone it."""
    marker, publish = creation_marker(cluster), network.publish_addresses(shell, cluster.settings)
    check_free_ports(shell, cluster, publish)
    write(shell, marker, "k3d cluster create was begun. This file goes when the API answers.\n")
    try:
        shell.change(*create_words(cluster, publish, proxy.words(shell, cluster.settings)), *extra,
                     hint="k3d has undone what it had begun. inv doctor may tell why. Then run this task again.")
    except Exit:
        with suppress(Exit):  # where k3d does not answer either, the mark stays
            if cluster.name not in existing(shell):
                marker.unlink(missing_ok=True)
        raise
    if not shell.dry:
        marker.unlink()


def creation_marker(cluster: Cluster) -> Path:
    """A file that is there from before `k3d cluster create` until the API answers: with it, a cluster is half made."""
    return work_folder(cluster) / "half-made"


def create_words(cluster: Cluster, publish: list[str], proxied: list[str]) -> list[str]:
    settings = cluster.settings
    words = ["k3d", "cluster", "create", cluster.name, "--image", settings.k3s_image,
             "--network", settings.k3d_network, "--api-port", "127.0.0.1:random"]
    for address in publish:
        words += ["-p", f"{address}:{cluster.http_port}:80@loadbalancer"]
        words += ["-p", f"{address}:{cluster.https_port}:443@loadbalancer"]
    if settings.additional_ca_bundle_file:
        bundle = str(settings.additional_ca_bundle_file).replace("@", r"\@")  # a bare @ begins k3d's node filter
        words += ["--volume", f"{bundle}:{COMPANY_CA}"]
    if settings.k3d_registry_config:
        words += ["--registry-config", str(settings.k3d_registry_config),
                  "--runtime-label", f"{REGISTRIES_LABEL}={registries_hash(settings)}@server:*"]
    return [*words, *proxied, "--kubeconfig-update-default=false", "--wait", "--timeout", f"{settings.timeout_create}s"]


# --- what was changed in .env since a cluster was made ----------------------------------------------------------------


def check_published_ports(cluster: Cluster, found: Existing) -> None:
    for key, wanted in (("80/tcp", cluster.http_port), ("443/tcp", cluster.https_port)):
        published = found.ports.get(key, set())
        if str(wanted) not in published:
            raise Exit(
                f"{cluster.name} publishes its port {key} on {', '.join(sorted(published)) or 'no port'}, and the "
                f"settings say {wanted}.\nChange the K3D_PORT_ keys in .env back, or make the cluster again: "
                f"{again(cluster)}"
            )


def tell_what_needs_a_new_cluster(shell: Shell, cluster: Cluster, found: Existing) -> None:
    changed = list(needs_new_cluster(shell, cluster, found))
    if changed:
        with shell.step(cluster.name, "settings") as this:
            this.warn("\n".join(["some are for a new cluster only, and this one has others:",
                                 *(f"    - {change}" for change in changed),
                                 f"    To make it again: {again(cluster)}"]))


def again(cluster: Cluster) -> str:
    return f"inv k3d-cluster-delete --n {cluster.number} k3d-cluster-setup --n {cluster.number}"


def needs_new_cluster(shell: Shell, cluster: Cluster, found: Existing) -> Iterator[str]:
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
    if set(found.environment) != set(proxy.variables(shell, settings)):
        yield "the proxy (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) is another one than its nodes have"


def short_image(image: str) -> str:
    """Without what Docker adds where a name has none: https://github.com/distribution/reference/blob/main/normalize.go"""
    return image.removeprefix("docker.io/").removeprefix("library/")


def registries_hash(settings: Settings) -> str:
    file = settings.k3d_registry_config
    return short_hash(file.read_text(encoding="utf-8", errors="replace")) if file else ""
