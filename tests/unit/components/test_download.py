"""A download takes up what is there, tells a server's no from its trouble, and ends in time."""

from __future__ import annotations

import http.server
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from components.steps.scripts import scripts_of

CONTENT = b"0123456789" * 1000


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("litelab_download", scripts_of("catalog") / "download.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


download = _load()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``CONTENT``; ``/<code>`` answers that code instead."""

    def do_GET(self) -> None:
        code = self.path.removeprefix("/")
        self.server.asked.append(self.headers.get("Range", "all"))  # type: ignore[attr-defined]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if code.isdigit():
            self.send_error(int(code))
        elif start >= len(CONTENT):
            self.send_error(416)
        else:
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.ThreadingHTTPServer]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download.time, "sleep", lambda _s: None)
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def get(server: http.server.ThreadingHTTPServer, path: str, target: Path, limit_s: float = 60) -> list[str]:
    """What the server was asked for."""
    download.download(f"http://127.0.0.1:{server.server_address[1]}/{path}", target, limit_s)
    return list(server.asked)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("have", "asked"), [(0, "all"), (10, "bytes=10-"), (len(CONTENT), f"bytes={len(CONTENT)}-")])
def test_what_is_there_is_not_asked_for_again(
    server: http.server.ThreadingHTTPServer, tmp_path: Path, have: int, asked: str
) -> None:
    target = tmp_path / "file"
    if have:
        target.write_bytes(CONTENT[:have])
    assert get(server, "file", target) == [asked]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("code", "tries", "refused"), [(404, 1, True), (403, 1, True), (503, 4, False), (429, 4, False)]
)
def test_a_no_is_not_asked_again_and_trouble_is(
    server: http.server.ThreadingHTTPServer, tmp_path: Path, code: int, tries: int, refused: bool
) -> None:
    with pytest.raises(download.DownloadError) as caught:
        get(server, str(code), tmp_path / "file")
    assert f"the server says {code}" in str(caught.value)
    assert (caught.value.tries, caught.value.refused) == (tries, refused)
    assert len(server.asked) == tries  # type: ignore[attr-defined]


def test_the_time_that_it_may_take_holds_over_all_tries(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    with pytest.raises(download.DownloadError, match="it took more than 0 s") as caught:
        get(server, "file", tmp_path / "file", limit_s=0)
    assert caught.value.tries == 1
