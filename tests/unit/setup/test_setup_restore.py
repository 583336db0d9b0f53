"""What a checkout that has only a lab's state restores of its run folder, and that no secret is shown meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.steps.scripts import scripts_of
from tools.errors import SetupError
from tools.lab import presence, restore, stacks

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILWBcIbHkD/3xHoyFAvxaHjN4bRMX6qDLXUstH+MqyoF"
SECRET = "s3cr3t-of-the-lab"
Entry = dict[str, Any]


def secret(value: str) -> Entry:
    """As ``pulumi stack export --show-secrets`` writes one."""
    return {restore.SECRET: "1b47061264138c4ac30d75fd1eb44270", "plaintext": json.dumps(value)}


def step(
    name: str, script: str, words: str = "", stdin: Any = "", stdout: Any = "", modified: str = "1", **env: str
) -> Entry:
    part, _, file = script.partition("/")
    return {
        "urn": f"urn:pulumi:my::litelab::x::{name}",
        "type": "command:local:Command",
        "id": f"{name}00",
        "modified": modified,
        "inputs": {
            "create": f'"$STEP" create {words}'.rstrip(),
            "environment": {"STEP": f".lab/run/my/{part}-0123456789ab/{file}", **env},
            "stdin": stdin,
        },
        "outputs": {"stdout": stdout},
    }


FACTS = {"machineId": "0123456789abcdef", "labId": "my-abcdef@there"}
EXISTING = [
    step(
        "access", "benchmarks/access.py",
        stdin=secret(json.dumps({"kubeconfig": SECRET, "hosts": {"hosts": [{"name": "host-1"}]}})),
    ),
    step("host-1", "existing/host.sh", "host-1", stdout="host-1-0123456789ab\n"),
    step(
        "facts-host-1", "existing/facts.py", "host-1", f"10.0.0.11 {KEY}", json.dumps(FACTS),
        ADDRESS="10.0.0.11:22", LOGIN="op", KEY="/home/op/key",
    ),
]  # fmt: skip
LIBVIRT = [
    step("keys", "libvirt/keys.py", "client", stdout=secret(json.dumps({"private": SECRET, "public": KEY}))),
    step("key-host-1", "libvirt/keys.py", "host-1", stdout=secret(json.dumps({"private": "other", "public": KEY}))),
    step(
        "place", "libvirt/place.py", stdout=json.dumps({"id": "litelab-my-abcdef", "prefix": "10.87.3"}),
        LIBVIRT_DEFAULT_URI="qemu+ssh://big/system", PATIENCE="1", SUBNET="", THROUGH="ssh://me@big",
    ),
    step("host-1", "libvirt/ready.py", "host-1", ADDRESS="10.87.3.11", HOST_KEY=KEY, THROUGH="ssh://me@big"),
    step(
        "api", "forward/api.py", THROUGH="ssh://me@big",
        stdin=secret(json.dumps({"clusters": [{"cluster": {"server": "https://10.87.3.11:6443"}}]})),
        stdout=secret(json.dumps({"clusters": [{"cluster": {"server": "https://127.0.0.1:21234"}}]})),
    ),
]  # fmt: skip


class State:
    """A checkout whose backend has a stack ``my`` with these resources."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.resources, self.exports = folder, [*EXISTING], 0
        self.run = folder / "run" / "my"

    def pulumi(self, _: Path, *words: str) -> str:
        if words[:2] == ("stack", "export"):
            self.exports += 1
            return json.dumps({"deployment": {"resources": self.resources}})
        return ""

    def restore(self, **how: Any) -> None:
        restore.restore(Path("cache"), "my", **how)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    made = State(tmp_path / ".lab")
    monkeypatch.setattr(restore, "OWN", made.folder)
    monkeypatch.setattr(presence, "resources", lambda *_: made.resources)
    monkeypatch.setattr(stacks, "pulumi", made.pulumi)
    monkeypatch.setattr(stacks, "prepare", lambda: None)
    monkeypatch.setattr(stacks, "require_engine", lambda _: None)
    monkeypatch.setattr(stacks, "locks", lambda _: [])
    monkeypatch.setattr("tools.lab.published.PROJECT", tmp_path)
    monkeypatch.setattr("tools.lab.restore.published.missing", lambda _: [])
    monkeypatch.setattr("tools.lab.restore.published.put_back", lambda _: [])
    return made


def modes(run: Path) -> set[int]:
    files = [p for p in run.rglob("*") if p.is_file() and not p.name.startswith(".")]
    return {stat.S_IMODE(p.stat().st_mode) for p in files if SECRET in p.read_text()}


class TestExisting:
    def test_all_that_a_verb_needs_is_there_again(self, state: State, capfd: pytest.CaptureFixture[str]) -> None:
        state.restore()
        record = (state.run / "ssh/host-1").read_text()
        assert record.splitlines() == [
            "Address 10.0.0.11", "Port 22", "User op", "Identity /home/op/key", f"Known 10.0.0.11 {KEY}"
        ]  # fmt: skip
        assert "Host host-1\n" in (state.run / "ssh_config").read_text()
        assert (state.run / "lab.id").read_text() == "my-abcdef@there\n"
        assert (state.run / "hosts/host-1.claim").exists()
        assert (state.run / "kubeconfig").read_text() == SECRET
        assert json.loads((state.run / "hosts.json").read_text())["hosts"] == [
            {"name": "host-1", "sshConfig": "ssh_config"}
        ]
        assert modes(state.run) == {0o600}
        assert not list(state.run.glob(".restore-*"))
        told = capfd.readouterr()
        assert told.out == ""
        assert told.err == "Lab my: restored from its state: facts-host-1, host-1, access.\n"

    def test_a_run_folder_of_this_state_is_left_alone(self, state: State, capfd: pytest.CaptureFixture[str]) -> None:
        state.restore()
        capfd.readouterr()
        state.restore()
        assert state.exports == 1
        assert capfd.readouterr() == ("", "")

    def test_what_another_checkout_has_changed_since_comes_here_too(self, state: State) -> None:
        state.restore()
        changed = {**FACTS, "labId": "my-123456@elsewhere"}
        state.resources[2] = step(
            "facts-host-1", "existing/facts.py", "host-1", f"10.0.0.12 {KEY}", json.dumps(changed), "2",
            ADDRESS="10.0.0.12:22", LOGIN="op", KEY="",
        )  # fmt: skip
        state.restore()
        assert (state.run / "lab.id").read_text() == "my-123456@elsewhere\n"
        assert "HostName 10.0.0.12\n" in (state.run / "ssh_config").read_text()

    def test_not_while_pulumi_is_changing_it(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        state.restore()
        monkeypatch.setattr(stacks, "locks", lambda _: ["held"])
        state.resources[0] = {**state.resources[0], "modified": "2"}
        state.restore()
        assert state.exports == 1

    @pytest.mark.parametrize("name", ["lab.id", "ssh/host-1", "kubeconfig", "hosts/host-1.claim"])
    def test_one_lost_file_comes_back(self, state: State, name: str) -> None:
        state.restore()
        (state.run / name).unlink()
        state.restore()
        assert (state.run / name).exists()

    def test_nothing_is_made_for_a_stack_without_a_lab(self, state: State) -> None:
        state.resources = []
        state.restore()
        assert not state.run.exists()


class TestAnOlderState:
    """One whose facts have no id of the lab: the host says it."""

    @pytest.fixture
    def older(self, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], State]:
        def says(script: str) -> State:
            folder = tmp_path / "bin"
            folder.mkdir()
            (folder / "ssh").write_text(f"#!/bin/bash\n{script}\n")
            (folder / "ssh").chmod(0o755)
            (folder / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
            (folder / "sudo").chmod(0o755)
            real = stacks.environment
            monkeypatch.setattr(
                stacks, "environment", lambda cache: {**real(cache), "PATH": f"{folder}:{real(cache)['PATH']}"}
            )
            old = json.dumps({"machineId": "0123456789abcdef"})
            state.resources[2] = {**state.resources[2], "outputs": {"stdout": old}}
            return state

        return says

    # What ssh is given last is the command for the host.
    ANSWER = 'set -- ${{@: -1}}; mark=${{*: -2:1}}; echo "$mark begin"; printf "%s\\n" {0}; echo "$mark end"'

    def test_the_host_that_is_still_the_lab_s_tells_its_id(self, older: Callable[[str], State]) -> None:
        state = older(self.ANSWER.format("0123456789abcdef my-77@old"))
        state.restore()
        assert (state.run / "lab.id").read_text() == "my-77@old\n"

    @pytest.mark.parametrize(
        ("script", "why"),
        [
            (ANSWER.format("fedcba9876543210 my-77@old"), "it is not in this lab's use any more"),
            (ANSWER.format("0123456789abcdef other-77@old"), "it is not in this lab's use any more"),
            ("echo no route >&2; exit 255", "the host does not say it (no route)"),
        ],
    )
    def test_one_that_does_not_ends_it_with_the_cure(
        self, older: Callable[[str], State], script: str, why: str
    ) -> None:
        with pytest.raises(SetupError) as caught:
            older(script).restore()
        assert why in str(caught.value)
        assert "'make destroy STACK=my GONE=host-1' ends the lab without it" in str(caught.value)

    def test_one_that_is_given_up_is_not_asked(self, older: Callable[[str], State]) -> None:
        state = older("exit 255")
        state.restore(destroying=True, gone=["host-1"])
        assert not (state.run / "lab.id").exists()


def test_libvirt_keys_names_and_forwards_are_there_again(state: State) -> None:
    state.resources = [*LIBVIRT]
    state.restore()
    assert (state.run / "id_ed25519").read_text() == SECRET
    assert (state.run / "id_ed25519.pub").read_text() == f"{KEY}\n"
    assert (state.run / "lab.env").read_text().splitlines() == [
        "LAB_ID=litelab-my-abcdef", "PREFIX=10.87.3", "SUBNET=", "URI=qemu+ssh://big/system", "THROUGH=ssh://me@big"
    ]  # fmt: skip
    assert "ProxyCommand ssh " in (state.run / "ssh_config").read_text()
    way = json.loads((state.run / "forwards/api-10.87.3.11-6443.json").read_text())
    assert (way["through"], way["target"], way["port"]) == ("ssh://me@big", "10.87.3.11:6443", 21234)
    assert modes(state.run) == {0o600}


class TestLists:
    """Of what hosts are given: needed only where a lab is changed, and written by the step's own script."""

    @pytest.fixture
    def cached(self, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
        manifest = tmp_path / "cache/artifacts/upstream-1.35.4/manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}")
        monkeypatch.setattr(stacks, "environment", lambda _: {**os.environ, "LITELAB_CACHE": str(tmp_path / "cache")})
        text = f"version 1.35.4\nfile files.tar.zst {hashlib.sha256(b'{}').hexdigest()}\n"
        printed = f"{hashlib.sha256(text.encode()).hexdigest()[:12]}\n"
        state.resources = [step("artifacts", "upstream/artifacts.sh", stdout=printed, VERSION="1.35.4")]
        return state

    def test_a_look_at_a_lab_needs_none(self, cached: State) -> None:
        cached.restore()
        assert not cached.run.exists()

    def test_a_lab_that_is_changed_gets_it_back(self, cached: State) -> None:
        cached.restore(building=True)
        assert (cached.run / "upstream.list").read_text().startswith("version 1.35.4\nfile files.tar.zst ")
        cached.restore(building=True)
        assert cached.exports == 1

    def test_one_of_before_another_checkout_s_upgrade_is_replaced(self, cached: State) -> None:
        cached.run.mkdir(parents=True)
        (cached.run / "upstream.list").write_text("version 1.35.3\n")
        cached.restore(building=True)
        assert "version 1.35.4\n" in (cached.run / "upstream.list").read_text()

    def test_files_of_a_first_use_are_held_to_what_they_were(self, tmp_path: Path) -> None:
        scripts = tmp_path / ".lab/run/my/k3s-0123456789ab"
        for part in ("catalog", "clusters"):
            shutil.copytree(scripts_of(part), scripts, dirs_exist_ok=True)
        (tmp_path / "k3s").write_text("not what it was")
        entry = {
            "kind": "file",
            "name": "k3s",
            "source": (tmp_path / "k3s").as_uri().replace("file", "http"),
            "sha256": "",
            "proof": "",
            "rename": "",
        }
        known = {"name": "k3s", "sha256": "0" * 64, "proof": "first use"}
        request = {"part": "k3s", "version": "1", "own": [], "files": [entry]}
        blob = tmp_path / "cache/blobs" / ("0" * 64)
        blob.parent.mkdir(parents=True)
        blob.touch()
        done = subprocess.run(
            [scripts / "fetch.py", "restore"],
            input=json.dumps({"stdin": json.dumps(request), "stdout": json.dumps({"list": "", "files": [known]})}),
            env={**os.environ, "LITELAB_CACHE": str(tmp_path / "cache")}, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert (scripts.parent / "k3s.list").read_text() == f"version 1\nfile k3s {'0' * 64}\n"
        assert json.loads((tmp_path / ".lab/artifacts.lock").read_text()) == {entry["source"]: "0" * 64}


class TestNspawn:
    NETWORK = step("network", "nspawn/network.sh", stdout="10.87.250\n")

    def test_a_lab_whose_disks_are_gone_is_called_gone(self, state: State) -> None:
        state.resources = [self.NETWORK]
        with pytest.raises(SetupError) as caught:
            state.restore()
        said = str(caught.value)
        assert said.startswith("Lab my: its nspawn hosts had their disks in ")
        assert "so the lab is gone with them" in said
        assert "'make destroy STACK=my' removes what is left of it, and 'make lab STACK=my' makes it again." in said

    def test_destroy_goes_on(self, state: State, capfd: pytest.CaptureFixture[str]) -> None:
        state.resources = [self.NETWORK]
        state.restore(destroying=True)
        assert "Lab my: the disks of its hosts are gone" in capfd.readouterr().err

    def test_a_lab_that_is_there_is_not_looked_at(self, state: State) -> None:
        state.resources = [self.NETWORK]
        (state.run / "hosts").mkdir(parents=True)
        state.restore()
        assert state.exports == 0

    def test_one_of_another_checkout_is_not_destroyed_from_here(self, tmp_path: Path) -> None:
        scripts, labs = tmp_path / "run/my/nspawn-1", tmp_path / "registry/labs/my-abcdef"
        for part in ("ssh", "nspawn"):
            shutil.copytree(scripts_of(part), scripts, dirs_exist_ok=True)
        lab_sh = scripts / "lab.sh"
        lab_sh.write_text(lab_sh.read_text().replace("REGISTRY=/run/litelab", f"REGISTRY={tmp_path / 'registry'}"))
        labs.mkdir(parents=True)
        (labs / "prefix").write_text("10.87.250\n")
        (labs / "run").write_text(f"{tmp_path}/other/.lab/run/my\n")
        (tmp_path / "other/.lab/run/my").mkdir(parents=True)

        def ends() -> tuple[int, str]:
            done = subprocess.run(
                [scripts / "network.sh", "restore"], input='{"stdout": "10.87.250\\n"}', capture_output=True, text=True, timeout=30
            )  # fmt: skip
            return done.returncode, done.stderr

        assert ends()[0] == restore.GONE
        (tmp_path / "other/.lab/run/my/lab.env").touch()
        code, said = ends()
        assert code == 1
        assert f"it was made from the checkout {tmp_path}/other. Run the same command there." in said


def test_an_existing_host_without_a_record_is_not_passed_over(tmp_path: Path) -> None:
    scripts = tmp_path / "my/existing-0123456789ab"
    for part in ("ssh", "existing"):
        shutil.copytree(scripts_of(part), scripts, dirs_exist_ok=True)
    done = subprocess.run(
        [scripts / "host.sh", "delete", "host-1"], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 1
    assert "how it is reached is not known here, so it was not given back" in done.stderr
    assert "'make destroy STACK=my' restores it from the state." in done.stderr


class TestSecrets:
    @pytest.mark.parametrize("broken", [SECRET, f'{{"kubeconfig": "{SECRET}"', f'["{SECRET}"]', f'{{"{SECRET}": 1}}'])
    def test_a_state_that_can_t_be_read_is_not_quoted(
        self, state: State, broken: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        state.resources[0] = step("access", "benchmarks/access.py", stdin=secret(broken))
        with pytest.raises(SetupError, match="access could not be restored from the state") as caught:
            state.restore()
        assert SECRET not in str(caught.value)
        assert SECRET not in "".join(capfd.readouterr())

    @given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6))
    @settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_none_is_ever_shown(self, state: State, capfd: pytest.CaptureFixture[str], text: str) -> None:
        mark = f"mark{text}"
        shutil.rmtree(state.folder, ignore_errors=True)
        content = json.dumps({"kubeconfig": mark, "hosts": {"hosts": []}})
        state.resources = [step("access", "benchmarks/access.py", stdin=secret(content))]
        state.restore()
        assert (state.run / "kubeconfig").read_text() == mark
        assert mark not in "".join(capfd.readouterr())
        assert mark not in repr(restore.steps(state.resources))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([restore.SECRET, "plaintext", "STEP", "stdin", "create"]) | st.text(), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@given(stdin=JSON, stdout=JSON, environment=JSON, create=JSON)
def test_any_state_is_read_or_left_alone(stdin: Any, stdout: Any, environment: Any, create: Any) -> None:
    known = step("access", "benchmarks/access.py", stdin=stdin, stdout=stdout)
    restore.steps([known])
    known["inputs"] |= {"environment": environment, "create": create}
    restore.steps([known])


@pytest.mark.parametrize(
    "entry",
    [
        step("a", "existing/facts.py"),
        step("a", "existing/facts.py", "../../x"),
        step("a", "k0s/reset.sh", "host-1"),
        {**EXISTING[0], "inputs": {}},
    ],
)
def test_what_leaves_nothing_is_no_step(entry: Entry) -> None:
    assert restore.steps([entry]) == []


@pytest.mark.parametrize(("part", "script"), restore.FILES)
def test_each_script_of_the_list_has_the_verb(part: str, script: str) -> None:
    assert "create|delete|" in (scripts_of(part) / script).read_text()
    assert "restore" in (scripts_of(part) / script).read_text()
