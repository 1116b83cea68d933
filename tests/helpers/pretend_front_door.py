"""An engine that runs a front door: its container as `docker` shows it, and on its ports what HAProxy answers."""

from __future__ import annotations

import http.server
import json
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from pretend import Page, World, serving
from recording import Answer, Call

NAME = "dev-clusters-front-door"
ID = "f00d" * 16


class FrontDoor:
    """What the engine makes of `docker create`, `cp`, `start` and `rm`; `container` is as `inspect` shows it."""

    def __init__(self, world: World, servers: ExitStack) -> None:
        self.world, self.servers = world, servers
        self.http, self.https = world.ports.port(0, "1"), world.ports.port(0, "6")
        self.container: dict[str, Any] = {}
        self.files: dict[str, str] = {}
        self.start_error = ""
        self.passes_tls = True
        self.opens_ports = True
        """False is an engine in a virtual machine that starts the container and opens nothing."""
        self.listening: list[ExitStack] = []
        self.env()
        world.fakes.behave("docker", self.answer)
        world.fakes.answer(r"^docker network inspect .*{{.Id}}", f"{ID}\n")

    def env(self, **settings: str) -> None:
        ports = {"FRONT_DOOR_HTTP_PORT": str(self.http), "FRONT_DOOR_HTTPS_PORT": str(self.https)}
        self.world.env(**{**ports, **settings})

    def answer(self, call: Call) -> Answer | None:
        match call.words[1:]:
            case ["container", "inspect", *_]:
                return Answer(json.dumps(self.container)) if self.container else Answer(exit=1)
            case ["create", *options]:
                self.container = created(options)
            case ["cp", source, target]:
                self.copy(source, target)
            case ["start", name] if name == NAME:
                return self.start()
            case ["exec", name, "cat", file] if name == NAME:
                return Answer(self.files[Path(file).name])
            case ["rm", "--force", name] if name == NAME:
                self.stop()
                self.container = {}
            case _:
                return None
        return Answer()

    def copy(self, source: str, target: str) -> None:
        assert target.startswith(f"{NAME}:/usr/local/etc/haproxy/")
        for file in Path(source).iterdir() if source.endswith("/.") else [Path(source)]:
            assert file.stat().st_mode & 0o777 == 0o644, "HAProxy runs as another user"
            self.files[file.name] = file.read_text()

    def start(self) -> Answer:
        if self.start_error:
            return Answer(stderr=f"Error response from daemon: {self.start_error}\n", exit=1)
        self.container["State"] = {"Status": "running", "Health": {"Status": "healthy"}}
        if self.opens_ports:
            self.listen()
        return Answer()

    def listen(self) -> None:
        door, stack = self, ExitStack()

        class Answers(Page):
            def do_GET(self) -> None:
                if re.search(r"\.cl\d+\.k3d\.internal$", self.headers["Host"].partition(":")[0]):
                    super().do_GET()
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(door.files["page.html"].encode())

        class Passes(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                hello = self.request.recv(4096)
                if door.passes_tls and (found := re.search(rb"(\d)\.k3d\.internal", hello)):
                    with suppress(OSError), socket.create_connection(
                            ("127.0.0.1", door.world.https(int(found[1])))) as target:
                        target.sendall(hello)
                        threading.Thread(target=pump, args=(self.request, target), daemon=True).start()
                        pump(target, self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        stack.enter_context(serving(http.server.ThreadingHTTPServer(("127.0.0.1", self.http), Answers)))
        stack.enter_context(serving(Server(("127.0.0.1", self.https), Passes)))
        self.servers.enter_context(stack)
        self.listening.append(stack)

    def stop(self) -> None:
        for stack in self.listening:
            stack.close()
        self.listening.clear()

    def stop_container(self) -> None:
        self.stop()
        self.container["State"] = {"Status": "exited"}


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def created(options: list[str]) -> dict[str, Any]:
    """What `docker inspect` shows of a container that was created with these options."""
    def values(name: str) -> list[str]:
        return [value for option, value in pairwise(options) if option == f"--{name}"]

    bindings: dict[str, list[dict[str, str]]] = {}
    for publish in values("publish"):
        address, port, inside = publish.split(":")
        bindings.setdefault(f"{inside}/tcp", []).append({"HostIp": address, "HostPort": port})
    return {
        "State": {"Status": "created"},
        "Config": {"Image": options[-1], "Labels": dict(label.split("=", 1) for label in values("label"))},
        "HostConfig": {"PortBindings": bindings},
        "NetworkSettings": {"Networks": {network: {"NetworkID": ID} for network in values("network")}},
    }


@contextmanager
def front_door_of(world: World) -> Iterator[FrontDoor]:
    with ExitStack() as servers:
        yield FrontDoor(world, servers)
