"""``. ./env.sh``: what it tells a shell, before set-up and after it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
SHELLS = [pytest.param(shell, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"no {shell} here"))
          for shell in ("sh", "bash", "zsh")]  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone in which nothing has run."""
    for name in ("env.sh", "Pulumi.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    return tmp_path


def sourced(shell: str, checkout: Path) -> tuple[str, str]:
    """What a shell that ends at any error says after it, and what was said to it."""
    done = subprocess.run(
        [shell, "-euc", '. ./env.sh; echo "$PULUMI_BACKEND_URL"'],
        cwd=checkout,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("shell", SHELLS)
class TestEnvironment:
    def test_before_set_up_one_line_says_what_comes_first_and_the_shell_goes_on(
        self, shell: str, checkout: Path
    ) -> None:
        said, told = sourced(shell, checkout)
        assert said == f"file://{checkout}/.lab/state\n"
        assert told.startswith("env.sh: set-up has not run here yet, so there is no pulumi: run 'make setup' first")
        assert told.count("\n") == 1

    def test_after_it_nothing_is_said(self, shell: str, checkout: Path) -> None:
        program, passphrase = checkout / ".cache/bin/pulumi", checkout / ".lab/passphrase"
        for path in (program, passphrase):
            path.parent.mkdir(parents=True)
            path.touch()
        program.chmod(0o755)
        assert sourced(shell, checkout) == (f"file://{checkout}/.lab/state\n", "")

    def test_a_cache_of_another_clone_is_not_enough(self, shell: str, checkout: Path) -> None:
        (checkout / ".cache/bin").mkdir(parents=True)
        (checkout / ".cache/bin/pulumi").touch(mode=0o755)
        assert "make setup" in sourced(shell, checkout)[1]
