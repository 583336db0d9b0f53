"""Mirrors with a path and with logins, on standing labs of upstream and MicroK8s' double: pods start from what only they have.

One double is as a project of Harbor's that caches: its API is below a path, and it gives tokens. The other asks for the login itself.
Both are on the lab's own network; nothing outside is asked.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import distributions as common
from tests.lab.lab import LabStack
from tests.lab.pulling import certificate, run_pod, start_doubles, start_pod, write_image
from tests.lab.test_site import KINDS, Kind, files, marks
from tools.lab import bundle

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

PROJECT_PORT, PLAIN_PORT = 5000, 5001
OTHER = "other.outside.example"
SETTINGS = ("ca", "registries", "registriesAuth")
FOLDERS = "/etc /var/lib/litelab /opt/litelab /run/litelab /var/snap/microk8s/current/"
"""On hosts, where what the lab wrote may be."""
MICROK8S = "/var/snap/microk8s/current/args"
WITH_LOGINS = {
    "upstream": {"/etc/containerd/config.toml"},
    "microk8s": {f"{MICROK8S}/containerd-template.toml", f"{MICROK8S}/containerd.toml"},
}
"""Files of a distribution's own that hold them."""


@dataclass
class Place:
    """The lab, and who may pull from its mirrors."""

    distribution: str
    lab: LabStack
    folder: Path
    address: str
    before: dict[str, str]
    """Each host's machine and steps, and the container of a pod on each node, before the lab was told anything."""
    files: dict[str, str]
    told: str
    """What the second ``up`` printed."""
    passwords: list[str]
    """All that there have been."""

    @property
    def kind(self) -> Kind:
        return KINDS[self.distribution]

    @property
    def hosts(self) -> tuple[str, str]:
        return f"{self.address}:{PROJECT_PORT}", f"{self.address}:{PLAIN_PORT}"

    def let_in(self, project: str, plain: str) -> None:
        """Tell the mirrors other passwords."""
        self.passwords += [project, plain]
        (self.folder / "project.login").write_text(f"robot$lab:{project}\n")
        (self.folder / "plain.login").write_text(f"me:{plain}\n")

    def log_in(self, project: str, plain: str) -> None:
        """Tell the lab of passwords, as 'docker login' would."""
        logins = zip(self.hosts, (f"robot$lab:{project}", f"me:{plain}"), strict=True)
        auths = {host: {"auth": base64.b64encode(login.encode()).decode()} for host, login in logins}
        (self.folder / "config.json").write_text(json.dumps({"auths": auths}, indent=1))

    def asked(self, name: str) -> list[str]:
        return (self.folder / f"{name}.log").read_text().splitlines()

    @property
    def forms(self) -> list[str]:
        """All forms that a password may have somewhere."""
        found = []
        for password in self.passwords:
            for text in (password, f"robot$lab:{password}", f"me:{password}"):
                found += [text, base64.b64encode(text.encode()).decode().rstrip("=")[:-1]]
        return found


@pytest.fixture(scope="module", params=WITH_LOGINS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("nspawn hosts are made by root")
    folder = tmp_path_factory.mktemp("site")
    kind = KINDS[request.param]
    lab = kind.lab(tmp_path_factory.mktemp("vendor"))
    doubles: list[subprocess.Popen[bytes]] = []
    try:
        lab.prepare()
        common.up(lab)
        for node in kind.nodes:
            start_pod(lab, f"keep-{node}", "docker.io/litelab/pause:1", node, "IfNotPresent")
            lab.kubectl("wait", f"pod/keep-{node}", "--for=condition=Ready", "--timeout=120s", timeout=150)
        before = marks(kind, lab), files(lab)
        place = Place(request.param, lab, folder, lab.hosts[0]["address"], *before, "", [])
        place.let_in("first-of-project", "first-of-plain")
        place.log_in("first-of-project", "first-of-plain")
        doubles = serve(place)
        registries = {
            "docker.io": f"https://{place.hosts[0]}/hub-proxy",
            OTHER: {"mirrors": [f"https://{place.hosts[1]}"]},
        }
        values = (folder / "ca.pem", json.dumps(registries), folder / "config.json")
        for key, value in zip(SETTINGS, values, strict=True):
            lab.pulumi("config", "set", "--plaintext", f"litelab:{key}", str(value))
        place.told = common.up(lab)
        yield place
    finally:
        for double in doubles:
            double.kill()
            double.wait()
        lab.remove()


def serve(place: Place) -> list[subprocess.Popen[bytes]]:
    folder, tls = place.folder, certificate(place.folder, place.address)
    ways = {"project": ["--auth", "bearer", "--root", "/v2/hub-proxy"], "plain": ["--auth", "basic"]}
    commands = []
    for (name, way), host in zip(ways.items(), place.hosts, strict=True):
        write_image(place.lab, folder, name)
        login = ["--login", folder / f"{name}.login"]
        commands.append(["registry", host, folder / f"{name}.log", "--tar", folder / f"{name}.tar", *tls, *way, *login])
    return start_doubles(place.lab, commands, [(place.address, port) for port in (PROJECT_PORT, PLAIN_PORT)])


IMAGES = {"project": "docker.io/litelab/project:1", "plain": f"{OTHER}/litelab/plain:1"}


def pulls(place: Place, when: str) -> None:
    for node in place.kind.nodes:
        for name, image in IMAGES.items():
            pod = f"{when}-{name}-{node}"
            assert run_pod(place.lab, pod, image, node)["phase"] == "Succeeded"
            assert place.lab.kubectl("logs", pod).stdout == "pulled\n"


def test_pods_start_from_images_that_only_a_mirror_with_a_path_and_a_login_has(place: Place) -> None:
    pulls(place, "first")
    project, plain = place.asked("project"), place.asked("plain")
    host = place.hosts[0]
    for part in ("manifests", "blobs"):
        asked = [line for line in project if line.startswith(f"GET {host} /v2/hub-proxy/litelab/project/{part}/")]
        assert [line for line in asked if line.endswith(" Bearer")], project
        assert [line for line in plain if f" /v2/litelab/plain/{part}/" in line and line.endswith(" Basic")], plain
    # The service that gives tokens is the only one that sees the password.
    assert f"GET {host} /token Basic" in project
    assert not [line for line in project if line.endswith(" Basic") and "/token" not in line]


def test_nothing_that_was_there_was_made_anew(place: Place) -> None:
    assert marks(place.kind, place.lab) == place.before
    assert "replaced" not in place.told


def test_an_up_without_a_change_runs_no_step(place: Place) -> None:
    place.lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")


def test_another_password_reaches_a_standing_lab(place: Place) -> None:
    lab = place.lab
    place.let_in("second-of-project", "second-of-plain")
    start_pod(lab, "refused", IMAGES["plain"], "host-2", "Always", "echo")
    deadline = time.monotonic() + 60
    reasons: set[str] = set()
    while "ErrImagePull" not in reasons and time.monotonic() < deadline:
        status: dict[str, Any] = lab.get("pod", "refused")["status"]
        reasons |= {s["state"].get("waiting", {}).get("reason", "") for s in status.get("containerStatuses", [])}
    assert "ErrImagePull" in reasons
    place.log_in("second-of-project", "second-of-plain")
    plan = lab.pulumi("preview").stdout
    assert "2 to update" in plan, plan
    assert "replace" not in plan
    told = common.up(lab)
    assert "2 updated" in told, told
    assert "replaced" not in told
    pulls(place, "second")
    assert marks(place.kind, lab) == place.before


def test_no_password_is_outside_of_files_that_only_root_may_read(place: Place) -> None:
    words = "\n".join(place.forms)
    found = place.lab.on_each(
        f"cat >/run/words <<'WORDS'\n{words}\nWORDS\n"
        f"grep -rlFsf /run/words {FOLDERS} | sort | xargs -r realpath | xargs -r stat -c '%a %U %n' | sed 's|/microk8s/[^/]*/|/microk8s/current/|'; "
        "journalctl --no-pager | grep -F -f /run/words | grep -v WORDS || true; rm /run/words"
    )
    names = {"/etc/litelab/registries-auth.json", *WITH_LOGINS[place.distribution]}
    for said in found.values():
        assert set(said.splitlines()) == {f"600 root {name}" for name in names}


def test_no_password_is_in_the_state_in_plain_text_nor_in_what_was_printed(place: Place) -> None:
    state = place.lab.pulumi("stack", "export").stdout
    steps = [r for r in json.loads(state)["deployment"]["resources"] if "::site-host-" in r["urn"]]
    assert len(steps) == 2
    for step in steps:
        assert "ciphertext" in step["inputs"]["stdin"]
        assert "ciphertext" in step["outputs"]["stdin"]
    for text in (state, place.told, place.lab.pulumi("preview", "--diff").stdout):
        assert not [form for form in place.forms if form in text]


def test_no_password_is_in_what_make_logs_packs(place: Place, tmp_path: Path) -> None:
    """Even where a program printed one."""
    console = place.lab.run_folder / "hosts/host-1/console.log"
    with console.open("a") as written:
        written.write("\n".join(["", *place.forms[-12:], ""]))
    made = bundle.make(Path(place.lab.env["LITELAB_CACHE"]), place.lab.name)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    with tarfile.open(made.path) as tar:
        texts = {e.name: file.read().decode() for e in tar if (file := tar.extractfile(e)) is not None}
    made.path.unlink()
    for name, text in texts.items():
        assert not [form for form in place.forms if form in text], name


def test_without_the_settings_hosts_are_as_they_were(place: Place) -> None:
    lab = place.lab
    for key in SETTINGS:
        lab.pulumi("config", "rm", f"litelab:{key}")
    common.up(lab)
    assert files(lab) == place.files
    (said,) = set(lab.on_each(f"grep -l configs {' '.join(WITH_LOGINS[place.distribution])} || true").values())
    assert said == ""
    assert marks(place.kind, lab) == place.before
