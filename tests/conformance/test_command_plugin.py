"""What programs may expect of the command plugin, whoever made it."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.stack import Sleeper, Stack, alive, children, copy, local, remote, wait_for

# The time a stopped command may take to be gone: TERM, grace, KILL, and slack
# for a busy machine.
GONE_S = 2.5
# Pulumi kills a plugin that has not ended after 5 s: less means that it did.
# A busy machine is given more, by how long it takes for an update of nothing.
PROMPT_S = 3.0


def promptly_s(stack: Stack) -> float:
    """How long an end without any wait may take here and now, in seconds."""
    started = time.monotonic()
    stack.up()
    return PROMPT_S + 1.5 * (time.monotonic() - started)


class TestLocalCommand:
    """The life of a local.Command."""

    def test_create_update_delete(self, stack: Stack, tmp_path: Path) -> None:
        """Each verb runs its own script; the outputs lose one newline only."""
        log = tmp_path / "log"
        scripts: dict[str, Any] = {
            "create": "printf 'made\\n\\n'; echo warn >&2",
            "update": 'echo "updated after <$PULUMI_COMMAND_STDOUT>"',
            "delete": f'echo "$PULUMI_COMMAND_STDOUT|$PULUMI_COMMAND_STDERR" > {log}',
        }
        stack.up(local("a", **scripts))
        assert stack.printed("a") == "made\n"
        assert stack.resource("a")["outputs"]["stderr"] == "warn"

        stack.up(local("a", **scripts))
        refreshed = stack.pulumi("refresh", "--yes", "--skip-preview")
        assert refreshed.returncode == 0, refreshed.stdout
        assert stack.printed("a") == "made\n", "an unchanged command must not run"

        stack.up(local("a", stdin="new", **scripts))
        assert stack.printed("a") == "updated after <made\n>"

        stack.destroy()
        assert log.read_text() == "updated after <made\n>|\n"

    def test_update_runs_create_again_without_a_script_of_its_own(self, stack: Stack) -> None:
        """A changed input alone is a reason to run."""
        stack.up(local("a", create="echo $V", environment={"V": "1"}))
        stack.up(local("a", create="echo $V", environment={"V": "2"}))
        assert stack.printed("a") == "2"

    @pytest.mark.parametrize("delete_first", [True, False])
    def test_triggers_replace(self, stack: Stack, tmp_path: Path, delete_first: bool) -> None:
        """The order of create and delete follows delete_before_replace."""
        log = tmp_path / "log"
        for trigger in ("one", "two"):
            stack.up(
                local(
                    "a",
                    create=f"echo create >> {log}",
                    update=f"echo update >> {log}",
                    delete=f"echo delete >> {log}",
                    triggers=[trigger],
                    opts={"delete_before_replace": delete_first},
                )
            )
        replaced = ["delete", "create"] if delete_first else ["create", "delete"]
        assert log.read_text().split() == ["create", *replaced]

    def test_inputs_reach_the_command(self, stack: Stack, tmp_path: Path) -> None:
        """Standard input, environment, folder and interpreter are used."""
        stack.up(
            local("stdin", create="cat", stdin="one\ntwo\n"),
            local("unread", create="true", stdin="x" * 200_000),
            local("env", create="echo $A-$B", environment={"A": "a", "B": "b c"}),
            local("dir", create="pwd", dir=str(tmp_path)),
            local("interpreter", create="hello", interpreter=["/bin/echo", "-n"]),
            local("none"),
            local("binary", create="printf '\\377a'"),
        )
        assert stack.printed("stdin") == "one\ntwo"
        assert stack.printed("env") == "a-b c"
        assert stack.printed("dir") == str(tmp_path)
        assert stack.printed("interpreter") == "hello"
        assert stack.printed("none") == ""
        assert stack.printed("binary") == "\ufffda"

    def test_failure_names_exit_code_and_output(self, stack: Stack) -> None:
        """A failed create tells why and leaves no resource."""
        done = stack.try_up(local("a", create="echo out; echo why >&2; exit 3", logging="none"))
        assert done.returncode != 0
        assert "exit status 3" in done.stdout
        assert "why" in done.stdout
        assert "out" in done.stdout
        assert '::a"' not in stack.state()

    def test_a_missing_script_names_what_restores_it(self, stack: Stack) -> None:
        """Litelab names its script in STEP: without it no shell is started."""
        step = ".lab/run/my-lab/existing-0123456789ab/facts.py"
        done = stack.try_up(local("a", create='"$STEP" create host-1', environment={"STEP": step}))
        assert done.returncode != 0
        assert f"{step} is missing, so the run folder of stack my-lab is gone" in done.stdout
        assert "run 'make destroy STACK=my-lab'" in done.stdout
        assert "not found" not in done.stdout

    def test_logging(self, stack: Stack) -> None:
        """Only the streams asked for are shown."""
        both = "printf 'ou''t'; printf 'er''r' >&2"
        shown = {
            mode: stack.up(local("a", create=f"{both} # {mode}", logging=mode)) for mode in ("stdout", "stderr", "none")
        }
        for mode, out, err in [("stdout", 1, 0), ("stderr", 0, 1), ("none", 0, 0)]:
            diagnostics = shown[mode].split("Outputs:")[0].split("Diagnostics:")[-1].split()
            assert ("out" in diagnostics, "err" in diagnostics) == (
                bool(out),
                bool(err),
            )

    def test_secrets_are_masked_in_the_state(self, stack: Stack) -> None:
        """A secret input, and an output declared secret, are ciphertext."""
        stack.up(
            local(
                "a",
                create="printf %s $HIDDEN | tr a-z A-Z",
                environment={"HIDDEN": {"$secret": "swordfish"}},
                stdin={"$secret": "marlin"},
                logging="none",
                opts={"additional_secret_outputs": ["stdout"]},
            )
        )
        state = stack.state()
        for word in ("swordfish", "SWORDFISH", "marlin"):
            assert word not in state
        shown = stack.pulumi("stack", "output", "--json", "--show-secrets").stdout
        assert json.loads(shown)["a"] == "SWORDFISH"

    def test_preview_runs_nothing(self, stack: Stack, tmp_path: Path) -> None:
        """A preview shows a command and does not run it."""
        done = stack.preview(local("a", create=f"touch {tmp_path}/ran"))
        assert done.returncode == 0, done.stdout
        assert not (tmp_path / "ran").exists()

    def test_run_function(self, stack: Stack) -> None:
        """local.run runs on every update."""
        stack.up(RUN=json.dumps({"command": "cat", "stdin": "x\n"}))
        outputs = json.loads(stack.pulumi("stack", "output", "--json").stdout)
        assert outputs["run"] == "x"

    def test_long_line_with_logging(self, stack: Stack) -> None:
        """A line of 1 MB neither hangs nor is lost, also for the next run."""
        create = "head -c 1000000 /dev/zero | tr '\\0' x"
        stack.up(local("a", create=create, update="echo ok", delete="true"))
        assert len(stack.printed("a")) == 1_000_000
        stack.up(local("a", create=create, update="echo ok", delete="true", stdin="new"))
        assert stack.printed("a") == "ok"
        stack.destroy()

    def test_many_lines(self, stack: Stack) -> None:
        """Fast output is kept in full."""
        stack.up(local("a", create="seq 100000"))
        assert stack.printed("a").split() == [str(i) for i in range(1, 100_001)]

    @pytest.mark.slow
    def test_background_child_does_not_hold_the_command(self, stack: Stack, tmp_path: Path) -> None:
        """A daemon that holds the output delays the command a little only."""
        pid_file = tmp_path / "pid"
        started = time.monotonic()
        stack.up(local("a", create=f"sleep 60 & echo $! > {pid_file}; echo done"))
        took = time.monotonic() - started
        pid = int(pid_file.read_text())
        still = alive(pid)
        if still:
            subprocess.run(["kill", str(pid)], check=True)
        assert stack.printed("a") == "done"
        assert took < 10
        assert still, "a daemon that a command left behind on purpose must live on"


@pytest.mark.slow
class TestTimeout:
    """Custom timeouts."""

    @pytest.mark.parametrize("verb", ["create", "update", "delete"])
    def test_ends_the_command(self, stack: Stack, sleeper: Sleeper, verb: str) -> None:
        """Each verb has its own limit, and it ends the children too."""
        prompt_s = promptly_s(stack)
        scripts: dict[str, Any] = {"create": "true", "update": "true", "delete": "true"}
        scripts[verb] = sleeper.deaf_script if verb == "create" else sleeper.script
        resource = local("a", opts={"custom_timeouts": {verb: "1.5s"}}, **scripts)
        if verb != "create":
            stack.up(resource)
        started = time.monotonic()
        if verb == "update":
            resource["args"]["stdin"] = "new"
        done = stack.try_up(*([] if verb == "delete" else [resource]))
        assert done.returncode != 0
        assert 1.5 <= time.monotonic() - started < 1.5 + prompt_s
        assert "timeout of 1.5s" in done.stdout
        assert sleeper.gone_in(0.1)


@pytest.mark.slow
class TestInterrupt:
    """A stop of Pulumi, or of its parts, leaves no command behind."""

    def stop(self, pulumi: "subprocess.Popen[bytes]", *signals: signal.Signals) -> float:
        """Send the signals and return how long Pulumi took to end."""
        hosts = children(pulumi.pid, "pulumi-language")
        for number in signals:
            pulumi.send_signal(number)
            time.sleep(0.3)
        started = time.monotonic()
        pulumi.wait(30)
        took = time.monotonic() - started
        for host in filter(alive, hosts):
            os.kill(host, signal.SIGKILL)  # it would look for its engine after minutes only
        return took

    def test_interrupted_once(self, stack: Stack, sleeper: Sleeper) -> None:
        """One Ctrl-C asks the plugin to give up what runs; the state stays clean."""
        prompt_s = promptly_s(stack)
        pulumi = stack.start_up(local("a", create=sleeper.deaf_script))
        sleeper.pids()
        took = self.stop(pulumi, signal.SIGINT)
        assert sleeper.gone_in(GONE_S)
        assert took < prompt_s
        assert "pending_operations" not in stack.state()
        stack.up(local("a", create="echo again"))
        assert stack.printed("a") == "again"

    @pytest.mark.parametrize("deaf", [False, True])
    def test_interrupted_twice(self, stack: Stack, sleeper: Sleeper, deaf: bool) -> None:
        """The second Ctrl-C ends the commands, and Pulumi at once."""
        prompt_s = promptly_s(stack)
        pulumi = stack.start_up(local("a", create=sleeper.deaf_script if deaf else sleeper.script))
        sleeper.pids()
        took = self.stop(pulumi, signal.SIGINT, signal.SIGINT)
        assert sleeper.gone_in(GONE_S)
        assert took < prompt_s

    def test_terminated(self, stack: Stack, sleeper: Sleeper) -> None:
        """So does SIGTERM, sent as service managers do: until it ends."""
        prompt_s = promptly_s(stack)
        pulumi = stack.start_up(local("a", create=sleeper.script))
        sleeper.pids()
        took = self.stop(pulumi, signal.SIGTERM, signal.SIGTERM)
        assert sleeper.gone_in(GONE_S)
        assert took < prompt_s

    def test_engine_killed(self, stack: Stack, sleeper: Sleeper) -> None:
        """A killed engine cannot tell anybody."""
        pulumi = stack.start_up(local("a", create=sleeper.script))
        sleeper.pids()
        plugins = children(pulumi.pid, "pulumi-resource")
        self.stop(pulumi, signal.SIGKILL)
        assert sleeper.gone_in(GONE_S)
        assert wait_for(lambda: not any(alive(pid) for pid in plugins), GONE_S)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_plugin_stopped(self, stack: Stack, sleeper: Sleeper, number: signal.Signals) -> None:
        """Nor can a killed plugin."""
        prompt_s = promptly_s(stack)
        pulumi = stack.start_up(local("a", create=sleeper.script))
        sleeper.pids()
        plugins = children(pulumi.pid, "pulumi-resource")
        assert plugins
        for pid in plugins:
            subprocess.run(["kill", f"-{number.value}", str(pid)], check=True)
        assert sleeper.gone_in(GONE_S)
        assert pulumi.wait(prompt_s) != 0

    def test_error_elsewhere_does_not_delay_the_end(self, stack: Stack) -> None:
        """A failed command ends the update without a wait."""
        prompt_s = promptly_s(stack)
        started = time.monotonic()
        done = stack.try_up(local("a", create="sleep 0.5"), local("b", create="exit 1"))
        assert done.returncode != 0
        assert time.monotonic() - started < prompt_s


class TestRemote:
    """Commands and copies on other machines are refused by name: hosts are reached by ``ssh`` in a local command."""

    CONNECTION = {"host": "127.0.0.1", "user": "nobody", "private_key": "x"}  # noqa: RUF012

    @pytest.mark.parametrize("kind", ["Command", "CopyToRemote"])
    def test_is_refused_in_the_preview(self, stack: Stack, tmp_path: Path, kind: str) -> None:
        """With the one sentence that says what to do."""
        wanted = (
            remote("a", connection=self.CONNECTION, create="true")
            if kind == "Command"
            else copy("a", connection=self.CONNECTION, source={"$text": "x"}, remote_path=str(tmp_path / "x"))
        )
        done = stack.preview(wanted)
        assert done.returncode != 0
        assert f"remote.{kind} is not served" in done.stdout
        assert "let a local.Command run ssh" in done.stdout
