"""A lab of an existing host is carried by its state: two checkouts share a backend, and a run folder is lost."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.cases import CPUS, MEMORY_MIB, inventory
from tests.contract.hostsonly import HostsStack
from tests.lab.lab import PROJECT, environment

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]
STACK = "test-state"
NAME = "host-1"
LIMIT_S = 400
# Changes whenever the cluster is installed again, or the host is claimed again.
INSTALLED = (
    "systemctl show -p MainPID -p ExecMainStartTimestamp kubelet containerd; stat -c '%i %Y' /var/lib/litelab/lab"
)


@dataclass
class Checkout:
    """A copy of this checkout, with uncommitted changes, that has nothing but a backend and a passphrase."""

    folder: Path
    env: dict[str, str]

    @property
    def run(self) -> Path:
        return self.folder / ".lab" / "run" / STACK

    def do(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            words, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL
        )  # fmt: skip
        assert done.returncode == code, f"{' '.join(words)}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done

    def lab(self, verb: str, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """What ``make`` runs, without set-up."""
        return self.do("python3", "-I", "tools/environment.py", "lab", verb, STACK, *words, code=code)

    def make(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.do("make", "--no-print-directory", *words, f"STACK={STACK}", code=code)

    def pulumi(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        own = ("python3", "-I", "tools/environment.py", "pulumi")
        return self.do(*own, *words, "--stack", STACK, "--non-interactive", code=code)


def checkout(folder: Path, shared: Path) -> Checkout:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name, follow_symlinks=False)
    (folder / ".lab").mkdir()
    (folder / ".lab/site.yaml").write_text(f"backend: file://{shared / 'state'}\npassphraseFile: {shared / 'pass'}\n")
    env = {key: value for key, value in environment().items() if not key.startswith("PULUMI_")}
    return Checkout(folder, env)


@pytest.fixture(scope="module")
def ground() -> Iterator[HostsStack]:
    """One nspawn host that serves as an existing one."""
    stack = HostsStack("state-nspawn", {"kind": "nspawn", "cpus": CPUS, "memoryMib": MEMORY_MIB}, roles=("controller",))
    try:
        stack.prepare()
        stack.up()
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="module")
def before(ground: HostsStack) -> set[str]:
    """What is on the host before the lab."""
    found: set[str] = inventory(ground, (NAME,))[NAME]
    return found


@pytest.fixture(scope="module")
def made(ground: HostsStack, before: set[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The checkout that made the lab, which is up."""
    folder = tmp_path_factory.mktemp("state")
    (folder / "state").mkdir()
    (folder / "pass").write_text("of the two\n")
    first = checkout(folder / "a", folder)
    (host,) = ground.hosts
    first.lab("stack", "upstream-lab")
    settings = {
        "workers": "0",
        "controllerRunsWorkloads": "true",
        "workloads": '["pods-8"]',
        "repeats": "1",
        "hosts.kind": "existing",
        "hosts.addresses[0]": host["address"],
        "hosts.hostKeys[0]": f"{host['address']} {host['hostKey']}",
        "hosts.key": str(ground.run_folder / "id_ed25519"),
        "hosts.cpus": str(CPUS),
        "hosts.memoryMib": str(MEMORY_MIB),
    }
    words = [word for key, value in settings.items() for word in ("--plaintext", f"litelab:{key}={value}")]
    first.pulumi("config", "set-all", "--path", *words)
    try:
        first.lab("lab")
        yield first
    finally:
        first.lab("destroy")


@pytest.fixture(scope="module")
def other(made: Checkout) -> Checkout:
    """A colleague's: nothing of the lab is there."""
    return checkout(made.folder.with_name("b"), made.folder.parent)


def secrets_of(run: Path) -> list[str]:
    """Parts of keys that no output may have."""
    lines = (run / "kubeconfig").read_text().splitlines()
    found = [line.split(":", 1)[1].strip(' ",')[:60] for line in lines if "key-data" in line]
    assert found
    return found


class TestAnotherCheckout:
    def test_it_sees_the_lab(self, made: Checkout, other: Checkout) -> None:
        shown = other.make("status")
        assert shown.stdout.startswith(f"{STACK}: up")
        assert f"Lab {STACK}: restored from its state: facts-host-1, host-1, access, scripts." in shown.stderr
        assert not any(secret in shown.stdout + shown.stderr for secret in secrets_of(made.run))
        assert other.make("status").stderr == ""

    def test_what_it_has_is_what_the_first_has(self, made: Checkout, other: Checkout) -> None:
        for name in ("lab.id", "ssh/host-1", "known_hosts", "kubeconfig", "hosts.json"):
            path = other.run / name
            assert path.read_text() == (made.run / name).read_text(), name
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, name
        assert not list(other.run.glob(".restore-*"))

    def test_it_reaches_host_and_cluster(self, other: Checkout) -> None:
        assert other.make("ssh", "CMD=hostname").stdout.strip()
        assert other.make("kubeconfig").stdout == f"{other.run / 'kubeconfig'}\n"

    def test_its_lab_changes_nothing(self, ground: HostsStack, other: Checkout) -> None:
        installed = ground.by_root(NAME, INSTALLED)
        assert "Pulumi had nothing to change" in other.lab("lab").stdout
        assert ground.by_root(NAME, INSTALLED) == installed
        assert (other.run / "upstream.list").exists()


class TestALostRunFolder:
    def test_plain_pulumi_names_what_restores_it(self, ground: HostsStack, other: Checkout) -> None:
        installed = ground.by_root(NAME, INSTALLED)
        shutil.rmtree(other.run)
        shown = other.pulumi("destroy", "--yes", "--skip-preview", code=1).stdout
        assert f"is missing, so the run folder of stack {STACK} is gone" in shown
        assert f"run 'make destroy STACK={STACK}'" in shown
        assert ground.by_root(NAME, INSTALLED) == installed

    def test_make_destroy_gives_the_host_back(
        self, ground: HostsStack, made: Checkout, other: Checkout, before: set[str]
    ) -> None:
        assert f"{NAME}: as it was" in other.make("destroy").stdout
        assert inventory(ground, (NAME,))[NAME] == before
        assert "not up" in made.make("status").stdout
