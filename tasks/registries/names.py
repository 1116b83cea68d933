"""The names of images: https://github.com/distribution/reference/blob/main/normalize.go"""

from __future__ import annotations

from typing import NamedTuple


class ImageName(NamedTuple):
    """`docker.io`, `library/nginx` and `1.29-alpine`."""

    registry: str
    path: str
    tag: str
    """Empty if the image is named by its digest alone."""

    @property
    def repository(self) -> str:
        return f"{self.registry}/{self.path}"


def parse(image: str) -> ImageName:
    """An image as people and Docker write it, with what is left out: `nginx` is `docker.io/library/nginx:latest`."""
    name, _, digest = image.partition("@")
    registry, separator, path = name.partition("/")
    if not separator or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, path = "docker.io", name
    path, _, tag = path.partition(":")
    if registry == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return ImageName(registry, path, tag or ("" if digest else "latest"))
