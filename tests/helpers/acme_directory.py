"""An ACME server at a URL of its own, with the pages of another server, for what that one never does."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ca


@contextmanager
def directory_of(other: str, folder: Path, authorities: Path, leaf: ca.Signed, **problem: Any) -> Iterator[str]:
    """The URL of a directory at 127.0.0.1, served with this leaf. Orders get this problem document (RFC 7807), if any.

    `other` is the directory of the other server, whose certificate `authorities` verify.
    """
    with urllib.request.urlopen(other, context=ssl.create_default_context(cafile=authorities)) as answer:
        directory = json.load(answer)

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(200, "application/json", directory)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send(problem["status"], "application/problem+json", problem)

        def send(self, status: int, kind: str, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    certificate, key = folder / "server.crt", folder / "server.key"
    certificate.write_bytes(leaf.pem)
    key.write_bytes(leaf.key_pem())
    encrypted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    encrypted.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.socket = encrypted.wrap_socket(server.socket, server_side=True)
        url = f"https://127.0.0.1:{server.server_address[1]}"
        if problem:
            directory["newOrder"] = f"{url}/order"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"{url}/dir"
        finally:
            server.shutdown()
