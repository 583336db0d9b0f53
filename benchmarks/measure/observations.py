"""What one repeat has gathered, and the record that becomes of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from benchmarks.kube import manifests
from benchmarks.kube.connection import Answer
from benchmarks.kube.watch import Interruption
from benchmarks.measure.clock_origin import ClockOrigin
from benchmarks.measure.podtable import PodTable, SeenPod
from benchmarks.model.samples import (
    CallSample,
    ClientLoad,
    Failure,
    KbenchStamps,
    Phase,
    PodSample,
    Repeat,
    ServerTimes,
    WatchInterruption,
)
from benchmarks.model.workload import Workload

CONFLICT = 409
"""The answer to an update of what has changed meanwhile: it is sent again, and counts as no failure."""
_ENOUGH_FAILURES = 20


@dataclass(slots=True)
class Observations:
    """What a repeat has gathered so far, kept whatever happens.

    Attributes:
        create, delete: the answer to the call on each object, by its client's number.
        deployment_of: the name of the deployment that a replica set belongs to, by the set's UID.
        events: when the server noted what of a pod, by UID and reason.
        up, causes: whether a pod was up in time, by UID, and why not.
    """

    workload: Workload
    origin: ClockOrigin
    phase: Phase
    index: int
    namespace: str
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    calls: list[CallSample] = field(default_factory=list)
    create: dict[int, Answer] = field(default_factory=dict)
    delete: dict[int, Answer] = field(default_factory=dict)
    deployment_of: dict[str, str] = field(default_factory=dict)
    events: dict[str, dict[str, str]] = field(default_factory=dict)
    timed_out: list[Literal["start", "delete"]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    up: dict[str, bool] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    pods_listed: int | None = None
    conflicts: int = 0
    complete: bool = False

    def record(self, table: PodTable, interruptions: Sequence[Interruption], load: ClientLoad | None) -> Repeat:
        """Everything that was taken, complete or not, with what the watch saw of each pod."""
        pods = [self._sample(pod) for pod in table.pods.values()]
        first_ns = min((answer.start_ns for answer in self.create.values()), default=time.monotonic_ns())
        return Repeat(
            phase=self.phase,
            index=self.index,
            namespace=self.namespace,
            started_at=self.started_at.isoformat(timespec="milliseconds"),
            first_create_wall_unix_ns=self.origin.unix(first_ns),
            pods_requested=self.workload.pods,
            pods_succeeded=min(sum(pod.succeeded for pod in pods), self.workload.pods),
            pods_listed=self.pods_listed,
            timed_out=self.timed_out,
            failures=self._failures(pods),
            pods=pods,
            calls=self.calls,
            interruptions=[self._interruption(gap) for gap in interruptions],
            client=load,
            pods_per_node=dict(sorted(Counter(pod.node for pod in pods if pod.node).items())),
            complete=self.complete,
            notes=[*self.notes, *self._remarks(len(pods))],
        )

    def _remarks(self, pods: int) -> list[str]:
        found = []
        if self.conflicts:
            found.append(f"{self.conflicts} updates met a newer object and were sent again")
        if pods > self.workload.pods:
            found.append(f"{pods} pods were made for {self.workload.pods} that were asked for: some were replaced")
        if self.pods_listed not in (None, pods):
            found.append(f"a list shows {self.pods_listed} pods, the watch {pods}")
        return found

    def _failures(self, pods: list[PodSample]) -> list[Failure]:
        failures = [Failure(object=pod.name, cause=pod.cause or "unknown") for pod in pods if not pod.succeeded]
        failures += [
            Failure(object=f"{call.verb} {call.resource} {call.object}", cause=call.error)
            for call in self.calls
            if call.error and call.status != CONFLICT
        ]
        missing = self.workload.pods - len(pods)
        if missing > 0:
            failures.insert(0, Failure(object=f"{missing} pods", cause="never seen: no event told of them"))
        return failures[:_ENOUGH_FAILURES]

    def _sample(self, pod: SeenPod) -> PodSample:
        def since(stamp_ns: int | None) -> int | None:
            return None if stamp_ns is None else self.origin.since(stamp_ns)

        seen = pod.stamps_ns
        deployment = self.deployment_of.get(pod.owner_uid or "")
        names = [manifests.object_name(self.workload, client) for client in range(self.workload.clients)]
        client = names.index(deployment) if deployment in names else pod.client
        create = self.create.get(client) if client is not None else None
        delete = self.delete.get(client) if client is not None else None
        events = self.events.get(pod.uid, {})
        succeeded = self.up.get(pod.uid, False)
        return PodSample(
            uid=pod.uid,
            name=pod.name,
            owner=deployment,
            node=pod.node,
            create_call_start_ns=since(create.start_ns if create else None),
            create_call_end_ns=since(create.end_ns if create else None),
            first_seen_ns=since(seen.get("first_seen")),
            scheduled_seen_ns=since(seen.get("scheduled_seen")),
            started_seen_ns=since(seen.get("started_seen")),
            running_seen_ns=since(seen.get("running_seen")),
            ready_seen_ns=since(seen.get("ready_seen")),
            delete_call_start_ns=since(delete.start_ns if delete else None),
            deleted_seen_ns=since(seen.get("deleted_seen")),
            kbench=KbenchStamps(
                scheduled_ns=since(pod.kbench_scheduled_ns), initialized_ns=since(pod.kbench_initialized_ns)
            ),
            server=ServerTimes(
                creation_timestamp=pod.creation_timestamp,
                start_time=pod.start_time,
                started_at=pod.started_at,
                scheduled_event_time=events.get("Scheduled"),
                pulled_event_time=events.get("Pulled"),
            ),
            delayed=pod.delayed,
            succeeded=succeeded,
            cause=None if succeeded else self.causes.get(pod.uid, pod.state),
        )

    def _interruption(self, gap: Interruption) -> WatchInterruption:
        return WatchInterruption(
            cause=gap.cause,
            last_byte_ns=self.origin.since(gap.last_byte_ns),
            resumed_ns=self.origin.since(gap.resumed_ns),
            resumed_by=gap.resumed_by,
        )
