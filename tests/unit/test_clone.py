"""A clone is the same on every machine, whatever git does with line ends there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def git(*words: str, folder: Path) -> str:
    # The checkout may belong to the user who called sudo.
    own = ["-c", "safe.directory=*", "-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgSign=false"]
    return subprocess.run(
        ["git", *own, *words], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    """A repository with the files of this checkout as they are now."""
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("this is no clone")
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=PROJECT).split("\0"):
        if name and (PROJECT / name).is_file():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, repository / name)
    git("init", "-q", folder=repository)
    git("add", "-A", folder=repository)
    git("commit", "-qm", "x", folder=repository)
    return repository


@pytest.mark.parametrize(
    "settings",
    [["core.autocrlf=true"], ["core.autocrlf=input"], ["core.eol=crlf"], ["core.autocrlf=true", "core.eol=crlf"]],
)
def test_it_has_the_same_bytes_whatever_git_is_set_to(tracked: Path, tmp_path: Path, settings: list[str]) -> None:
    options = [word for setting in settings for word in ("-c", setting)]
    git(*options, "clone", "-q", str(tracked), str(tmp_path / "clone"), folder=tmp_path)
    for name in git("ls-files", "-z", folder=tracked).strip("\0").split("\0"):
        assert (tmp_path / "clone" / name).read_bytes() == (tracked / name).read_bytes(), name
    assert git(*options, "status", "--porcelain", folder=tmp_path / "clone") == ""
    script = tmp_path / "clone/components/ssh/scripts/records.sh"
    assert "usage" in subprocess.run([script], capture_output=True, text=True, timeout=20).stderr
