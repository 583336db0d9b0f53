"""Logins of mirrors on a host: in containerd's configuration, for root alone, and gone with the setting."""

from __future__ import annotations

import base64
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from components.config import discovery
from components.config.lab_file import parse
from components.site import component as site
from components.site.mirrors import LOGINS
from components.steps.scripts import scripts_of
from tests.unit.components import onhost
from tests.unit.components.onhost import NEEDS_ROOT

pytestmark = NEEDS_ROOT

PASSWORDS = {name: base64.b64encode(f"robot$lab:{name}".encode()).decode() for name in ("m.example:8443", "n.example")}
AUTHS = {name: {"auth": {"auth": login}} for name, login in PASSWORDS.items()}
TEMPLATE = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "x"\n'
TEMPLATE_3 = TEMPLATE.replace("version = 2", "version = 3").replace("grpc.v1.cri", "cri.v1.runtime")
MICROK8S = "/var/snap/microk8s/current/args"
SYSTEMCTL = 'echo "$*" >>"$DIR/asked"'


def written(distribution: str) -> str:
    """The file of logins that a host gets."""
    registries = {"docker.io": {"mirrors": ["https://m.example:8443/hub", "https://n.example"]}}
    lab = parse({"distribution": distribution, "registries": registries}, "x")
    form = discovery.distribution(distribution).mirrors
    assert form is not None
    return site.files(lab, "", form, [], PASSWORDS)[LOGINS]


def on_empty_host(folder: Path, script: str, number: int = 0) -> subprocess.CompletedProcess[str]:
    (folder / "logins.json").write_text(written("upstream"))
    return onhost.on_empty_host(
        f'put_logins() {{ install -D -m 600 "$DIR/logins.json" /{LOGINS}; }}\n{script}',
        folder,
        {"systemctl": SYSTEMCTL},
        folder / f"programs-{number}",
    )


def configs(text: str, plugin: str = "io.containerd.grpc.v1.cri") -> Any:
    return tomllib.loads(text)["plugins"].get(plugin, {}).get("registry", {}).get("configs", {})


def staged(part: str, *names: str) -> str:
    """Bash that puts a part's scripts where a host has them."""
    here = f"/opt/litelab/{part}"
    parts = [name.partition("/") for name in names]
    files = " ".join(f"'{scripts_of(whose)}/{file}'" for whose, _, file in parts)
    return f"mkdir -p {here}/scripts && cp {files} {here}/scripts/ && echo 'version {{}}' >{here}/list\n"


class TestContainerd:
    @pytest.mark.parametrize(
        ("version", "plugin"),
        [("v1.35.4+k0s.0", "io.containerd.grpc.v1.cri"), ("v1.36.3+k0s.2", "io.containerd.cri.v1.images")],
    )
    def test_k0s_has_them_in_its_drop_in_and_loses_them_with_the_file(
        self, tmp_path: Path, version: str, plugin: str
    ) -> None:
        done = on_empty_host(
            tmp_path,
            staged("k0s", "clusters/step.sh", "clusters/logins.sh", "k0s/k0s.sh", "k0s/mirrors.sh").format(version)
            + f"""
mirrors=/opt/litelab/k0s/scripts/mirrors.sh file=/etc/k0s/containerd.d/litelab.toml
put_logins; $mirrors; [ ! -e $file ]
mkdir -p "${{file%/*}}"; touch $file
$mirrors; cat $file; stat -c '#mode %a' $file
rm /{LOGINS}; $mirrors; echo '#without'; cat $file; ls "${{file%/*}}" >&2""",
        )
        assert done.returncode == 0, done.stderr
        before, after = done.stdout.split("#without\n")
        assert configs(before, plugin) == AUTHS
        assert "#mode 600" in before
        assert configs(after, plugin) == {}
        assert tomllib.loads(after)["plugins"][plugin]["registry"]["config_path"] == "/etc/containerd/certs.d"
        assert done.stderr == "litelab.toml\n"

    def test_upstream_has_them_in_its_configuration_and_loses_them_with_the_file(self, tmp_path: Path) -> None:
        scripts = ("clusters/step.sh", "clusters/logins.sh", "upstream/runtime.sh", "upstream/mirrors.sh")
        done = on_empty_host(
            tmp_path,
            staged("upstream", *scripts).format("v1.35.4")
            + f"""
mirrors=/opt/litelab/upstream/scripts/mirrors.sh file=/etc/containerd/config.toml
put_logins; $mirrors; [ ! -e $file ]
mkdir -p /etc/containerd; touch $file
$mirrors; cat $file; stat -c '#mode %a' $file
rm /{LOGINS}; $mirrors; echo '#without'; cat $file; ls "${{file%/*}}" >&2""",
        )
        assert done.returncode == 0, done.stderr
        before, after = done.stdout.split("#without\n")
        assert configs(before) == AUTHS
        assert "#mode 600" in before
        assert configs(after) == {}
        assert done.stderr == "config.toml\n"


class TestMicroK8s:
    @pytest.mark.parametrize(
        ("template", "plugin"),
        [(TEMPLATE, "io.containerd.grpc.v1.cri"), (TEMPLATE_3, "io.containerd.cri.v1.images")],
    )
    def test_its_template_ends_with_them_and_is_the_vendors_without(
        self, tmp_path: Path, template: str, plugin: str
    ) -> None:
        (tmp_path / "template").write_text(template)
        done = on_empty_host(
            tmp_path,
            f"""
mkdir -p /opt/x && cp "$COMPONENTS"/clusters/scripts/logins.sh "$COMPONENTS"/clusters/microk8s/scripts/mirrors.sh /opt/x/
file={MICROK8S}/containerd-template.toml
put_logins; /opt/x/mirrors.sh; [ ! -e {MICROK8S} ]
mkdir -p {MICROK8S}; install -m 660 "$DIR/template" $file
/opt/x/mirrors.sh; /opt/x/mirrors.sh; cat $file; stat -c '#mode %a' $file {MICROK8S}/containerd.toml
rm /{LOGINS}; /opt/x/mirrors.sh; /opt/x/mirrors.sh; echo '#without'; cat $file; stat -c '#mode %a' $file""",
        )
        assert done.returncode == 0, done.stderr
        before, after = done.stdout.split("#without\n")
        assert configs(before, plugin) == AUTHS
        assert re.findall("#mode (.*)", before) == ["600", "600"]
        assert after == f"{template}#mode 660\n"
        # Only a template that has changed asks for a start.
        assert (tmp_path / "asked").read_text().splitlines() == ["try-restart snap.microk8s.daemon-containerd"] * 2


class TestApplying:
    def test_what_holds_logins_is_for_root_alone_and_its_archive_goes(self, tmp_path: Path) -> None:
        content = {LOGINS: written("upstream"), "etc/containerd/certs.d/docker.io/hosts.toml": "x"}
        (tmp_path / "archive").write_bytes(base64.b64decode(site.archive(content)))
        done = on_empty_host(
            tmp_path,
            f"""
umask 022
install -D -m 600 "$DIR/archive" /var/lib/litelab/site/files.tar.gz
bash "$COMPONENTS/site/scripts/apply.sh" create
stat -c '%a %n' /{LOGINS} /etc/containerd/certs.d/docker.io/hosts.toml; ls /var/lib/litelab/site
bash "$COMPONENTS/site/scripts/apply.sh" delete
find /etc/litelab /etc/containerd /var/lib/litelab/site 2>/dev/null || true""",
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"600 /{LOGINS}", "644 /etc/containerd/certs.d/docker.io/hosts.toml", "folders", "list",
        ]  # fmt: skip
