"""The container of the front door: one for each Docker network of clusters, recognized by its labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invoke import Exit

from tasks.core import copies
from tasks.core.addresses import base_address
from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import short_hash
from tasks.core.well_known import MANAGER
from tasks.engine import network
from tasks.front_door import files
from tasks.front_door.links import Links

COPY_LABEL = f"{MANAGER}.front-door"
"""The copy of these tasks that created it."""

VERSION_LABEL = f"{MANAGER}.front-door-version"
"""A hash of everything it was created from, except addresses."""

HEALTH = "wget -q -O /dev/null http://127.0.0.1:8404/"


class ContainerReason(Reason):
    """Why the container must be created, or created again."""

    MISSING = "FRONT_DOOR=true, but there is no container {name}"
    NOT_RUNNING = "the container {name} is {state}"
    UNHEALTHY = "the container {name} is running, but HAProxy in it does not answer"
    OTHER_NETWORK = "the container {name} is not on the network {network}"
    OTHER_ADDRESSES = "the container {name} is published on {published} instead of {wanted}"
    OTHER_VERSION = "the container {name} was created from other settings, or by another version of these tasks"


@dataclass(frozen=True)
class Container:
    """What the engine reports about it."""

    name: str
    state: str
    """Such as `running` or `exited`."""
    health: str
    """`starting`, `healthy` or `unhealthy`; empty if the engine does not check it."""
    by_these_tasks: bool
    copy: Path
    """The folder of the copy that created it."""
    version: str
    networks: dict[str, str]
    """The ID of each network by its name."""
    published: frozenset[str]
    """Such as `127.0.0.1:443`."""

    @property
    def of_this_copy(self) -> bool:
        """Or of one that no longer exists."""
        return self.by_these_tasks and (self.copy == copies.this_copy() or not copies.exists(self.copy))


@dataclass(frozen=True)
class Plan:
    """The container as it should be."""

    settings: Settings
    addresses: tuple[str, ...]
    network_id: str
    texts: dict[str, str]
    """HAProxy's configuration, by file name."""

    @property
    def name(self) -> str:
        return name_of(self.settings)

    @property
    def ports(self) -> dict[str, int]:
        """The port of this machine for each port of the container."""
        return {"8080": self.settings.front_door_http_port, "8443": self.settings.front_door_https_port}

    @property
    def published(self) -> frozenset[str]:
        return frozenset(f"{address}:{port}" for address in self.addresses for port in self.ports.values())

    @property
    def version(self) -> str:
        return short_hash("\n".join([*self.options, *self.texts.values()]))

    @property
    def options(self) -> list[str]:
        """Of `docker create`, except addresses and labels. With ndots:1 the engine does not ask other resolvers for a
        load balancer that does not exist."""
        return ["--name", self.name, "--network", self.settings.k3d_network, "--restart", "unless-stopped",
                "--dns-opt", "ndots:1", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
                "--health-cmd", HEALTH, "--health-interval", "10s", "--health-timeout", "3s", "--health-retries", "3",
                self.settings.image_front_door]

    @property
    def command(self) -> list[str]:
        *options, image = self.options
        labels = {"app.kubernetes.io/managed-by": MANAGER, COPY_LABEL: copies.path_to_text(copies.this_copy()),
                  VERSION_LABEL: self.version}
        return ["docker", "create", *options, *(word for key, value in labels.items()
                                                for word in ("--label", f"{key}={value}")),
                *(word for address in self.addresses for inside, port in self.ports.items()
                  for word in ("--publish", f"{address}:{port}:{inside}")), image]


def name_of(settings: Settings) -> str:
    return f"{settings.k3d_network}-front-door"


def make_plan(shell: Shell, settings: Settings) -> Plan:
    addresses = settings.front_door_addresses or network.publish_addresses(
        shell, settings, base_address(settings))
    if "0.0.0.0" in addresses:
        addresses = ("0.0.0.0",)
    network_id = shell.look("docker", "network", "inspect", settings.k3d_network, "--format", "{{.Id}}").stdout.strip()
    return Plan(settings, tuple(addresses), network_id, files.render_configuration(settings))


def find(shell: Shell, settings: Settings) -> Container | None:
    """The container with that name, whoever created it; None if there is none, or no engine."""
    if not shell.find("docker"):
        return None
    result = shell.look("docker", "container", "inspect", name_of(settings), "--format", "{{json .}}")
    try:
        return read(name_of(settings), json.loads(result.stdout))
    except (ValueError, TypeError, AttributeError):
        return None


def read(name: str, found: dict[str, Any]) -> Container:
    labels, state = found["Config"].get("Labels") or {}, found["State"]
    networks = found["NetworkSettings"].get("Networks") or {}
    bindings = found["HostConfig"].get("PortBindings") or {}
    return Container(
        name=name,
        state=str(state.get("Status", "")),
        health=str((state.get("Health") or {}).get("Status", "")),
        by_these_tasks=COPY_LABEL in labels,
        copy=copies.text_to_path(labels.get(COPY_LABEL, "")),
        version=labels.get(VERSION_LABEL, ""),
        networks={network: str(entry.get("NetworkID", "")) for network, entry in networks.items()},
        published=frozenset(f"{entry.get('HostIp') or '0.0.0.0'}:{entry['HostPort']}"
                            for entries in bindings.values() for entry in entries or []),
    )


def is_in_use(shell: Shell, settings: Settings) -> bool:
    """Whether there shall be one: by the settings, or because this copy has created one."""
    if settings.front_door:
        return True
    found = find(shell, settings)
    return found is not None and found.of_this_copy


def find_faults(found: Container | None, plan: Plan) -> Iterator[Problem]:
    """Why it must be created, or created again."""
    if found is None:
        yield problem(ContainerReason.MISSING, name=plan.name)
        return
    network_name = plan.settings.k3d_network
    if found.state != "running":
        yield problem(ContainerReason.NOT_RUNNING, name=found.name, state=found.state)
    elif found.health == "unhealthy":
        yield problem(ContainerReason.UNHEALTHY, name=found.name)
    if plan.network_id and found.networks.get(network_name) != plan.network_id:
        yield problem(ContainerReason.OTHER_NETWORK, name=found.name, network=network_name)
    if found.published != plan.published:
        yield problem(ContainerReason.OTHER_ADDRESSES, name=found.name, wanted=join(plan.published),
                      published=join(found.published) or "no port")
    if found.version != plan.version:
        yield problem(ContainerReason.OTHER_VERSION, name=found.name)


def join(addresses: frozenset[str]) -> str:
    return ", ".join(sorted(addresses))


# --- changes ----------------------------------------------------------------------------------------------------------


def create(shell: Shell, plan: Plan, links: Links) -> None:
    """Create and start it; when it cannot start, remove it again and let the error pass."""
    folder = files.write_files(shell, {**plan.texts, files.PAGE: files.render_page(plan.settings, links)})
    try:
        shell.change(*plan.command, hint="If the image cannot be pulled, set IMAGE_FRONT_DOOR in .env to where it can.")
        shell.change("docker", "cp", f"{folder}/.", f"{plan.name}:{files.FOLDER}/")
        shell.change("docker", "start", plan.name)
    except BaseException:
        with suppress(Exit):
            remove(shell, plan.settings)
        raise


def update_page(shell: Shell, plan: Plan, links: Links) -> bool:
    """Replace its page if more than the date differs, and have HAProxy read it. Open connections stay open."""
    page, file = files.render_page(plan.settings, links), f"{files.FOLDER}/{files.PAGE}"
    if files.is_same_page(shell.look("docker", "exec", plan.name, "cat", file).stdout, page):
        return False
    folder = files.write_files(shell, {files.PAGE: page})
    shell.change("docker", "cp", str(folder / files.PAGE), f"{plan.name}:{file}")
    shell.change("docker", "kill", "--signal", "HUP", plan.name)
    return True


def remove(shell: Shell, settings: Settings) -> None:
    shell.change("docker", "rm", "--force", name_of(settings))
