"""A double of a Go module proxy: serves what a module cache has downloaded, and can be out of reach."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class GoProxy:
    """Answers a number of requests, then drops every connection while ``left`` is 0."""

    def __init__(self, downloads: Path, answers: int) -> None:
        self.left, self.served, self.dropped = answers, 0, 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if proxy._take():
                    super().do_GET()
                else:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(downloads)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _take(self) -> bool:
        with self._lock:
            if self.left <= 0:
                self.dropped += 1
                return False
            self.left -= 1
            self.served += 1
            return True

    @contextlib.contextmanager
    def running(self) -> Iterator[GoProxy]:
        """Served from a thread until the end of the block."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
