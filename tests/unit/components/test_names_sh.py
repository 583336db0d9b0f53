"""Names of the lab in ``/etc/hosts``: they stay when the file is rewritten, and a reset removes all of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.components import onhost
from tests.unit.components.onhost import NEEDS_ROOT

pytestmark = NEEDS_ROOT

PLAIN = "127.0.0.1 localhost\n10.0.0.9 theirs # a comment\n"
LINES = "10.0.0.1 controllers.litelab\\n10.0.0.2 controllers.litelab\\n"
OURS = "10.0.0.1 controllers.litelab # litelab\n10.0.0.2 controllers.litelab # litelab\n"


def on_host(tmp_path: Path, before: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script on a host whose ``/etc/hosts`` is ``before``."""
    (tmp_path / "hosts").write_text(before)
    prepare = "mkdir -p /etc/systemd/system; mount -t tmpfs none /etc/systemd/system; HOSTS_FILE=$DIR/hosts\n"
    sourced = ("clusters/step.sh", "clusters/names.sh")
    programs = {"systemctl": 'echo "$*" >>"$DIR/asked"'}
    return onhost.on_host(prepare + script, *sourced, folder=tmp_path, programs=programs)


class TestNames:
    def test_they_are_put_behind_what_is_there(self, tmp_path: Path) -> None:
        done = on_host(tmp_path, PLAIN, f'printf "{LINES}" | put_names; cat /etc/systemd/system/litelab-names.path')
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "hosts").read_text() == PLAIN + OURS
        assert f"PathChanged={tmp_path}/hosts" in done.stdout
        assert "enable -q --now litelab-names.path" in (tmp_path / "asked").read_text()

    @pytest.mark.parametrize(
        "rewritten", [PLAIN, "", "127.0.0.1 localhost", OURS, f"{OURS}{PLAIN}", "10.9.9.9 controllers.litelab\n"]
    )
    def test_whatever_was_written_since_they_are_there_again_once(self, tmp_path: Path, rewritten: str) -> None:
        put = f'printf "{LINES}" | put_names; cat "$DIR/new" >"$HOSTS_FILE"\n'
        (tmp_path / "new").write_text(rewritten)
        keep = 'HOSTS_FILE=$HOSTS_FILE bash "$COMPONENTS/clusters/scripts/keep-names.sh"\n'
        done = on_host(tmp_path, PLAIN, put + keep + keep)
        assert done.returncode == 0, done.stderr
        text = (tmp_path / "hosts").read_text()
        assert text.endswith(OURS)
        assert text.count("controllers.litelab") == 2

    @pytest.mark.parametrize("before", [PLAIN, "", "127.0.0.1 localhost\n\n"])
    def test_the_file_is_as_it_was_when_they_are_forgotten(self, tmp_path: Path, before: str) -> None:
        script = f'printf "{LINES}" | put_names; add_name 10.0.0.3 third; forget_names; ls /etc/systemd/system "$NAMES" 2>/dev/null'
        done = on_host(tmp_path, before, script + " || true")
        assert (done.returncode, done.stdout) == (0, "/etc/systemd/system:\n"), done.stderr
        assert (tmp_path / "hosts").read_text() == before

    def test_a_name_that_was_added_twice_is_there_once(self, tmp_path: Path) -> None:
        done = on_host(tmp_path, PLAIN, "add_name 10.0.0.2 b; add_name 10.0.0.3 c; add_name 10.0.0.2 b")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "hosts").read_text() == PLAIN + "10.0.0.2 b # litelab\n10.0.0.3 c # litelab\n"

    def test_lines_of_an_older_version_go(self, tmp_path: Path) -> None:
        done = on_host(tmp_path, PLAIN + "10.0.0.7 controllers.litelab\n", "forget_names")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "hosts").read_text() == PLAIN
