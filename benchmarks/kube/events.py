"""When the server's own events happened, as precisely as they tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_DISAGREEMENT_S = 2.0


def event_time(event: dict[str, Any]) -> str | None:
    """RFC 3339 time of an events.k8s.io/v1 event, with microseconds where they can be had.

    `eventTime` has them, but stays empty when the reporter uses the old API, whose time stamps are whole seconds. Both
    name events `<object>.<nanoseconds since 1970 in hex>`; that is taken when it agrees with the coarse time.
    """
    if event.get("eventTime"):
        return str(event["eventTime"])
    coarse = event.get("deprecatedFirstTimestamp")
    named = _time_in_name(str(event.get("metadata", {}).get("name", "")))
    if coarse is None or named is None:
        return coarse
    apart = abs((named - datetime.fromisoformat(coarse)).total_seconds())
    return (
        named.isoformat(timespec="microseconds").replace("+00:00", "Z") if apart < _LARGEST_DISAGREEMENT_S else coarse
    )


def _time_in_name(name: str) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=int(name.rpartition(".")[2], 16) // 1000)
    except (ValueError, OverflowError):
        return None
