"""Images that the engine needs, pulled with their progress shown."""

from __future__ import annotations

import re

from invoke import Exit

from tasks.core.progress import waiting_for
from tasks.core.shell import Shell

SECONDS = 0.5

LAYER = re.compile(r"^([0-9a-f]{12}): (.+)$", re.MULTILINE)


def ensure(shell: Shell, image: str, seconds: int) -> None:
    """Pull an image that the engine does not have. Exit with what the engine reported if it still has not got it."""
    if is_there(shell, image):
        return
    with shell.one_at_a_time("image", image.replace("/", "_")):
        if is_there(shell, image):  # another cluster needed it too
            return
        with shell.step("", f"image {image}") as this:
            said = pull(shell, image, seconds)
            if not (shell.dry or is_there(shell, image)):
                reason = (said.strip() or "no answer").splitlines()[-1]
                raise Exit(f"{image} could not be pulled: {reason}\n"
                           "Check the network, the proxy, and the name in .env, then run the task again.")
            this.outcome = "pulled"


def is_there(shell: Shell, image: str) -> bool:
    return bool(shell.look("docker", "image", "inspect", image).ok)


def pull(shell: Shell, image: str, seconds: int) -> str:
    """Pull it and show how many of its layers are there. Returns what the engine said."""
    said, command = "", ("docker", "pull", image)
    if shell.dry:
        shell.change(*command)
        return said
    what = f"the engine to pull {image}"
    with waiting_for(what) as tell, shell.background(*command) as output:
        def has_ended() -> bool:
            nonlocal said
            try:
                said = output()
            except OSError as ended:
                said = str(ended).removeprefix("docker ended: ")
                return True
            tell(f"{what}{count_layers(said)}")
            return False

        shell.until(what, seconds, has_ended, pause=SECONDS)
    return said


def count_layers(said: str) -> str:
    """The last state of each layer counts: https://docs.docker.com/reference/cli/docker/image/pull/"""
    layers = dict(LAYER.findall(said))
    done = sum(state in ("Pull complete", "Already exists") for state in layers.values())
    return f" ({done} of {len(layers)} layers)" if layers else ""
