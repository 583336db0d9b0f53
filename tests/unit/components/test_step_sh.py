"""What every step on a host relies on: its input is data and never shell, its waits end and say what they saw."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.steps.scripts import COMPONENTS
from tests.unit.components import onhost
from tests.unit.components.onhost import NEEDS_ROOT

pytestmark = NEEDS_ROOT

# A unit that has failed, on a machine that may have no systemd.
HOST = """
systemctl() { echo failed; return 1; }
timeout() { shift 3; "$@"; }
journalctl() { echo "the journal's last line"; }
"""


def on_host(script: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a script that has sourced ``step.sh``."""
    return onhost.on_host(HOST + script, "clusters/step.sh", stdin=stdin)


class TestInput:
    def test_values_are_set_and_what_follows_is_left_to_the_step(self) -> None:
        done = on_host('read_input; echo "$ADDRESS|$TAINT"; cat', b"ADDRESS=10.87.3.11\nTAINT=true\n---\nH4sI\n")
        assert (done.returncode, done.stdout) == (0, "10.87.3.11|true\nH4sI\n")

    def test_a_line_that_is_no_setting_is_refused_without_being_shown(self) -> None:
        done = on_host("read_input; echo went on", b"ADDRESS=10.87.3.11\ncanary of a key\n---\n")
        assert done.returncode == 1
        assert "the step's input has a line that is no KEY=VALUE of plain characters" in done.stderr
        assert "canary" not in done.stdout + done.stderr

    # Each example is a shell of its own.
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        value=st.one_of(
            st.sampled_from(["$(touch FILE)", "`touch FILE`", "x;touch FILE", "x\ntouch FILE", "a[$(touch FILE)]=1", "x|touch FILE"]),
            st.binary(max_size=20).map(lambda b: b.decode("latin-1")),
            st.text("$`;&|<>()[]{}'\"\\ \n*?~!#=-A_", max_size=16),
        ),
        as_key=st.booleans(),
    )  # fmt: skip
    def test_no_input_becomes_shell(self, tmp_path: Path, value: str, as_key: bool) -> None:
        marks = tmp_path / "marks"
        marks.mkdir(exist_ok=True)
        hostile = value.replace("FILE", str(marks / "ran")).encode(errors="replace").replace(b"\0", b"")
        line = hostile + b"=1" if as_key else b"VALUE=" + hostile
        done = on_host(
            'cd "$MARKS"; read_input; printf %s "${VALUE-}"'.replace("$MARKS", str(marks)), line + b"\n---\n"
        )
        assert list(marks.iterdir()) == []
        if done.returncode == 0:
            assert done.stdout.encode() in (b"", hostile.split(b"\n")[0]), done.stderr


class TestWaits:
    def test_a_wait_that_runs_out_says_what_for_how_long_and_the_last_state(self) -> None:
        done = on_host(
            "look() { echo '1 of 3 nodes are Ready'; return 1; }; wait_for 'all nodes to be Ready' 1 kubelet look"
        )
        assert done.returncode == 1
        for part in (
            "waited 1 s for all nodes to be Ready. Last state: 1 of 3 nodes are Ready", "kubelet is failed",
            "the journal's last line", "make ssh HOST=", "run the same command again to go on",
        ):  # fmt: skip
            assert part in done.stderr

    def test_a_wait_ends_when_what_it_waits_for_is_there(self) -> None:
        done = on_host(
            'n=0; look() { n=$((n + 1)); echo x >>/run/looks; [ "$(wc -l </run/looks)" -ge 3 ]; }; wait_for x 20 y look; cat /run/looks'
        )
        assert (done.returncode, done.stdout) == (0, "x\nx\nx\n")

    def test_a_wait_on_a_unit_that_systemd_has_given_up_does_not_go_on(self) -> None:
        done = on_host(
            "systemctl() { case $1 in show) echo ActiveState=failed ;; *) echo failed ;; esac; }; wait_for 'the node to be Ready' 50 kubelet false"
        )
        assert done.returncode == 1
        assert re.search(r"waited [0-9] s for the node to be Ready", done.stderr)
        assert "kubelet is failed" in done.stderr

    def test_a_wait_on_a_unit_that_dies_in_a_loop_does_not_go_on(self) -> None:
        # Restart=always, RestartSec=1: systemd itself would go on for ever.
        systemctl = "echo 3 >/run/n; systemctl() { case $1 in show) echo NRestarts=$(</run/n); echo ActiveState=activating; echo $(($(</run/n) + 2)) >/run/n ;; *) echo activating ;; esac; }; "
        done = on_host(systemctl + "wait_for 'the node to be Ready' 50 kubelet false")
        assert done.returncode == 1
        assert re.search(r"waited [0-9] s for the node to be Ready", done.stderr)
        assert re.search(r"kubelet is activating, restarted .* times, and its journal ends", done.stderr, re.DOTALL)

    def test_a_wait_on_a_unit_that_pauses_between_two_starts_does_not_go_on(self) -> None:
        # k0s's unit has RestartSec=120.
        systemctl = "systemctl() { case $1 in show) printf 'NRestarts=0\\nActiveState=activating\\nSubState=auto-restart\\n' ;; *) echo activating ;; esac; }; "
        done = on_host("LONGEST_PAUSE_S=2; " + systemctl + "wait_for 'the API' 50 k0scontroller false")
        assert re.search(r"waited [0-9] s for the API", done.stderr)

    def test_a_unit_that_restarted_before_the_wait_is_waited_for(self) -> None:
        systemctl = "systemctl() { case $1 in show) printf 'NRestarts=45\\nActiveState=active\\n' ;; *) echo active ;; esac; }; "
        done = on_host(systemctl + "wait_for 'the node to be Ready' 2 kubelet false")
        assert "waited 2 s for the node to be Ready" in done.stderr

    def test_a_unit_that_does_not_start_is_named_with_its_journal(self) -> None:
        done = on_host("start_unit etcd 7")
        assert done.returncode == 1
        assert "etcd did not start within 7 s; its state is failed" in done.stderr
        assert "the journal's last line" in done.stderr


FSTAB = "/dev/sda1 / ext4 defaults 0 1\n# swap of old: /dev/sdb none swap sw 0 0\n/dev/sda2 none swap sw 0 0\n"
MACHINE = r"""
mount -t tmpfs none /etc
mkdir /etc/modules-load.d /etc/sysctl.d
printf %s "$FSTAB" >/etc/fstab
is_container() { false; }
swapoff() { echo off; }
swapon() { echo on; }
modprobe() { :; }
sysctl() { :; }
"""


class TestOperatingSystem:
    def test_what_a_host_is_prepared_with_is_taken_back_and_its_swap_stays_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FSTAB", FSTAB)
        done = on_host(MACHINE + "prepare_os; prepare_os; ls /etc/*; cat /etc/fstab")
        assert done.returncode == 0, done.stderr
        assert "90-litelab.conf" in done.stdout
        assert done.stdout.endswith(FSTAB)
        done = on_host(MACHINE + "prepare_os; prepare_os; restore_os; find /etc -type f; cat /etc/fstab")
        assert (done.returncode, done.stdout) == (0, f"/etc/fstab\n{FSTAB}")

    def test_swap_that_an_older_version_turned_off_is_turned_on_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FSTAB", FSTAB.replace("/dev/sda2", "# litelab: /dev/sda2"))
        done = on_host(MACHINE + "restore_os; cat /etc/fstab")
        assert (done.returncode, done.stdout) == (0, f"on\n{FSTAB}")


class TestProgram:
    """A staged program: for this processor, and of the version that the lab asks for."""

    def put(self, folder: Path, content: bytes, says: str = "v1.34.4") -> subprocess.CompletedProcess[str]:
        (folder / "files").mkdir()
        (folder / "files" / "tool").write_bytes(content)
        (folder / "list").write_text("version v1.34.4\n")
        script = (
            f'BASE={folder}; version_of() {{ echo "{says}"; }}; uname() {{ echo x86_64; }}; '
            f"put_program tool {folder}/there && cmp {folder}/there {folder}/files/tool && stat -c %a {folder}/there"
        )
        return on_host(script)

    def elf(self, machine: int) -> bytes:
        return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little") + bytes(44)

    def test_it_is_put_in_its_place_and_can_be_run(self, tmp_path: Path) -> None:
        done = self.put(tmp_path, self.elf(62))
        assert (done.returncode, done.stdout) == (0, "755\n"), done.stderr

    def test_one_for_another_processor_is_refused_before_it_is_run(self, tmp_path: Path) -> None:
        done = self.put(tmp_path, self.elf(183))
        assert done.returncode == 1
        assert (
            "the artifact tool is built for another processor (ELF machine 183) than this host's x86_64" in done.stderr
        )
        assert not (tmp_path / "there").exists()

    def test_one_that_says_another_version_is_refused_with_the_setting_that_would_take_it(self, tmp_path: Path) -> None:
        done = self.put(tmp_path, b"#!/bin/sh\n", says="v1.34.5")
        assert done.returncode == 1
        assert "says it is v1.34.5, and the lab asks for v1.34.4" in done.stderr
        assert "set version: v1.34.5" in done.stderr
        assert not (tmp_path / "there").exists()

    def test_what_has_been_put_is_put_again_for_another_list_alone(self, tmp_path: Path) -> None:
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "tool").write_bytes(self.elf(62))
        script = (
            f"BASE={tmp_path} RUNNING={tmp_path}/running; version_of() {{ echo asked >&2; echo v1.34.4; }}; put_images() {{ echo images; }}; uname() {{ echo x86_64; }}; "
            'list() { printf "version v1.34.4\\n%s" "$1" >"$BASE/list"; }; put() { put_staged tool "$BASE/there"; }; '
            'list ""; put; put; echo again; list "image a 1"; put; echo running; list ""; touch "$RUNNING"; put; echo gone; rm "$BASE/there"; put'
        )
        done = on_host(script)
        assert done.stdout.split() == ["images", "again", "images", "running", "images", "gone", "images"], done.stderr
        assert done.stderr == "asked\nasked\n"


BY_MAKE = re.compile(r"make (ssh|logs|status|bench|kubeconfig)(?! STACK=)(?=[ '`])")


def test_every_command_that_a_script_names_is_of_its_own_lab() -> None:
    """Who copies a line from an error must not land on the default lab."""
    assert BY_MAKE.search("look with 'make ssh HOST=host-1'"), "the search finds nothing any more"
    found = [
        f"{path.relative_to(COMPONENTS)}:{number}: {line.strip()}"
        for path in sorted(COMPONENTS.glob("**/scripts/*.*"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if not line.lstrip().startswith(("#", '"""')) and BY_MAKE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(("stack", "named"), [("my-lab", "'make ssh STACK=my-lab HOST="), ("", "'make ssh HOST=")])
def test_a_wait_that_runs_out_names_the_lab(stack: str, named: str) -> None:
    done = on_host(f"LITELAB_STACK={stack}; look() {{ return 1; }}; wait_for x 1 kubelet look")
    assert named in done.stderr
