"""When the server's own events happened."""

from __future__ import annotations

from benchmarks.kube.events import event_time

_NS = 1_767_323_045_123_456_789  # 2026-01-02T03:04:05.123456789Z
_COARSE = "2026-01-02T03:04:05Z"


def named(suffix: str, **more: str | None) -> dict[str, object]:
    return {"metadata": {"name": f"pod-0.{suffix}"}, **more}


def test_event_time_is_taken_where_it_is() -> None:
    assert event_time(named("1", eventTime="2026-01-02T03:04:05.5Z")) == "2026-01-02T03:04:05.5Z"


def test_the_name_gives_the_microseconds_that_the_old_api_lacks() -> None:
    assert event_time(named(f"{_NS:x}", deprecatedFirstTimestamp=_COARSE)) == "2026-01-02T03:04:05.123456Z"


def test_a_name_that_disagrees_with_the_time_stamp_is_not_believed() -> None:
    assert event_time(named(f"{_NS + 10**10:x}", deprecatedFirstTimestamp=_COARSE)) == _COARSE
    assert event_time(named("no-hex", deprecatedFirstTimestamp=_COARSE)) == _COARSE
    assert event_time(named("f" * 40, deprecatedFirstTimestamp=_COARSE)) == _COARSE


def test_an_event_without_any_time_has_none() -> None:
    assert event_time(named(f"{_NS:x}", eventTime=None)) is None
