"""One load on several clusters of their own: shared out evenly, begun together, and told as one result."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from benchmarks.measure.run import run_workload
from benchmarks.model.result import SCHEMA_FILE, Result
from benchmarks.model.workload import Workload
from tests.doubles.apiserver import ApiServer, Faults, serving


def workload(clients: int, **more: Any) -> Workload:
    return Workload(name="small", kind="pods", clients=clients, image="i", **{"warmups": 1, "repeats": 1, **more})


def run(folder: Path, load: Workload, servers: dict[str, ApiServer]) -> Result:
    """Measure on all of the servers, each by its name as context."""

    async def main() -> Result:
        whole: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
        async with AsyncExitStack() as up:
            for name, server in servers.items():
                path = folder / name
                await up.enter_async_context(serving(server, path))
                one = yaml.safe_load(path.read_text())
                whole["clusters"].append({"name": name, "cluster": one["clusters"][0]["cluster"]})
                whole["users"].append({"name": name, "user": one["users"][0]["user"]})
                whole["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
            (folder / "kubeconfig").write_text(json.dumps({**whole, "current-context": next(iter(servers))}))
            return await run_workload(load, folder / "kubeconfig", None, [], folder / "out", list(servers))

    return asyncio.run(main())


def three(**faults: Faults) -> dict[str, ApiServer]:
    return {name: ApiServer(faults.get(name)) for name in ("one", "two", "three")}


@pytest.mark.parametrize(
    ("clients", "clusters", "shares"), [(8, 3, [3, 3, 2]), (3, 3, [1, 1, 1]), (2, 3, [1, 1]), (8, 1, [8])]
)
def test_shares_are_even_and_make_the_whole(clients: int, clusters: int, shares: list[int]) -> None:
    assert [share.clients for share in workload(clients).shares(clusters)] == shares


def test_every_pod_and_call_of_all_clusters_is_counted_once(tmp_path: Path) -> None:
    servers = three()
    result = run(tmp_path, workload(8), servers)
    assert (result.summary.outcome.verdict, result.error) == ("good", None)
    (repeat,) = result.repeats
    assert (repeat.pods_requested, repeat.pods_succeeded, repeat.pods_listed) == (8, 8, 8)
    assert len({pod.uid for pod in repeat.pods}) == 8
    assert {name: figures.n for name, figures in result.summary.api_ms.items()} == dict.fromkeys(
        ["create pods", "list pods", "get pods", "update pods", "delete pods"], 8
    )
    jsonschema.validate(json.loads((tmp_path / "out/result.json").read_text()), json.loads(SCHEMA_FILE.read_text()))


def test_each_cluster_has_its_share_and_all_begin_together(tmp_path: Path) -> None:
    servers = {name: ApiServer(pod_seconds=0.3) for name in ("one", "two", "three")}
    result = run(tmp_path, workload(8, warmups=0), servers)
    of = {name: {event["object"]["metadata"]["uid"] for _, _, event in s.events} for name, s in servers.items()}
    assert {name: len(uids) for name, uids in of.items()} == {"one": 3, "two": 3, "three": 2}
    starts = [pod.create_call_start_ns or 0 for pod in result.repeats[0].pods]
    ends = [pod.running_seen_ns or 0 for pod in result.repeats[0].pods]
    # No cluster waits until another one's pods run.
    assert max(starts) < min(ends)


def test_throughput_is_of_all_clusters_together(tmp_path: Path) -> None:
    servers = {name: ApiServer(pod_seconds=0.3) for name in ("one", "two", "three")}
    result = run(tmp_path, workload(6, warmups=0), servers)
    seen = result.repeats[0].pods
    took_ns = max(p.running_seen_ns or 0 for p in seen) - min(p.create_call_start_ns or 0 for p in seen)
    assert result.summary.throughput_true_pods_per_min
    assert result.summary.throughput_true_pods_per_min.median == pytest.approx(6 * 60e9 / took_ns, abs=0.001)


def test_what_failed_is_told_with_its_cluster(tmp_path: Path) -> None:
    limits = {"limits": {"startSeconds": 1, "deleteSeconds": 5}}
    result = run(tmp_path, workload(6, warmups=0, **limits), three(two=Faults(never_schedule={"pod-1"})))
    (repeat,) = result.repeats
    assert (repeat.pods_requested, repeat.pods_succeeded) == (6, 5)
    assert repeat.timed_out == ["start"]
    assert [f.object for f in repeat.failures] == ["two: pod-1"]
    assert result.summary.outcome.verdict == "timeout"


def test_a_cluster_that_can_not_be_measured_ends_the_run_and_leaves_no_namespace(tmp_path: Path) -> None:
    servers = three(two=Faults(silent_watch=True))
    result = run(tmp_path, workload(6, warmups=0, limits={"startSeconds": 1}), servers)
    assert result.error is not None
    assert "the watch on pods was lost" in result.error
    assert not result.complete
    assert {name: s.namespaces for name, s in servers.items()} == {"one": {}, "two": {}, "three": {}}


def test_one_cluster_is_measured_as_without_contexts(tmp_path: Path) -> None:
    result = run(tmp_path, workload(3, warmups=0), {"one": ApiServer()})
    assert result.repeats[0].pods_succeeded == 3
    assert result.repeats[0].failures == []
