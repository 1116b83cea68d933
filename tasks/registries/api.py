"""What a registry on this machine answers: https://github.com/opencontainers/distribution-spec/blob/main/spec.md"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

SECONDS = 5
"""A registry on this machine answers in milliseconds. What it fetches first may take longer, but goes on arriving."""

MANIFESTS = ", ".join([
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"])


@contextmanager
def request(url: str, accept: str = "*/*", seconds: float = SECONDS) -> Iterator[IO[bytes]]:
    """OSError if there is no answer, or another one than 200. The user's proxy is not asked."""
    import http.client
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers={"Accept": accept}), timeout=seconds) as answer:
            yield answer
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP response: {error!r}") from None


def find_error(url: str) -> str:
    """Why the registry does not answer; empty if it does."""
    try:
        with request(f"{url}/v2/"):
            return ""
    except OSError as error:
        return str(getattr(error, "reason", error))


def read_manifest(url: str, name: str, reference: str) -> dict[str, Any]:
    with request(f"{url}/v2/{name}/manifests/{reference}", MANIFESTS) as answer:
        manifest = json.load(answer)
    if not isinstance(manifest, dict):
        raise OSError(f"the manifest of {name} {reference} is not an object")
    return manifest


def fetch_blob(url: str, name: str, digest: str) -> None:
    """Have a cache fetch it, and keep it."""
    with request(f"{url}/v2/{name}/blobs/{digest}", seconds=60) as answer:
        while answer.read(1 << 20):
            pass
