"""The check of images that could not be pulled."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.doctor.check import WARNING, Checks, ClusterView

CHECKS = Checks()


check = CHECKS.check


@check("images", WARNING,
       "The registry cannot be reached, the name is wrong, or a company's proxy uses a CA that the nodes do not trust.",
       "ADDITIONAL_CA_BUNDLE_FILE, HTTPS_PROXY or K3D_REGISTRY_CONFIG in .env, then a new cluster; "
       "or: k3d image import IMAGE --cluster {name}", needs=["api"],
       link="https://github.com/k3d-io/k3d/issues/535")
def images(view: ClusterView) -> Iterator[str]:
    """Every image could be pulled"""
    for pod in view.snapshot.all("Pod"):
        for kind in ("initContainerStatuses", "containerStatuses"):
            for status in pod["status"].get(kind, []):
                waiting = status.get("state", {}).get("waiting", {})
                if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName"):
                    error = str(waiting.get("message") or waiting["reason"]).strip().splitlines()[-1]
                    yield (f"{pod['metadata']['namespace']}/{pod['metadata']['name']}: {status.get('image', '')}: "
                           f"{error[:200]}")
