"""A whole run: warm-ups and repeats one after another, and what is left of it however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures.slo import percent
from benchmarks.figures.summary import summarise
from benchmarks.figures.throughput import true_pods_per_min
from benchmarks.kube.connection import Connection
from benchmarks.kube.namespaces import Namespaces
from benchmarks.measure.clock_origin import ClockOrigin
from benchmarks.measure.fingerprint import Fingerprint, bare_fingerprint, take_fingerprint
from benchmarks.measure.host_probe import after_run, probe_hosts
from benchmarks.measure.multi_cluster import Cluster, MultiClusterRun
from benchmarks.measure.priority import go_first
from benchmarks.measure.progress import say
from benchmarks.model import result_folder
from benchmarks.model.hosts_file import LabHosts, Step
from benchmarks.model.outcome import MeasurementError
from benchmarks.model.result import Result
from benchmarks.model.samples import Phase, Repeat
from benchmarks.model.workload import Workload


@dataclass(slots=True)
class _State:
    clusters: list[Cluster] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    fingerprint: Fingerprint | None = None
    errors: list[str] = field(default_factory=list)


async def run_workload(
    workload: Workload,
    kubeconfig: Path,
    lab: LabHosts | None,
    steps: list[Step],
    out: Path,
    contexts: Sequence[str] = (),
) -> Result:
    """Measures and writes the files; a run that could not measure comes back with its error and what it has.

    Each of several contexts is a cluster of its own, and the load is spread over them.
    """
    go_first()
    run_id = secrets.token_hex(4)
    origin, started_at = ClockOrigin.now(), datetime.now(UTC)
    state = _State()
    async with contextlib.AsyncExitStack() as opened:
        connections = [
            await opened.enter_async_context(await Connection.open(kubeconfig, context)) for context in contexts or [""]
        ]
        folder = result_folder.ResultFolder(out)
        server = ", ".join(connection.server for connection in connections)

        def write() -> Result:
            result = _result(workload, run_id, origin, started_at, state, lab, steps, server)
            folder.write(result_folder.RESULT, result)
            folder.write(result_folder.SUMMARY, result.summary)
            return result

        with contextlib.closing(folder):
            async with _interruptible() as interrupted:
                # The outer one notes what meets the cleaning up.
                with _noted(state, interrupted, workload, server):
                    try:
                        with _noted(state, interrupted, workload, server):
                            await _measure(connections, workload, lab, run_id, origin, state, folder)
                        if state.errors:
                            # Whoever ends this run may not wait for its namespaces: Pulumi gives a step half a second.
                            write()
                    finally:
                        await _clean_up(state)
            return write()


async def _measure(
    connections: Sequence[Connection],
    workload: Workload,
    lab: LabHosts | None,
    run_id: str,
    origin: ClockOrigin,
    state: _State,
    folder: result_folder.ResultFolder,
) -> None:
    for connection in connections:
        await connection.require_answer(workload.limits.answer_seconds)
    before = await probe_hosts(lab.hosts, workload.limits.answer_seconds) if lab else []
    for probe in before:
        if probe.error:
            say(f"  {probe.name} can't be asked for its clock and CPU: {probe.error}")
    state.fingerprint = await take_fingerprint(connections, lab, before, workload.limits.answer_seconds)
    state.clusters = [
        Cluster(c.context, c, Namespaces(c, run_id, workload.limits.namespace_seconds), share)
        for c, share in zip(connections, workload.shares(len(connections)), strict=False)
    ]
    for cluster in state.clusters:
        for name in await cluster.namespaces.clear_abandoned():
            say(f"  removed {name}, left by a run that was killed")
    plan: list[tuple[Phase, int]] = [("warmup", n + 1) for n in range(workload.warmups)]
    plan += [("measured", n + 1) for n in range(workload.repeats)]
    for number, (phase, index) in enumerate(plan, 1):
        namespace = f"bench-{run_id}-{number}"
        for cluster in state.clusters:
            if phase == "measured":
                await cluster.namespaces.await_earlier()
            await cluster.namespaces.create(namespace)
        repeat_run = MultiClusterRun(state.clusters, namespace, origin, phase, index)
        try:
            await repeat_run.measure()
        finally:
            repeat = repeat_run.record()
            state.repeats.append(repeat)
            folder.append_samples(repeat)
        say(_progress_line(repeat, workload))
        if phase == "measured" and repeat.pods_succeeded == 0 and index < workload.repeats:
            say("  no pod came up: further repeats would only repeat that")
            break
    # Only now, and all at once: the going of a namespace would disturb the next repeat.
    if all(repeat.complete and not repeat.timed_out for repeat in state.repeats):
        state.errors += await _everywhere(cluster.namespaces.release() for cluster in state.clusters)
    if lab:
        hosts = after_run(before, await probe_hosts(lab.hosts, workload.limits.answer_seconds))
        state.fingerprint = state.fingerprint.model_copy(update={"hosts": hosts})


async def _everywhere(work: Iterable[Coroutine[Any, Any, list[str]]]) -> list[str]:
    """The same on every cluster at once; what each of them says."""
    return [line for lines in await asyncio.gather(*work) for line in lines]


async def _clean_up(state: _State) -> None:
    """Removes the namespaces that are left; an interruption does not break that off, and is passed on after it."""
    task = asyncio.ensure_future(_everywhere(cluster.namespaces.delete_standing() for cluster in state.clusters))
    try:
        await asyncio.shield(task)
    finally:
        state.errors += await task


@contextlib.contextmanager
def _noted(state: _State, interrupted: Sequence[str], workload: Workload, server: str) -> Iterator[None]:
    """What ends a run early is an error of its result."""
    try:
        yield
    except MeasurementError as error:
        state.errors.append(str(error))
    except asyncio.CancelledError:
        if not interrupted:
            raise
        state.errors.append(str(_interruption(interrupted[0], workload, server)))


def _progress_line(repeat: Repeat, workload: Workload) -> str:
    label = f"warm-up {repeat.index}/{workload.warmups}"
    if repeat.phase == "measured":
        label = f"repeat {repeat.index}/{workload.repeats}"
    line = f"  {label}: {percent(repeat.success_share)} of {repeat.pods_requested} pods up"
    throughput = true_pods_per_min(repeat)
    if throughput:
        line += f", {throughput:.0f} pods/min"
    return line + (f"; {repeat.failures[0].object}: {repeat.failures[0].cause}" if repeat.failures else "")


def _result(
    workload: Workload,
    run_id: str,
    origin: ClockOrigin,
    started_at: datetime,
    state: _State,
    lab: LabHosts | None,
    steps: list[Step],
    server: str,
) -> Result:
    error = " ".join(dict.fromkeys(state.errors)) or None
    summary = summarise(
        workload=workload,
        run_id=run_id,
        started_at=started_at.isoformat(timespec="milliseconds"),
        finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        duration_s=(time.monotonic_ns() - origin.monotonic_ns) / 1e9,
        wall_minus_origin_ns=origin.unix_ns,
        repeats=state.repeats,
        error=error,
    )
    return Result(
        run_id=run_id,
        origin_unix_ns=origin.unix_ns,
        complete=error is None,
        error=error,
        summary=summary,
        workload=workload,
        fingerprint=state.fingerprint or bare_fingerprint(server, lab),
        steps=steps,
        warmups=[repeat for repeat in state.repeats if repeat.phase == "warmup"],
        repeats=[repeat for repeat in state.repeats if repeat.phase == "measured"],
    )


def _interruption(signal_name: str, workload: Workload, server: str) -> MeasurementError:
    return MeasurementError(
        what=f"{workload.name} was interrupted",
        where=server,
        why=f"The process got {signal_name}",
        fix="Run it again: its samples so far are kept, and the next run removes what is left of its namespaces",
    )


@contextlib.asynccontextmanager
async def _interruptible() -> AsyncIterator[list[str]]:
    """The first Ctrl-C, SIGTERM or SIGHUP cancels what runs, so that it cleans up; further ones don't disturb that."""
    received: list[str] = []
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def receive(number: signal.Signals) -> None:
        received.append(number.name)
        if len(received) == 1:
            task.cancel()
            say("  interrupted: keeping what was measured, then removing the namespaces of this run")
        else:
            say("  still removing them, in bounded time")

    for number in signals:
        loop.add_signal_handler(number, receive, number)
    try:
        yield received
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
