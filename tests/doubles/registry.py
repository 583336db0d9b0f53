"""A container registry that serves the images of OCI tars, and an HTTP proxy that leads to it; both say what they were asked.

``python3 -m tests.doubles.registry registry|proxy LISTEN:PORT LOG ...``. The registry speaks the part of the OCI distribution
specification that a pull needs, by https. It may do so below a path, as a project of Harbor's that caches, and only for who logs in:
by ``basic``, or by ``bearer`` with a token of its own (distribution/distribution, docs/content/spec/auth/token.md). The proxy takes
CONNECT alone, and leads every name to one address.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.server
import json
import re
import secrets
import select
import socket
import ssl
import sys
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

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


class Door:
    """Who may pull.

    Args:
        kind: ``none``, ``basic`` or ``bearer``.
        login: a file with ``USER:PASSWORD``, which may change.
    """

    def __init__(self, kind: str, login: Path | None) -> None:
        self.kind, self._login = kind, login
        self._tokens: dict[str, tuple[str, set[str]]] = {}

    def is_login(self, given: str) -> bool:
        """Whether an ``Authorization`` header is the login itself."""
        return self._login is not None and given == f"Basic {_base64(self._login.read_text().strip())}"

    def token(self, scopes: list[str]) -> str:
        """A token for these scopes, as long as the password is the same."""
        assert self._login is not None
        token = secrets.token_hex(16)
        self._tokens[token] = self._login.read_text(), set(scopes)
        return token

    def is_open(self, given: str, scope: str) -> bool:
        """Whether a request with this ``Authorization`` header may do what the scope says."""
        if self.kind != "bearer":
            return self.kind == "none" or self.is_login(given)
        assert self._login is not None
        password, scopes = self._tokens.get(given.removeprefix("Bearer "), ("", set()))
        return given.startswith("Bearer ") and password == self._login.read_text() and scope in scopes


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Registry(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    images: Images
    log: Path
    root = "/v2"
    """Below it is the API: ``/v2/PROJECT`` for images of a project."""
    door: Door

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path, _, query = self.path.partition("?")
        given = self.headers.get("Authorization", "")
        note(self.log, f"{self.command} {self.headers.get('Host')} {path} {given.partition(' ')[0]}".rstrip())
        if self.door.kind == "bearer" and path == "/token":
            self._give_token(given, query)
            return
        manifest = re.fullmatch(re.escape(self.root) + r"/(.+)/manifests/(.+)", path)
        blob = re.fullmatch(re.escape(self.root) + r"/(.+)/blobs/(sha256:[0-9a-f]{64})", path)
        named = manifest or blob
        # An image's name on a registry is what is between /v2 and what is asked of it.
        scope = f"repository:{f'{self.root}/{named[1]}'.removeprefix('/v2/')}:pull" if named else ""
        if not self.door.is_open(given, scope):
            self._refuse(scope, with_body=with_body)
        elif path == "/v2/":
            self._send(200, b"{}", "application/json", with_body=with_body)
        elif manifest and manifest[1] in self.images.manifests:
            digest = manifest[2] if manifest[2].startswith("sha256:") else self.images.manifests[manifest[1]]
            self._send_blob(digest, MANIFEST, with_body=with_body)
        elif blob:
            self._send_blob(blob[2], "application/octet-stream", with_body=with_body)
        else:
            self._send(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}', "application/json", with_body=with_body)

    def do_POST(self) -> None:
        # Harbor's and others' token services know GET alone.
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(405, b"", "text/plain", with_body=False)

    def _give_token(self, given: str, query: str) -> None:
        """Who does not log in gets one that opens nothing, as on registries that serve some images to everybody."""
        if given and not self.door.is_login(given):
            self._send(401, b"{}", "application/json", with_body=True)
            return
        scopes = [one for text in parse_qs(query).get("scope", []) for one in text.split(" ")] if given else []
        self._send(200, json.dumps({"token": self.door.token(scopes)}).encode(), "application/json", with_body=True)

    def _refuse(self, scope: str, *, with_body: bool) -> None:
        challenge = 'Basic realm="double"'
        if self.door.kind == "bearer":
            challenge = f'Bearer realm="https://{self.headers.get("Host")}/token",service="double",scope="{scope}"'
        self._send(401, b"{}", "application/json", challenge=challenge, with_body=with_body)

    def _send_blob(self, digest: str, kind: str, *, with_body: bool) -> None:
        content = self.images.blobs.get(digest)
        if content is None:
            self._send(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}', "application/json", with_body=with_body)
        else:
            self._send(200, content, kind, digest, with_body=with_body)

    def _send(
        self, code: int, content: bytes, kind: str, digest: str = "", *, with_body: bool, challenge: str = ""
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
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
    parser.add_argument("--root", default="/v2")
    parser.add_argument("--auth", choices=["none", "basic", "bearer"], default="none")
    parser.add_argument("--login", type=Path)
    given = parser.parse_args(arguments)
    address, _, port = given.listen.rpartition(":")
    handler: type[http.server.BaseHTTPRequestHandler]
    if given.role == "registry":
        door = Door(given.auth, given.login)
        content = {"images": Images(given.tar), "log": given.log, "root": given.root, "door": door}
        handler = type("Served", (Registry,), content)
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
