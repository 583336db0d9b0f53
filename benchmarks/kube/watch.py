"""A watch that loses nothing: every line is stamped as its bytes arrive, before anything parses or queues it.

When the stream ends, it goes on from the last resource version; when the server no longer has that (410 Gone), it lists
anew. Each interruption is recorded with its cause, and what arrives late because of it is marked as delayed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import aiohttp

from benchmarks.kube.connection import Answer, Connection

CATCH_UP_NS = 250_000_000
"""Events that arrive this soon after a resumed watch began may have waited for it."""

_GONE = 410
_RETRY_S = 0.05
_SHORT_STREAM_NS = 1_000_000_000
_LONGEST_LINE_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Arrival:
    """One watch event as it came, with the monotonic time of its arrival."""

    stamp_ns: int
    line: bytes
    delayed: bool = False


@dataclass(frozen=True, slots=True)
class Relisted:
    """The whole list after a gap that no watch can fill: what is in it was seen now at the latest."""

    stamp_ns: int
    items: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Interruption:
    """A gap in the watch, from the last byte to the moment it went on (monotonic)."""

    cause: str
    last_byte_ns: int
    resumed_ns: int
    resumed_by: Literal["resume", "relist"]


class WatchLostError(Exception):
    """The watch could not be taken up again within its limit."""


class WatchSource(Protocol):
    """Where a watch comes from."""

    async def list(self) -> tuple[list[dict[str, Any]], str]:
        """All objects and the list's resource version."""

    def watch(self, resource_version: str) -> AsyncIterator[bytes]:
        """An empty chunk once the stream is open, then its chunks as they arrive.

        Raises `GoneError` for an expired version, OSError for a broken stream.
        """


class GoneError(Exception):
    """The resource version is too old for the server."""


class ApiWatchSource:
    """Lists and watches one collection of an API server."""

    def __init__(self, connection: Connection, collection_path: str) -> None:
        self._connection = connection
        self._path = collection_path

    async def list(self) -> tuple[list[dict[str, Any]], str]:
        """All objects and the list's resource version."""
        answer: Answer = await self._connection.get(self._path)
        if not answer.ok:
            raise OSError(answer.error)
        content = answer.json()
        return list(content.get("items") or []), str(content["metadata"]["resourceVersion"])

    async def watch(self, resource_version: str) -> AsyncIterator[bytes]:
        """An empty chunk once the stream is open, then its chunks as they arrive."""
        path = f"{self._path}?watch=1&allowWatchBookmarks=true&timeoutSeconds=3000&resourceVersion={resource_version}"
        try:
            response = await self._connection.stream(path)
            async with response:
                if response.status == _GONE:
                    raise GoneError
                if response.status != 200:
                    msg = f"HTTP {response.status}"
                    raise OSError(msg)
                yield b""  # the stream is open
                while chunk := await response.content.readany():
                    yield chunk
        except aiohttp.ClientPayloadError as error:
            msg = "the stream broke off"
            raise OSError(msg) from error
        except aiohttp.ClientError as error:
            msg = f"{type(error).__name__}: {error}"
            raise OSError(msg) from error
        except TimeoutError as error:
            msg = "no connection in time"
            raise OSError(msg) from error


class WatchReader:
    """Reads a watch into a queue until it is cancelled."""

    def __init__(
        self,
        source: WatchSource,
        *,
        give_up_s: float = 30.0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.queue: asyncio.Queue[Arrival | Relisted] = asyncio.Queue()
        self.interruptions: list[Interruption] = []
        self._source = source
        self._give_up_s = give_up_s
        self._clock_ns = clock_ns
        self._resource_version = ""
        self._last_line = b""
        self._last_byte_ns = 0
        self._opened_ns = 0
        self._failing_since_ns: int | None = None

    async def start(self) -> None:
        """Takes the starting point: events from here on are read, whatever exists already is queued first."""
        items, self._resource_version = await self._source.list()
        self._last_byte_ns = self._clock_ns()
        if items:
            self.queue.put_nowait(Relisted(self._last_byte_ns, items))

    async def run(self) -> None:
        """Reads for ever; raises `WatchLostError` when the stream can't be taken up again."""
        cause: str | None = None
        while True:
            try:
                await self._read_stream(cause)
                cause = "the server ended the stream"
                if self._clock_ns() - self._opened_ns < _SHORT_STREAM_NS:
                    await self._pause(cause)
            except GoneError:
                await self._relist("410 Gone")
                cause = None
            except OSError as error:
                cause = str(error) or type(error).__name__
                await self._pause(cause)

    async def _read_stream(self, interrupted_by: str | None) -> None:
        self._resource_version = self._version_to_resume()
        buffer = b""
        delayed_until_ns = 0
        opening = True
        async for chunk in self._source.watch(self._resource_version):
            stamp_ns = self._clock_ns()
            if opening:
                opening = False
                self._opened_ns, self._failing_since_ns = stamp_ns, None
                if interrupted_by is not None:
                    delayed_until_ns = stamp_ns + CATCH_UP_NS
                    self.interruptions.append(Interruption(interrupted_by, self._last_byte_ns, stamp_ns, "resume"))
            self._last_byte_ns = stamp_ns
            if b"\n" not in chunk:
                buffer += chunk
                if len(buffer) > _LONGEST_LINE_BYTES:
                    msg = "a watch event without an end"
                    raise OSError(msg)
                continue
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b'{"type":"ERROR"'):
                    _raise_watch_error(line)
                if line:
                    self._last_line = line
                    self.queue.put_nowait(Arrival(stamp_ns, line, stamp_ns < delayed_until_ns))

    def _version_to_resume(self) -> str:
        if not self._last_line:
            return self._resource_version
        version = json.loads(self._last_line)["object"]["metadata"]["resourceVersion"]
        self._last_line = b""
        return str(version)

    async def _relist(self, cause: str) -> None:
        gap_began_ns = self._last_byte_ns
        while True:
            try:
                items, self._resource_version = await self._source.list()
            except OSError as error:
                await self._pause(f"{cause}, then {error}")
                continue
            break
        now_ns = self._clock_ns()
        self._last_line = b""
        self._last_byte_ns = now_ns
        self.interruptions.append(Interruption(cause, gap_began_ns, now_ns, "relist"))
        self.queue.put_nowait(Relisted(now_ns, items))

    async def _pause(self, cause: str) -> None:
        now_ns = self._clock_ns()
        if self._failing_since_ns is None:
            self._failing_since_ns = now_ns
        if now_ns - self._failing_since_ns > self._give_up_s * 1e9:
            msg = f"{cause}; tried again for {self._give_up_s:g} s"
            raise WatchLostError(msg)
        await asyncio.sleep(_RETRY_S)


def _raise_watch_error(line: bytes) -> None:
    status = json.loads(line).get("object", {})
    if status.get("code") == _GONE:
        raise GoneError
    raise OSError(f"the server ended the watch: {status.get('code')} {status.get('message', '')}"[:200])
