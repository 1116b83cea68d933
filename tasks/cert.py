"""The task `cert`: see tasks/ca/ for the root, and tasks/trust/ for the trust stores."""

from __future__ import annotations

from invoke import Context, task

from tasks import trust
from tasks.ca.create import ensure_root
from tasks.ca.load import load_root
from tasks.core import configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.tools.required import require


@task(klass=PlainTask, help=PRINT_SUDO)
def cert(context: Context, print_sudo: bool = False) -> None:
    """Create the root CA and trust it on this machine"""
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "openssl")
    if print_sudo:
        load_root(settings)
    else:
        ensure_root(shell, settings)
    with_sudo_plan(shell, lambda shell: trust.install(shell, settings), print_sudo)
