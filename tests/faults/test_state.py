"""Pulumi's own files: a state that is cut off, a lock whose owner is dead, resources that no state knows."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import uuid

import pytest

from tests.faults.lab import STATE, FaultLab
from tests.faults.running import Running
from tests.faults.tally import Tally
from tests.faults.test_hosts import cleared
from tests.faults.victims import VICTIMS
from tests.lab.lab import PROJECT, UP_TIMEOUT_S, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999, None], ids=["empty", "half", "a byte short", "gone"])
@pytest.mark.parametrize("then", ["lab", "destroy"])
def test_a_state_that_is_cut_off_comes_back_by_the_command_in_the_error(
    then: str, share: float | None, lab: FaultLab, tally: Tally
) -> None:
    lab.goes("lab")
    whole = lab.state_file.read_bytes()
    machines = lab.machine_ids()
    if share is None:
        lab.state_file.unlink()
    else:
        lab.state_file.write_bytes(whole[: int(share * len(whole))])
    injection = tally.inject("state cut off", f"to {share} of {len(whole)} bytes, then {then}")
    commands = set()
    for verb in ("lab", "destroy", "status"):
        code, output = lab.verb(verb)
        assert code == 1, output
        assert "Traceback" not in output
        assert output.startswith(f"error: The state of stack {lab.name}"), output
        found = re.search(r"'(cp [^']+)' puts it back", output)
        assert found, output
        commands.add(found[1])
    assert len(commands) == 1
    subprocess.run(commands.pop(), shell=True, cwd=PROJECT, check=True, timeout=20)
    if then == "lab":
        lab.goes("lab")
        lab.works()
        assert lab.machine_ids() == machines, "the hosts were made anew"
    cleared(lab, injection, f"the error's command and make {then}")


def leave_lock(lab: FaultLab, content: str, age_s: float = 0) -> None:
    folder = STATE / "locks/organization/litelab" / lab.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4()}.json"
    path.write_text(content)
    os.utime(path, (time.time() - age_s,) * 2)


def dead_process() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait(10)
    return ended.pid


def locked_by(pid: int) -> str:
    return json.dumps(
        {"pid": pid, "username": "root", "hostname": socket.gethostname(), "timestamp": "2026-01-01T00:00:00Z"}
    )


@pytest.mark.parametrize("kind", ["whole", "half written"])
def test_a_dead_owners_lock_stops_pulumi_with_the_cure_and_make_cures_it(
    kind: str, lab: FaultLab, tally: Tally
) -> None:
    if kind == "whole":
        leave_lock(lab, locked_by(dead_process()))
    else:
        leave_lock(lab, locked_by(dead_process())[:20], age_s=60)
    injection = tally.inject("lock of a dead owner", kind)
    plain = lab.pulumi("destroy", "--yes", "--skip-preview", check=False)
    if kind == "whole":
        assert plain.returncode != 0
        assert "pulumi cancel" in plain.stdout + plain.stderr
    code, output = lab.verb("destroy")
    assert code == 0, output
    assert "ended without giving its lock back" in output
    assert not list((STATE / "locks").rglob(f"{lab.name}/*.json"))
    cleared(lab, injection, "pulumi names the fix, make took the lock")


def test_what_pulumi_has_half_written_beside_its_state_is_mended_by_make(lab: FaultLab, tally: Tally) -> None:
    lab.goes("lab")
    attributes = STATE / "stacks/litelab" / f"{lab.name}.json.attrs"
    attributes.write_text("")
    injection = tally.inject("state cut off", "what is beside it")
    plain = lab.pulumi("preview", check=False)
    assert plain.returncode != 0
    assert "failed to load checkpoint: EOF" in plain.stdout + plain.stderr
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "make lab went on")


def test_a_living_owners_lock_is_named_and_left(lab: FaultLab, tally: Tally) -> None:
    injection = tally.inject("lock of a living owner", "pulumi up beside make lab")
    first = lab.start_pulumi("up")
    held = STATE / "locks"
    wait_for("the lock", 60, lambda: list(held.rglob(f"{lab.name}/*.json")) or None)
    code, output = lab.verb("destroy", timeout_s=60)
    assert code == 1, output
    assert f"Stack {lab.name} is in use by process" in output
    assert first.process.poll() is None
    first.interrupt()
    first.wait(UP_TIMEOUT_S)
    cleared(lab, injection, "the second says who holds it; the first was stopped and cleared")


def killed_when(lab: FaultLab, what: str, is_there: object, running: Running) -> None:
    def seen() -> bool | None:
        assert not running.has_ended, running.output[-3000:]
        return bool(is_there()) or None  # type: ignore[operator]

    wait_for(what, UP_TIMEOUT_S, seen)
    for victim in VICTIMS["pulumi"](lab, running):
        victim.signal(signal.SIGKILL)
    running.wait(60)
    assert "Pulumi was ended by signal 9" in running.output
    assert running.outlived_by() == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["network", "host"])
def test_what_no_state_knows_yet_goes_with_make_destroy(moment: str, lab: FaultLab, tally: Tally) -> None:
    running = lab.start_verb("lab")
    there = lab.run_folder / ("lab.env" if moment == "network" else "hosts/host-1/console.log")
    killed_when(lab, f"the {moment}", there.exists, running)
    injection = tally.inject("not in the state", f"Pulumi killed while it made the {moment}")
    cleared(lab, injection, "make destroy removed it")
