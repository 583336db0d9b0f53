"""What is made of the watch's events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kube.watch import Arrival, Relisted
from benchmarks.measure.podtable import PodTable, describe


def pod(
    uid: str = "u",
    *,
    phase: str = "Pending",
    node: str | None = None,
    conditions: dict[str, str] | None = None,
    state: dict[str, Any] | None = None,
    restarts: int = 0,
    last: dict[str, Any] | None = None,
) -> dict[str, Any]:
    container = {"name": "pause", "restartCount": restarts, "state": state, "lastState": last or {}}
    return {
        "metadata": {"uid": uid, "name": f"pod-{uid}", "labels": {"litelab.dev/client": "0"}},
        "spec": {"containers": [{"name": "pause"}], **({"nodeName": node} if node else {})},
        "status": {
            "phase": phase,
            "conditions": [{"type": t, "status": s} for t, s in (conditions or {}).items()],
            "containerStatuses": [container] if state else [],
        },
    }


RUNNING = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
LIFE = [
    pod(),
    pod(node="n", conditions={"PodScheduled": "True"}),
    pod(node="n", conditions={"PodScheduled": "True", "Initialized": "True"}, state={"waiting": {}}),
    pod(node="n", phase="Running", conditions={"Ready": "True"}, state=RUNNING),
]


def event(item: dict[str, Any], stamp_ns: int, kind: str = "MODIFIED", *, delayed: bool = False) -> Arrival:
    return Arrival(stamp_ns, json.dumps({"type": kind, "object": item}).encode(), delayed)


def test_a_life_is_stamped_state_by_state() -> None:
    table = PodTable()
    for n, item in enumerate(LIFE, 1):
        table.apply(event(item, n))
    table.apply(event(LIFE[-1], 9, "DELETED"))
    seen = table.pods["u"]
    assert seen.stamps_ns == {
        "first_seen": 1,
        "scheduled_seen": 2,
        "started_seen": 4,
        "running_seen": 4,
        "ready_seen": 4,
        "deleted_seen": 9,
    }
    assert (seen.kbench_scheduled_ns, seen.kbench_initialized_ns) == (2, 3)
    assert seen.started_at == "2026-01-02T03:04:05Z"
    assert seen.gone


@given(st.lists(st.integers(min_value=0, max_value=3), max_size=12))
def test_repeated_and_replayed_events_never_move_a_stamp(replays: list[int]) -> None:
    table = PodTable()
    for n, item in enumerate(LIFE, 1):
        table.apply(event(item, n))
    before = dict(table.pods["u"].stamps_ns)
    for n, which in enumerate(replays):
        table.apply(event(LIFE[which], 100 + n))
    assert table.pods["u"].stamps_ns == before


@given(st.sets(st.integers(min_value=0, max_value=2)))
def test_lost_events_before_the_last_leave_every_stamp_set(kept: set[int]) -> None:
    table = PodTable()
    for n in sorted(kept):
        table.apply(event(LIFE[n], n + 1))
    table.apply(event(LIFE[3], 4))
    assert table.pods["u"].up
    assert table.pods["u"].stamps_ns["first_seen"] == min(kept, default=3) + 1


def test_a_name_used_again_is_another_pod() -> None:
    table = PodTable()
    first, second = pod("a"), pod("b")
    second["metadata"]["name"] = first["metadata"]["name"]
    table.apply(event(first, 1, "ADDED"))
    table.apply(event(first, 2, "DELETED"))
    table.apply(event(second, 3, "ADDED"))
    assert table.pods["a"].gone
    assert not table.pods["b"].gone


def test_a_bookmark_is_no_pod() -> None:
    table = PodTable()
    table.apply(Arrival(1, b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5"}}}'))
    assert table.pods == {}


def test_after_a_relist_missing_pods_are_gone_and_late_stamps_are_marked() -> None:
    table = PodTable()
    table.apply(event(pod("a"), 1))
    table.apply(event(pod("b"), 1))
    listed = pod("b", node="n", phase="Running", conditions={"Ready": "True"}, state=RUNNING)
    table.apply(Relisted(50, [listed, pod("c")]))
    assert table.pods["a"].stamps_ns["deleted_seen"] == 50
    assert table.pods["a"].delayed == ["deleted_seen"]
    assert set(table.pods["b"].delayed) == {"scheduled_seen", "started_seen", "running_seen", "ready_seen"}
    assert table.pods["b"].stamps_ns["first_seen"] == 1
    assert table.pods["c"].delayed == ["first_seen"]


def test_a_phase_running_without_a_running_container_is_not_started() -> None:
    table = PodTable()
    table.apply(event(pod(node="n", phase="Running", state={"waiting": {"reason": "CrashLoopBackOff"}}), 1))
    assert "running_seen" in table.pods["u"].stamps_ns
    assert "started_seen" not in table.pods["u"].stamps_ns


CRASHED = {"terminated": {"exitCode": 3}}


@pytest.mark.parametrize(
    ("item", "told", "hopeless"),
    [
        (pod(), "no scheduler", False),
        (pod(node="n"), "containers have not started", False),
        (pod(node="n", state={"waiting": {"reason": "ErrImageNeverPull"}}), "ErrImageNeverPull", False),
        (
            pod(node="n", phase="Running", state={"waiting": {"reason": "CrashLoopBackOff"}}, last=CRASHED),
            "code 3",
            True,
        ),
        (pod(node="n", phase="Failed", state=CRASHED), "code 3", True),
        (pod(node="n", phase="Running", state=RUNNING, restarts=3, last=CRASHED), "restarted 3 times", True),
        (pod(node="n", phase="Running", state=RUNNING), "running, not ready", False),
        (LIFE[3], "up", False),
    ],
)
def test_what_a_pod_waits_for_is_told(item: dict[str, Any], told: str, hopeless: bool) -> None:
    state, ended = describe(item)
    assert told in state
    assert ended is hopeless


def test_a_pod_that_crashed_after_it_was_ready_is_not_up() -> None:
    table = PodTable()
    table.apply(event(LIFE[3], 1))
    assert table.up() == 1
    table.apply(event(pod(node="n", phase="Failed", state=CRASHED), 2))
    assert (table.up(), table.hopeless()) == (0, 1)


def test_a_restart_does_not_undo_a_crash_and_a_wanted_end_is_none() -> None:
    table = PodTable()
    table.apply(event(LIFE[3], 1))
    assert table.pods["u"].crash is None
    table.apply(event(pod(node="n", phase="Running", state=CRASHED), 2))
    table.apply(event(pod(node="n", phase="Running", state=RUNNING, restarts=1, last=CRASHED), 3))
    assert "exited with code 3" in str(table.pods["u"].crash)
    going = pod("v", node="n", phase="Running", state=CRASHED)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    table.apply(event(going, 4))
    assert table.pods["v"].crash is None
