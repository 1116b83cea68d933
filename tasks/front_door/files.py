"""The files of HAProxy in the front door. All but the page depend on the settings alone."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks import providers
from tasks.core.addresses import base_address
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import MANAGER
from tasks.core.work_files import work_file, write_file
from tasks.front_door.links import Links
from tasks.probe.example_page import is_behind_front_door

FOLDER = "/usr/local/etc/haproxy"
"""Where the container has them."""

PAGE = "page.html"

READABLE = 0o644
"""HAProxy runs as another user, and `docker cp` keeps the mode."""


def page_url(settings: Settings) -> str:
    """The page that lists the clusters: at the base domain, unless that is a bare TLD, which is never ours."""
    host = settings.base_domain if settings.k3d_subdomain else base_address(settings)
    port = settings.front_door_http_port
    return f"http://{host}{'' if port == 80 else f':{port}'}/"


def page_mark(settings: Settings) -> str:
    """By which the page of exactly this front door is recognized."""
    return f"{MANAGER} {settings.k3d_network}"


def render_configuration(settings: Settings) -> dict[str, str]:
    """What HAProxy needs, by file name."""
    values = {
        "folder": FOLDER, "clusters": list_clusters(settings, {}),
        "own_names": [settings.base_domain, base_address(settings), "localhost"],
    }
    texts = {name: render(f"front_door/{name}", **values) for name in ("haproxy.cfg", "clusters.map", "down.http")}
    return {**texts, "down.http": texts["down.http"].replace("\n", "\r\n")}  # an HTTP response as it is sent


def render_page(settings: Settings, links: Links) -> str:
    date = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}" if links else ""
    return render(f"front_door/{PAGE}", mark=page_mark(settings), clusters=list_clusters(settings, links), date=date)


def is_same_page(one: str, other: str) -> bool:
    """Whether two pages differ in their dates at most."""
    without_date = (re.sub("<time>.*?</time>", "", page).strip() for page in (one, other))
    return len({*without_date}) == 1


def list_clusters(settings: Settings, links: Links) -> list[dict[str, Any]]:
    """Every cluster that the settings leave room for, whether it exists or not; none at another machine."""
    return [{"number": cluster.number, "domain": cluster.domain, "balancer": providers.of(cluster).balancer(cluster),
             "links": links.get(cluster.name, [])} for cluster in map(settings.cluster, settings.numbers)
            if is_behind_front_door(cluster)]


def write_files(shell: Shell, texts: dict[str, str]) -> Path:
    """Write them to a folder of .work that `docker cp` copies, and return it."""
    folder = work_file("front-door")
    for name, text in texts.items():
        write_file(shell, folder / name, text)
        if not shell.dry:
            (folder / name).chmod(READABLE)
    if not shell.dry:
        folder.chmod(0o755)
    return folder
