"""A double of a Kubernetes API server whose nodes start pods at once: what `benchmarks` needs of the API, and its faults.

It keeps one resource version for all objects and every pod event since its start, so that watches can be dropped,
resumed and refused as a real server does. Deployments make their pods directly, with a replica set in name only.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

NOW = "2026-01-02T03:04:05Z"


@dataclass
class Faults:
    """What this server does wrong."""

    drop_watch_after_events: list[int] = field(default_factory=list)
    gone_on_resume: bool = False
    silent_watch: bool = False
    never_schedule: set[str] = field(default_factory=set)
    crash: set[str] = field(default_factory=set)
    crash_once: set[str] = field(default_factory=set)
    """Up for a moment, then restarted."""
    refuse_create: set[str] = field(default_factory=set)
    keep_namespaces: bool = False
    conflicts_per_update: int = 0


class ApiServer:
    """State and handlers. `pod_seconds` is how long a pod takes to start, `namespace_seconds` a namespace to go."""

    def __init__(self, faults: Faults | None = None, pod_seconds: float = 0.05, namespace_seconds: float = 0.0) -> None:
        self.faults = faults or Faults()
        self.pod_seconds = pod_seconds
        self.namespace_seconds = namespace_seconds
        self.namespaces_asked_to_go = 0
        self.version = 100
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.namespaces_ever: list[str] = []
        self.pods: dict[tuple[str, str], dict[str, Any]] = {}
        self.deployments: dict[tuple[str, str], dict[str, Any]] = {}
        self.events: list[tuple[int, str, dict[str, Any]]] = []
        self.watches = 0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**24)
        ns = "/api/v1/namespaces/{ns}"
        deployments = "/apis/apps/v1/namespaces/{ns}/deployments"
        app.add_routes(
            [
                web.get("/version", self._version),
                web.get("/api/v1/nodes", self._nodes),
                web.get("/api/v1/namespaces", self._list_namespaces),
                web.post("/api/v1/namespaces", self._create_namespace),
                web.get(ns, self._get_namespace),
                web.delete(ns, self._delete_namespace),
                web.get(ns + "/serviceaccounts/default", self._get_namespace),
                web.get(ns + "/pods", self._list_or_watch_pods),
                web.post(ns + "/pods", self._create_pod),
                web.get(ns + "/pods/{name}", self._get(self.pods)),
                web.put(ns + "/pods/{name}", self._update(self.pods)),
                web.delete(ns + "/pods/{name}", self._delete_pod),
                web.get("/apis/events.k8s.io/v1/namespaces/{ns}/events", self._list_events),
                web.get("/apis/apps/v1/namespaces/{ns}/replicasets", self._list_replica_sets),
                web.get(deployments, self._list_deployments),
                web.post(deployments, self._create_deployment),
                web.get(deployments + "/{name}", self._get(self.deployments)),
                web.put(deployments + "/{name}", self._update(self.deployments)),
                web.delete(deployments + "/{name}", self._delete_deployment),
            ]
        )
        return app

    # -- small answers --------------------------------------------------------------------------------------------

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"major": "1", "minor": "35", "gitVersion": "v1.35.4"})

    async def _nodes(self, _: web.Request) -> web.Response:
        info = {
            "kubeletVersion": "v1.35.4",
            "kernelVersion": "6.1",
            "osImage": "a double",
            "architecture": "amd64",
            "containerRuntimeVersion": "none://0",
        }
        status = {"nodeInfo": info, "conditions": [{"type": "Ready", "status": "True"}], "capacity": {"cpu": "2"}}
        return web.json_response({"items": [{"metadata": {"name": "node-1"}, "spec": {}, "status": status}]})

    async def _list_events(self, request: web.Request) -> web.Response:
        items = [
            {
                "metadata": {"name": f"{pod['metadata']['name']}.18a"},
                "reason": "Scheduled",
                "eventTime": "2026-01-02T03:04:05.123456Z",
                "regarding": {"uid": pod["metadata"]["uid"]},
            }
            for (namespace, _), pod in self.pods.items()
            if namespace == request.match_info["ns"]
        ]
        return web.json_response({"items": items})

    # -- namespaces -----------------------------------------------------------------------------------------------

    async def _list_namespaces(self, _: web.Request) -> web.Response:
        return web.json_response({"items": list(self.namespaces.values())})

    async def _create_namespace(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.namespaces[body["metadata"]["name"]] = body
        self.namespaces_ever.append(body["metadata"]["name"])
        return web.json_response(body, status=201)

    async def _get_namespace(self, request: web.Request) -> web.Response:
        found = self.namespaces.get(request.match_info["ns"])
        return web.json_response(found) if found else _refused(404, "not found")

    async def _delete_namespace(self, request: web.Request) -> web.Response:
        name = request.match_info["ns"]
        self.namespaces_asked_to_go += 1
        if name in self.namespaces:
            self.namespaces[name]["metadata"].setdefault("deletionTimestamp", NOW)
        if self.faults.keep_namespaces:
            condition = {"status": "True", "message": "Some content in the namespace has finalizers remaining"}
            self.namespaces[name]["status"] = {"conditions": [condition]}
        else:
            self._spawn(self._end_namespace(name))
        return web.json_response({})

    async def _end_namespace(self, name: str) -> None:
        for key in [key for key in self.pods if key[0] == name]:
            self._change("DELETED", self.pods.pop(key))
        await asyncio.sleep(self.namespace_seconds)
        self.namespaces.pop(name, None)

    # -- pods -----------------------------------------------------------------------------------------------------

    async def _create_pod(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["metadata"]["name"] in self.faults.refuse_create:
            return _refused(403, "exceeded quota")
        pod = self._add_pod(request.match_info["ns"], body["metadata"]["name"], body["metadata"], body["spec"])
        return web.json_response(pod, status=201)

    def _add_pod(self, namespace: str, name: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        own = {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": NOW}
        pod = {"metadata": {**metadata, **own}, "spec": dict(spec), "status": {"phase": "Pending"}}
        self.pods[namespace, name] = pod
        self._change("ADDED", pod)
        self._spawn(self._start(pod))
        return pod

    async def _start(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        if name in self.faults.never_schedule:
            message = "0/1 nodes are available"
            conditions = [{"type": "PodScheduled", "status": "False", "message": message}]
            pod["status"] = {"phase": "Pending", "conditions": conditions}
            self._change("MODIFIED", pod)
            return
        pod["spec"]["nodeName"] = "node-1"
        scheduled = {"type": "PodScheduled", "status": "True"}
        pod["status"] = {"phase": "Pending", "conditions": [scheduled]}
        self._change("MODIFIED", pod)
        await asyncio.sleep(self.pod_seconds)
        initialized = {"type": "Initialized", "status": "True"}
        pod["status"] = {"phase": "Pending", "startTime": NOW, "conditions": [scheduled, initialized]}
        self._change("MODIFIED", pod)
        container: dict[str, Any] = {"name": "pause", "restartCount": 0, "state": {"running": {"startedAt": NOW}}}
        ready = {"type": "Ready", "status": "True"}
        if name in self.faults.crash:
            container["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
            container["lastState"] = {"terminated": {"exitCode": 3}}
            ready["status"] = "False"
        pod["status"] = {
            "phase": "Running",
            "startTime": NOW,
            "conditions": [scheduled, initialized, ready],
            "containerStatuses": [container],
        }
        self._change("MODIFIED", pod)
        if name in self.faults.crash_once:
            again = {**container, "restartCount": 1, "lastState": {"terminated": {"exitCode": 4}}}
            pod["status"] = {**pod["status"], "containerStatuses": [again]}
            self._change("MODIFIED", pod)

    async def _delete_pod(self, request: web.Request) -> web.Response:
        pod = self.pods.get((request.match_info["ns"], request.match_info["name"]))
        if pod is None:
            return _refused(404, "not found")
        self._spawn(self._end(pod))
        return web.json_response(pod)

    async def _end(self, pod: dict[str, Any]) -> None:
        await asyncio.sleep(self.pod_seconds / 2)
        if self.pods.pop((pod["metadata"]["namespace"], pod["metadata"]["name"]), None):
            self._change("DELETED", pod)

    async def _list_or_watch_pods(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request)
        items = [pod for (namespace, _), pod in self.pods.items() if namespace == request.match_info["ns"]]
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watches += 1
        if self.faults.gone_on_resume and self.watches == 2:
            return _refused(410, "too old resource version")
        limits = self.faults.drop_watch_after_events
        limit = limits[self.watches - 1] if self.watches <= len(limits) else None
        response = web.StreamResponse()
        await response.prepare(request)
        seen, sent = int(request.query["resourceVersion"]), 0
        while not self.faults.silent_watch:
            self._changed.clear()
            for version, namespace, event in list(self.events):
                if version <= seen or namespace != request.match_info["ns"]:
                    continue
                if limit is not None and sent >= limit:
                    assert request.transport
                    request.transport.abort()
                    return response
                await response.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")
                seen, sent = version, sent + 1
            await self._changed.wait()
        await asyncio.sleep(3600)
        return response

    # -- deployments ----------------------------------------------------------------------------------------------

    async def _create_deployment(self, request: web.Request) -> web.Response:
        body = await request.json()
        namespace, name = request.match_info["ns"], body["metadata"]["name"]
        body["metadata"]["uid"] = str(uuid.uuid4())
        body["status"] = {"availableReplicas": body["spec"]["replicas"]}
        self.deployments[namespace, name] = body
        owner = {"kind": "ReplicaSet", "uid": f"rs-{namespace}-{name}", "controller": True}
        for n in range(body["spec"]["replicas"]):
            metadata = {**body["spec"]["template"]["metadata"], "ownerReferences": [owner]}
            self._add_pod(namespace, f"{name}-{n}", metadata, body["spec"]["template"]["spec"])
        return web.json_response(body, status=201)

    async def _list_deployments(self, request: web.Request) -> web.Response:
        items = [body for (ns, _), body in self.deployments.items() if ns == request.match_info["ns"]]
        return web.json_response({"items": items})

    async def _list_replica_sets(self, request: web.Request) -> web.Response:
        items = [
            {"metadata": {"uid": f"rs-{ns}-{name}", "ownerReferences": [{"kind": "Deployment", "name": name}]}}
            for (ns, name) in self.deployments
            if ns == request.match_info["ns"]
        ]
        return web.json_response({"items": items})

    async def _delete_deployment(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["ns"], request.match_info["name"]
        self.deployments.pop((namespace, name), None)
        for (ns, pod_name), pod in list(self.pods.items()):
            if ns == namespace and pod_name.startswith(f"{name}-"):
                self._spawn(self._end(pod))
        return web.json_response({})

    # -- shared ---------------------------------------------------------------------------------------------------

    def _get(self, objects: dict[tuple[str, str], dict[str, Any]]) -> Any:
        async def get(request: web.Request) -> web.Response:
            found = objects.get((request.match_info["ns"], request.match_info["name"]))
            return web.json_response(found) if found else _refused(404, "not found")

        return get

    def _update(self, objects: dict[tuple[str, str], dict[str, Any]]) -> Any:
        async def update(request: web.Request) -> web.Response:
            found = objects.get((request.match_info["ns"], request.match_info["name"]))
            body = await request.json()
            if found is None:
                return _refused(404, "not found")
            conflicts = found.setdefault("conflicts", 0)
            if conflicts < self.faults.conflicts_per_update:
                found["conflicts"] += 1
                return _refused(409, "the object has been modified")
            found["spec"].update(body["spec"])
            return web.json_response(found)

        return update

    def _change(self, kind: str, pod: dict[str, Any]) -> None:
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)
        event = {"type": kind, "object": json.loads(json.dumps(pod))}
        self.events.append((self.version, pod["metadata"]["namespace"], event))
        self._changed.set()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refused(status: int, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": status, "message": message}
    return web.json_response(body, status=status)


@asynccontextmanager
async def serving(server: ApiServer, kubeconfig: Path) -> AsyncIterator[str]:
    """Serves on a free loopback port and writes a kubeconfig for it."""
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    kubeconfig.write_text(  # noqa: ASYNC240 - a small local file
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": address}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    try:
        yield address
    finally:
        await runner.cleanup()
