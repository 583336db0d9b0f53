"""The zero of a run's clocks."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClockOrigin:
    """The run's zero: the monotonic clock and the wall clock read together, in nanoseconds."""

    monotonic_ns: int
    unix_ns: int

    @classmethod
    def now(cls) -> ClockOrigin:
        """Reads both clocks."""
        return cls(time.monotonic_ns(), time.time_ns())

    def since(self, stamp_ns: int) -> int:
        """A monotonic stamp as time since the origin."""
        return stamp_ns - self.monotonic_ns

    def unix(self, stamp_ns: int) -> int:
        """A monotonic stamp as time since 1970."""
        return self.unix_ns + stamp_ns - self.monotonic_ns
