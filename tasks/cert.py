"""The task `cert`: see tasks/ca.py for the authority and tasks/trust/ for the stores."""

from __future__ import annotations

from invoke import Context, task

from tasks import settings as configuration
from tasks import trust
from tasks.as_root import PRINT_SUDO, openly
from tasks.ca import ensure_root, load_root
from tasks.names import PlainTask
from tasks.shell import Shell
from tasks.tools import require


@task(klass=PlainTask, help=PRINT_SUDO)
def cert(context: Context, print_sudo: bool = False) -> None:
    """Make the root CA, and let this machine trust it"""
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "openssl")
    if print_sudo:
        load_root(settings)
    else:
        ensure_root(shell, settings)
    openly(shell, lambda shell: trust.install(shell, settings), print_sudo)
