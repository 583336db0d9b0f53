"""The watch reader: nothing is lost, counted twice or stamped late without saying so."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.kube.watch import CATCH_UP_NS, Arrival, GoneError, Relisted, WatchLostError, WatchReader


def line(version: int, kind: str = "MODIFIED") -> bytes:
    event = {"type": kind, "object": {"metadata": {"uid": "u", "resourceVersion": str(version)}}}
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


ERROR_410 = b'{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}\n'


class Scripted:
    """Each watch plays one script of chunks and exceptions; the last one then stays silent."""

    def __init__(self, *scripts: list[bytes | Exception], lists: list[list[dict[str, Any]]] | None = None) -> None:
        self.scripts = list(scripts)
        self.lists = [[], *(lists or [])]
        self.asked_from: list[str] = []
        self.clock = 0

    async def list(self) -> tuple[list[dict[str, Any]], str]:
        if not self.lists:
            msg = "no list"
            raise OSError(msg)
        return self.lists.pop(0), f"list-{self.clock}"

    async def watch(self, resource_version: str) -> AsyncIterator[bytes]:
        self.asked_from.append(resource_version)
        if not self.scripts:
            msg = "refused"
            raise OSError(msg)
        script = self.scripts.pop(0)
        if script and isinstance(script[0], GoneError):
            raise script[0]
        yield b""
        for step in script:
            self.clock += 1_000_000
            if isinstance(step, Exception):
                raise step
            yield step
        if not self.scripts:
            await asyncio.sleep(3600)

    def now(self) -> int:
        return self.clock


def read(source: Scripted, messages: int, give_up_s: float = 30.0) -> tuple[list[Arrival | Relisted], WatchReader]:
    async def run() -> tuple[list[Arrival | Relisted], WatchReader]:
        reader = WatchReader(source, give_up_s=give_up_s, clock_ns=source.now)
        await reader.start()
        task = asyncio.create_task(reader.run())
        try:
            return [await asyncio.wait_for(reader.queue.get(), 5) for _ in range(messages)], reader
        finally:
            task.cancel()

    return asyncio.run(run())


def arrivals(messages: list[Arrival | Relisted]) -> list[bytes]:
    return [message.line + b"\n" for message in messages if isinstance(message, Arrival)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=400), max_size=8), st.integers(min_value=1, max_value=6))
def test_chunks_cut_anywhere_give_the_same_events(cuts: list[int], events: int) -> None:
    stream = b"".join(line(version) for version in range(events))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks: list[bytes | Exception] = [stream[a:b] for a, b in itertools.pairwise(edges)]
    messages, _ = read(Scripted(chunks), events)
    assert arrivals(messages) == [line(version) for version in range(events)]


def test_an_event_is_stamped_when_its_last_byte_arrives() -> None:
    whole = line(1)
    messages, _ = read(Scripted([whole[:10], whole[10:]]), 1)
    assert messages[0].stamp_ns == 2_000_000


def test_a_dropped_stream_goes_on_after_the_last_whole_event() -> None:
    source = Scripted([line(7), line(8)[:20], OSError("reset by peer")], [line(8)])
    messages, reader = read(source, 2)
    assert source.asked_from == ["list-0", "7"]
    assert arrivals(messages) == [line(7), line(8)]
    assert [(gap.cause, gap.resumed_by) for gap in reader.interruptions] == [("reset by peer", "resume")]


def test_events_soon_after_a_drop_are_marked_as_delayed_and_later_ones_are_not() -> None:
    quiet: list[bytes | Exception] = [b"\n"] * (CATCH_UP_NS // 1_000_000)
    messages, _ = read(Scripted([line(1), OSError("drop")], [line(2), *quiet, line(3)]), 3)
    assert [message.delayed for message in messages if isinstance(message, Arrival)] == [False, True, False]


def test_a_stream_that_the_server_ends_is_resumed() -> None:
    source = Scripted([line(1)], [line(2)])
    messages, reader = read(source, 2)
    assert arrivals(messages) == [line(1), line(2)]
    assert reader.interruptions[0].cause == "the server ended the stream"


@pytest.mark.parametrize("gone", [[GoneError()], [ERROR_410]])
def test_after_410_it_lists_anew_and_watches_from_that_list(gone: list[bytes | Exception]) -> None:
    item = {"metadata": {"uid": "u"}}
    source = Scripted([line(1), OSError("drop")], gone, [line(9)], lists=[[item]])
    messages, reader = read(source, 3)
    assert isinstance(messages[1], Relisted)
    assert messages[1].items == [item]
    assert source.asked_from[2].startswith("list-")
    assert arrivals(messages) == [line(1), line(9)]
    assert reader.interruptions[-1].cause == "410 Gone"
    assert reader.interruptions[-1].resumed_by == "relist"


def test_a_watch_that_stays_refused_is_given_up() -> None:
    async def run() -> None:
        source = Scripted([OSError("drop")])
        reader = WatchReader(source, give_up_s=0.2)
        await reader.start()
        await asyncio.wait_for(reader.run(), 5)

    with pytest.raises(WatchLostError, match="refused"):
        asyncio.run(run())
