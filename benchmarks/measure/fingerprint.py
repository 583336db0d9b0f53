"""What was measured on: the facts that two results must share before they can be compared."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from benchmarks import __version__
from benchmarks.kube.connection import Connection
from benchmarks.measure.host_probe import HostProbe
from benchmarks.measure.priority import scheduling
from benchmarks.model.hosts_file import LabHosts
from benchmarks.model.outcome import MeasurementError

_PACKAGES = ("kubernetes", "aiohttp", "pydantic")
_ROLE_LABEL = "node-role.kubernetes.io/"


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeFacts(_Facts):
    """One node as the API server describes it."""

    name: str
    roles: list[str]
    ready: bool
    schedulable: bool
    kubelet_version: str
    kernel: str
    os_image: str
    architecture: str
    container_runtime: str
    capacity: dict[str, str]
    allocatable: dict[str, str]


class ClientFacts(_Facts):
    """The machine and the programs that measured."""

    python: str
    packages: dict[str, str]
    kernel: str
    cpu_model: str
    cpus: int
    load_average_1min: float
    scheduling: Annotated[
        str, Field(description="`real-time` where the measuring process may be, else its nice value.")
    ]


class LabFacts(_Facts):
    """What the lab's builder says of it."""

    kind: str
    stack: str
    facts: dict[str, Any]


class Fingerprint(_Facts):
    """Facts of the lab, the cluster and the client."""

    litelab_version: str
    suite_digest: Annotated[str, Field(description="Hash over the measuring code.")]
    server: str
    server_version: dict[str, Any] = {}
    nodes: list[NodeFacts] = []
    lab: LabFacts | None = None
    hosts: list[HostProbe] = []
    client: ClientFacts


async def take_fingerprint(
    connections: Sequence[Connection], lab: LabHosts | None, hosts: list[HostProbe], limit_s: float
) -> Fingerprint:
    """Asks the API server of each cluster, the first one for its version; the hosts were asked before."""
    version = await connections[0].require_answer(limit_s)
    nodes: list[NodeFacts] = []
    for connection in connections:
        answer = await connection.get("/api/v1/nodes")
        if not answer.ok:
            raise MeasurementError(
                what="the nodes can't be listed",
                where=connection.server,
                why=answer.error or "",
                fix="Use the lab's own kubeconfig: its user may list nodes",
            )
        nodes += [_node(item) for item in answer.json().get("items") or []]
    servers = ", ".join(connection.server for connection in connections)
    return bare_fingerprint(servers, lab).model_copy(update={"server_version": version, "nodes": nodes, "hosts": hosts})


def bare_fingerprint(server: str, lab: LabHosts | None) -> Fingerprint:
    """What is known without asking the cluster."""
    return Fingerprint(
        litelab_version=__version__,
        suite_digest=suite_digest(),
        server=server,
        lab=LabFacts(kind=lab.kind, stack=lab.stack, facts=lab.facts) if lab else None,
        client=_client(),
    )


def suite_digest() -> str:
    """A hash over the measuring code, by file name and content."""
    folder = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return f"sha256:{digest.hexdigest()}"


def _node(item: dict[str, Any]) -> NodeFacts:
    meta, spec, status = item["metadata"], item["spec"], item["status"]
    info = status["nodeInfo"]
    blocked = any(taint["effect"] in ("NoSchedule", "NoExecute") for taint in spec.get("taints") or [])
    return NodeFacts(
        name=meta["name"],
        roles=sorted(k.removeprefix(_ROLE_LABEL) for k in meta.get("labels") or {} if k.startswith(_ROLE_LABEL)),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or []),
        schedulable=not spec.get("unschedulable", False) and not blocked,
        kubelet_version=info["kubeletVersion"],
        kernel=info["kernelVersion"],
        os_image=info["osImage"],
        architecture=info["architecture"],
        container_runtime=info["containerRuntimeVersion"],
        capacity=status.get("capacity") or {},
        allocatable=status.get("allocatable") or {},
    )


def _client() -> ClientFacts:
    return ClientFacts(
        python=platform.python_version(),
        packages={name: metadata.version(name) for name in _PACKAGES},
        kernel=platform.release(),
        cpu_model=_cpu_model(),
        cpus=os.cpu_count() or 0,
        load_average_1min=round(os.getloadavg()[0], 2),
        scheduling=scheduling(),
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
