"""Everything that a setup needs in one file, for a machine without the Internet.

A tar archive: the engine's images as `docker save` writes them, the storage of each registry, and the programs and
charts in .tools. Images are for the processor of the machine that wrote it.
"""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from invoke import Exit

from tasks import providers
from tasks.cluster.setup import ensure_network, keep_for_offline
from tasks.core import setting_types
from tasks.core.progress import say
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.front_door.container import is_in_use
from tasks.images.listing import list_kept, list_pins
from tasks.registries import containers, contents, mirrors, names
from tasks.registries.containers import FOLDER
from tasks.tools.required import require

INDEX, ENGINE, STORAGE, TOOLS = f"{MANAGER}.json", "engine.tar", "registries", "tools"


# --- save -------------------------------------------------------------------------------------------------------------


def save(shell: Shell, settings: Settings, file: Path) -> None:
    """Write the file. Exit if the caches are off, or keep nothing yet."""
    existing = containers.find(shell, settings)
    kept = [registry for registry in mirrors.list_registries(settings) if registry.name in existing]
    if not kept:
        raise Exit("There is no cache whose images could be saved. Create one with: inv up")
    keep_for_offline(shell, settings)
    warn_about_missing(shell, settings)
    with shell.step("", str(file)) as this, staging(shell, file.absolute().parent) as folder:
        images = list_engine_images(shell, settings)
        pull_missing(shell, images)
        shell.change("docker", "save", "--output", str(folder / ENGINE), *images)
        for registry in kept:
            shell.change("docker", "cp", f"{registry.name}:{FOLDER}/.", str(folder / STORAGE / registry.short))
        if shell.dry:
            return
        (folder / INDEX).write_text(json.dumps({"registries": [registry.host for registry in kept], "engine": images}))
        write_archive(folder, file)
        this.outcome = contents.format_size(file.stat().st_size)
    say("On the other machine, in a copy of this folder: inv images --load FILE, and then inv up")


def list_engine_images(shell: Shell, settings: Settings) -> list[str]:
    """The images that run in the engine itself. With curl, this machine's address is found."""
    images = [image for provider in providers.chosen(settings) for image in provider.engine_images(shell, settings)]
    door = [settings.image_front_door] if is_in_use(shell, settings) else []
    return list(dict.fromkeys([*images, settings.image_registry, settings.image_curl, *door]))


def warn_about_missing(shell: Shell, settings: Settings) -> None:
    """Name the images of the settings that no cluster has pulled through a cache yet."""
    inside = list_kept(shell, mirrors.list_registries(settings)).images
    in_engine = {(name.repository, name.tag) for name in map(names.parse, list_engine_images(shell, settings))}
    missing = [f"{repository}:{version}" for repository, pinned in list_pins(settings).items()
               for version in pinned.values() if (repository, version) not in inside | in_engine]
    if missing:
        say("\n".join(["These are not in it, because no cluster has pulled them through a cache:",
                       *(f"  {image}" for image in missing)]))


def pull_missing(shell: Shell, images: list[str]) -> None:
    for image in images:
        if not shell.look("docker", "image", "inspect", image).ok:
            shell.change("docker", "pull", image)


def write_archive(folder: Path, file: Path) -> None:
    """Complete or not at all."""
    partial, tools = file.with_name(f"{file.name}.partial"), setting_types.PROJECT / ".tools"
    try:
        with tarfile.open(partial, "w") as archive:
            archive.add(folder / INDEX, INDEX)
            archive.add(folder, ".", filter=lambda entry: None if entry.name == f"./{INDEX}" else entry)
            if tools.is_dir():
                archive.add(tools, TOOLS)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def staging(shell: Shell, parent: Path) -> Iterator[Path]:
    """A folder beside the file, where there is room for it."""
    if shell.dry:
        yield parent / "<temporary folder>"
        return
    with tempfile.TemporaryDirectory(dir=parent, prefix=f"{MANAGER}-") as folder:
        (Path(folder) / STORAGE).mkdir()
        yield Path(folder)


# --- load -------------------------------------------------------------------------------------------------------------


def load(shell: Shell, settings: Settings, file: Path) -> None:
    """Give the images to the engine and the registries, and put missing programs and charts into .tools."""
    check_archive(file)
    work = setting_types.PROJECT / ".work"
    if not shell.dry:
        work.mkdir(exist_ok=True, mode=0o700)
    with staging(shell, work) as folder:
        with shell.step("", str(file)):
            shell.note(f"unpack {file} to {folder}")
            if not shell.dry:
                unpack(file, folder)
            shell.change("docker", "load", "--input", str(folder / ENGINE))
        require(shell, *providers.needed_tools(settings))
        ensure_network(shell, settings, providers.list_clusters(shell, settings).values())
        with shell.step("", "images of the registries") as this:
            wanted = mirrors.list_registries(settings)
            existing = containers.find(shell, settings)
            for registry in wanted:
                stored = folder / STORAGE / registry.short
                if shell.dry or (stored.is_dir() and registry.name in existing):
                    shell.change("docker", "cp", f"{stored}/.", f"{registry.name}:{FOLDER}")
            this.outcome = "loaded"


def check_archive(file: Path) -> None:
    """Exit if it was not written by `save`."""
    try:
        with tarfile.open(file) as archive:
            first = archive.next()
    except (OSError, tarfile.TarError) as error:
        raise Exit(f"{file} cannot be read: {error}") from None
    if first is None or first.name != INDEX:
        raise Exit(f"{file} was not written by inv images --save.")


def unpack(file: Path, folder: Path) -> None:
    tools = setting_types.PROJECT / ".tools"
    with tarfile.open(file) as archive:
        if hasattr(tarfile, "data_filter"):  # not in the Python 3.11.2 of Debian 12
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    for source in (folder / TOOLS).rglob("*"):
        target = tools / source.relative_to(folder / TOOLS)
        if source.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
