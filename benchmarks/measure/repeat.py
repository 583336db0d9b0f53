"""One repeat: create everything at once, see it start, list, get, update, delete, see it go."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from yarl import URL

from benchmarks.kube import manifests
from benchmarks.kube.connection import Answer, Connection
from benchmarks.kube.events import event_time
from benchmarks.kube.watch import ApiWatchSource, Relisted, WatchLostError, WatchReader
from benchmarks.measure.clientload import LoadMeter
from benchmarks.measure.clock_origin import ClockOrigin
from benchmarks.measure.observations import CONFLICT, Observations
from benchmarks.measure.podtable import PodTable
from benchmarks.measure.progress import say
from benchmarks.model.outcome import MeasurementError
from benchmarks.model.samples import CallSample, ClientLoad, Phase, Repeat, Resource, Verb
from benchmarks.model.workload import Workload

_TELL_EVERY_S = 2.0
_UPDATE_TRIES = 4
_POLL_S = 0.05
_measuring = 0
"""Repeats that run at this moment: on several clusters they do so side by side."""


class RepeatRun:
    """Runs one repeat in a namespace that exists. `record` gives what there is, also after `measure` broke off.

    `others` is waited for before the first create call: other clusters that are to begin with this one.
    """

    def __init__(
        self,
        connection: Connection,
        workload: Workload,
        namespace: str,
        origin: ClockOrigin,
        phase: Phase,
        index: int,
        others: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._others = others
        self._connection, self._workload, self._namespace = connection, workload, namespace
        self._origin, self._phase, self._index = origin, phase, index
        self._resource: Resource = workload.kind
        self._collection = manifests.collection_path(workload, namespace)
        self._objects = [manifests.object_name(workload, client) for client in range(workload.clients)]
        self._table = PodTable()
        self._changed = asyncio.Event()
        self._reader = WatchReader(ApiWatchSource(connection, f"/api/v1/namespaces/{namespace}/pods"))
        self._meter = LoadMeter()
        self._load: ClientLoad | None = None
        self._taken = Observations(workload, origin, phase, index, namespace)

    async def measure(self) -> None:
        """All phases in order. What was measured badly is in the record; what could not be measured is raised."""
        await self._connection.authenticate()
        try:
            await self._reader.start()
        except OSError as error:
            raise self._watch_trouble(str(error)) from error
        async with self._watching():
            await self._connection.warm(self._workload.clients)
            with _no_garbage_collection():
                if self._others:
                    await self._others()
                self._meter.start()
                await self._create()
                await self._see_start()
                self._meter.end_start_phase()
                await self._read_and_update()
                await self._note_server_side()
                self._note_crashes()
                await self._delete()
                self._load = self._meter.stop()
        self._taken.complete = True

    # -- phases ---------------------------------------------------------------------------------------------------

    async def _create(self) -> None:
        url = self._connection.url(self._collection)
        bodies = [manifests.object_body(self._workload, client) for client in range(self._workload.clients)]
        answers = await asyncio.gather(
            *(self._connection.call("POST", url, body, limit_s=self._workload.limits.call_seconds) for body in bodies)
        )
        self._taken.create = dict(enumerate(answers))
        self._keep("create", self._objects, answers)

    async def _see_start(self) -> None:
        created = sum(answer.ok for answer in self._taken.create.values()) * self._workload.replicas
        limit_s = self._workload.limits.start_seconds
        in_time = await self._await_table(
            lambda: self._table.up() + self._table.hopeless() >= created,
            limit_s,
            lambda: f"{self._table.up()}/{self._workload.pods} pods are up",
        )
        self._taken.up = {uid: pod.up for uid, pod in self._table.pods.items()}
        self._taken.causes = {uid: pod.state for uid, pod in self._table.pods.items() if not pod.up}
        if not in_time:
            self._taken.timed_out.append("start")
            await self._require_truthful_watch()
        elif self._workload.kind == "deployments":
            await self._see_available()

    def _note_crashes(self) -> None:
        """A container that ended by itself while the others were listed and updated was up for a moment: no success."""
        for uid, pod in self._table.pods.items():
            if pod.crash and self._taken.up.get(uid):
                self._taken.up[uid] = False
                self._taken.causes[uid] = f"{pod.crash}, after it had been up"

    async def _see_available(self) -> None:
        """Unmeasured: lets the controller finish its status, which it writes after the last pod is ready."""
        limit_s = self._workload.limits.answer_seconds
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            answer = await self._connection.get(self._collection)
            items = answer.json().get("items") or [] if answer.ok else []
            available = [item.get("status", {}).get("availableReplicas", 0) for item in items]
            if len(items) == self._workload.clients and min(available, default=0) >= self._workload.replicas:
                return
            await asyncio.sleep(_POLL_S)
        self._taken.notes.append(f"not every deployment was available {limit_s:g} s after its pods were up")

    async def _read_and_update(self) -> None:
        url = self._connection.url(self._collection)
        everywhere = [url] * self._workload.clients
        listed = await self._all("list", "GET", everywhere, ["*"] * self._workload.clients)
        if self._workload.kind == "pods" and listed[0].ok:
            self._taken.pods_listed = len(listed[0].json().get("items") or [])
        present = [client for client, answer in self._taken.create.items() if answer.ok]
        names = [self._objects[client] for client in present]
        urls = [self._connection.url(f"{self._collection}/{name}") for name in names]
        got = await self._all("get", "GET", urls, names)
        bodies = [manifests.updated_body(self._workload, answer.json()) if answer.ok else b"{}" for answer in got]
        updated = await self._all("update", "PUT", urls, names, bodies)
        for _ in range(_UPDATE_TRIES - 1):
            again = [i for i, answer in enumerate(updated) if answer.status == CONFLICT]
            if not again:
                return
            self._taken.conflicts += len(again)
            urls, names = [urls[i] for i in again], [names[i] for i in again]
            fresh = await asyncio.gather(*(self._connection.call("GET", url) for url in urls))
            bodies = [manifests.updated_body(self._workload, a.json()) if a.ok else b"{}" for a in fresh]
            updated = await self._all("update", "PUT", urls, names, bodies)

    async def _delete(self) -> None:
        present = [client for client, answer in self._taken.create.items() if answer.ok]
        names = [self._objects[client] for client in present]
        urls = [self._connection.url(f"{self._collection}/{name}") for name in names]
        answers = await self._all("delete", "DELETE", urls, names)
        self._taken.delete = dict(zip(present, answers, strict=True))
        total = len(self._table.pods)
        in_time = await self._await_table(
            lambda: not any(self._table.alive()),
            self._workload.limits.delete_seconds,
            lambda: f"{total - sum(1 for _ in self._table.alive())}/{total} pods are gone",
        )
        if not in_time:
            self._taken.timed_out.append("delete")
            left = [pod.name for pod in self._table.alive()]
            self._taken.notes.append(f"{len(left)} pods were not gone in time, such as {left[0]}")

    async def _note_server_side(self) -> None:
        """Unmeasured: what the server noted of its own accord, and which deployment each pod belongs to."""
        events = await self._connection.get(f"/apis/events.k8s.io/v1/namespaces/{self._namespace}/events")
        for event in events.json().get("items") or [] if events.ok else []:
            uid, reason = event.get("regarding", {}).get("uid", ""), event.get("reason", "")
            when = event_time(event)
            if when and reason in ("Scheduled", "Pulled"):
                self._taken.events.setdefault(uid, {}).setdefault(reason, when)
        if self._workload.kind == "pods":
            return
        sets = await self._connection.get(f"/apis/apps/v1/namespaces/{self._namespace}/replicasets")
        for item in sets.json().get("items") or [] if sets.ok else []:
            for owner in item["metadata"].get("ownerReferences", []):
                self._taken.deployment_of[item["metadata"]["uid"]] = owner["name"]
        pods = await self._connection.get(f"/api/v1/namespaces/{self._namespace}/pods")
        if pods.ok:
            self._taken.pods_listed = len(pods.json().get("items") or [])

    # -- the watch ------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        reading = asyncio.create_task(self._reader.run())
        applying = asyncio.create_task(self._apply())
        self._watch_tasks = (reading, applying)
        try:
            yield
        finally:
            for task in self._watch_tasks:
                task.cancel()
            await asyncio.gather(*self._watch_tasks, return_exceptions=True)

    async def _apply(self) -> None:
        while True:
            message = await self._reader.queue.get()
            self._table.apply(message)
            self._changed.set()
            await asyncio.sleep(0)  # the reader goes first: its stamps must not wait for parsing

    async def _await_table(self, done: Callable[[], bool], limit_s: float, tell: Callable[[], str]) -> bool:
        """Waits for the table to satisfy `done`; False when the limit is reached first."""
        until = time.monotonic() + limit_s
        tell_at = time.monotonic() + _TELL_EVERY_S
        while not done():
            for task in self._watch_tasks:
                if task.done():
                    self._raise_watch_failure(task)
            now = time.monotonic()
            if now >= until:
                return False
            if now >= tell_at:
                say(f"  {self._label}: {tell()} after {limit_s - (until - now):.0f} s")
                tell_at = now + _TELL_EVERY_S
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(until, tell_at) - now)
        return True

    async def _require_truthful_watch(self) -> None:
        """Before pods are blamed: does the API server itself say that they are not up?"""
        answer = await self._connection.get(f"/api/v1/namespaces/{self._namespace}/pods")
        if not answer.ok:
            msg = f"Nothing more came, and the server answers no list either: {answer.error}"
            raise self._watch_trouble(msg)
        fresh = PodTable()
        fresh.apply(Relisted(time.monotonic_ns(), answer.json().get("items") or []))
        await asyncio.sleep(1.0)  # what is under way on the watch may still arrive
        if fresh.up() > self._table.up():
            msg = f"A list shows {fresh.up()} pods up, the watch had shown {self._table.up()}: it delivers no events"
            raise self._watch_trouble(msg)

    def _raise_watch_failure(self, task: asyncio.Task[None]) -> None:
        error = task.exception()
        if isinstance(error, WatchLostError):
            raise self._watch_trouble(str(error)) from error
        if error is not None:
            raise error

    def _watch_trouble(self, why: str) -> MeasurementError:
        return MeasurementError(
            what=f"the watch on pods was lost in {self._label}",
            where=f"{self._connection.server}, namespace {self._namespace}",
            why=why,
            fix="Look at the API server's log and load; then run again",
        )

    # -- calls ----------------------------------------------------------------------------------------------------

    async def _all(
        self, verb: Verb, method: str, urls: Sequence[URL], names: list[str], bodies: list[bytes] | None = None
    ) -> list[Answer]:
        limit_s = self._workload.limits.call_seconds
        answers = await asyncio.gather(
            *(
                self._connection.call(method, url, bodies[i] if bodies else None, limit_s=limit_s)
                for i, url in enumerate(urls)
            )
        )
        self._keep(verb, names, answers)
        return list(answers)

    def _keep(self, verb: Verb, names: list[str], answers: Sequence[Answer]) -> None:
        since = self._origin.since
        self._taken.calls += [
            CallSample(
                verb=verb,
                resource=self._resource,
                object=name,
                start_ns=since(answer.start_ns),
                end_ns=since(answer.end_ns),
                status=answer.status,
                error=answer.error,
            )
            for name, answer in zip(names, answers, strict=True)
        ]

    # -- the record -----------------------------------------------------------------------------------------------

    @property
    def _label(self) -> str:
        return f"{'warm-up' if self._phase == 'warmup' else 'repeat'} {self._index}"

    def record(self) -> Repeat:
        """Everything that was taken, complete or not."""
        if self._load is None:
            self._load = self._meter.stop()
        return self._taken.record(self._table, self._reader.interruptions, self._load)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a burst would show as latency."""
    global _measuring
    gc.collect()
    gc.disable()
    _measuring += 1
    try:
        yield
    finally:
        _measuring -= 1
        if not _measuring:
            gc.enable()
