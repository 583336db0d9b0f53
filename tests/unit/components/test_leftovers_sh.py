"""What ``make destroy`` asks of every kind of hosts at its end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.steps import PROJECT
from tests.unit.components.onhost import NEEDS_ROOT, on_host

SCRIPTS = sorted((PROJECT / "components" / "scripts").glob("*/leftovers.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.parent.name)
def test_a_lab_that_was_never_made_has_no_leftovers(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [script, tmp_path / "run" / "no-lab"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


VANISHES = 'rm -rf /run/litelab/labs/other-123456; exec /bin/cat "$@"'
"""``cat`` in place of the moment in which another lab goes."""


@NEEDS_ROOT
def test_a_lab_that_goes_while_leftovers_are_looked_for_is_none(tmp_path: Path) -> None:
    listed = 'mkdir -p /run/litelab/labs/other-123456; echo /nowhere >/run/litelab/labs/other-123456/run; bash "$SCRIPTS/nspawn/orphans.sh"'
    standing = on_host(listed)
    assert (standing.returncode, standing.stdout) == (1, "lab other-123456: no hosts of /nowhere; no state knows it\n")
    gone = on_host(
        f"export PATH; {listed} --of /elsewhere; mkdir -p /run/litelab/labs; {listed}",
        folder=tmp_path,
        programs={"cat": VANISHES},
    )
    assert (gone.returncode, gone.stdout, gone.stderr) == (0, "", "")
