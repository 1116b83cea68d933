"""Linux' limit of inotify instances for each user. Where it is too low, nodes fail with "too many open files"."""

from __future__ import annotations

from tasks.core import system_files
from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.engine import network

OF_OTHERS = 64
"""What the programs of a desktop use, about."""

HOW_TO_RAISE = "sudo sysctl -w fs.inotify.max_user_instances=512; to make it permanent, add a file to /etc/sysctl.d/"

LINK = "https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files"


class InotifyReason(Reason):
    INOTIFY_LIMIT_TOO_LOW = "the limit is {limit} per user, and about {needed} are needed for {clusters}"


def find_shortage(shell: Shell, settings: Settings, instances: int, clusters: str) -> Problem | None:
    """Whether the limit is below what these clusters need, where the engine runs on this machine.

    `instances`: how many the nodes of the clusters use. `clusters`: these clusters, for people.
    """
    file = system_files.ROOT / "proc/sys/fs/inotify/max_user_instances"
    if not file.is_file() or not network.gateway_to_publish_on(shell, settings):
        return None
    limit, needed = int(file.read_text()), OF_OTHERS + instances
    if limit >= needed:
        return None
    return problem(InotifyReason.INOTIFY_LIMIT_TOO_LOW, limit=limit, needed=needed, clusters=clusters)
