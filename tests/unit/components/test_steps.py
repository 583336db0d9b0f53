"""Scripts as steps: when their digest changes, and what a stack's copy is."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.steps import scripts
from components.steps.digests import digest_of


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one part, whose only script is ``go.sh``."""
    part = tmp_path / "components" / "part" / "scripts"
    part.mkdir(parents=True)
    (part / "go.sh").write_text("#!/bin/sh\necho one\n")
    (part / "go.sh").chmod(0o755)
    monkeypatch.setattr(scripts, "PROJECT", tmp_path)
    monkeypatch.setattr(scripts, "COMPONENTS", tmp_path / "components")
    return tmp_path


@pytest.fixture
def script(project: Path) -> Path:
    return project / "components" / "part" / "scripts" / "go.sh"


class TestDigest:
    def test_it_changes_with_content(self, script: Path) -> None:
        before = digest_of(script.parent)
        script.write_text("#!/bin/sh\necho two\n")
        assert digest_of(script.parent) != before

    def test_it_changes_when_a_script_can_no_longer_run(self, script: Path) -> None:
        before = digest_of(script.parent)
        script.chmod(0o644)
        assert digest_of(script.parent) != before

    def test_it_changes_with_a_name(self, script: Path) -> None:
        before = digest_of(script.parent)
        script.rename(script.with_name("gone.sh"))
        assert digest_of(script.parent) != before

    def test_it_changes_with_a_file_in_a_folder_below(self, script: Path) -> None:
        before = digest_of(script.parent)
        (script.parent / "below").mkdir()
        (script.parent / "below" / "more.sh").write_text("")
        assert digest_of(script.parent) != before

    def test_it_is_the_same_for_another_user_place_and_time(self, script: Path, tmp_path: Path) -> None:
        before = digest_of(script.parent)
        other = tmp_path / "elsewhere"
        other.mkdir()
        (other / "go.sh").write_bytes(script.read_bytes())
        (other / "go.sh").chmod(0o700)
        assert digest_of(other) == before

    def test_pythons_own_caches_do_not_count(self, script: Path) -> None:
        before = digest_of(script.parent)
        (script.parent / "__pycache__").mkdir()
        (script.parent / "__pycache__" / "go.pyc").write_bytes(b"1")
        assert digest_of(script.parent) == before

    @given(cut=st.integers(min_value=0, max_value=8))
    def test_bytes_that_move_from_one_file_to_the_next_are_seen(
        self, tmp_path_factory: pytest.TempPathFactory, cut: int
    ) -> None:
        digests = set()
        for at in (cut, (cut + 1) % 9):
            folder = tmp_path_factory.mktemp("part")
            (folder / "a").write_bytes(b"abcdefgh"[:at])
            (folder / "b").write_bytes(b"abcdefgh"[at:])
            digests.add(digest_of(folder))
        assert len(digests) == 2


class TestPublish:
    def test_a_preview_copies_nothing(self, project: Path, script: Path) -> None:
        before = sorted(project.rglob("*"))
        published = scripts.publish("part", "x-lab", dry_run=True)
        assert sorted(project.rglob("*")) == before
        assert published.digest == digest_of(script.parent)

    @pytest.mark.usefixtures("project")
    def test_a_preview_names_the_same_folder_as_its_up(self) -> None:
        assert scripts.publish("part", "x-lab", dry_run=True) == scripts.publish("part", "x-lab", dry_run=False)

    def test_the_copy_is_whole_and_runs(self, project: Path, script: Path) -> None:
        published = scripts.publish("part", "x-lab", dry_run=False)
        copy = project / published.folder / "go.sh"
        assert copy.read_bytes() == script.read_bytes()
        assert copy.stat().st_mode & stat.S_IXUSR
        assert (project / published.folder).stat().st_mode & 0o777 == 0o755
        assert digest_of(project / published.folder) == published.digest

    def test_a_second_time_leaves_the_copy_as_it_is(self, project: Path) -> None:
        folder = project / scripts.publish("part", "x-lab", dry_run=False).folder
        before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (folder, *folder.rglob("*"))}
        assert project / scripts.publish("part", "x-lab", dry_run=False).folder == folder
        assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (folder, *folder.rglob("*"))} == before
        assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name]

    def test_a_changed_script_leaves_the_old_copy_for_its_delete(self, project: Path, script: Path) -> None:
        old = project / scripts.publish("part", "x-lab", dry_run=False).folder
        script.write_text("#!/bin/sh\necho two\n")
        new = project / scripts.publish("part", "x-lab", dry_run=False).folder
        assert old != new
        assert (old / "go.sh").read_text() == "#!/bin/sh\necho one\n"

    def test_two_stacks_have_copies_of_their_own(self, project: Path) -> None:
        folders = {scripts.publish("part", stack, dry_run=False).folder for stack in ("a-lab", "b-lab")}
        assert len(folders) == 2
        assert all((project / folder / "go.sh").is_file() for folder in folders)

    @pytest.mark.usefixtures("project")
    def test_the_folder_is_named_relative_to_the_project(self) -> None:
        folder = scripts.publish("part", "x-lab", dry_run=True).folder
        assert re.fullmatch(r"\.lab/run/x-lab/part-[0-9a-f]{12}", folder)


class TestScripts:
    """What every committed script must be, for steps start it by name."""

    @pytest.mark.parametrize(
        "path",
        sorted(p for p in scripts.COMPONENTS.glob("**/scripts/*") if p.suffix in {".sh", ".py"}),
        ids=lambda p: f"{p.parent.parent.name}/{p.name}",
    )
    def test_a_script_runs_or_is_sourced_never_both(self, path: Path) -> None:
        runs = path.read_text(encoding="utf-8").startswith("#!")
        assert bool(path.stat().st_mode & stat.S_IXUSR) == runs
