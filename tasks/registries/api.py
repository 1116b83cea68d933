"""What a registry on this machine answers: https://github.com/opencontainers/distribution-spec/blob/main/spec.md"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

SECONDS = 10
"""A registry on this machine answers in milliseconds, unless it hangs."""

UPSTREAM_SECONDS = 20

MANIFESTS = ", ".join([
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"])


class RegistryError(OSError):
    """A registry has answered, but not with what was asked for."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@contextmanager
def request(url: str, accept: str = "*/*", seconds: float = SECONDS) -> Iterator[IO[bytes]]:
    """OSError if there is no answer, or another one than 200. The user's proxy is not asked."""
    import http.client
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers={"Accept": accept}), timeout=seconds) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        raise RegistryError(error.code, read_error(error.read()) or str(error)) from None
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from None
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP response: {error!r}") from None


def read_error(body: bytes) -> str:
    """The first error in an answer: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes"""
    try:
        first = json.loads(body)["errors"][0]
        return " ".join(str(first[key]) for key in ("code", "message", "detail") if first.get(key))
    except (ValueError, LookupError, AttributeError, TypeError):
        return ""


def find_error(url: str) -> str:
    """Why the registry does not answer; empty if it does."""
    try:
        with request(f"{url}/v2/"):
            return ""
    except OSError as error:
        return str(error)


NOWHERE = f"sha256:{'0' * 64}"
"""The digest of no manifest."""


def find_upstream_error(url: str, name: str) -> str:
    """What a cache reports when it asks its upstream about a repository; empty if the upstream answers.

    It asks for a manifest that does not exist, which counts as no pull. For a tag, a cache hides such errors.
    """
    try:
        with request(f"{url}/v2/{name}/manifests/{NOWHERE}", MANIFESTS, seconds=UPSTREAM_SECONDS):
            return ""
    except OSError as error:
        return "" if isinstance(error, RegistryError) and error.status == 404 else str(error)


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
