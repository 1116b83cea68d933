"""Where nodes look for images: a registry's mirrors, and then the registry itself.

New nodes get a registries.yaml. It is the user's own, if there is one, with the mirrors of these tasks added for the
registries that it does not name: https://docs.k3s.io/installation/private-registry
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.core import work_files
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.work_files import work_folder
from tasks.registries.containers import Registry

EVERY_REGISTRY = "*"


def list_registries(settings: Settings) -> list[Registry]:
    """The registries that nodes use: a cache for each upstream that the user has no mirror for, and the local one."""
    users = read_users_file(settings).get("mirrors") or {}
    caches = [Registry(settings, host, upstream) for host, upstream in settings.registry_caches.items()
              if host not in users and EVERY_REGISTRY not in users]
    local = local_registry(settings)
    return [*caches, *([local] if local and local.host not in users else [])]


def local_registry(settings: Settings) -> Registry | None:
    """The registry to push to. The engine and every node know it by the same name, because both have a localhost."""
    return Registry(settings, f"localhost:{settings.local_registry_port}") if settings.local_registry_port else None


def list_conflicts(settings: Settings) -> list[str]:
    """The registries without a cache because the user has a mirror for them."""
    used = [registry.host for registry in list_registries(settings)]
    return [host for host in settings.registry_caches if host not in used]


def read_users_file(settings: Settings) -> dict[str, Any]:
    """K3D_REGISTRY_CONFIG, whose form was checked with the settings."""
    import yaml

    file = settings.k3d_registry_config
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file else {}


def write_registries_file(shell: Shell, cluster: Cluster) -> Path | None:
    """The registries.yaml for the nodes of a new cluster; None if they need none. It may contain passwords."""
    settings = cluster.settings
    registries = list_registries(settings)
    if not registries:
        return settings.k3d_registry_config
    return work_files.write_file(shell, work_folder(cluster) / "registries.yaml", merge(settings, registries),
                                 private=True)


def merge(settings: Settings, registries: list[Registry]) -> str:
    import yaml

    own = render("registries/registries.yaml", registries=registries)
    if not settings.k3d_registry_config:
        return own
    users = read_users_file(settings)
    mirrors = {**yaml.safe_load(own)["mirrors"], **(users.get("mirrors") or {})}
    return yaml.safe_dump({**users, "mirrors": mirrors}, sort_keys=False)
