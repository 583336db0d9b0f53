"""What can go wrong while MicroK8s or MicroShift is installed, with their doubles: the same command goes on, or an error names the fix."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.doubles.hostimage import RELEASE, double_cache
from tests.doubles.microshift_packages import debs
from tests.faults.lab import ONE_HOST, FaultLab
from tests.faults.running import LAST_WORDS_S, Process, Running, processes
from tests.faults.tally import Tally
from tests.faults.test_hosts import cleared
from tests.faults.test_install import failed, meanwhile, sshd_sessions
from tests.lab.lab import environment, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]

UP_S = 1200
STORE = "microk8s 1.35/stable v1.35.4 8511\ncore22 latest/stable 20250930 2139\n"
MICROSHIFT = "4.22.7_29_gef322212c_4.22.0_okd_scos.9"


@dataclass
class Vendor:
    """A distribution's lab of one host.

    Attributes:
        part: the distribution.
        installs: by which program it is installed on a host.
        held: a command that holds that program's lock for ten seconds.
    """

    part: str
    lab: FaultLab
    installs: str
    held: str


def vendor(part: str, folder: Path) -> Vendor:
    env = environment()
    real = Path(env["LITELAB_CACHE"])
    settings = {**ONE_HOST, "hosts.kind": "nspawn", "hosts.internet": "false"}
    if part == "microk8s":
        cache = double_cache(real, folder / "cache", part, store=STORE)
        held = "mkdir -p /var/lib/snapd/double && flock /var/lib/snapd/double/microk8s.lock sleep 10"
        installs = "snap"
    else:
        cache = double_cache(real, folder / "cache", part)
        settings |= {"package": "deb", "artifacts.debs": str(debs(folder, MICROSHIFT, RELEASE))}
        del settings["controllerRunsWorkloads"]
        # dpkg locks as fcntl(2) does, which flock(1) is no match for.
        held = """perl -e 'open F, ">>", "/var/lib/dpkg/lock-frontend"; my $l = pack("s s x4 q q i x4", 1, 0, 0, 0, 0); fcntl(F, 6, $l) or die $!; sleep 10'"""
        installs = "apt-get"
    lab = FaultLab(f"fault-{part}", settings, {**env, "LITELAB_CACHE": str(cache)}, f"{part}-lab")
    return Vendor(part, lab, installs, held)


@pytest.fixture(scope="module", params=["microk8s", "microshift"])
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    """A stack for one distribution's lab."""
    made = vendor(request.param, tmp_path_factory.mktemp(request.param))
    with made.lab.ready():
        yield made


@pytest.fixture
def of(standing: Vendor) -> Iterator[Vendor]:
    """That stack, empty before the test and after it."""
    yield standing
    standing.lab.cleared()


def on_host(lab: FaultLab, command: str) -> str:
    return lab.ssh("host-1", command, "-o", "ConnectTimeout=5").stdout


def before_anything_is_staged(of: Vendor, harm: Callable[[], object]) -> Running:
    """``make lab`` that stands still while something is done to the host which has just been made."""
    running = of.lab.start_verb("lab")
    meanwhile(running, "the machine", lambda: on_record(of.lab))
    engine = next(p for p in running.family() if p.name == "pulumi")
    assert engine.signal(signal.SIGSTOP)
    try:
        wait_for(
            "ssh", 120, lambda: of.lab.ssh("host-1", "true", "-o", "ConnectTimeout=2", check=False).returncode == 0
        )
        harm()
    finally:
        engine.signal(signal.SIGCONT)
    return running


def on_record(lab: FaultLab) -> bool:
    """Whether the machine of the host has been started."""
    return (lab.run_folder / "lab.env").exists() and (lab.record / "host-1.pid").exists()


def scripts(of: Vendor, name: str) -> list[Process]:
    own = f"/opt/litelab/{of.part}/scripts/{name}"
    return [p for p in processes() if f"/{of.lab.id}/" in p.cgroup and own in p.words]


def goes_on(of: Vendor) -> None:
    of.lab.goes("lab")
    of.lab.works()


@pytest.mark.parametrize("script", ["prepare.sh", "init.sh"])
def test_ssh_dropped_by_the_host_in_the_middle_of_a_script(script: str, of: Vendor, tally: Tally) -> None:
    running = of.lab.start_verb("lab")
    meanwhile(running, script, lambda: scripts(of, script))
    assert [p for p in sshd_sessions(of.lab) if p.signal(signal.SIGKILL)]
    injection = tally.inject("ssh dropped", f"{of.part}, during {script}")
    code = running.wait(UP_S)
    assert "Traceback" not in running.output
    assert running.outlived_by(LAST_WORDS_S) == []
    assert code != 0, "the connection was lost, and nobody noticed"
    goes_on(of)
    cleared(of.lab, injection, "an error; make lab went on")


def test_a_host_that_restarts_in_the_middle_of_its_installation(of: Vendor, tally: Tally) -> None:
    running = of.lab.start_verb("lab")

    def installing() -> list[Process]:
        return [p for p in processes() if f"/{of.lab.id}/" in p.cgroup and p.name == of.installs]

    meanwhile(running, of.installs, installing)
    # It is not to end before the host does, which goes at once, as by the power button.
    for process in installing():
        process.signal(signal.SIGSTOP)
    of.lab.ssh("host-1", "systemctl reboot --force --force", check=False)
    injection = tally.inject("host restarts", f"{of.part}, while {of.installs} runs")
    failed(running, "host-1")
    wait_for("ssh", 60, lambda: of.lab.ssh("host-1", "true", "-o", "ConnectTimeout=2", check=False).returncode == 0)
    goes_on(of)
    cleared(of.lab, injection, "an error; the host came back, and make lab went on")


def test_a_lock_that_somebody_holds_is_waited_for(of: Vendor, tally: Tally) -> None:
    def hold() -> None:
        on_host(of.lab, f"setsid bash -c {shlex.quote(of.held)} </dev/null >/dev/null 2>&1 & sleep 0.5; kill -0 $!")

    running = before_anything_is_staged(of, hold)
    injection = tally.inject("lock held", f"{of.part}: that of {of.installs}, for 10 s")
    assert running.wait(UP_S) == 0, running.output[-4000:]
    of.lab.works()
    cleared(of.lab, injection, "waited for")


def test_a_disk_that_is_full_while_files_are_staged(of: Vendor, tally: Tally) -> None:
    running = before_anything_is_staged(
        of, lambda: on_host(of.lab, "mkdir -p /opt/litelab && mount -t tmpfs -o size=1m none /opt/litelab")
    )
    injection = tally.inject("disk full", f"{of.part}: 1 MiB for its files")
    failed(running, "host host-1:", "files ended early", "disk is full", "run the same command again")
    on_host(of.lab, "umount /opt/litelab")
    goes_on(of)
    cleared(of.lab, injection, "the error names disk and fix; make lab went on")


def test_the_remains_of_another_distribution_are_taken_off_first(of: Vendor, tally: Tally) -> None:
    reset = "#!/bin/bash\\nkill $(cat /run/remains.pid); touch /run/reset\\n"

    def leave() -> None:
        on_host(
            of.lab,
            f"mkdir -p /opt/litelab/other/scripts; printf '{reset}' >/opt/litelab/other/scripts/reset.sh; chmod 755 /opt/litelab/other/scripts/reset.sh; "
            "setsid socat TCP-LISTEN:10250,fork,reuseaddr SYSTEM:cat </dev/null >/dev/null 2>&1 & echo $! >/run/remains.pid",
        )

    running = before_anything_is_staged(of, leave)
    injection = tally.inject("remains", f"{of.part}: another one's files and listener")
    assert running.wait(UP_S) == 0, running.output[-4000:]
    of.lab.works()
    assert on_host(of.lab, "ls /run/reset; ls /opt/litelab").split() == ["/run/reset", of.part]
    cleared(of.lab, injection, "its own reset took it off")


def test_a_port_that_somebody_else_has_is_named(of: Vendor, tally: Tally) -> None:
    command = "setsid socat TCP-LISTEN:10250,fork,reuseaddr SYSTEM:cat </dev/null >/dev/null 2>&1 & echo $! >/run/listener.pid"
    running = before_anything_is_staged(of, lambda: on_host(of.lab, command))
    injection = tally.inject("port taken", f"{of.part}: 10250")
    failed(running, "host host-1: something listens on port 10250", "stop it")
    on_host(of.lab, "kill $(cat /run/listener.pid)")
    goes_on(of)
    cleared(of.lab, injection, "the error names port and fix; make lab went on")


class TestArtifacts:
    """Of MicroShift's double: MicroK8s' comes from its store's double, which refuses for itself."""

    @pytest.fixture
    def of(self, standing: Vendor) -> Iterator[Vendor]:
        if standing.part != "microshift":
            pytest.skip("its files come from a store")
        kept = standing.lab.settings["artifacts.debs"]
        yield standing
        self.name(standing, kept)
        standing.lab.cleared()

    def name(self, of: Vendor, path: str, digest: str = "") -> None:
        of.lab.pulumi("config", "rm", "--path", "litelab:artifacts")
        key = "litelab:artifacts.debs"
        if digest:
            of.lab.pulumi("config", "set", "--path", "--plaintext", f"{key}.source", path)
            of.lab.pulumi("config", "set", "--path", "--plaintext", f"{key}.sha256", digest)
        else:
            of.lab.pulumi("config", "set", "--path", "--plaintext", key, path)

    def test_one_of_another_digest_is_refused_before_anything_is_made(self, of: Vendor, tally: Tally) -> None:
        kept = of.lab.settings["artifacts.debs"]
        self.name(of, kept, "0" * 64)
        injection = tally.inject("digest wrong", of.part)
        failed(of.lab.start_verb("lab"), "artifacts.debs", "it must have " + "0" * 64, "No host was changed")
        assert of.lab.orphans() == []
        self.name(of, kept)
        goes_on(of)
        cleared(of.lab, injection, "refused; make lab with the right one went on")

    def test_one_for_another_processor_is_named_with_the_cure(self, of: Vendor, tally: Tally, tmp_path: Path) -> None:
        kept = of.lab.settings["artifacts.debs"]
        self.name(of, str(debs(tmp_path, MICROSHIFT, RELEASE, "arm64")))
        injection = tally.inject("another processor", of.part)
        failed(of.lab.start_verb("lab"), "host host-1:", "is for another processor (arm64)", "artifacts: {debs:")
        assert on_host(of.lab, "dpkg -l 'microshift*' 2>/dev/null | grep -c ^ii || true").strip() == "0"
        self.name(of, kept)
        goes_on(of)
        cleared(of.lab, injection, "the error names package and fix; make lab went on")
