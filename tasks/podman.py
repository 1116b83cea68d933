"""The virtual machine that podman's engine runs in."""

from __future__ import annotations

import hashlib
import re

from invoke import Context, Exit, task

from tasks.core import configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.shell import Shell, words_after_dashes
from tasks.tools.required import require

ANCHOR = "/etc/pki/ca-trust/source/anchors/dev-clusters-additional-ca.crt"


UPLOAD = "/tmp/dev-clusters-additional-ca.crt"


@task(klass=PlainTask)
def podman_machine_prepare(context: Context) -> None:
    """Install the company CA in a podman machine (-- NAME)

    The CA is in ADDITIONAL_CA_BUNDLE_FILE. Without NAME, the machine is podman-machine-default.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "podman")
    words = words_after_dashes() or ["podman-machine-default"]
    if len(words) > 1 or not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", words[0]):
        raise Exit(f"Give the name of one machine after --, not: {' '.join(words)}")
    machine, bundle = words[0], settings.additional_ca_bundle_file
    if bundle is None:
        raise Exit("ADDITIONAL_CA_BUNDLE_FILE is not set. Set it in .env to the path of your company's CA bundle.")

    with shell.step("", f"podman machine {machine}") as this:
        installed = shell.look("podman", "machine", "ssh", machine, "sha256sum", ANCHOR)
        if installed.ok and installed.stdout.split()[:1] == [hashlib.sha256(bundle.read_bytes()).hexdigest()]:
            this.skip("already trusts the CA")
            return
        hint = f"If it is not running, start it: podman machine start {machine}"
        # The user of a rootless machine may write only to /tmp; sudo works in both kinds.
        shell.change("podman", "machine", "cp", str(bundle), f"{machine}:{UPLOAD}", hint=hint)
        for command in (f"sudo install -o root -g root -m 0644 {UPLOAD} {ANCHOR}", "sudo update-ca-trust",
                        f"sudo rm -f {UPLOAD}"):
            shell.change("podman", "machine", "ssh", machine, *command.split(), hint=hint)
        this.outcome = "now trusts the CA"
