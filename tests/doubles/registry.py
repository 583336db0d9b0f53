"""A container registry that serves the images of OCI tars, and an HTTP proxy that leads to it; both say what they were asked.

``python3 -m tests.doubles.registry registry|proxy LISTEN:PORT LOG ...``. The registry speaks the part of the OCI distribution
specification that a pull needs, by https; the proxy takes CONNECT alone, and leads every name to one address.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import re
import select
import socket
import ssl
import sys
import tarfile
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Images:
    """Manifests and blobs of OCI tars, by the tar's own name: ``NAME.tar`` is ``litelab/NAME`` with any tag."""

    def __init__(self, tars: list[Path]) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, str] = {}
        for path in tars:
            with tarfile.open(path) as tar:
                found = {e.name: file.read() for e in tar if (file := tar.extractfile(e)) is not None}
            index: Any = json.loads(found["index.json"])
            self.manifests[f"litelab/{path.stem}"] = index["manifests"][0]["digest"]
            for name, content in found.items():
                if name.startswith("blobs/sha256/"):
                    self.blobs[f"sha256:{hashlib.sha256(content).hexdigest()}"] = content


class Registry(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    images: Images
    log: Path

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        note(self.log, f"{self.command} {self.headers.get('Host')} {path}")
        manifest = re.fullmatch(r"/v2/(.+)/manifests/(.+)", path)
        blob = re.fullmatch(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})", path)
        if path == "/v2/":
            self._send(200, b"{}", "application/json", with_body=with_body)
        elif manifest and manifest[1] in self.images.manifests:
            digest = manifest[2] if manifest[2].startswith("sha256:") else self.images.manifests[manifest[1]]
            self._send_blob(digest, MANIFEST, with_body=with_body)
        elif blob:
            self._send_blob(blob[2], "application/octet-stream", with_body=with_body)
        else:
            self._send(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}', "application/json", with_body=with_body)

    def _send_blob(self, digest: str, kind: str, *, with_body: bool) -> None:
        content = self.images.blobs.get(digest)
        if content is None:
            self._send(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}', "application/json", with_body=with_body)
        else:
            self._send(200, content, kind, digest, with_body=with_body)

    def _send(self, code: int, content: bytes, kind: str, digest: str = "", *, with_body: bool) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class Proxy(http.server.BaseHTTPRequestHandler):
    """One CONNECT."""

    to: tuple[str, int]
    log: Path

    def do_CONNECT(self) -> None:
        note(self.log, f"CONNECT {self.path}")
        with socket.create_connection(self.to, 10) as there:
            self.send_response(200)
            self.end_headers()
            here = self.connection
            while True:
                ready, _, _ = select.select([here, there], [], [], 60)
                for side, other in ((here, there), (there, here)):
                    if side in ready:
                        content = side.recv(65536)
                        if not content:
                            self.close_connection = True
                            return
                        other.sendall(content)
                if not ready:
                    return

    def log_message(self, *_: Any) -> None:
        pass


def note(log: Path, line: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["registry", "proxy"])
    parser.add_argument("listen")
    parser.add_argument("log", type=Path)
    parser.add_argument("--tar", type=Path, action="append", default=[])
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--to")
    given = parser.parse_args(arguments)
    address, _, port = given.listen.rpartition(":")
    handler: type[http.server.BaseHTTPRequestHandler]
    if given.role == "registry":
        handler = type("Served", (Registry,), {"images": Images(given.tar), "log": given.log})
    else:
        host, _, to_port = given.to.rpartition(":")
        handler = type("Led", (Proxy,), {"to": (host, int(to_port)), "log": given.log})
    server = http.server.ThreadingHTTPServer((address, int(port)), handler)
    server.daemon_threads = True
    if given.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.cert, given.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
