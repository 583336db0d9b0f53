"""What the watch has shown of every pod so far, by UID. A stamp is set once, by the first event with the state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.kube.watch import Arrival, Relisted
from benchmarks.model.samples import StampName

_CRASHES_TO_GIVE_UP = 3


@dataclass(slots=True)
class SeenPod:
    """One pod as seen so far; times are monotonic nanoseconds."""

    uid: str
    name: str
    client: int | None
    owner_uid: str | None
    stamps_ns: dict[StampName, int] = field(default_factory=dict)
    delayed: list[StampName] = field(default_factory=list)
    kbench_scheduled_ns: int | None = None
    kbench_initialized_ns: int | None = None
    node: str | None = None
    creation_timestamp: str | None = None
    start_time: str | None = None
    started_at: str | None = None
    state: str = "not seen"
    ended: bool = False
    crash: str | None = None
    """What ended a container of it before anybody asked for that; a restart does not undo it."""

    @property
    def up(self) -> bool:
        """Started, Running and Ready seen, and not ended since."""
        return not self.ended and {"started_seen", "running_seen", "ready_seen"} <= self.stamps_ns.keys()

    @property
    def gone(self) -> bool:
        """Its deletion was seen."""
        return "deleted_seen" in self.stamps_ns


class PodTable:
    """Applies watch events; asks nothing of their order but that a pod's own events come in order."""

    def __init__(self) -> None:
        self.pods: dict[str, SeenPod] = {}

    def apply(self, message: Arrival | Relisted) -> None:
        """Takes in one message of the watch reader."""
        if isinstance(message, Relisted):
            self._relist(message)
            return
        event: dict[str, Any] = json.loads(message.line)
        if event["type"] == "BOOKMARK":
            return
        self._see(event["object"], message.stamp_ns, delayed=message.delayed, deleted=event["type"] == "DELETED")

    def up(self) -> int:
        """How many pods are up."""
        return sum(pod.up for pod in self.pods.values())

    def hopeless(self) -> int:
        """How many have failed for good."""
        return sum(pod.ended and not pod.up for pod in self.pods.values())

    def alive(self) -> Iterable[SeenPod]:
        """Pods whose deletion was not seen."""
        return (pod for pod in self.pods.values() if not pod.gone)

    def _relist(self, message: Relisted) -> None:
        listed = set()
        for item in message.items:
            listed.add(item["metadata"]["uid"])
            self._see(item, message.stamp_ns, delayed=True, deleted=False)
        for uid, pod in self.pods.items():
            if uid not in listed:
                _stamp(pod, "deleted_seen", message.stamp_ns, delayed=True)

    def _see(self, item: dict[str, Any], stamp_ns: int, *, delayed: bool, deleted: bool) -> None:
        metadata = item["metadata"]
        pod = self.pods.get(metadata["uid"])
        if pod is None:
            pod = self.pods[metadata["uid"]] = _new(metadata)
        for name in _states(item, deleted=deleted):
            _stamp(pod, name, stamp_ns, delayed=delayed)
        _note_kbench(pod, item.get("status", {}), stamp_ns)
        _note_server_side(pod, item)
        if not deleted:
            pod.state, pod.ended = describe(item)
            pod.crash = pod.crash or crash_of(item)


def _new(metadata: dict[str, Any]) -> SeenPod:
    owner = next((o["uid"] for o in metadata.get("ownerReferences", []) if o.get("controller")), None)
    client = metadata.get("labels", {}).get("litelab.dev/client")
    return SeenPod(metadata["uid"], metadata["name"], int(client) if client is not None else None, owner)


def _stamp(pod: SeenPod, name: StampName, stamp_ns: int, *, delayed: bool) -> None:
    if name not in pod.stamps_ns:
        pod.stamps_ns[name] = stamp_ns
        if delayed:
            pod.delayed.append(name)


def _states(item: dict[str, Any], *, deleted: bool) -> Iterable[StampName]:
    """The states that this one object shows."""
    spec, status = item["spec"], item.get("status", {})
    yield "first_seen"
    if spec.get("nodeName"):
        yield "scheduled_seen"
    containers = status.get("containerStatuses", [])
    if len(containers) == len(spec["containers"]) and all("running" in c.get("state", {}) for c in containers):
        yield "started_seen"
    if status.get("phase") == "Running":
        yield "running_seen"
    if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])):
        yield "ready_seen"
    if deleted:
        yield "deleted_seen"


def _note_kbench(pod: SeenPod, status: dict[str, Any], stamp_ns: int) -> None:
    """K-Bench looks at conditions of Pending pods alone, and only at whether they are there."""
    if status.get("phase") != "Pending":
        return
    conditions = {c["type"] for c in status.get("conditions", [])}
    if "PodScheduled" in conditions and pod.kbench_scheduled_ns is None:
        pod.kbench_scheduled_ns = stamp_ns
    if "Initialized" in conditions and pod.kbench_initialized_ns is None:
        pod.kbench_initialized_ns = stamp_ns


def _note_server_side(pod: SeenPod, item: dict[str, Any]) -> None:
    status = item.get("status", {})
    pod.node = item["spec"].get("nodeName") or pod.node
    pod.creation_timestamp = item["metadata"].get("creationTimestamp")
    pod.start_time = pod.start_time or status.get("startTime")
    if pod.started_at is None:
        running = [c["state"]["running"].get("startedAt") for c in status.get("containerStatuses", [])
                   if "running" in c.get("state", {})]  # fmt: skip
        pod.started_at = max((t for t in running if t), default=None)


def crash_of(item: dict[str, Any]) -> str | None:
    """Which container has ended, and how; None while all run as they were started, or once the pod is to go."""
    if item["metadata"].get("deletionTimestamp"):
        return None
    for container in item.get("status", {}).get("containerStatuses", []):
        ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
        if ended or container.get("restartCount", 0) > 0:
            code = (ended or {}).get("exitCode", "?")
            return f"container {container['name']} exited with code {code}, restarted {container.get('restartCount', 0)} times"
    return None


def describe(item: dict[str, Any]) -> tuple[str, bool]:
    """What a pod waits for or died of, in a few words, and whether it has failed for good."""
    status = item.get("status", {})
    phase = status.get("phase", "Unknown")
    for container in status.get("containerStatuses", []):
        state = container.get("state", {})
        ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
        crashed = f"container {container['name']} exited with code {ended.get('exitCode', '?')}"
        waiting = state.get("waiting", {})
        if phase == "Failed":
            return crashed if ended else f"phase Failed {status.get('reason', '')}".strip(), True
        if waiting.get("reason") == "CrashLoopBackOff" or container.get("restartCount", 0) >= _CRASHES_TO_GIVE_UP:
            return f"{crashed}, restarted {container.get('restartCount', 0)} times", True
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}"[:240].rstrip(": "), False
        if "terminated" in state:
            return crashed, False
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"not scheduled: {condition.get('message', condition.get('reason', ''))}"[:240], False
    if phase in ("Failed", "Succeeded"):
        return f"phase {phase} {status.get('reason', '')}".strip(), True
    if not item["spec"].get("nodeName"):
        return "not scheduled: no scheduler has taken it", False
    if phase == "Pending":
        return f"scheduled to {item['spec']['nodeName']}, its containers have not started", False
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    return ("up" if ready else "running, not ready"), False
