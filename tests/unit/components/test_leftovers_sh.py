"""What ``make destroy`` asks of every kind of hosts at its end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.places import PROJECT

SCRIPTS = sorted((PROJECT / "components").glob("**/scripts/leftovers.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.parent.parent.name)
def test_a_lab_that_was_never_made_has_no_leftovers(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [script, tmp_path / "run" / "no-lab"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")
