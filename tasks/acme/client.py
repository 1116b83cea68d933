"""The ACME client: a program that orders and renews certificates. Its command is a template that a team can change."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from invoke import Exit

from tasks.core.settings import Cluster, Settings
from tasks.core.templates import render


@dataclass(frozen=True)
class Client:
    """What `templates/acme/<ACME_CLIENT>.yaml` says for one cluster."""

    command: tuple[str, ...]
    """Orders the certificate, or renews it when it is due."""
    certificate: Path
    """Where the command writes the certificate, followed by those that it was issued under, as PEM."""
    key: Path
    install: str
    """How to install the client."""
    environment: Mapping[str, str]
    """For the command, besides what .env has for it."""

    @property
    def program(self) -> str:
        return self.command[0]


def load_client(cluster: Cluster) -> Client:
    """The client with its command for this cluster. Exit if the template has another form."""
    import yaml

    settings = cluster.settings
    template = f"acme/{settings.acme_client}.yaml"
    text = render(template, cluster=cluster, settings=settings, folder=folder_of(settings),
                  environment={**settings.environment, **os.environ})
    try:
        read = yaml.safe_load(text)
        command, environment = read["command"], read.get("environment") or {}
        if not isinstance(command, list) or not command or not all(
                isinstance(word, str) for word in (*command, *environment.values())):
            raise TypeError("`command` must be a list of words, and `environment` have words as its values")
        return Client(tuple(command), Path(read["certificate"]), Path(read["key"]), str(read["install"]), environment)
    except KeyError as missing:
        raise Exit(f"templates/{template}: the key {missing} is missing") from None
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise Exit(f"templates/{template}: {' '.join(str(error).split())}") from None


def folder_of(settings: Settings) -> Path:
    """Where the client keeps its account and certificates: one folder for each ACME server."""
    url = urlsplit(settings.acme_server)
    return settings.cert_folder / "acme" / re.sub(r"[^\w.-]+", "_", url.netloc + url.path).strip("_")
