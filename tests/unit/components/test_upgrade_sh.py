"""``upgrade.sh``: which hosts it touches, in which order, and what it refuses before it touches any."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from components.steps.scripts import scripts_of

HOSTS = ("host-1", "host-2", "host-3")
SSH = """#!/bin/bash
# Hosts that say what they run, in a frame; everything else that they are told is noted.
host=$3 words=($4) code=0
command=$(base64 -d <<<"${words[-1]}") mark=${words[-2]}
echo "Welcome!"
echo
echo "$mark begin"
case $command in
*"running.sh exact") echo "what $host runs" ;;
*running.sh*) cat "$RUNS/$host" || code=1 ;;
*upgrade-host.sh*) echo "upgrade $host $(grep -c ^CONTROLLER=host-1)" >>"$RUNS/log" ;;
*verify.sh*) echo "verify $host ${command##*verify.sh }" >>"$RUNS/log" ;;
esac
echo
echo "$mark end"
exit $code
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with the scripts, a list, and hosts behind an ssh of its own."""
    scripts = tmp_path / "d-0123456789ab"
    scripts.mkdir()
    for part in ("ssh", "clusters"):
        shutil.copytree(scripts_of(part), scripts, dirs_exist_ok=True)
    (scripts / "stage.sh").write_text('#!/bin/bash\ncat >/dev/null; echo "files $2" >>"$RUNS/log"\n')
    (scripts / "stage.sh").chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(SSH)
    (tmp_path / "bin" / "ssh").chmod(0o755)
    (tmp_path / "ssh_config").touch()
    return tmp_path


def upgrade(run: Path, wanted: str, *runs: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Hosts that run these versions, and what was done to them; a version with ``!`` has other files under it."""
    (run / "d.list").write_text(f"version {wanted}\nfile program 1\n")
    for host, version in zip(HOSTS, runs, strict=False):
        name, other = version.removesuffix("!"), version.endswith("!")
        (run / host).write_text(f"{name}\nversion {name}\nfile program {0 if other else 1}\n")
    environment = {
        **os.environ,
        "PATH": f"{run / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "RUNS": str(run),
        "HOSTS": " ".join(HOSTS[: len(runs)]),
        "NODES": " ".join(HOSTS[: len(runs)]),
        "FIRST": "host-1",
    }
    done = subprocess.run(
        [str(run / "d-0123456789ab" / "upgrade.sh"), "create"],
        input="A=1\n", env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    log = run / "log"
    return done, log.read_text().splitlines() if log.exists() else []


def one(host: str, version: str) -> list[str]:
    return [f"files {host}", f"upgrade {host} 1", f"verify host-1 node {host} {version}"]


def test_hosts_are_brought_there_one_after_another_in_the_given_order(run: Path) -> None:
    done, log = upgrade(run, "v1.35.4", "v1.34.4", "v1.34.4", "v1.34.4")
    assert done.returncode == 0, done.stderr
    assert log == [line for host in HOSTS for line in one(host, "v1.35.4")]
    assert done.stdout == "what host-1 runs\n"


def test_on_a_fresh_lab_nothing_is_done(run: Path) -> None:
    done, log = upgrade(run, "v1.35.4", "v1.35.4", "v1.35.4")
    assert (done.returncode, log) == (0, [])


def test_one_that_stopped_in_the_middle_goes_on_with_the_others(run: Path) -> None:
    done, log = upgrade(run, "v1.35.4", "v1.35.4", "v1.34.4", "v1.35.4!")
    assert done.returncode == 0, done.stderr
    assert log == one("host-2", "v1.35.4") + one("host-3", "v1.35.4")


@pytest.mark.parametrize(
    ("wanted", "runs", "reason"),
    [
        (
            "v1.36.3",
            ("v1.34.4", "v1.34.4"),
            "Kubernetes is upgraded one minor at a time. Set version to the newest 1.35 first",
        ),
        ("v1.37.2", ("v1.34.4",), "Kubernetes is upgraded one minor at a time. Set version to the newest 1.35 first"),
        ("v1.34.4", ("v1.35.4", "v1.35.4"), "a cluster is never downgraded"),
        ("v1.35.3", ("v1.35.4",), "a cluster is never downgraded"),
        # The last of them alone: no host may be touched before all were asked.
        ("v1.36.3", ("v1.35.4", "v1.35.4", "v1.34.4"), "host host-3: it runs v1.34.4"),
        ("v1.35.4", ("v1.34.4", "v1.36.3"), "host host-2: it runs v1.36.3"),
        ("v1.35.7+k0s.0", ("v1.36.3+k0s.2",), "a cluster is never downgraded"),
    ],
)
def test_a_downgrade_and_a_jump_over_a_minor_are_refused_before_anything_is_touched(
    run: Path, wanted: str, runs: tuple[str, ...], reason: str
) -> None:
    done, log = upgrade(run, wanted, *runs)
    assert done.returncode == 1
    assert reason in done.stderr
    assert log == []


def test_a_host_that_does_not_answer_ends_it_before_anything_is_touched(run: Path) -> None:
    (run / "bin" / "ssh").write_text(SSH.replace("host=$3", "[ $3 != host-2 ] || exit 255; host=$3"))
    done, log = upgrade(run, "v1.35.4", "v1.34.4", "v1.34.4")
    assert done.returncode != 0
    assert log == []
