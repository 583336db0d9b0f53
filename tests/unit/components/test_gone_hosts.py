"""A host that will never answer again: each step that would undo something on it can be told so, and names how."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from components.config import discovery
from components.steps.scripts import scripts_of
from tools.errors import SetupError
from tools.lab.lifecycle import gone_hosts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILWBcIbHkD/3xHoyFAvxaHjN4bRMX6qDLXUstH+MqyoF"
CASES = {
    **{f"stage of {name}": (name, "stage.sh", ()) for name in discovery.distributions()},
    "existing host": ("existing", "host.sh", ()),
    "site": ("site", "site.sh", ()),
    "script on the host": ("microshift", "remote.sh", ("subscribe.sh",)),
}


def undo(folder: Path, case: str, gone: str) -> subprocess.CompletedProcess[str]:
    """A step's ``delete`` of host-1, to which no ssh leads."""
    part, script, more = CASES[case]
    published = folder / f"{part}-0123456789ab"
    for source in ("ssh", "clusters", part):
        shutil.copytree(scripts_of(source), published, dirs_exist_ok=True)
    record = f"Address 10.87.3.11\nIdentity id_ed25519\nHostKey {KEY}\n"
    subprocess.run([published / "records.sh", folder, "put", "host-1"], input=record, text=True, check=True)
    (folder / "bin").mkdir()
    (folder / "bin/ssh").write_text("#!/bin/sh\necho 'No route to host' >&2\nexit 255\n")
    (folder / "bin/ssh").chmod(0o755)
    return subprocess.run(
        [published / script, "delete", "host-1", *more],
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "LITELAB_GONE": gone},
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("gone", ["host-1", "host-2 host-1"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_undone_on_it(tmp_path: Path, case: str, gone: str) -> None:
    done = undo(tmp_path, case, gone)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("gone", ["", "host-11"])
@pytest.mark.parametrize("case", [case for case in CASES if case != "script on the host"])
def test_without_that_the_step_fails_and_says_how(tmp_path: Path, case: str, gone: str) -> None:
    done = undo(tmp_path, case, gone)
    assert done.returncode != 0
    assert f"'make destroy STACK={tmp_path.name} GONE=host-1'" in done.stderr
    assert any(words in done.stderr for words in ("could not be taken off it.", "it could not be released,"))


@pytest.mark.parametrize(
    ("names", "hosts"), [("", ()), ("host-2", ("host-2",)), ("host-2,host-3", ("host-2", "host-3"))]
)
def test_names_of_hosts_are_taken(names: str, hosts: tuple[str, ...]) -> None:
    assert gone_hosts(names) == hosts


@pytest.mark.parametrize("names", ["2", "host-0", "host-2;reboot", "10.0.0.1", "host-2 worker"])
def test_what_is_no_host_is_refused(names: str) -> None:
    with pytest.raises(SetupError, match="GONE names hosts of a lab, such as host-2, and not"):
        gone_hosts(names)
