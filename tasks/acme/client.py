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
    except yaml.YAMLError as error:
        raise Exit(f"templates/{template}: {' '.join(str(error).split())}") from None
    if wrong := find_form_error(read):
        raise Exit(f"templates/{template}: {wrong}")
    return Client(tuple(read["command"]), Path(read["certificate"]), Path(read["key"]), read["install"],
                  read.get("environment") or {})


def find_form_error(read: object) -> str:
    """What is wrong with the content of a template; empty if nothing."""
    if not isinstance(read, dict):
        return "expected the keys command, certificate, key and install"
    if missing := [key for key in ("command", "certificate", "key", "install") if key not in read]:
        return f"the key {' and '.join(missing)} is missing"
    command, environment = read["command"], read.get("environment") or {}
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        return "`command` must be a list of words"
    if not isinstance(environment, dict) or not all(
            isinstance(text, str) and "=" not in text for text in environment) or not all(
            isinstance(text, str) for text in environment.values()):
        return "`environment` must have names of variables, with words as their values"
    for key in ("certificate", "key", "install"):
        if not isinstance(read[key], str) or (key != "install" and not Path(read[key]).is_absolute()):
            return f"`{key}` must be {'a sentence' if key == 'install' else 'an absolute path'}"
    return ""


def folder_of(settings: Settings) -> Path:
    """Where the client keeps its account and certificates: one folder for each ACME server."""
    url = urlsplit(settings.acme_server)
    return settings.cert_folder / "acme" / re.sub(r"[^\w.-]+", "_", url.netloc + url.path).strip("_")
