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
    for name in (
        "env.sh",
        "Pulumi.yaml",
        "tools/environment.py",
        "tools/pins.toml",
        "tools/bin/pulumi",
        "tools/errors.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
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

    def test_what_is_hostile_to_pulumi_goes_and_the_rest_of_the_shell_stays(self, shell: str, checkout: Path) -> None:
        hostile = {
            "PULUMI_CONFIG_PASSPHRASE": "", "PULUMI_STACK": "x", "PULUMI_BACKEND_URL": "s3://x", "PYTHONPATH": "/x",
            "PYTHONHOME": "/x", "CDPATH": ".:..", "http_proxy": "http://127.0.0.1:9", "MINE": "kept", "KUBECONFIG": "/mine",
        }  # fmt: skip
        shown = subprocess.run(
            [shell, "-euc", ". ./env.sh; env"], cwd=checkout, env={"PATH": "/usr/bin:/bin", **hostile}, capture_output=True,
            text=True, timeout=20, check=True,
        ).stdout  # fmt: skip
        found = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        assert not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_STACK", "PYTHONPATH", "PYTHONHOME"} & set(found)
        assert found["PULUMI_BACKEND_URL"] == f"file://{checkout}/.lab/state"
        assert (found["MINE"], found["KUBECONFIG"]) == ("kept", "/mine")
        assert found["no_proxy"] == found["NO_PROXY"]
        assert "127.0.0.1" in found["no_proxy"]
        assert found["PATH"].startswith(
            f"{checkout}/.cache/venv/bin:{checkout}/tools/bin:{checkout}/.cache/bin:/usr/bin"
        )
        assert "/usr/sbin" in found["PATH"].split(":")

    def test_sourcing_it_again_changes_nothing(self, shell: str, checkout: Path) -> None:
        command = ". ./env.sh; env | grep -v ^SHLVL= >first; . ./env.sh; env | grep -v ^SHLVL= >second"
        subprocess.run(
            [shell, "-euc", command],
            cwd=checkout,
            env={"PATH": "/usr/bin:/bin", "https_proxy": "p:1"},
            check=True,
            timeout=20,
        )
        first, second = ((checkout / name).read_text().splitlines() for name in ("first", "second"))
        assert sorted(first) == sorted(second)

    def test_a_site_file_that_can_not_be_read_is_named_and_nothing_is_set(self, shell: str, checkout: Path) -> None:
        (checkout / ".lab").mkdir()
        (checkout / ".lab/site.yaml").write_text("backend: here\n")
        done = subprocess.run(
            [shell, "-uc", ". ./env.sh; echo ${PULUMI_HOME:-none}"], cwd=checkout, env={"PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert done.stdout == "none\n"
        assert "error: .lab/site.yaml, line 1: backend: takes the address of a Pulumi backend" in done.stderr

    def test_a_cache_of_another_clone_is_not_enough(self, shell: str, checkout: Path) -> None:
        (checkout / ".cache/bin").mkdir(parents=True)
        (checkout / ".cache/bin/pulumi").touch(mode=0o755)
        assert "make setup" in sourced(shell, checkout)[1]
