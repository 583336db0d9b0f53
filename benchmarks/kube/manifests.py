"""The objects that are created, as ready bytes."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.model.workload import Workload

CLIENT_LABEL = "litelab.dev/client"


def object_name(workload: Workload, client: int) -> str:
    """Name of what one client creates."""
    return f"{'pod' if workload.kind == 'pods' else 'deployment'}-{client}"


def object_body(workload: Workload, client: int) -> bytes:
    """The pod or deployment that one client creates."""
    labels = {"app": "litelab-bench", CLIENT_LABEL: str(client)}
    metadata = {"name": object_name(workload, client), "labels": labels}
    pod = _pod_spec(workload)
    if workload.kind == "pods":
        return _bytes({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    spec = {
        "replicas": workload.replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _bytes({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})


def updated_body(workload: Workload, current: dict[str, Any]) -> bytes:
    """The object with the change that K-Bench makes: a deadline, which moves no pod."""
    if workload.kind == "pods":
        current["spec"]["activeDeadlineSeconds"] = 10_000
    else:
        current["spec"]["progressDeadlineSeconds"] = 100_000
    return _bytes(current)


def collection_path(workload: Workload, namespace: str) -> str:
    """Where the objects of a workload live."""
    if workload.kind == "pods":
        return f"/api/v1/namespaces/{namespace}/pods"
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


def _pod_spec(workload: Workload) -> dict[str, Any]:
    container = {"name": "pause", "image": workload.image, "imagePullPolicy": workload.image_pull_policy}
    return {"automountServiceAccountToken": False, "enableServiceLinks": False, "containers": [container]}


def _bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
