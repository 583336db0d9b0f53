"""MicroShift by the lab's own install scripts: installed, measured, upgraded, reset, and held to what is promised.

Without more it runs against the double (``tests/doubles/microshift``). With ``LITELAB_MICROSHIFT`` (a folder with an archive of Debian
packages, ``microshift-debs-x86_64.tgz``), ``LITELAB_MICROSHIFT_IMAGES`` (a folder of tars of the images that it starts) and, for the
upgrade, ``LITELAB_MICROSHIFT_NEXT`` (a folder as the first, of a later release), the same tests run against the real one. The short
version (``-m 'lab and not slow'``) is a lab that is installed, measured and reset.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.doubles.hostimage import double_cache
from tests.doubles.microshift_packages import debs
from tests.lab import distributions as common
from tests.lab.lab import LabStack, environment

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root")]

ARCHIVE = "microshift-debs-x86_64.tgz"
DOUBLES = {"4.21.0_g29f429c21_4.21.0_okd_scos.ec.15": "v1.34.4", "4.21.1_g29f429c22_4.21.1_okd_scos.ec.16": "v1.34.5"}


@dataclass(frozen=True)
class Release:
    """A MicroShift to install: what it calls itself, and the folder of its archive."""

    version: str
    folder: Path


@dataclass(frozen=True)
class Vendor:
    """Where MicroShift is: the double, or the real one."""

    first: Release
    next: Release | None
    images: Path | None
    is_double: bool


def real(folder: str) -> Release:
    """The release that a folder's archive has: in a Debian package's version, a plus is what was an underscore."""
    with tarfile.open(Path(folder) / ARCHIVE) as archive:
        found = [re.search(r"(?:^|/)microshift_(.+)-\d+_amd64\.deb$", name) for name in archive.getnames()]
    (version,) = {match[1] for match in found if match}
    return Release(version.replace("+", "_"), Path(folder))


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    given = {name: os.environ.get(f"LITELAB_MICROSHIFT{name}") for name in ("", "_IMAGES", "_NEXT")}
    if given[""] and given["_IMAGES"]:
        later = real(given["_NEXT"]) if given["_NEXT"] else None
        return Vendor(real(given[""]), later, Path(given["_IMAGES"]), is_double=False)
    first, later = (
        Release(version, debs(tmp_path_factory.mktemp("release"), version, kubernetes).parent)
        for version, kubernetes in DOUBLES.items()
    )
    return Vendor(first, later, None, is_double=True)


WORKLOADS = ("pods-8", "deployments-40")


def stack(name: str, vendor: Vendor, cache: Path, **settings: str) -> LabStack:
    """A lab of three hosts with the vendor's first release."""
    env = environment()
    if vendor.is_double:
        cache = double_cache(Path(env["LITELAB_CACHE"]), cache, "microshift", releases=("v1.34.5",))
        env["LITELAB_CACHE"] = str(cache)
    settings = {
        **common.COMMON,
        "workloads": json.dumps(WORKLOADS),
        "package": "deb",
        "version": vendor.first.version,
        "artifacts.debs": str(vendor.first.folder),
        **settings,
    }
    if vendor.images is not None:
        settings["images"] = json.dumps([{"source": str(vendor.images)}])
    return LabStack(name, settings, env, "microshift-lab")


@pytest.fixture(scope="module")
def lab(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    """MicroShift on the first host of three."""
    with common.standing(stack("test-microshift", vendor, tmp_path_factory.mktemp("cache"))) as lab:
        yield lab


class TestInstalled:
    def test_it_runs_on_the_first_host_alone(self, lab: LabStack) -> None:
        assert common.taints(lab) == {"host-1": []}
        for other in ("host-2", "host-3"):
            assert lab.ssh(other, "ls -d /opt/litelab /usr/bin/microshift 2>/dev/null || true").stdout == ""

    def test_the_kubeconfig_is_the_one_that_it_wrote_for_the_address(self, lab: LabStack) -> None:
        address = lab.hosts[0]["address"]
        wrote = lab.ssh("host-1", f"cat /var/lib/microshift/resources/kubeadmin/{address}/kubeconfig").stdout
        assert lab.outputs(secrets=True)["kubeconfig"].strip() == wrote.strip()

    def test_what_was_measured_came_up(self, lab: LabStack) -> None:
        common.measured(lab, *WORKLOADS)

    def test_a_pod_asks_the_clusters_dns(self, lab: LabStack) -> None:
        common.start_pod(lab, "asks")
        asked = lab.kubectl("exec", "asks", "--", "nslookup", "kubernetes.default.svc.cluster.local")
        assert "Address: 10.43.0.1" in asked.stdout.replace(" 1:", ":")
        lab.kubectl("delete", "pod", "asks", "--now", timeout=120)

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        common.unchanged_up_runs_no_step(lab)


@pytest.mark.slow
class TestUpgrade:
    @pytest.fixture(scope="class")
    def later(self, vendor: Vendor) -> Release:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_MICROSHIFT_NEXT)")
        return vendor.next

    def test_it_leaves_pods_running(self, lab: LabStack, later: Release) -> None:
        common.start_pod(lab, "keep")
        before = common.container_of(lab, "keep")
        lab.pulumi("config", "set", "--path", "litelab:workloads", "[]")
        lab.pulumi("config", "set", "--path", "litelab:artifacts.debs", str(later.folder))
        lab.pulumi("config", "set", "litelab:version", later.version)
        common.up(lab)
        assert later.version in lab.ssh("host-1", "microshift version").stdout
        assert common.container_of(lab, "keep") == before
        assert common.steps_of(lab, ["host-1"])["host-1"].count("upgrade") == 1

    def test_a_downgrade_is_refused_with_the_reason(self, lab: LabStack, vendor: Vendor, later: Release) -> None:
        lab.pulumi("config", "set", "--path", "litelab:artifacts.debs", str(vendor.first.folder))
        lab.pulumi("config", "set", "litelab:version", vendor.first.version)
        refused = lab.pulumi("up", "--yes", "--skip-preview", check=False)
        assert refused.returncode != 0
        assert f"it runs {later.version}, and the lab's file asks for {vendor.first.version}" in refused.stdout
        assert "a cluster is never downgraded" in refused.stdout


class TestReset:
    def test_a_host_that_lives_on_is_as_one_that_never_had_it(self, lab: LabStack) -> None:
        common.reset_leaves_nothing(lab, "microshift", "host-1", "/etc/microshift", "/var/lib/microshift")
        look = (
            "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | grep -v '^un'; systemctl list-unit-files --no-legend | awk '{ print $1, $2 }'; "
            "find /etc /opt /usr /var/lib -xdev -not -path '/var/lib/dpkg/*' -not -path '/var/lib/systemd/*' -not -path '/usr/share/litelab-double/*'"
        )
        was, now = (set(lab.ssh(host, look).stdout.splitlines()) for host in ("host-2", "host-1"))
        assert sorted(now ^ was) == []
