"""The commands that open a page where this machine does not resolve the names."""

from __future__ import annotations

import shlex

from conftest import Project
from invoke import Context

from tasks.cluster.open_page import commands_without_resolver
from tasks.core.configuration import load
from tasks.core.shell import Shell


def test_they_connect_to_the_address_of_each_cluster(project: Project) -> None:
    settings = load(project.folder, {"CLUSTER_ADDRESS": "3=192.0.2.10"})
    for number, address in ((1, "127.0.0.1"), (3, "192.0.2.10")):
        curl, browser = commands_without_resolver(Shell(Context(), {}), settings.cluster(number), front_door=False)
        assert f"example-nginx.cl{number}.k3d.internal:1{number}443:{address}" in shlex.split(curl)
        assert ("--host-resolver-rules=MAP *.cl3.k3d.internal 192.0.2.10,MAP *.k3d.internal 127.0.0.1"
                in shlex.split(browser)), "the first rule that matches counts"
