"""The registries' containers: a cache for each upstream, and the one to push to. What they keep is in a volume each.

They are on the clusters' network and have no state besides their volumes, so they are created again whenever
something about them has changed. One set serves all copies of these tasks that use the same network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasks.core.problems import Problem, Reason, problem
from tasks.core.setting_types import default_upstream
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import short_hash
from tasks.core.well_known import COMPANY_CA, MANAGER
from tasks.engine import network, ports
from tasks.engine.proxy import PROXIES
from tasks.registries import api

LABEL = f"{MANAGER}.registry"
"""On containers and volumes, with the name of their network."""

VERSION_LABEL = f"{MANAGER}.registry-version"
"""A hash of everything that a container was created from."""

FOLDER = "/var/lib/registry"

PROXY_KEYS = [spelled for key in (*PROXIES, "NO_PROXY") for spelled in (key, key.lower())]

CACHE = {
    # Anonymously, by a program that names no user. Without one, a cache asks its upstream for the way to log in before
    # it serves anything, and does not start offline: https://github.com/distribution/distribution/issues/4038
    "REGISTRY_PROXY_EXEC_COMMAND": "true",
    # Never expires: what has expired is deleted offline too.
    "REGISTRY_PROXY_TTL": "0s",
    # How much was fetched: https://distribution.github.io/distribution/about/configuration/#prometheus
    "REGISTRY_HTTP_DEBUG_ADDR": ":5001",
    "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "true",
}
"""https://distribution.github.io/distribution/recipes/mirror/"""


class RegistryReason(Reason):
    """Why a container must be created, or created again."""

    MISSING = "the container {name} does not exist"
    NOT_RUNNING = "the container {name} is {state}"
    OTHER_NETWORK = "the container {name} is not on the network {network}"
    OTHER_VERSION = "the container {name} was created from other settings, or by another version of these tasks"
    PORT_TAKEN = "127.0.0.1:{port} is taken{holder}, so there is no registry to push to"
    NOT_ANSWERING = "the container {name} is running, but does not answer: {error}"


@dataclass(frozen=True)
class Registry:
    """A registry as it should be."""

    settings: Settings
    host: str
    """What the names of its images begin with: `docker.io`, or `localhost:5001`."""
    upstream: str = ""
    """What it is a cache of; empty for the registry to push to."""

    @property
    def short(self) -> str:
        return self.host.replace(":", "-") if self.upstream else "registry"

    @property
    def port(self) -> int | None:
        """The port of this machine, if it must always be the same."""
        return None if self.upstream else self.settings.local_registry_port

    @property
    def name(self) -> str:
        """Of the container and of its volume."""
        return f"{self.settings.k3d_network}-cache-{self.short}" if self.upstream else local_name(self.settings)

    @property
    def alias(self) -> str:
        """Its name on the network. While the container is stopped, the engine asks this machine's resolver for it, and
        nobody can register a name below `internal`, which ICANN has reserved for private use.
        """
        return f"{self.short}.images.internal"

    @property
    def address(self) -> str:
        return f"{self.alias}:5000"

    @property
    def endpoint(self) -> str:
        """Its URL for nodes."""
        return f"http://{self.address}"

    @property
    def server(self) -> str:
        """The registry itself, which nodes ask last."""
        return default_upstream(self.host) if self.upstream else self.endpoint

    @property
    def variables(self) -> dict[str, str]:
        return {"REGISTRY_PROXY_REMOTEURL": self.upstream, **CACHE} if self.upstream else {
            "REGISTRY_STORAGE_DELETE_ENABLED": "true"}

    def options(self, shell: Shell) -> list[str]:
        """Those of `docker run`. A proxy, whose address may contain a password, is passed on by its variable's name."""
        settings = self.settings
        words = ["--name", self.name, "--network", settings.k3d_network, "--network-alias", self.alias,
                 "--restart", "unless-stopped", "--publish", f"127.0.0.1:{self.port or ''}:5000", "--volume",
                 f"{self.name}:{FOLDER}"]
        if self.upstream:
            words += ["--publish", "127.0.0.1::5001"]
            words += [word for key in PROXY_KEYS if shell.environment.get(key) for word in ("--env", key)]
            if settings.additional_ca_bundle_file:
                words += ["--volume", f"{settings.additional_ca_bundle_file}:{COMPANY_CA}:ro"]
        return words + [word for key, value in self.variables.items() for word in ("--env", f"{key}={value}")]

    def version(self, shell: Shell) -> str:
        proxies = [shell.environment.get(key, "") for key in PROXY_KEYS]
        return short_hash("\n".join([self.settings.image_registry, *self.options(shell), *proxies]))


def local_name(settings: Settings) -> str:
    return f"{settings.k3d_network}-registry"


@dataclass(frozen=True)
class Container:
    """What the engine reports about a registry's container."""

    name: str
    state: str
    """Such as `running`, `paused` or `exited`."""
    version: str
    network_id: str
    ports: dict[str, int]
    """The port of this machine for each port of the container; none if it is not running."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.get('5000', 0)}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.get('5001', 0)}"


def find(shell: Shell, settings: Settings) -> dict[str, Container]:
    """The registries' containers on the clusters' network, by name; also those that the settings no longer name."""
    names = shell.look("docker", "ps", "--all", "--filter", f"label={LABEL}={settings.k3d_network}",
                       "--format", "{{.Names}}").stdout.split()
    if not names:
        return {}
    described = shell.look("docker", "inspect", "--format", "{{json .}}", *sorted(names)).stdout
    containers = [read(settings, json.loads(line)) for line in described.splitlines() if line.startswith("{")]
    return {container.name: container for container in containers}


def read(settings: Settings, found: dict[str, Any]) -> Container:
    networks = found["NetworkSettings"].get("Networks") or {}
    published = found["NetworkSettings"].get("Ports") or {}
    return Container(
        name=found["Name"].removeprefix("/"),
        state=str(found["State"].get("Status", "")),
        version=(found["Config"].get("Labels") or {}).get(VERSION_LABEL, ""),
        network_id=(networks.get(settings.k3d_network) or {}).get("NetworkID", ""),
        ports={inside.partition("/")[0]: int(bindings[0]["HostPort"]) for inside, bindings in published.items()
               if bindings},
    )


def find_volumes(shell: Shell, settings: Settings) -> list[str]:
    return shell.look("docker", "volume", "ls", "--quiet", "--filter",
                      f"label={LABEL}={settings.k3d_network}").stdout.split()


def find_fault(shell: Shell, registry: Registry, found: Container | None, network_id: str) -> Problem | None:
    """Why it must be created, or created again; None if it works."""
    port, is_down = registry.port, found is None or found.state in ("created", "exited")
    if port and is_down and ports.is_taken("127.0.0.1", port):
        return problem(RegistryReason.PORT_TAKEN, port=port, holder=ports.holder(shell, port))
    if found is None:
        return problem(RegistryReason.MISSING, name=registry.name)
    if found.version != registry.version(shell):
        return problem(RegistryReason.OTHER_VERSION, name=found.name)
    if found.state != "running":
        return problem(RegistryReason.NOT_RUNNING, name=found.name, state=found.state)
    if found.network_id != network_id:
        return problem(RegistryReason.OTHER_NETWORK, name=found.name, network=registry.settings.k3d_network)
    if error := api.find_error(found.url):
        return problem(RegistryReason.NOT_ANSWERING, name=found.name, error=error)
    return None


def find_faults(shell: Shell, registries: list[Registry]) -> Iterator[tuple[Registry, Problem]]:
    """The registries that do not work, and why."""
    if not registries:
        return
    settings = registries[0].settings
    existing, network_id = find(shell, settings), network.find_id(shell, settings)
    for registry in registries:
        if why := find_fault(shell, registry, existing.get(registry.name), network_id):
            yield registry, why


def create(shell: Shell, registry: Registry) -> None:
    """The container, and its volume if there is none yet."""
    shell.change("docker", "volume", "create", "--label", f"{LABEL}={registry.settings.k3d_network}", registry.name)
    labels = {"app.kubernetes.io/managed-by": MANAGER, LABEL: registry.settings.k3d_network,
              VERSION_LABEL: registry.version(shell)}
    shell.change("docker", "run", "--detach", *registry.options(shell), *(
        word for key, value in labels.items() for word in ("--label", f"{key}={value}")),
        registry.settings.image_registry)


def remove(shell: Shell, names: list[str]) -> None:
    if names:
        shell.change("docker", "rm", "--force", *names)


def remove_volumes(shell: Shell, names: list[str]) -> None:
    if names:
        shell.change("docker", "volume", "rm", *names)
