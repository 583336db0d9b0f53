"""Namespaces of a run: each repeat gets a fresh one, and each is deleted before the run ends, however it ends.

A namespace takes 5 s and more to go, even an empty one. A run that is complete does not wait for that: the next run does, before
it measures.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from benchmarks.kube.connection import Connection
from benchmarks.measure.progress import say
from benchmarks.model.outcome import MeasurementError

RUN_LABEL = "litelab.dev/bench-run"
_OWNER_ANNOTATION = "litelab.dev/bench-owner"
_POLL_S = 0.2
_MOST_NAMED = 5
_LAST_WORDS_S = 5.0
"""What a run that has asked for the end of its namespaces may take to end itself."""


class Namespaces:
    """Makes namespaces and remembers those that are still there."""

    def __init__(self, connection: Connection, run_id: str, limit_s: float) -> None:
        self._connection = connection
        self._run_id = run_id
        self._limit_s = limit_s
        self.standing: list[str] = []
        self._going: list[str] = []

    async def create(self, name: str) -> None:
        """Makes the namespace and waits for what a pod in it needs: its default service account."""
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {RUN_LABEL: self._run_id, "pod-security.kubernetes.io/enforce": "baseline"},
                "annotations": {_OWNER_ANNOTATION: json.dumps(_owner())},
            },
        }
        self.standing.append(name)
        url = self._connection.url("/api/v1/namespaces")
        answer = await self._connection.call("POST", url, json.dumps(body).encode())
        if not answer.ok:
            if answer.status == 409:
                self.standing.remove(name)
            raise MeasurementError(
                what=f"namespace {name} could not be made",
                where=self._connection.server,
                why=answer.error or "",
                fix="Check that the kubeconfig's user may create namespaces",
            )
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        until = time.monotonic() + self._limit_s
        while not (answer := await self._connection.get(account)).ok:
            if time.monotonic() > until:
                raise MeasurementError(
                    what=f"namespace {name} got no default service account within {self._limit_s:g} s",
                    where=self._connection.server,
                    why=f"The last answer was: {answer.error}",
                    fix="The controller manager makes service accounts: look whether it runs",
                )
            await asyncio.sleep(_POLL_S)

    async def delete(self, name: str) -> None:
        """Deletes the namespace and waits until it is gone; raises with its last state when it stays."""
        path = f"/api/v1/namespaces/{name}"
        url = self._connection.url(path)
        until = time.monotonic() + self._limit_s
        asked = await self._connection.call("DELETE", url)
        forced = False
        while True:
            answer = await self._connection.get(path)
            if answer.status == 404:
                if name in self.standing:
                    self.standing.remove(name)
                return
            left_s = until - time.monotonic()
            if left_s < self._limit_s / 2 and not forced:
                forced = True
                await self._force_pods(name)
            if not asked.ok and asked.status not in (404, 409):
                asked = await self._connection.call("DELETE", url)
            if left_s <= 0:
                raise MeasurementError(
                    what=f"namespace {name} was not gone {self._limit_s:g} s after its deletion",
                    where=self._connection.server,
                    why=_why_standing(answer.body) or answer.error or "it gave no reason",
                    fix=f"Look at `kubectl get pods,events -n {name}`, then delete it by hand",
                )
            await asyncio.sleep(_POLL_S)

    async def delete_standing(self) -> list[str]:
        """Deletes whatever is left, at once; what stays is returned, each with its reason."""
        answers = await asyncio.gather(*(self.delete(name) for name in list(self.standing)), return_exceptions=True)
        return [str(answer) for answer in answers if isinstance(answer, BaseException)]

    async def release(self) -> list[str]:
        """Asks for the end of whatever is left, and waits for it only where that is refused; returns what stays, with its reason."""
        urls = {name: self._connection.url(f"/api/v1/namespaces/{name}") for name in self.standing}
        answers = await asyncio.gather(*(self._connection.call("DELETE", url) for url in urls.values()))
        self.standing = [name for name, answer in zip(urls, answers, strict=True) if not answer.ok]
        return await self.delete_standing()

    async def await_earlier(self) -> None:
        """Waits until the namespaces of earlier runs are gone; raises with the last state of one that stays."""
        going, self._going = self._going, []
        if going:
            names = f"{', '.join(going[:_MOST_NAMED])}{' and more' if len(going) > _MOST_NAMED else ''}"
            say(
                f"  waiting up to {self._limit_s:g} s for namespaces of earlier runs that are still Terminating: {names}"
            )
        await asyncio.gather(*(self.delete(name) for name in going))

    async def clear_abandoned(self) -> list[str]:
        """Removes namespaces of runs on this machine whose process is dead; refuses to start beside a living one.

        Those that are going already are left to `await_earlier`.
        """
        answer = await self._connection.get(f"/api/v1/namespaces?labelSelector={RUN_LABEL}")
        if not answer.ok:
            return []
        abandoned = []
        for item in answer.json().get("items", []):
            owner = _owner_of(item)
            if owner is None or owner.get("machine") != _owner()["machine"]:
                # This machine before its last restart, say. What it has not asked to go is not ours to remove.
                if item["metadata"].get("deletionTimestamp"):
                    self._going.append(str(item["metadata"]["name"]))
                continue
            own = owner == _owner()
            if item["metadata"].get("deletionTimestamp") and (own or await _ends(owner)):
                self._going.append(str(item["metadata"]["name"]))
            elif not _lives(owner):
                abandoned.append(str(item["metadata"]["name"]))
            elif not own:
                raise MeasurementError(
                    what="another run is measuring on this cluster",
                    where=f"{self._connection.server}, namespace {item['metadata']['name']}",
                    why=f"Process {owner.get('pid')} on this machine owns that namespace; two runs distort each other",
                    fix="Wait for it to end, or interrupt it: it then removes its namespaces",
                )
        for name in abandoned:
            await self.delete(name)
        return abandoned

    async def _force_pods(self, namespace: str) -> None:
        """A pod whose node is gone never confirms its end."""
        answer = await self._connection.get(f"/api/v1/namespaces/{namespace}/pods")
        for pod in answer.json().get("items", []) if answer.ok else []:
            path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}?gracePeriodSeconds=0"
            await self._connection.call("DELETE", self._connection.url(path))


def _owner() -> dict[str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id")
    machine = f"{socket.gethostname()}/{boot.read_text().strip() if boot.exists() else ''}"
    pid = os.getpid()
    return {"machine": machine, "pid": str(pid), "started": _process_start(pid) or ""}


def _owner_of(namespace: dict[str, Any]) -> dict[str, str] | None:
    try:
        owner = json.loads(namespace["metadata"]["annotations"][_OWNER_ANNOTATION])
    except (KeyError, ValueError):
        return None
    return owner if isinstance(owner, dict) else None


def _lives(owner: dict[str, str]) -> bool:
    return owner.get("pid", "").isdigit() and _process_start(int(owner["pid"])) == owner.get("started")


async def _ends(owner: dict[str, str]) -> bool:
    """Whether a run's process is gone, or goes within moments."""
    until = time.monotonic() + _LAST_WORDS_S
    while _lives(owner):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def _process_start(pid: int) -> str | None:
    """When a living process began, in clock ticks since boot (proc(5), field 22): with its id it names one process.

    One that has ended and that nobody has waited for yet does not live.
    """
    try:
        state, *more = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else more[18]
    except (OSError, IndexError, ValueError):
        return None


def _why_standing(body: bytes) -> str:
    try:
        conditions = json.loads(body)["status"]["conditions"]
    except (ValueError, KeyError, TypeError):
        return ""
    return "; ".join(c["message"] for c in conditions if c.get("status") == "True" and c.get("message"))[:400]
