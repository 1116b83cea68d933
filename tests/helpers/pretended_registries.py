"""Registries as an engine and their own API report them: one HTTP server answers for all their containers."""

from __future__ import annotations

import hashlib
import http.server
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from invoke import Context
from pretend import Page, World, serving
from recording import Answer, Call

from tasks.core.configuration import load
from tasks.core.shell import Shell
from tasks.registries.mirrors import list_registries

NETWORK_ID = "net1"
REPOSITORIES = "./docker/registry/v2/repositories"


class Registries:
    """Containers that were created with `docker run --detach`, and not removed since."""

    def __init__(self, world: World, server: Server) -> None:
        self.world, self.server = world, server
        self.state: dict[str, dict[str, Any]] = {}
        """What is different about a container, by its name: `Status`, `NetworkID`, or a label."""
        self.nodes: dict[str, str] = {}
        """What grep finds in the folder of mirrors of a node."""
        self.volumes: list[str] = []
        world.fakes.answer("^docker run --detach", "0123\n")
        world.fakes.answer("^docker network inspect .*Id", f"{NETWORK_ID}\n")
        world.fakes.behave("docker", self.answer)

    def exist(self) -> None:
        """As a setup with the settings of now leaves them."""
        settings, shell = load(self.world.project.folder, {}), Shell(Context(), {})
        for registry in list_registries(settings):
            label = f"dev-cluster-tasks.registry-version={registry.version(shell)}"
            self.world.fakes.lines.append(f"docker run --detach --name {registry.name} --label {label}")

    def answer(self, call: Call) -> Answer | None:
        containers = self.containers(call.earlier)
        match call.words[1:]:
            case ["ps", *_] if "label=dev-cluster-tasks.registry=dev-clusters" in call.words:
                return Answer("".join(f"{name}\n" for name in containers))
            case ["inspect", "--format", "{{json .}}", *names]:
                return Answer("".join(f"{json.dumps(containers[name])}\n" for name in names))
            case ["volume", "ls", *_]:
                return Answer("".join(f"{name}\n" for name in self.volumes))
            case ["exec", name, "sh", "-c", _] if name in containers:
                return Answer("\n".join(["12000\t.", *self.server.links()]))
            case ["cp", source, target] if target.endswith(":/var/lib/registry"):
                self.server.receive_links(Path(source))
            case ["exec", node, "grep", *_]:
                return Answer(self.nodes.get(node, ""))
        return None

    def containers(self, earlier: list[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for words in map(shlex.split, earlier):
            if words[:3] == ["docker", "run", "--detach"]:
                name = words[words.index("--name") + 1]
                found[name] = self.describe(name, words)
            elif words[:3] == ["docker", "rm", "--force"]:
                for name in words[3:]:
                    found.pop(name, None)
        return found

    def describe(self, name: str, words: list[str]) -> dict[str, Any]:
        changed = self.state.get(name, {})
        labels = dict(value.split("=", 1) for flag, value in pairwise(words) if flag == "--label")
        bindings = [{"HostIp": "127.0.0.1", "HostPort": str(changed.get("port", self.server.server_address[1]))}]
        status = changed.get("Status", "running")
        return {
            "Name": f"/{name}", "State": {"Status": status},
            "Config": {"Labels": {**labels, **changed.get("labels", {})}},
            "NetworkSettings": {
                "Networks": {"dev-clusters": {"NetworkID": changed.get("NetworkID", NETWORK_ID)}},
                "Ports": {"5000/tcp": bindings} if status == "running" else {}}}

    def created(self) -> list[str]:
        return [words[words.index("--name") + 1] for words in self.world.fakes.calls("docker", "run", "--detach")]


class Server(http.server.ThreadingHTTPServer):
    """A cache with images. It writes down a layer when it is asked for a second time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.contents: dict[str, bytes] = {}
        self.repositories: dict[str, list[str]] = {}
        self.kept: set[str] = set()
        self.upstream_error = ""

    def add_image(self, name: str, *layers: bytes, kept: bool = False) -> None:
        """An image whose layers are kept or not."""
        blobs = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        manifest = json.dumps({"config": {"digest": blobs[0]}, "layers": [{"digest": blob} for blob in blobs[1:]]})
        digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
        self.contents[f"/v2/{name}/manifests/{digest}"] = manifest.encode()
        self.repositories.setdefault(name, []).append(digest)
        for blob, layer in zip(blobs, layers, strict=True):
            self.contents[f"/v2/{name}/blobs/{blob}"] = layer
            if kept:
                self.kept.add(f"/v2/{name}/blobs/{blob}")

    def links(self) -> Iterator[str]:
        for name, digests in self.repositories.items():
            for digest in digests:
                yield f"{REPOSITORIES}/{name}/_manifests/revisions/{digest.replace(':', '/')}/link"
            yield f"{REPOSITORIES}/{name}/_manifests/tags/v1/current/link"
        for path in self.kept:
            name, _, digest = path.removeprefix("/v2/").partition("/blobs/")
            yield f"{REPOSITORIES}/{name}/_layers/{digest.replace(':', '/')}/link"
            yield f"./docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data"

    def receive_links(self, folder: Path) -> None:
        for file in folder.rglob("_layers/sha256/*/link"):
            name = file.relative_to(folder / REPOSITORIES).parts[:-4]
            self.kept.add(f"/v2/{'/'.join(name)}/blobs/{file.read_text()}")


class Handler(Page):
    server: Server

    def do_GET(self) -> None:
        again = self.path in self.server.asked
        self.server.asked.append(self.path)
        body = b"{}" if self.path == "/v2/" else self.server.contents.get(self.path)
        from_upstream = self.path not in self.server.kept and ("/blobs/" in self.path or body is None)
        if from_upstream and self.server.upstream_error:
            error = {"code": "UNKNOWN", "message": "unknown error", "detail": self.server.upstream_error}
            return self.reply(500, json.dumps({"errors": [error]}).encode())
        if "/blobs/" in self.path and body and again:
            self.server.kept.add(self.path)
        self.reply(200 if body is not None else 404, body or b"")


@contextmanager
def registries_of(world: World) -> Iterator[Registries]:
    with serving(Server()) as server:
        yield Registries(world, server)
