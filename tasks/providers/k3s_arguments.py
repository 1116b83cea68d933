"""What k3s in the nodes is told: by the words after `--`, by a k3d config file, or in a cluster that exists.

Parts of k3s that everything here is built on cannot be left out, and pods and Services may have other networks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.core.problems import Problem, ProblemExit, Reason, problem
from tasks.providers.words import values_of

Flags = Mapping[str, list[str]]
"""The values of each flag of k3s, by its name without dashes; those of a list one by one."""

# Its configuration file, and the folder of others that it reads too: https://docs.k3s.io/installation/configuration
CONFIG = Path("/etc/rancher/k3s/config.yaml")

# Its defaults for pods and for Services: https://docs.k3s.io/cli/server#networking
NETWORKS = ("10.42.0.0/16", "10.43.0.0/16")

NEEDED = {
    "traefik": "it answers every request to a cluster's names",
    "coredns": "it resolves the clusters' names in pods",
    "servicelb": "it connects the ports of a node to Traefik",
}


# https://pkg.go.dev/strconv#ParseBool
FALSE = {"0", "f", "F", "false", "False", "FALSE"}


class K3sArgument(Reason):
    PART_DISABLED = "{flag} leaves out {part} of k3s, which these tasks need: {why}"
    CLUSTER_DOMAIN = "{flag} renames cluster.local, which the rules in CoreDNS lead to"


# --- from words and files ---------------------------------------------------------------------------------------------


def of_words(words: list[str]) -> Flags:
    """What `k3d cluster create` with these words tells k3s."""
    arguments = [without_filter(word) for word in values_of(words, "--k3s-arg")]
    mounts = [without_filter(word) for word in values_of(words, "--volume", "-v")]
    for file in values_of(words, "--config", "-c"):
        config = read_yaml(Path(file))
        arguments += config_arguments(config)
        mounts += config_mounts(config)
    return read_flags([*arguments, *mounted_arguments(mounts)])


def of_node(arguments: list[str], volumes: list[str]) -> Flags:
    """What k3s is told in a node that exists."""
    return read_flags([*arguments, *mounted_arguments(volumes)])


def without_filter(word: str) -> str:
    r"""A value without its node filter: what follows the last `@` that has no `\` before it."""
    return re.sub(r"(?<!\\)@[^@]*$", "", word).replace("\\@", "@")


def read_yaml(file: Path) -> Any:
    """The content of a YAML file; nothing where k3d or k3s will complain about it. k3d replaces $NAME in its file."""
    import yaml

    try:
        text = os.path.expandvars(file.expanduser().read_text(encoding="utf-8"))
        return yaml.safe_load(text)
    except (OSError, RuntimeError, ValueError, yaml.YAMLError):  # RuntimeError: ~somebody who does not exist, [[[[...
        return None


def dig(value: Any, *keys: str) -> Any:
    """The value below these keys; None where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def dig_list(value: Any, *keys: str) -> list[Any]:
    """The list below these keys; an empty one where there is something else, about which k3d will complain."""
    found = dig(value, *keys)
    return found if isinstance(found, list) else []


def config_arguments(config: Any) -> list[str]:
    """Of a k3d config file: https://k3d.io/stable/usage/configfile/; before v1alpha4 it had two lists of texts."""
    k3s = dig(config, "options", "k3s")
    entries = [entry for key in ("extraArgs", "extraServerArgs") for entry in dig_list(k3s, key)]
    return [str(dig(entry, "arg") if isinstance(entry, dict) else entry) for entry in entries]


def config_mounts(config: Any) -> list[str]:
    return [*(str(dig(entry, "volume")) for entry in dig_list(config, "volumes")),
            *(f"{dig(entry, 'source')}:{dig(entry, 'destination')}" for entry in dig_list(config, "files"))]


def mounted_arguments(mounts: Iterable[str]) -> Iterator[str]:
    """What k3s' own configuration says, where one of these files or folders of this machine is it."""
    for mount in mounts:
        source, _, rest = mount.partition(":")
        target = Path(rest.split(":")[0])
        if target == CONFIG or target.parent == CONFIG.with_suffix(".yaml.d"):
            files = [Path(source)]
        elif target == CONFIG.parent:
            files = [Path(source, CONFIG.name), *sorted(Path(source, "config.yaml.d").glob("*.yaml"))]
        else:
            continue
        for file in files:
            content = read_yaml(file)
            for key, value in content.items() if isinstance(content, dict) else ():
                values = value if isinstance(value, list) else [value]
                yield from (f"--{str(key).rstrip('+')}={str(one).lower() if isinstance(one, bool) else one}"
                            for one in values)


def read_flags(arguments: Iterable[str]) -> dict[str, list[str]]:
    """k3s takes one dash for two, a value after `=` or as the next argument, and lists with commas."""
    flags: dict[str, list[str]] = {}
    name = ""
    for argument in arguments:
        for word in argument.split():
            if word.startswith("-"):
                name, separator, value = word.lstrip("-").partition("=")
                values = flags.setdefault(name, [])
                if separator:
                    values += split_list(value)
                    name = name if value.endswith(",") else ""
            elif name:
                flags[name] += split_list(word)
                name = name if word.endswith(",") else ""
    return flags


def split_list(value: str) -> list[str]:
    return [part.strip("\"' ") for part in value.split(",") if part.strip("\"' ")]


# --- what they mean ---------------------------------------------------------------------------------------------------


def networks(flags: Flags) -> list[str]:
    """Those of pods, then those of Services."""
    pods, services = NETWORKS
    return [*(flags.get("cluster-cidr") or [pods]), *(flags.get("service-cidr") or [services])]


def find_problem(flags: Flags) -> Problem | None:
    """The part that is left out, or renamed, and that everything here needs."""
    for part, why in NEEDED.items():
        if part in flags.get("disable", []):
            return problem(K3sArgument.PART_DISABLED, flag=f"--disable={part}", part=part, why=why)
    if "disable-helm-controller" in flags and not FALSE.intersection(flags["disable-helm-controller"]):
        return problem(K3sArgument.PART_DISABLED, flag="--disable-helm-controller", part="the Helm controller",
                       why="it installs Traefik")
    for domain in flags.get("cluster-domain", []):
        if domain != "cluster.local":
            return problem(K3sArgument.CLUSTER_DOMAIN, flag=f"--cluster-domain={domain}")
    return None


def check_words(words: list[str]) -> None:
    """Exit before anything is created that would never become ready."""
    if wrong := find_problem(of_words(words)):
        raise ProblemExit(wrong, "Nothing was created. Leave it out, and run the task again.")
