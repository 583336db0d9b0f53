"""What is kept of Pulumi's event log, which has secrets in it: names, outcomes and messages."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

from tools.lab import events
from tools.places import PROJECT

RESOURCE = {"urn": "urn:host-1", "op": "create", "new": {"outputs": {"stdout": "canary"}}}
SAID = [
    {"timestamp": 1, "resourcePreEvent": {"metadata": RESOURCE}},
    {"timestamp": 2, "resOutputsEvent": {"metadata": RESOURCE}},
    {"timestamp": 3, "resOutputsEvent": {"metadata": {**RESOURCE, "op": "same"}}},
    {"timestamp": 4, "diagnosticEvent": {"urn": "urn:node", "severity": "error", "message": "no node: waited 9 s"}},
    {"timestamp": 5, "diagnosticEvent": {"urn": "urn:node", "severity": "info#err", "message": "hello"}},
    {"timestamp": 6, "resOpFailedEvent": {"metadata": {**RESOURCE, "urn": "urn:node"}}},
    {"timestamp": 7, "summaryEvent": {"resourceChanges": {"create": 1}, "config": {"x": "canary"}}},
]
# It leaves a child behind, as a Pulumi leaves hosts: the wait must be for it alone.
PULUMI = """
import subprocess, sys
from io import FileIO
subprocess.Popen(["sleep", "20"], start_new_session=True)
with FileIO(sys.argv[2], "w") as log:
    log.write(sys.argv[3].encode())
"""


def test_outcomes_and_errors_are_kept_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "logs" / "my.jsonl"
    text = "".join(json.dumps(event) + "\n" for event in SAID) + '{"half a line'
    with events.recorded(kept) as (flag, allowing):
        assert allowing == {"PULUMI_DEBUG_COMMANDS": "true"}
        subprocess.run([sys.executable, "-c", PULUMI, *flag, text], check=True, timeout=60)
    assert [json.loads(line) for line in kept.read_text().splitlines()] == [
        {"at": 2, "urn": "urn:host-1", "did": "create"},
        {"at": 4, "urn": "urn:node", "error": "no node: waited 9 s"},
        {"at": 6, "urn": "urn:node", "failed": "create"},
    ]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert not Path(flag[1]).exists()


# As a Pulumi that outlives what started it: it holds both ends, so nothing tells it that nobody reads.
OUTLIVES = """
import os, sys
from pathlib import Path
from tools.lab import events
from tools.places import PROJECT
with events.recorded(Path(sys.argv[1])) as (flag, _):
    if os.fork():
        os._exit(9)
    log = os.open(flag[1], os.O_RDWR)
    os.closerange(3, log)
    for number in range(5000):
        os.write(log, (sys.argv[2] + "\\n").encode())
    print(flag[1], flush=True)
    os._exit(0)
"""


def test_a_pulumi_that_outlives_make_is_read_to_its_end(tmp_path: Path) -> None:
    kept = tmp_path / "my.jsonl"
    # Its output ends with the last of the processes that have it.
    words = [sys.executable, "-c", OUTLIVES, str(kept), json.dumps(SAID[1])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=PROJECT, check=False)
    assert done.returncode == 9
    assert len(kept.read_text().splitlines()) == 5000
    assert not Path(done.stdout.strip()).parent.exists()


def test_the_next_run_begins_anew(tmp_path: Path) -> None:
    kept = tmp_path / "my.jsonl"
    kept.write_text("old\n")
    with events.recorded(kept):
        pass
    assert kept.read_text() == ""
