"""Two real clusters with the images of the example with OpenID Connect."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from real_clusters import Clusters, several_clusters

from tasks.core import configuration

INSTALL = ("k3d-cluster-examples", "--n", "0,1", "--with", "oidc")


@contextmanager
def two_clusters(folder: Path, prefix: str, start: int, settings: str = "") -> Iterator[Clusters]:
    """Clusters 0 and 1 after their setup, with the images in them; skipped where the images cannot be had."""
    chosen = configuration.load()
    for image in (chosen.image_keycloak, chosen.image_oauth2_proxy):
        bring(image)
    with several_clusters(folder, prefix, start, "0,1", settings=settings) as made:
        made.import_images(0, chosen.image_keycloak, chosen.image_oauth2_proxy)
        made.import_images(1, chosen.image_oauth2_proxy)
        yield made


def bring(image: str) -> None:
    """Have the engine pull the image, if it has not; that is where the clusters are given it from."""
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode:
        pulled = subprocess.run(["docker", "pull", image], capture_output=True, text=True)
        if pulled.returncode:
            pytest.skip(f"{image} is not in the engine and cannot be pulled: {pulled.stderr.strip()}")


def run(clusters: Clusters, *words: str) -> str:
    """What `inv` prints; it must succeed."""
    done = clusters.inv(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
