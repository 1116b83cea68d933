"""The environment of every program that is run: what the user has chosen counts, unless its answer is read here.

Programs are not the same on every machine. To decide for one more variable, add a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple


class Rule(NamedTuple):
    """For the variables that a pattern matches: whether they are kept, and why. The first rule counts."""

    pattern: str
    kept: bool
    why: str


RULES = (
    # kubectl: https://kubernetes.io/docs/reference/kubectl/kubectl/#environment-variables
    Rule("KUBECTL_*_WEBSOCKETS", True, "how the API server is reached, which a proxy may require"),
    Rule("KUBECTL_VERSION", True, "which kubectl a wrapper starts"),
    Rule("KUBECTL_*", False, "another diff program, and features that change what commands print or ask"),
    # Helm: https://helm.sh/docs/helm/helm/
    Rule("HELM_KUBE*", False, "another API server, user or context than the cluster's own"),
    Rule("HELM_NAMESPACE", False, "every command names its namespace"),
    Rule("HELM_DRIVER*", False, "releases are read as secrets"),
    Rule("HELM_DEBUG", False, "its output is shown when a command fails"),
    Rule("HELM_COLOR", False, "its output is read"),
    Rule("HELM_*", True, "logins to registries, folders, plugins and limits are the user's"),
    # Docker: https://docs.docker.com/reference/cli/docker/#environment-variables
    Rule("DOCKER_DEFAULT_PLATFORM", False, "images of another processor start slowly or not at all"),
    Rule("DOCKER_*", True, "which engine, how it is reached, logins, and a company's policy for images"),
    # k3d: https://k3d.io/stable/usage/commands/k3d/
    Rule("LOG_LEVEL", False, "k3d mixes its log with the output that is read"),
    Rule("LOG_COLORS", False, "its output is read"),
    Rule("K3D_*", True, "images of a mirror, and fixes for an engine"),
    # Shells, which start the programs, and wrapper scripts: https://www.gnu.org/software/bash/manual/
    Rule("BASH_ENV", False, "a file that every bash reads first, which may print, ask, or replace programs"),
    Rule("ENV", False, "the same for sh"),
    Rule("SHELLOPTS", False, "options such as xtrace print into the output that is read"),
    Rule("BASHOPTS", False, "the same"),
    # Pagers and colors
    Rule("PAGER", False, "nobody is there to turn pages"),
    Rule("*_PAGER", False, "the same"),
    Rule("LESS*", False, "the same, and LESSOPEN starts programs"),
    Rule("SYSTEMD_COLORS", False, "the output of systemctl and resolvectl is read"),
    Rule("SYSTEMD_LESS", False, "the same"),
    Rule("SYSTEMD_URLIFY", False, "the same"),
    Rule("GREP_OPTIONS", False, "it changes what grep in a wrapper script prints"),
    Rule("GREP_COLOR*", False, "the same"),
    Rule("CLICOLOR_FORCE", False, "colors in output that is read"),
    Rule("FORCE_COLOR", False, "the same"),
)

FIXED = {
    # ~/.kube/kuberc, with defaults for flags: https://kubernetes.io/docs/reference/kubectl/kuberc/
    "KUBECTL_KUBERC": "false",
    "KUBERC": "off",
    "DOCKER_CLI_HINTS": "false",
    "NO_COLOR": "1",  # https://no-color.org/
    # Messages are read, such as why sudo refuses: https://www.gnu.org/software/gettext/manual/ (LANGUAGE)
    "LANGUAGE": "en",
    "LC_MESSAGES": "C",
    "LC_NUMERIC": "C",
    "LC_TIME": "C",
}
"""What is set, whatever the user has set."""


def for_tools(environment: Mapping[str, str]) -> dict[str, str]:
    """This environment as programs get it."""
    kept = {name: value for name, value in environment.items() if is_kept(name)}
    everything = kept.pop("LC_ALL", "")
    if everything:  # it would win over LC_MESSAGES; how characters are encoded is kept
        kept["LC_CTYPE"] = everything
    return {**kept, **FIXED}


def is_kept(name: str) -> bool:
    return next((rule.kept for rule in RULES if fnmatchcase(name, rule.pattern)), True)
