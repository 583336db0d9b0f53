"""What opens a lab stays where it belongs: over a failed ``up``, a good one, a look around, and the end.

Keys of a real lab are taken out of its decrypted state and searched, plain and in base64, in everything that the lab leaves.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.lab.lab import PROJECT, LabStack, finish, interrupt, wait_for
from tests.lab.leaks import Processes, Secret, search, secrets_of

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

OWN = PROJECT / ".lab"
BREAK_ETCD = (
    "mkdir -p /etc/systemd/system/etcd.service.d && "
    "printf '[Service]\\nExecStartPre=/bin/false\\n' >/etc/systemd/system/etcd.service.d/fault.conf"
)
MEND_ETCD = "rm -r /etc/systemd/system/etcd.service.d && systemctl daemon-reload"

PROXY = "http://operator:proxy-canary-0123@127.0.0.1:3128"


class Agent(threading.Thread):
    """An ssh agent that counts who asks it, and answers nobody."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True, name="ssh agent")
        self.path = folder / "agent"
        self.asked = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            connection.close()

    def stop(self) -> None:
        # A close alone leaves the accept waiting.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@dataclass
class Told:
    """A lab's whole life, and what was seen of it."""

    lab: LabStack
    secrets: set[Secret]
    folder: Path
    """Consoles, process lists, journals and kernel messages, one file each."""
    failed_up: str
    agent: Agent
    processes: Processes
    leaks: dict[str, set[Path]] = field(default_factory=dict)
    """What was found where it may not be, by stage."""
    kept: dict[str, dict[Path, int]] = field(default_factory=dict)
    """Where secrets belong, and the files' modes, by stage."""
    on_host: str = ""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    if os.geteuid() != 0:
        pytest.skip("nspawn hosts are made by root")
    folder = tmp_path_factory.mktemp("told")
    stamp = folder / "began"
    stamp.touch()
    lab = LabStack(
        "secrets-lab",
        {"hosts.memoryMib": "1536", "workers": "0", "controllerRunsWorkloads": "true", "workloads": "[pods-8]", "repeats": "1"},
    )  # fmt: skip
    agent, processes = Agent(folder), Processes()
    lab.env["SSH_AUTH_SOCK"] = str(agent.path)
    agent.start()
    running: subprocess.Popen[str] | None = None
    try:
        lab.prepare()
        processes.start()
        running = start(lab)
        host_ready(lab, running)
        lab.ssh("host-1", BREAK_ETCD)
        failed_up = finish(running)
        assert running.returncode != 0, "up succeeded without etcd"
        (folder / "console of the failed up").write_text(failed_up)
        seen = Told(lab, secrets_of(lab), folder, failed_up, agent, processes)
        look(seen, "failed up", stamp)

        lab.ssh("host-1", MEND_ETCD)
        running = start(lab)
        (folder / "console of up").write_text(finish(running))
        assert running.returncode == 0, (folder / "console of up").read_text()[-6000:]
        for name, words in {"outputs": ["stack", "output", "--json"], "export": ["stack", "export"],
                            "history": ["stack", "history", "--json"], "preview": ["preview", "--diff"]}.items():  # fmt: skip
            (folder / f"console of {name}").write_text(lab.pulumi(*words).stdout)
        seen.on_host = with_agent(lab, "env")
        seen.secrets |= secrets_of(lab)
        look(seen, "up", stamp)

        done = lab.pulumi("destroy", "--yes", "--skip-preview")
        processes.stop()
        (folder / "console of destroy").write_text(done.stdout + done.stderr)
        processes.write(folder)
        look(seen, "destroy", stamp)
        yield seen
    finally:
        processes.stop()
        if running and running.poll() is None:
            interrupt(running)
            finish(running, 120)
        lab.remove()
        agent.stop()


def start(lab: LabStack) -> subprocess.Popen[str]:
    """``make lab``, after set-up."""
    return subprocess.Popen(
        [sys.executable, "-m", "tools.lab", "lab", lab.name],
        cwd=PROJECT, env=lab.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        process_group=0,
    )  # fmt: skip


def pack(told: Told, stage: str) -> None:
    """``make logs``, unpacked where it will be searched."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.lab", "logs", told.lab.name],
        cwd=PROJECT, env={**told.lab.env, "https_proxy": PROXY}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bundle = PROJECT / done.stdout.split()[0]
    with tarfile.open(bundle) as tar:
        tar.extractall(told.folder / f"bundle after {stage}", filter="data")
    bundle.unlink()


def host_ready(lab: LabStack, running: subprocess.Popen[str]) -> None:
    def answers() -> bool | None:
        assert running.poll() is None, finish(running)
        config = lab.run_folder / "ssh_config"
        return (config.exists() and lab.ssh("host-1", "true", check=False).returncode == 0) or None

    wait_for("host-1 to answer", 300, answers)


def with_agent(lab: LabStack, command: str) -> str:
    """What a command on host-1 prints when the caller has an agent."""
    words = ["ssh", "-F", str(lab.run_folder / "ssh_config"), "host-1", command]
    return subprocess.run(
        words, env=lab.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def look(told: Told, stage: str, stamp: Path) -> None:
    """Search everything that the lab could have written to so far."""
    lab = told.lab
    if (lab.run_folder / "ssh_config").exists():
        journal = lab.ssh("host-1", "journalctl --no-pager -o verbose; cat /var/lib/litelab/steps.jsonl", timeout=120)
        pack(told, stage)
        (told.folder / f"journal of host-1 after {stage}").write_text(journal.stdout)
    (told.folder / "kernel").write_text(subprocess.run(["dmesg"], capture_output=True, text=True, timeout=30).stdout)
    cache = Path(lab.env["LITELAB_CACHE"])
    newer = subprocess.run(
        ["find", "/tmp", "/var/tmp", "/dev/shm", "-xdev", "-newer", str(stamp), "-type", "f", "-size", "-50M", "-print0"],
        capture_output=True, text=True, timeout=60,
    ).stdout.split("\0")  # fmt: skip
    places = [*own_places(lab), cache / "logs", cache / "pulumi-home", *registry_places(), told.folder]
    found = search(told.secrets, [p for p in (*places, *map(Path, filter(None, newer))) if p.exists()])
    own = {path for path in found if belongs(path, lab)}
    told.kept[stage] = {path: stat.S_IMODE(path.stat().st_mode) for path in own}
    told.leaks[stage] = found - own


def own_places(lab: LabStack) -> Iterator[Path]:
    """All of the checkout's own folder, a host's disk once: its root is the same files over the image that all share."""
    hosts = lab.run_folder / "hosts"
    yield from (p for p in OWN.iterdir() if p.name != "run")
    yield from (p for p in (OWN / "run").iterdir() if p != lab.run_folder)
    yield from (p for p in lab.run_folder.glob("*") if p != hosts)
    yield from (p for p in hosts.glob("*") if p.is_file())
    yield from (p for host in hosts.glob("host-*/") for p in host.iterdir() if p.name not in {"root", "work"})


def registry_places() -> Iterator[Path]:
    """What the machine lists of labs, without the hosts' disks that are mounted there: those are in the run folder."""
    for folder, folders, files in os.walk("/run/litelab"):
        yield from (Path(folder, name) for name in files)
        folders[:] = [name for name in folders if not re.fullmatch(r"host-\d+", name)]


def belongs(path: Path, lab: LabStack) -> bool:
    """Whether a secret belongs there: the files that open the lab, a host's own disk, the state's passphrase."""
    if path == OWN / "passphrase":
        return True
    if not path.is_relative_to(lab.run_folder):
        return False
    inside = path.relative_to(lab.run_folder).parts
    if inside[0] in {"id_ed25519", "kubeconfig"}:
        return len(inside) == 1
    host = "/".join(inside[3:])
    return inside[0] == "hosts" and (host.startswith("etc/kubernetes/") or host == "etc/ssh/ssh_host_ed25519_key")


class TestSearch:
    """The search is not blind."""

    def test_every_key_of_the_lab_is_searched_for(self, told: Told) -> None:
        kinds = Counter(secret.kind for secret in told.secrets)
        assert set(kinds) == {"OPENSSH PRIVATE KEY", "PRIVATE KEY", "archive", "passphrase"}
        # The client's and the host's.
        assert kinds["OPENSSH PRIVATE KEY"] == 2
        # Two authorities, service accounts, five pairs to serve and call with, six kubeconfigs.
        assert kinds["PRIVATE KEY"] >= 2 + 1 + 5 + 6
        assert kinds["archive"] == 1

    def test_each_secret_alone_is_found_plain_and_in_base64(self, told: Told, tmp_path: Path) -> None:
        for number, secret in enumerate(sorted(told.secrets)):
            inside = base64.b64encode(f"xy{secret.text}, and more".encode()).decode()
            for name, text in (("plain", f"x{secret.text}"), ("base64", inside)):
                (tmp_path / f"{name} {number}").write_text(text)
        innocent = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        (tmp_path / "innocent").write_bytes(innocent)
        assert search(told.secrets, [tmp_path]) == set(tmp_path.iterdir()) - {tmp_path / "innocent"}

    def test_a_key_in_a_command_line_or_environment_would_have_been_seen(self, told: Told, tmp_path: Path) -> None:
        secret = max(told.secrets).text
        processes = Processes()
        processes.start()
        command = [sys.executable, "-c", "import time; time.sleep(30)", secret]
        shown = subprocess.Popen(command, env={"CANARY": secret}, stdin=subprocess.DEVNULL)
        try:
            wait_for(
                "the canaries", 20,
                lambda: all(any(secret.encode() in x for x in seen)
                            for seen in (processes.command_lines, processes.environments)),
            )  # fmt: skip
        finally:
            processes.stop()
            shown.kill()
            shown.wait()
        processes.write(tmp_path)
        assert {p.name for p in search(told.secrets, [tmp_path])} == {"command-lines", "environments"}

    def test_the_steps_that_handle_keys_were_among_the_sampled_processes(self, told: Told) -> None:
        seen = b"\n".join(told.processes.command_lines).replace(b"\0", b" ")
        for step in (
            b"keys.sh create",
            b"pki.py create",
            b"host.sh create",
            b"controller.sh create",
            b"access.py create",
        ):
            assert step in seen, step

    def test_the_files_that_open_the_lab_were_found(self, told: Told) -> None:
        names = {path.name for path in told.kept["up"]}
        assert names >= {"passphrase", "id_ed25519", "kubeconfig", "sa.key", "admin.conf", "ssh_host_ed25519_key"}


class TestSecrets:
    @pytest.mark.parametrize("stage", ["failed up", "up", "destroy"])
    def test_no_secret_is_where_it_does_not_belong(self, told: Told, stage: str) -> None:
        assert told.leaks[stage] == set()

    @pytest.mark.parametrize("stage", ["failed up", "up", "destroy"])
    def test_files_with_a_secret_are_for_their_owner_alone(self, told: Told, stage: str) -> None:
        assert {path: oct(mode) for path, mode in told.kept[stage].items() if mode & 0o177} == {}

    def test_after_destroy_only_the_passphrase_of_the_state_is_left(self, told: Told) -> None:
        assert set(told.kept["destroy"]) == {OWN / "passphrase"}

    @pytest.mark.usefixtures("told")
    def test_the_state_itself_is_for_its_owner_alone(self) -> None:
        for folder in (OWN, OWN / "state", OWN / "config"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder

    @pytest.mark.parametrize("stage", ["failed up", "up"])
    def test_a_bundle_tells_of_the_lab_what_a_person_would_ask(self, told: Told, stage: str) -> None:
        (inside,) = (told.folder / f"bundle after {stage}").iterdir()
        journal = (inside / "hosts/host-1/journal.txt").read_text()
        assert "systemd" in journal
        assert '"step":"host"' in (inside / "lab/steps.jsonl").read_text()
        assert (inside / "hosts/host-1/console.log").is_file()
        said = [json.loads(line) for line in (inside / "events.jsonl").read_text().splitlines()]
        errors = [entry["error"] for entry in said if "error" in entry]
        if stage == "failed up":
            assert any("etcd did not start" in error for error in errors), errors
            assert "Control process exited" in journal or "etcd.service: Failed" in journal
        else:
            assert errors == []
            assert "host-1" in (inside / "cluster/nodes.txt").read_text()

    @pytest.mark.parametrize("stage", ["failed up", "up"])
    def test_a_bundle_answers_a_bug_reports_questions(self, told: Told, stage: str) -> None:
        (inside,) = (told.folder / f"bundle after {stage}").iterdir()
        texts = {str(p.relative_to(inside)): p.read_text() for p in inside.rglob("*") if p.is_file()}
        assert "https_proxy=http://127.0.0.1:3128" in texts["machine/proxies.txt"]
        assert not [name for name, text in texts.items() if "proxy-canary" in text]
        host = texts["hosts/host-1/journal.txt"]
        for section in (
            "cat /proc/swaps",
            "ip route show table all",
            "ip rule",
            "cat /etc/resolv.conf",
            "cat /proc/mounts",
        ):
            assert f"===== {section}\n" in texts["machine/state.txt"]
            assert f"===== {section}\n" in host
        assert "-u etcd\n" in host
        assert "files that differ:" in texts["machine/git.txt"]
        printed = texts["console/make-lab.txt"]
        if stage == "failed up":
            assert "etcd did not start" in printed
            assert "The lab is kept as it is." in printed
        else:
            assert "Lab secrets-lab is up after" in printed
            assert any(name.startswith("cluster/logs/kube-system/coredns") for name in texts)
            assert any(re.fullmatch(r"results/.*-pods-8/result\.json", name) for name in texts)

    def test_a_failed_lab_is_kept_and_the_error_says_how_to_look_inside(self, told: Told) -> None:
        assert "The lab is kept as it is." in told.failed_up
        assert "'make ssh STACK=secrets-lab HOST=host-1' looks inside" in told.failed_up
        assert "'make logs STACK=secrets-lab'" in told.failed_up

    def test_a_failed_up_names_the_step_without_its_input(self, told: Told) -> None:
        assert "etcd did not start" in told.failed_up
        assert "Traceback" not in told.failed_up

    def test_the_operators_agent_is_never_asked_nor_forwarded(self, told: Told) -> None:
        assert told.agent.asked == 0
        assert "SSH_AUTH_SOCK" not in told.on_host
        assert "USER=root" in told.on_host
