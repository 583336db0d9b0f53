"""One repeat on several clusters at once: each has its share of the load, and what was taken becomes one record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.kube.connection import Connection
from benchmarks.kube.namespaces import Namespaces
from benchmarks.measure.clock_origin import ClockOrigin
from benchmarks.measure.repeat import RepeatRun
from benchmarks.model.outcome import MeasurementError
from benchmarks.model.samples import Phase, Repeat
from benchmarks.model.workload import Workload


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is measured, and its share of the load; `name` is its context where it is one of several."""

    name: str
    connection: Connection
    namespaces: Namespaces
    share: Workload


class MultiClusterRun:
    """A `RepeatRun` on each cluster; all of them create at the same moment. One cluster is measured as if it were alone."""

    def __init__(
        self, clusters: Sequence[Cluster], namespace: str, origin: ClockOrigin, phase: Phase, index: int
    ) -> None:
        together = asyncio.Barrier(len(clusters)).wait if len(clusters) > 1 else None
        self._runs = {
            c.name: RepeatRun(c.connection, c.share, namespace, origin, phase, index, together) for c in clusters
        }

    async def measure(self) -> None:
        """All phases on every cluster; when one can't be measured, the others are broken off, and its error is raised."""
        try:
            async with asyncio.TaskGroup() as group:
                for run in self._runs.values():
                    group.create_task(run.measure())
        except BaseExceptionGroup as errors:
            known, others = errors.split(MeasurementError)
            if others or not known:
                raise
            raise _first(known) from errors

    def record(self) -> Repeat:
        """Everything that was taken, complete or not."""
        return merged({name: run.record() for name, run in self._runs.items()})


def merged(records: dict[str, Repeat]) -> Repeat:
    """One record of one round on several clusters, by their names; what is told of an object says in which one it is."""
    parts = list(records.values())
    if len(parts) == 1:
        return parts[0]
    listed = [part.pods_listed for part in parts if part.pods_listed is not None]
    timed_out = {phase for part in parts for phase in part.timed_out}
    loads = [part.client for part in parts if part.client]
    return parts[0].model_copy(
        update={
            "started_at": min(part.started_at for part in parts),
            "first_create_wall_unix_ns": min(part.first_create_wall_unix_ns for part in parts),
            "pods_requested": sum(part.pods_requested for part in parts),
            "pods_succeeded": sum(part.pods_succeeded for part in parts),
            "pods_listed": sum(listed) if len(listed) == len(parts) else None,
            "timed_out": sorted(timed_out),
            "failures": [
                failure.model_copy(update={"object": f"{name}: {failure.object}"})
                for name, part in records.items()
                for failure in part.failures
            ],
            "pods": [pod for part in parts for pod in part.pods],
            "calls": [call for part in parts for call in part.calls],
            "interruptions": [gap for part in parts for gap in part.interruptions],
            # Each meters the same process; the one that took longest has seen most of it.
            "client": max(loads, key=lambda load: load.wall_s, default=None),
            "pods_per_node": _sum(part.pods_per_node for part in parts),
            "complete": all(part.complete for part in parts),
            "notes": [f"{name}: {note}" for name, part in records.items() for note in part.notes],
        }
    )


def _first(errors: BaseExceptionGroup[MeasurementError]) -> MeasurementError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for node, pods in part.items():
            total[node] = total.get(node, 0) + pods
    return dict(sorted(total.items()))
