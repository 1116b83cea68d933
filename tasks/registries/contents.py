"""What a cache keeps, and that each image in it is whole.

A cache keeps what was asked of it, under the name under which it was asked. containerd never asks for a layer that it
already has from another image, so offline, in another order, that layer would be missing.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from invoke import Exit

from tasks.core.shell import Shell
from tasks.core.work_files import work_file, write_file
from tasks.registries import api
from tasks.registries.containers import FOLDER, Container

LIST = f"cd {FOLDER} && du -sk . && find . -name link -o -name data"
"""A registry's storage: https://github.com/distribution/distribution/blob/main/registry/storage/paths.go"""

LINK = "docker/registry/v2/repositories/{name}/_layers/{kind}/{hash}/link"
"""A file with the digest of a layer that belongs to a repository."""

REVISION = re.compile(r"/repositories/(.+)/_manifests/revisions/(sha256)/([0-9a-f]{64})/link$", re.MULTILINE)
LAYER = re.compile(r"/repositories/(.+)/_layers/(sha256)/([0-9a-f]{64})/link$", re.MULTILINE)
DATA = re.compile(r"/blobs/(sha256)/[0-9a-f]{2}/([0-9a-f]{64})/data$", re.MULTILINE)
TAG = re.compile(r"/repositories/(.+)/_manifests/tags/([^/\n]+)/current/link$", re.MULTILINE)

SECONDS = 30
"""For the caches to write down what they have fetched."""

Blob = tuple[str, str]
"""The name of a repository, and a digest."""


@dataclass(frozen=True)
class Contents:
    manifests: list[Blob]
    layers: set[Blob]
    digests: set[str]
    """Of everything that is stored, under whichever name."""
    tags: list[tuple[str, str]]
    bytes: int


@dataclass(frozen=True)
class Completed:
    """What a cache keeps now. `error`: why something is missing from it."""

    images: int
    bytes: int
    error: str = ""


def read(shell: Shell, container: Container) -> Contents:
    said = shell.look("docker", "exec", container.name, "sh", "-c", LIST).stdout
    size = re.match(r"\d+", said)

    def blobs(pattern: re.Pattern[str]) -> list[Blob]:
        return [(name, f"{kind}:{digest}") for name, kind, digest in pattern.findall(said)]

    return Contents(blobs(REVISION), {*blobs(LAYER)}, {":".join(found) for found in DATA.findall(said)},
                    TAG.findall(said), int(size[0]) * 1024 if size else 0)


def complete(shell: Shell, container: Container) -> Completed:
    """Give each image in a cache the layers that it lacks: those of other images, or fetched from the upstream.

    Repeated until all of them are there, because a layer is written a moment after its last byte was sent.
    """
    found, error = read(shell, container), ""

    def fetch_missing() -> bool:
        nonlocal found
        found = read(shell, container)
        missing = sorted(wanted - found.layers)
        link(shell, container, [blob for blob in missing if blob[1] in found.digests])
        new = {digest: name for name, digest in missing if digest not in found.digests}
        for digest, name in new.items():  # for other names, the next turn links it
            api.fetch_blob(container.url, name, digest)
        return not missing

    try:
        wanted = list_wanted(container, found)
        shell.until(f"{container.name} to keep {len(wanted)} layers", SECONDS, fetch_missing, hint="")
    except OSError as failed:
        error = f"{container.name}: {failed}"
    except Exit as late:
        error = str(late.message)
    return Completed(len(list_images(found)), found.bytes, error)


def link(shell: Shell, container: Container, blobs: list[Blob]) -> None:
    """Let a repository have what the cache stores under another name."""
    if not blobs:
        return
    staged = work_file(container.name)
    shutil.rmtree(staged, ignore_errors=True)
    for name, digest in blobs:
        kind, _, hash = digest.partition(":")
        write_file(shell, staged / LINK.format(name=name, kind=kind, hash=hash), digest)
    shell.change("docker", "cp", f"{staged}/.", f"{container.name}:{FOLDER}")


def list_wanted(container: Container, found: Contents) -> set[Blob]:
    """The layers and configurations of all images in it. An index lists images of other processors, so it counts for
    nothing."""
    wanted = set()
    for name, digest in found.manifests:
        manifest = api.read_manifest(container.url, name, digest)
        config = [manifest["config"]] if "config" in manifest else []
        wanted |= {(name, blob["digest"]) for blob in [*config, *manifest.get("layers", [])]}
    return wanted


def list_images(found: Contents) -> list[str]:
    """`name:tag` of each."""
    return sorted(f"{name}:{tag}" for name, tag in found.tags)


def read_fetched(container: Container) -> int:
    """The bytes that a cache has fetched since its start, by its metrics; 0 if it does not answer."""
    try:
        with api.request(f"{container.metrics_url}/metrics") as answer:
            lines = answer.read().decode(errors="replace").splitlines()
    except OSError:
        return 0
    return int(sum(float(line.rpartition(" ")[2]) for line in lines
                   if line.startswith("registry_proxy_pulled_bytes_total")))


def format_size(bytes: int) -> str:
    return f"{bytes / 1e9:.1f} GB" if bytes >= 1e9 else f"{bytes / 1e6:.1f} MB"
