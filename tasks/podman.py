"""The virtual machine that podman's engine runs in."""

from __future__ import annotations

import hashlib
import re

from invoke import Context, Exit, task

from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.shell import Shell, words_after_dashes
from tasks.tools.required import require

ANCHOR = "/etc/pki/ca-trust/source/anchors/dev-clusters-additional-ca.crt"


UPLOAD = "/tmp/dev-clusters-additional-ca.crt"


@task(klass=PlainTask)
def podman_machine_prepare(context: Context) -> None:
    """Install the company CA in a podman machine (-- NAME)

    Of ADDITIONAL_CA_BUNDLE_FILE. NAME is podman-machine-default where it is left out.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "podman")
    words = words_after_dashes() or ["podman-machine-default"]
    if len(words) > 1 or not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", words[0]):
        raise Exit(f"One machine's name goes behind --, and this was: {' '.join(words)}")
    machine, bundle = words[0], settings.additional_ca_bundle_file
    if bundle is None:
        raise Exit("ADDITIONAL_CA_BUNDLE_FILE is not set. Name your company's CA bundle in .env.")

    with shell.step("", f"podman machine {machine}") as this:
        there = shell.look("podman", "machine", "ssh", machine, "sha256sum", ANCHOR)
        if there.ok and there.stdout.split()[:1] == [hashlib.sha256(bundle.read_bytes()).hexdigest()]:
            this.skip("already trusts it")
            return
        hint = f"Does it run? podman machine start {machine}"
        # The user of a rootless machine may write to /tmp alone; sudo is there in both kinds.
        shell.change("podman", "machine", "cp", str(bundle), f"{machine}:{UPLOAD}", hint=hint)
        for command in (f"sudo install -o root -g root -m 0644 {UPLOAD} {ANCHOR}", "sudo update-ca-trust",
                        f"sudo rm -f {UPLOAD}"):
            shell.change("podman", "machine", "ssh", machine, *command.split(), hint=hint)
        this.outcome = "trusts it now"
