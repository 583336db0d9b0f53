"""How a host is subscribed and how that ends, whatever ``subscription-manager`` says; what becomes of the lab's images and packages."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from components.steps.scripts import scripts_of
from tests.unit.components.onhost import NEEDS_ROOT, on_host
from tests.unit.components.test_microshift_subscribe import ALL, DBUS

pytestmark = NEEDS_ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scripts as they are staged: the distribution's own and the shared ones in one folder."""
    for part in ("clusters", "microshift"):
        shutil.copytree(scripts_of(part), tmp_path / "scripts", dirs_exist_ok=True)
    return tmp_path


def unregister(folder: Path, manager: str) -> tuple[int, str]:
    programs = {"subscription-manager": manager, "sleep": "", "systemctl": ""}
    done = on_host('UNREGISTER_S=2 "$DIR/scripts/subscribe.sh" delete', folder=folder, programs=programs)
    return done.returncode, done.stderr


def test_a_host_that_is_not_registered_needs_nothing(folder: Path) -> None:
    assert unregister(folder, "exit 1") == (0, "")


def test_it_is_unregistered_once(folder: Path) -> None:
    manager = 'echo "$1" >>"$DIR/calls"; [ "$1" = identity ] || { touch "$DIR/gone"; exit 0; }; [ ! -e "$DIR/gone" ]'
    assert unregister(folder, manager) == (0, "")
    assert (folder / "calls").read_text().split() == ["identity", "unregister", "identity"]


@pytest.mark.parametrize("code", [0, 1], ids=["and says it did", "and says why"])
def test_one_that_stays_registered_ends_with_the_cure(folder: Path, code: int) -> None:
    ended, said = unregister(folder, f'[ "$1" = identity ] || {{ echo out of reach; exit {code}; }}')
    assert ended == 1
    assert "waited 2 s for 'subscription-manager unregister': out of reach" in said
    assert "console.redhat.com" in said


# What stands in for subscription-manager and for the system's Python notes what everybody on the host can read of it.
NOTES = 'tr "\\0" "\\n" <"/proc/$$/environ" | grep -vE "^(DIR|SCRIPTS|PATH|PWD|OLDPWD|_|SHLVL)=" >>"$DIR/environ"; echo "$(basename "$0") $*" >>"$DIR/argv"\n'
MANAGER = (
    NOTES
    + """
case $1 in
identity) [ -s "$DIR/calls" ] && [ ! -e "$DIR/gone" ] ;;
repos) [ ! -e "$DIR/no-$3" ] || { echo "Error: '$3' does not match a valid repository ID"; exit 1; } ;;
unregister) touch "$DIR/gone" ;;
*) exit 64 ;;
esac
"""
)


def subscribe(folder: Path, secrets: object = ALL) -> subprocess.CompletedProcess[str]:
    """Run the step on a host whose pull secret and CRI-O's folder are of the test's own."""
    (folder / "dbus.py").write_text(DBUS, encoding="utf-8")
    # The host's own Python is not asked for by its full path.
    path = folder / "scripts/subscribe.sh"
    path.write_text(path.read_text().replace("/usr/libexec/platform-python python3", "python3"), encoding="utf-8")
    programs = {
        "subscription-manager": MANAGER,
        "python3": f'{NOTES}export PYTHONPATH="$DIR" CALLS="$DIR/calls"; exec {sys.executable} "$@"',
        "sleep": "",
        "systemctl": "",
    }
    script = 'mount -t tmpfs none /etc; mkdir /etc/litelab; code=0; "$DIR/scripts/subscribe.sh" create || code=$?; cp -a /etc "$DIR/etc"; cp -a /var/lib/litelab "$DIR/state"; exit $code'
    stdin = "REPOSITORIES=rhocp-4.21,fast-datapath\n---\n" + json.dumps(secrets)
    return on_host(script, folder=folder, programs=programs, stdin=stdin.encode())


class TestSubscription:
    def test_it_is_registered_gets_its_repositories_and_the_pull_secret(self, folder: Path) -> None:
        done = subscribe(folder)
        assert done.returncode == 0, done.stderr
        argv = (folder / "argv").read_text().splitlines()
        asked = [line for line in argv if line.startswith("subscription-manager")]
        assert asked == [
            "subscription-manager identity",
            "subscription-manager repos --enable rhocp-4.21",
            "subscription-manager repos --enable fast-datapath",
        ]
        assert "RegisterWithActivationKeys" in (folder / "calls").read_text()
        secret = folder / "etc/crio/openshift-pull-secret"
        assert secret.read_text() == ALL["pullSecret"]
        assert secret.stat().st_mode & 0o777 == 0o600

    def test_no_argument_environment_output_or_further_file_has_a_secret(self, folder: Path) -> None:
        done = subscribe(folder)
        assert (folder / "argv").read_text().count("\n") >= 4
        kept = [p for tree in ("etc", "state") for p in (folder / tree).rglob("*") if p.is_file()]
        seen = [done.stdout, done.stderr, (folder / "argv").read_text(), (folder / "environ").read_text()]
        seen += [p.read_text() for p in kept if p.name != "openshift-pull-secret"]
        assert (folder / "state/steps.jsonl") in kept
        assert [text for text in seen if "canary" in text] == []

    def test_one_whose_repository_is_refused_is_given_back_at_once(self, folder: Path) -> None:
        """A step that failed is in no state: its end would never be asked for."""
        (folder / "no-fast-datapath").touch()
        done = subscribe(folder)
        assert done.returncode == 1
        assert "could not enable the repository fast-datapath" in done.stderr
        assert (folder / "gone").exists()
        assert not (folder / "etc/crio/openshift-pull-secret").exists()

    def test_one_that_was_registered_before_stays_so_when_a_step_fails(self, folder: Path) -> None:
        (folder / "calls").write_text("registered by somebody\n")
        (folder / "no-fast-datapath").touch()
        assert subscribe(folder).returncode == 1
        assert not (folder / "gone").exists()


def tar(path: Path, **members: str) -> Path:
    """A tar with small files, named with underscores for dots."""
    with tarfile.open(path, "w") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


INDEX = json.dumps({"manifests": [{"annotations": {"io.containerd.image.name": "docker.io/litelab/pause:1"}}]})
MANIFEST = json.dumps([{"Config": "c", "RepoTags": ["quay.io/a/b:2"], "Layers": []}], indent=1)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"index_json": INDEX, "oci-layout": "{}"}, "oci-archive docker.io/litelab/pause:1"),
        ({"manifest_json": MANIFEST}, "docker-archive quay.io/a/b:2"),
        # As docker save has made them since version 25.
        ({"index_json": INDEX, "manifest_json": MANIFEST}, "docker-archive quay.io/a/b:2"),
    ],
    ids=["OCI layout", "docker's", "both"],
)
def test_an_image_is_handed_over_in_the_form_and_by_the_name_that_its_tar_has(
    tmp_path: Path, members: dict[str, str], said: str
) -> None:
    path = tar(tmp_path / "image.tar", **members)
    script = f"echo $(image_form {path}) $(image_name {path})"
    done = on_host(script, "clusters/step.sh", "microshift/microshift.sh", folder=tmp_path)
    assert done.stdout.strip() == said, done.stderr


class TestPackages:
    """What the lab brought goes again at its end, and nothing else."""

    QUERY = 'cat "$DIR/installed" | sed "s/^/installed /"'

    def run(self, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
        programs = {"dpkg-query": self.QUERY, "dpkg": 'echo "$*" >>"$DIR/asked"'}
        return on_host(script, "clusters/step.sh", "microshift/microshift.sh", folder=folder, programs=programs)

    def test_only_what_was_brought_is_taken_off(self, tmp_path: Path) -> None:
        script = """
printf 'bash\\njq\\n' >"$DIR/installed"; installed_packages >"$BROUGHT.before"
printf 'bash\\ncri-o\\njq\\nmicroshift\\n' >"$DIR/installed"; note_brought
printf 'bash\\ncri-o\\njq\\nmicroshift\\nof-the-user\\n' >"$DIR/installed"
forget_brought; cat "$DIR/asked"
"""
        assert self.run(tmp_path, script).stdout == "--purge cri-o microshift\n"

    def test_an_installation_that_was_cut_short_has_brought_what_is_there(self, tmp_path: Path) -> None:
        script = """
echo bash >"$DIR/installed"; installed_packages >"$BROUGHT.before"
printf 'bash\\ncri-o\\n' >"$DIR/installed"
forget_brought; cat "$DIR/asked"
"""
        assert self.run(tmp_path, script).stdout == "--purge cri-o\n"


@pytest.mark.parametrize(("host", "shares_a_disk"), [("true", True), ("false", False)], ids=["container", "machine"])
@pytest.mark.parametrize("addons", ["minimal", "vendor"])
def test_the_configuration_names_the_lab_and_a_shared_disk_evicts_nobody(
    tmp_path: Path, addons: str, host: str, shares_a_disk: bool
) -> None:
    script = f'is_container() {{ {host}; }}; CONFIG="$DIR/config.yaml" NODE=host-1 ADDRESS=10.9.8.7 ADDONS={addons}; configure && ! configure'
    done = on_host(script, "clusters/step.sh", "microshift/microshift.sh", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["node"] == {"hostnameOverride": "host-1", "nodeIP": "10.9.8.7"}
    assert config["apiServer"] == {"subjectAltNames": ["10.9.8.7"]}
    assert (config.get("telemetry") == {"status": "Disabled"}) == (addons == "minimal")
    assert (config.get("kubelet", {}).get("evictionHard", {}).get("nodefs.available") == "1%") == shares_a_disk


LOCKED = "echo 'dpkg: error: dpkg frontend lock was locked by another process with pid 76' >&2; exit 2"


class TestInterruptedDpkg:
    def run(self, folder: Path, dpkg: str) -> subprocess.CompletedProcess[str]:
        programs = {"dpkg": f'echo x >>"$DIR/asked"; {dpkg}', "sleep": "exec /bin/sleep 0.1"}
        return on_host(
            "DPKG_S=2 finish_dpkg", "clusters/step.sh", "microshift/microshift.sh", folder=folder, programs=programs
        )

    def test_a_lock_that_somebody_holds_is_waited_for(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, f'[ "$(wc -l <"$DIR/asked")" -ge 3 ] || {{ {LOCKED}; }}')
        assert (done.returncode, (tmp_path / "asked").read_text()) == (0, "x\nx\nx\n"), done.stderr

    def test_one_that_is_never_given_back_ends_with_how_to_find_who_has_it(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, LOCKED)
        assert done.returncode == 1
        assert "waited 2 s for another program to give back dpkg's lock" in done.stderr
        assert "locked by another process with pid 76" in done.stderr

    def test_what_else_dpkg_says_is_said_at_once(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, "echo 'dpkg: error processing package x' >&2; exit 1")
        assert (done.returncode, (tmp_path / "asked").read_text()) == (1, "x\n")
        assert "error processing package x" in done.stderr
