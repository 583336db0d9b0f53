"""What ``make lab`` does with a lab that failed: kept for a look, unless the person said otherwise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inputs.limits import MOST_REPEATS
from tools.errors import SetupError
from tools.lab import lifecycle, presence, stacks
from tools.places import PROJECT
from tools.progress import Progress


@pytest.fixture
def verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Pulumi was asked to do with the stack ``my``."""
    asked: list[str] = []
    monkeypatch.setattr(lifecycle, "OWN", tmp_path)
    (tmp_path / "run/my").mkdir(parents=True)
    monkeypatch.setattr(stacks, "require_known", lambda _: None)
    monkeypatch.setattr(stacks, "require_engine", lambda _: None)
    monkeypatch.setattr(lifecycle, "hand_over", lambda *_: None)
    monkeypatch.setattr(stacks, "free", lambda *_: None)
    monkeypatch.setattr(presence, "resources", lambda *_: [])
    monkeypatch.setattr(stacks, "exists", lambda _: True)
    preflight: Any = lambda *_, **__: subprocess.CompletedProcess([], 0)  # noqa: E731
    monkeypatch.setattr("tools.lab.lifecycle.subprocess.run", preflight)
    monkeypatch.delenv("DESTROY_ON_FAILURE", raising=False)
    return asked


def ending(asked: list[str], code: int) -> Any:
    def pulumi(_: Path, verb: str, *__: Any) -> int:
        asked.append(verb)
        return code if verb == "up" else 0

    return pulumi


class TestFailure:
    def up(self, tmp_path: Path) -> int:
        return lifecycle.up(tmp_path, "my", Progress(tmp_path))

    def test_a_failed_lab_is_kept(
        self, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(lifecycle, "_pulumi", ending(verbs, 255))
        assert self.up(tmp_path) == 255
        assert verbs == ["up"]
        told = capsys.readouterr().err
        assert "The lab is kept as it is." in told
        for command in ("make logs STACK=my", "make lab STACK=my", "make destroy STACK=my", "DESTROY_ON_FAILURE=1"):
            assert command in told
        # There is no host to look inside of.
        assert "make ssh" not in told

    def test_the_error_says_how_to_look_inside_of_hosts_that_are_there(
        self, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(lifecycle, "_pulumi", ending(verbs, 255))
        (tmp_path / "run/my/ssh_config").touch()
        self.up(tmp_path)
        assert "'make ssh STACK=my HOST=host-1' looks inside" in capsys.readouterr().err

    def test_it_is_removed_when_the_person_said_so_and_the_failure_stays_a_failure(
        self, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lifecycle, "_pulumi", ending(verbs, 255))
        monkeypatch.setenv("DESTROY_ON_FAILURE", "1")
        assert self.up(tmp_path) == 255
        assert verbs == ["up", "destroy"]

    def test_a_lab_that_a_person_stopped_is_kept_whatever_was_said(
        self, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lifecycle, "_pulumi", ending(verbs, lifecycle.STOPPED))
        monkeypatch.setenv("DESTROY_ON_FAILURE", "1")
        assert self.up(tmp_path) == lifecycle.STOPPED
        assert verbs == ["up"]


# Stands for a Pulumi that the terminal's Ctrl-C, or a 'kill' of its parent, ends with an error.
PULUMI = """#!/usr/bin/env python3
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(255))
os.kill(os.getppid(), signal.SIGNAL)
if signal.SIGNAL == signal.SIGINT:
    os.kill(os.getpid(), signal.SIGINT)
signal.pause()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_run_that_was_stopped_ends_as_shells_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pulumi"
    program.write_text(PULUMI.replace("SIGNAL", name))
    program.chmod(0o755)
    monkeypatch.setattr(lifecycle, "OWN", tmp_path)
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert lifecycle._pulumi(tmp_path, "up", "my", dict(os.environ)) == lifecycle.STOPPED
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    if name == "SIGINT":
        assert "Stopping: the steps that run are ended. Ctrl-C again does not wait for them." in capsys.readouterr().err


class TestWrongWords:
    @pytest.fixture
    def standing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A lab ``my`` of two hosts; no other stack."""
        monkeypatch.setattr(lifecycle, "OWN", tmp_path)
        monkeypatch.setattr(stacks, "exists", lambda name: name == "my")
        (tmp_path / "run/my").mkdir(parents=True)
        (tmp_path / "run/my/ssh_config").write_text("Host host-1\n  User root\nHost host-2\nHost *\n")
        (tmp_path / "run/my/kubeconfig").touch()

    @pytest.mark.usefixtures("standing")
    def test_a_host_that_the_lab_has_not_is_named_with_those_that_it_has(self) -> None:
        assert lifecycle.require_up("my", "host-2") == 0
        with pytest.raises(SetupError, match=r"no host 'host-9'\. It has host-1, host-2"):
            lifecycle.require_up("my", "host-9")

    @pytest.mark.usefixtures("standing")
    @pytest.mark.parametrize(
        "verb", [lifecycle.kubeconfig, lambda stack: lifecycle.bench(Path(), stack, "pods-8", "1")]
    )
    def test_a_stack_that_there_is_not_is_not_called_down(self, verb: Any) -> None:
        with pytest.raises(SetupError, match=r"There is no stack 'nosuch'.*'make stack NAME=nosuch FROM=upstream-lab'"):
            verb("nosuch")

    @pytest.mark.usefixtures("standing")
    @pytest.mark.parametrize("given", ["K0s-lab", "stacks/k0s-lab.yaml", "k0slab"])
    def test_a_stack_that_is_meant_is_offered(self, given: str) -> None:
        with pytest.raises(SetupError, match=rf"There is no stack '{given}'\. Did you mean k0s-lab\?") as caught:
            lifecycle.kubeconfig(given)
        assert ("make stack" in str(caught.value)) == (given == "k0slab")

    @pytest.mark.usefixtures("standing")
    @pytest.mark.parametrize(
        ("workload", "repeats", "said"),
        [
            ("nope", "3", "no workload 'nope'. There are .*pods-8"),
            ("pods-8", "x", "REPEATS .* not 'x'"),
            ("pods-8", "0", "REPEATS"),
            ("pods-8", f"{MOST_REPEATS + 1}", f"from 1 to {MOST_REPEATS}, and not '{MOST_REPEATS + 1}'"),
            ("pods-8", "9" * 5000, "REPEATS"),
        ],
    )
    def test_a_bench_that_can_t_be_begins_nothing(self, workload: str, repeats: str, said: str, tmp_path: Path) -> None:
        with pytest.raises(SetupError, match=said):
            lifecycle.bench(tmp_path, "my", workload, repeats)
        assert not (tmp_path / "results").exists()


class TestReachedThroughAnotherMachine:
    """What needs a lab's hosts or its API opens the ways there again, and says why it can't."""

    PORT = 29999

    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """Of a lab whose only way is shut; its ssh goes nowhere."""
        monkeypatch.setattr(lifecycle, "OWN", tmp_path)
        monkeypatch.setattr(stacks, "require_known", lambda _: None)
        monkeypatch.setenv("PATH", f"{PROJECT / 'tests/doubles/ssh'}{os.pathsep}{os.environ['PATH']}")
        folder = tmp_path / "run/my"
        (folder / "forwards").mkdir(parents=True)
        (folder / "kubeconfig").write_text("{}")
        (folder / "ssh_config").write_text("Host host-1\n")
        way = {"through": "ssh://me@big.example", "target": "10.87.3.11:22", "port": self.PORT}
        (folder / "forwards/host-1.json").write_text(json.dumps(way))
        yield folder
        subprocess.run([PROJECT / "components/forwarding/scripts/leftovers.sh", folder], check=True, timeout=60)

    def test_its_kubeconfigs_path_is_all_that_is_printed(self, run: Path, capfd: pytest.CaptureFixture[str]) -> None:
        assert lifecycle.kubeconfig("my") == 0
        told = capfd.readouterr()
        assert told.out == f"{run / 'kubeconfig'}\n"
        assert told.err == f"The way to host-1 on port {self.PORT} was shut, and is open again.\n"

    @pytest.mark.parametrize(
        "verb",
        [
            lambda: lifecycle.kubeconfig("my"),
            lambda: lifecycle.require_up("my", "host-1"),
            lambda: lifecycle.bench(Path("cache"), "my", "pods-8", "1"),
        ],
    )
    @pytest.mark.usefixtures("run")
    def test_a_machine_that_is_not_trusted_ends_it_with_the_cure(
        self, verb: Callable[[], int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FAKE_SSH_SAYS", "REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.")
        assert verb() == 1
        told = capfd.readouterr()
        assert told.out == ""
        assert told.err.startswith("error: big.example shows another ssh host key than the one that is known of it")
