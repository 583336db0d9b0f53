"""The one writer of a lab's ``ssh_config`` and ``known_hosts``: from records, whole, and for any path of the checkout."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from components.steps.scripts import scripts_of

RECORDS = scripts_of("ssh") / "records.sh"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILWBcIbHkD/3xHoyFAvxaHjN4bRMX6qDLXUstH+MqyoF"
OWN = f"Address 10.87.3.11\nIdentity id_ed25519\nHostKey {KEY}\n"
GIVEN = (
    f"Address 192.0.2.7\nPort 2222\nUser user@corp.example\nIdentity /home/me/my key\nKnown [192.0.2.7]:2222 {KEY}\n"
)
BEHIND = (
    f"{GIVEN}JumpAddress bastion.example\nJumpPort 2200\nJumpUser first.last\nJumpIdentity /k\n"
    f"JumpKnown [bastion.example]:2200 {KEY}\n"
)
ODD_NAMES = [
    "plain", "with blank", "two  blanks ", "it's", 'say "hi"', "100%", "%h", "a,b", "a:b", "a=b", "#hash", "back\\slash", "tab\there",
    "$HOME", "~me", "ünïcode", "a;b&c", "(x)", "*", "[1]", "-F", "a@b", "%d%u%%",
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / ".lab" / "run" / "my"
    folder.mkdir(parents=True)
    return folder


def records(run: Path, *words: str, record: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([RECORDS, run, *words], input=record, capture_output=True, text=True, timeout=60, check=False)


def put(run: Path, host: str, record: str) -> None:
    done = records(run, "put", host, record=record)
    assert (done.returncode, done.stderr) == (0, "")


def effective(run: Path, host: str) -> dict[str, str]:
    """What ssh makes of the configuration for a host."""
    done = subprocess.run(
        ["ssh", "-G", "-F", str(run / "ssh_config"), host], capture_output=True, text=True, check=True, timeout=30
    )
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


def identity(run: Path, host: str) -> str:
    """The path of the key that ssh would open."""
    words = ["ssh", "-v", "-F", str(run / "ssh_config"), "-o", "ProxyCommand=false", host]
    said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30).stderr
    found = re.search(r"identity file (.*) type -?\d", said)
    assert found, said
    # The log shows bytes that are not ASCII, and backslashes, in octal.
    return found[1].encode().decode("unicode_escape").encode("latin-1").decode()


class TestFiles:
    def test_a_host_is_reached_with_its_record_and_checked(self, run: Path) -> None:
        put(run, "host-1", GIVEN)
        shown = effective(run, "host-1")
        wanted = {
            "hostname": "192.0.2.7", "port": "2222", "user": "user@corp.example", "identityagent": "none", "identitiesonly": "yes",
            "stricthostkeychecking": "true", "batchmode": "yes", "forwardagent": "no", "globalknownhostsfile": "/dev/null",
        }  # fmt: skip
        assert {key: shown[key] for key in wanted} == wanted
        assert identity(run, "host-1") == "/home/me/my key"
        assert (run / "known_hosts").read_text() == f"[192.0.2.7]:2222 {KEY}\n"

    def test_a_lab_knows_its_own_hosts_by_name(self, run: Path) -> None:
        put(run, "host-1", OWN)
        assert effective(run, "host-1")["hostkeyalias"] == "host-1"
        assert (run / "known_hosts").read_text() == f"host-1 {KEY}\n"

    def test_both_are_for_their_owner_alone_and_nothing_else_is_left(self, run: Path) -> None:
        put(run, "host-1", OWN)
        assert sorted(p.name for p in run.iterdir()) == ["known_hosts", "ssh", "ssh_config"]
        assert {(run / name).stat().st_mode & 0o777 for name in ("known_hosts", "ssh_config")} == {0o600}

    def test_hosts_are_in_the_order_of_their_numbers(self, run: Path) -> None:
        for number in (10, 2, 1):
            put(run, f"host-{number}", OWN)
        text = (run / "ssh_config").read_text()
        assert re.findall(r"^Host (host-\d+)$", text, re.MULTILINE) == ["host-1", "host-2", "host-10"]

    def test_lines_that_hosts_have_in_common_are_there_once(self, run: Path) -> None:
        for number in (1, 2):
            put(run, f"host-{number}", f"Address 192.0.2.{number}\nKnown @cert-authority *.lab {KEY}\n")
        assert (run / "known_hosts").read_text() == f"@cert-authority *.lab {KEY}\n"

    def test_with_the_last_host_they_go(self, run: Path) -> None:
        put(run, "host-1", OWN)
        assert records(run, "drop", "host-1").returncode == 0
        assert [p.name for p in run.iterdir()] == ["ssh"]

    def test_writers_side_by_side_lose_no_host(self, run: Path) -> None:
        writing = [
            subprocess.Popen([RECORDS, run, "put", f"host-{n}"], stdin=subprocess.PIPE, text=True) for n in range(1, 13)
        ]
        for process in writing:
            process.communicate(OWN, timeout=60)
        text = (run / "ssh_config").read_text()
        assert re.findall(r"^Host host-(\d+)$", text, re.MULTILINE) == [str(n) for n in range(1, 13)]
        assert len((run / "known_hosts").read_text().splitlines()) == 12

    def test_records_of_an_older_version_are_read(self, run: Path) -> None:
        (run / "ssh").mkdir()
        (run / "ssh" / "host-1").write_text(f"10.87.3.11 {KEY}\n")
        (run / "ssh" / "host-2").write_text(f"127.0.0.1:20002 {KEY}\n")
        assert records(run, "restore").returncode == 0
        assert effective(run, "host-1")["hostname"] == "10.87.3.11"
        assert effective(run, "host-2")["port"] == "20002"
        assert identity(run, "host-1") == str(run / "id_ed25519")


class TestAgent:
    def test_only_where_it_is_said_the_operators_agent_is_asked(self, run: Path) -> None:
        put(run, "host-1", "Address 192.0.2.1\nAgent yes\n")
        put(run, "host-2", "Address 192.0.2.2\nAgent yes\nIdentity /home/me/.ssh/id.pub\n")
        every, one = effective(run, "host-1"), effective(run, "host-2")
        assert (every["identityagent"], every["identitiesonly"], every["identityfile"]) == (
            "SSH_AUTH_SOCK",
            "no",
            "none",
        )
        assert (one["identityagent"], one["identitiesonly"]) == ("SSH_AUTH_SOCK", "yes")


class TestBastion:
    def test_it_has_a_user_port_key_and_known_key_of_its_own(self, run: Path) -> None:
        put(run, "host-1", BEHIND)
        jump = effective(run, "host-1")["proxyjump"]
        shown = effective(run, jump)
        assert (shown["hostname"], shown["port"], shown["user"]) == ("bastion.example", "2200", "first.last")
        assert identity(run, jump) == "/k"
        assert f"[bastion.example]:2200 {KEY}" in (run / "known_hosts").read_text()
        assert shown["stricthostkeychecking"] == "true"

    @pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_its_configuration_is_found_at_any_path(self, tmp_path: Path, name: str, shell: str) -> None:
        run = tmp_path / name / "run"
        run.mkdir(parents=True)
        put(run, "host-1", BEHIND)
        words = ["ssh", "-v", "-F", str(run / "ssh_config"), "host-1"]
        # OpenSSH starts proxy commands by the operator's shell.
        environment = {**os.environ, "SHELL": shell}
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, env=environment)
        said = done.stderr
        # The name of the bastion is unknown here, and looked for: the inner ssh has read its part of the file.
        assert "bastion.example" in said.rpartition("Executing proxy command")[2], said


class TestPlaces:
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_paths_of_any_kind_are_read_as_they_are(self, tmp_path: Path, name: str) -> None:
        run = tmp_path / name / "run" / "my"
        run.mkdir(parents=True)
        put(run, "host-1", OWN)
        assert identity(run, "host-1") == str(run / "id_ed25519")
        assert effective(run, "host-1")["userknownhostsfile"] == str(run / "known_hosts")

    def test_a_path_that_ssh_takes_for_a_variable_is_refused(self, tmp_path: Path) -> None:
        run = tmp_path / "${HOME}" / "my"
        run.mkdir(parents=True)
        done = records(run, "put", "host-1", record=OWN)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: ssh can't use files in {run}")
        assert not (run / "ssh_config").exists()

    def test_after_the_checkout_was_moved_its_paths_follow(self, tmp_path: Path, run: Path) -> None:
        put(run, "host-1", OWN)
        moved = tmp_path / "moved to"
        (tmp_path / ".lab").rename(moved)
        there = moved / "run" / "my"
        assert records(there, "restore").returncode == 0
        assert identity(there, "host-1") == str(there / "id_ed25519")
        assert str(run) not in (there / "ssh_config").read_text()

    @pytest.mark.parametrize("gone", [("ssh_config",), ("known_hosts",), ("ssh_config", "known_hosts")])
    def test_a_deleted_file_is_written_again(self, run: Path, gone: tuple[str, ...]) -> None:
        put(run, "host-1", OWN)
        before = {name: (run / name).read_text() for name in ("ssh_config", "known_hosts")}
        for name in gone:
            (run / name).unlink()
        assert records(run, "restore").returncode == 0
        assert {name: (run / name).read_text() for name in before} == before

    def test_files_that_are_right_are_left_alone(self, run: Path) -> None:
        put(run, "host-1", OWN)
        before = (run / "ssh_config").stat()
        records(run, "restore")
        after = (run / "ssh_config").stat()
        # Not its time of access: it was read.
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_a_lab_that_was_never_made_stays_so(self, tmp_path: Path) -> None:
        assert records(tmp_path / "none", "restore").returncode == 0
        (tmp_path / "empty").mkdir()
        assert records(tmp_path / "empty", "restore").returncode == 0
        assert [p.name for p in tmp_path.iterdir()] == ["empty"]
        assert list((tmp_path / "empty").iterdir()) == []
