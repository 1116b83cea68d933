"""This machine's Docker engine at a TCP address, as an engine on another machine has one."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ENGINE = Path("/var/run/docker.sock")


@contextmanager
def engine_at(address: str) -> Iterator[tuple[str, list[str]]]:
    """The DOCKER_HOST of the engine at a free port of this address, and who has connected to it so far."""
    clients: list[str] = []

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            clients.append(self.client_address[0])
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(str(ENGINE))
                to_engine = threading.Thread(target=copy, args=(self.request, engine))
                to_engine.start()
                copy(engine, self.request)
                to_engine.join()

    with socketserver.ThreadingTCPServer((address, 0), Connection) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"tcp://{address}:{server.server_address[1]}", clients
        finally:
            server.shutdown()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Until the source says that nothing more comes; the other direction may go on."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
