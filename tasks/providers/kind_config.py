"""The configuration that kind creates a cluster from: https://kind.sigs.k8s.io/docs/user/configuration/"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.core.problems import ProblemExit, Reason, problem
from tasks.core.settings import Cluster
from tasks.core.templates import render
from tasks.core.well_known import COMPANY_CA
from tasks.providers.words import values_of

NODE_PORTS = (30080, 30443)
"""Those of Traefik for HTTP and HTTPS, which a node publishes on this machine."""


class KindConfig(Reason):
    CONFIG_UNREADABLE = "--config {file} cannot be read: {error}"


def render_config(cluster: Cluster, publish: list[str], api_arguments: list[str], words: list[str]) -> str:
    """What these tasks need, added to the user's own --config."""
    import yaml

    ours = render("kind.yaml", cluster=cluster, settings=cluster.settings, publish=publish,
                  node_ports=NODE_PORTS, company_ca=COMPANY_CA,
                  feature_gates=read_flags(api_arguments, "feature-gates"),
                  runtime_config=read_flags(api_arguments, "runtime-config"))
    users = read(words)
    return yaml.safe_dump(combine(users, yaml.safe_load(ours)), sort_keys=False) if users else ours


def read_flags(arguments: list[str], name: str) -> dict[str, Any]:
    """The values of a flag of the API server, such as `feature-gates=Name=true`."""
    import yaml

    pairs = [argument.split("=", 2)[1:] for argument in arguments if argument.startswith(f"{name}=")]
    return {key: yaml.safe_load(value) if name == "feature-gates" else value for key, value in pairs}


def read(words: list[str]) -> dict[str, Any]:
    """The user's own --config, the last one; empty if there is none."""
    import yaml

    for file in [*values_of(words, "--config")][-1:]:
        try:
            config = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise unreadable(file, error) from None
        if isinstance(config, dict) and all(isinstance(node, dict) for node in config.get("nodes") or []):
            return config
        raise unreadable(file, "it is not a configuration of kind")
    return {}


def combine(users: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The user's configuration; its first control plane publishes our ports, and all nodes have our mounts."""
    own, = ours.pop("nodes")
    nodes = users.get("nodes") or [{"role": "control-plane"}]
    first = next((node for node in nodes if node.get("role", "control-plane") == "control-plane"), nodes[0])
    first["extraPortMappings"] = [*(first.get("extraPortMappings") or []), *own["extraPortMappings"]]
    for node in nodes:
        node["extraMounts"] = [*(node.get("extraMounts") or []), *own.get("extraMounts", [])]
    merged = {key: {**value, **(users.get(key) or {})} if isinstance(value, dict) else value
              for key, value in ours.items()}
    return {**users, **merged, "nodes": nodes}


def unreadable(file: str, error: object) -> ProblemExit:
    return ProblemExit(problem(KindConfig.CONFIG_UNREADABLE, file=file, error=error),
                       "Nothing was created. Correct it, and run the task again.")
