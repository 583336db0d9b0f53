"""What is measured, sample by sample.

Times that end in `_ns` are nanoseconds of the client's monotonic clock since the run's origin.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Phase = Literal["warmup", "measured"]
Verb = Literal["create", "list", "get", "update", "delete"]
Resource = Literal["pods", "deployments"]
StampName = Literal["first_seen", "scheduled_seen", "started_seen", "running_seen", "ready_seen", "deleted_seen"]


class Sample(BaseModel):
    """A part of a result: never changed once made, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KbenchStamps(Sample):
    """First notifications by K-Bench's own rules (pod_manager.go, checkAndUpdate): it ignores conditions' status."""

    scheduled_ns: int | None = None
    initialized_ns: int | None = None


class ServerTimes(Sample):
    """What the server itself noted, in its own clock: RFC 3339, whole seconds but for events, see `kube/events.py`."""

    creation_timestamp: str | None = None
    start_time: str | None = None
    started_at: str | None = None
    scheduled_event_time: str | None = None
    pulled_event_time: str | None = None


class PodSample(Sample):
    """One pod, known by its UID. A `*_seen_ns` is when the watch reader got the first event that shows the state."""

    uid: str
    name: str
    owner: str | None = None
    node: str | None = None
    create_call_start_ns: int | None = None
    create_call_end_ns: int | None = None
    first_seen_ns: int | None = None
    scheduled_seen_ns: int | None = None
    started_seen_ns: int | None = None
    running_seen_ns: int | None = None
    ready_seen_ns: int | None = None
    delete_call_start_ns: int | None = None
    deleted_seen_ns: int | None = None
    kbench: KbenchStamps = KbenchStamps()
    server: ServerTimes = ServerTimes()
    delayed: list[StampName] = []
    succeeded: bool
    cause: str | None = None


class CallSample(Sample):
    """One API call: from just before the request to the last byte of its answer."""

    verb: Verb
    resource: Resource
    object: str
    start_ns: int
    end_ns: int
    status: int
    error: str | None = None

    @property
    def latency_ms(self) -> float:
        """How long the call took."""
        return (self.end_ns - self.start_ns) / 1e6


class WatchInterruption(Sample):
    """A gap in the watch. Stamps that it may have made late are listed in the pods' `delayed`."""

    cause: str
    last_byte_ns: int
    resumed_ns: int
    resumed_by: Literal["resume", "relist"]


class ClientLoad(Sample):
    """What the measuring client itself cost, from the first create call to the last deletion seen."""

    wall_s: float
    cpu_s: float
    cpu_share_of_one_core: float
    start_phase_wall_s: float
    start_phase_cpu_s: float
    loop_lag_samples: int
    loop_lag_median_ms: float
    loop_lag_p99_ms: Annotated[float, Field(description="Nearest rank; the largest when there are fewer than 100.")]
    loop_lag_max_ms: float


class Failure(Sample):
    """A requested pod, or a call, that failed, and why."""

    object: str
    cause: str


class Repeat(Sample):
    """One round in a namespace of its own: raw samples and what happened beside them."""

    phase: Phase
    index: int
    namespace: str
    started_at: str
    first_create_wall_unix_ns: int
    pods_requested: int
    pods_succeeded: int
    pods_listed: Annotated[int | None, Field(description="Pods by an independent LIST after the start phase.")] = None
    timed_out: Annotated[
        list[Literal["start", "delete"]], Field(description="Phases whose limit in the workload was reached.")
    ] = []
    failures: list[Failure] = []
    pods: list[PodSample]
    calls: list[CallSample]
    interruptions: list[WatchInterruption] = []
    client: ClientLoad | None = None
    pods_per_node: dict[str, int] = {}
    complete: bool = True
    notes: list[str] = []

    @property
    def success_share(self) -> float:
        """Pods up / pods requested."""
        return self.pods_succeeded / self.pods_requested
