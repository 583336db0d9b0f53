"""The client's own CPU time and how late its event loop runs: a tool that is the bottleneck must show."""

from __future__ import annotations

import asyncio
import time

from benchmarks.figures.stats import median, nearest_rank
from benchmarks.model.samples import ClientLoad

_TICK_S = 0.01


class LoadMeter:
    """Start it before what is measured, stop it after."""

    def __init__(self) -> None:
        self._lags_ms: list[float] = []
        self._task: asyncio.Task[None] | None = None
        self._wall_ns = self._cpu_ns = 0
        self._start_phase: tuple[int, int] | None = None

    def start(self) -> None:
        """Begins to count."""
        self._wall_ns, self._cpu_ns = time.monotonic_ns(), time.process_time_ns()
        self._task = asyncio.create_task(self._tick())

    def end_start_phase(self) -> None:
        """Marks the end of the phase whose latencies matter most."""
        self._start_phase = time.monotonic_ns() - self._wall_ns, time.process_time_ns() - self._cpu_ns

    def stop(self) -> ClientLoad | None:
        """The load since `start`, or None when it never started."""
        if self._task is None:
            return None
        self._task.cancel()
        self._task = None
        wall_ns = time.monotonic_ns() - self._wall_ns
        cpu_ns = time.process_time_ns() - self._cpu_ns
        phase_wall_ns, phase_cpu_ns = self._start_phase or (wall_ns, cpu_ns)
        lags = self._lags_ms or [0.0]
        return ClientLoad(
            wall_s=wall_ns / 1e9,
            cpu_s=cpu_ns / 1e9,
            cpu_share_of_one_core=round(cpu_ns / wall_ns, 4) if wall_ns else 0.0,
            start_phase_wall_s=phase_wall_ns / 1e9,
            start_phase_cpu_s=phase_cpu_ns / 1e9,
            loop_lag_samples=len(self._lags_ms),
            loop_lag_median_ms=round(median(lags), 3),
            loop_lag_p99_ms=round(nearest_rank(lags, 0.99), 3),
            loop_lag_max_ms=round(max(lags), 3),
        )

    async def _tick(self) -> None:
        while True:
            due = time.monotonic() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self._lags_ms.append(max(0.0, (time.monotonic() - due) * 1e3))
