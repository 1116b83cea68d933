"""The task `images`: which images there are, which of them the caches keep, and how to carry them elsewhere."""

from __future__ import annotations

from pathlib import Path

from invoke import Context, Exit, task

from tasks import providers, registries
from tasks.cluster.setup import keep_for_offline
from tasks.core import configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, print_json
from tasks.images import archive, listing
from tasks.tools.required import require


@task(klass=PlainTask, help={
    **JSON_HELP,
    "fill": "let the caches fetch what they lack of the images in them, as every setup does",
    "empty": "delete what the caches keep; pushed images stay",
    "save": "write everything that a setup needs to this file, for a machine without the Internet",
    "load": "read such a file",
})
def images(context: Context, json: bool = False, fill: bool = False, empty: bool = False, save: str = "",
           load: str = "") -> None:
    """List the images, or carry them to another machine

    Of every image: its version, which registry it is from, whether a cache keeps it, its size, and the clusters that
    have it. What differs from the version in the settings is marked.
    """
    if sum(map(bool, (fill, empty, save, load))) > 1:
        raise Exit("Use only one of --fill, --empty, --save and --load.")
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "docker")
    if load:
        archive.load(shell, settings, Path(load))
        return
    require(shell, *providers.needed_tools(settings, "kubectl"))
    if fill:
        keep_for_offline(shell, settings)
    elif empty:
        registries.empty(shell, settings)
    elif save:
        archive.save(shell, settings, Path(save))
    else:
        found = listing.inspect(shell, settings)
        if json:
            print_json(found)
        else:
            listing.show(found)
