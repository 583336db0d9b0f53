"""The cache: a program that is cut off, and a registry that becomes unreachable while set-up fetches from it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.doubles.goproxy import GoProxy
from tests.faults.damage import DamagedCache, cut_off
from tests.faults.lab import FaultLab
from tests.faults.tally import Tally
from tests.faults.test_hosts import cleared, fails

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]

SETUP_TIMEOUT_S = 900
BEFORE_THE_END = 10
"""Requests that the registry answers before it is out of reach; a program's modules take more."""


@pytest.fixture
def cache(lab: FaultLab, tmp_path: Path) -> DamagedCache:
    return DamagedCache(tmp_path / "cache", Path(lab.env["LITELAB_CACHE"]))


def set_up(lab: FaultLab, cache: DamagedCache, **env: str) -> tuple[int, str]:
    running = lab.start("python3", "-m", "tools.setup", "setup", env={"LITELAB_CACHE": str(cache.folder), **env})
    return running.wait(SETUP_TIMEOUT_S), running.output


def samefile_in(folder: Path, program: Path) -> Path:
    """The folder of a part that a program belongs to."""
    return next(p for p in sorted(folder.glob(f"{program.name}*-*")) if (p / program.name).samefile(program))


@pytest.mark.parametrize("name", ["pulumi-language-python"])
def test_set_up_makes_a_program_that_is_cut_off_again(
    name: str, lab: FaultLab, cache: DamagedCache, tally: Tally
) -> None:
    folder = samefile_in(cache.real / "built", cache.real / "bin" / name)
    program = cache.own("built", folder.name) / name
    whole = program.resolve().stat().st_size
    program.unlink()
    program.write_bytes(cut_off((folder / name).read_bytes()))
    program.chmod(0o755)
    cache.own("bin")
    injection = tally.inject("binary in the cache", f"{name} cut off")
    code, output = set_up(lab, cache)
    assert code == 0, output[-3000:]
    assert f"{program} is not as set-up made it" in output
    assert program.stat().st_size == whole
    assert (cache.folder / "bin" / name).samefile(program)
    code, output = lab.verb("lab", {"LITELAB_CACHE": str(cache.folder)})
    assert code == 0, output[-3000:]
    lab.works()
    cleared(lab, injection, "set-up made it again")


@pytest.mark.parametrize("name", ["pulumi", "pulumi-language-python", "pulumi-resource-command"])
def test_a_program_that_can_not_be_run_is_named_with_the_cure(
    name: str, lab: FaultLab, cache: DamagedCache, tally: Tally
) -> None:
    program = cache.program(name)
    real = program.resolve()
    program.unlink()
    program.write_bytes(b"\0" * 4096)
    program.chmod(0o755)
    injection = tally.inject("binary in the cache", f"{name} is not a program")
    words = ("is damaged: 'pulumi version'", "make setup") if name == "pulumi" else ()
    fails(lab, name, *words, LITELAB_CACHE=str(cache.folder))
    # Set-up sees that it is not the one that was built.
    code, output = set_up(lab, cache)
    assert code == 0, output[-3000:]
    assert program.samefile(real)
    code, output = lab.verb("lab", {"LITELAB_CACHE": str(cache.folder)})
    assert code == 0, output[-3000:]
    lab.works()
    cleared(lab, injection, "the error names it; set-up put it right")


def test_what_goes_to_hosts_is_made_again_when_it_is_cut_off(lab: FaultLab, cache: DamagedCache, tally: Tally) -> None:
    real = (cache.real / "artifacts/upstream").resolve()
    pack = cache.own("artifacts", real.name) / "files.tar.zst"
    pack.unlink()
    pack.write_bytes(cut_off((real / pack.name).read_bytes()))
    injection = tally.inject("binary in the cache", "what goes to hosts cut off")
    fails(lab, "host host-1:", "ended early", "make setup", LITELAB_CACHE=str(cache.folder))
    code, output = set_up(lab, cache)
    assert code == 0, output[-3000:]
    assert f"{pack} is not as set-up made it" in output
    code, output = lab.verb("lab", {"LITELAB_CACHE": str(cache.folder)})
    assert code == 0, output[-3000:]
    lab.works()
    cleared(lab, injection, "the error names set-up; set-up made it again and make lab went on")


def test_a_registry_that_goes_away_in_the_middle_of_set_up_is_an_error_and_set_up_goes_on_when_it_is_back(
    lab: FaultLab, cache: DamagedCache, tally: Tally
) -> None:
    name = "pulumi-resource-command"
    downloads = cache.real / "go/mod/cache/download"
    program = cache.program(name)
    folder = samefile_in(cache.real / "built", program)
    programs = cache.own("built")
    for left in (programs / folder.name, programs / f".{folder.name}.sizes", program):
        left.unlink()
    modules = cache.own("go") / "mod"
    modules.unlink()
    with GoProxy(downloads, BEFORE_THE_END).running() as registry:
        env = {"GOPROXY": registry.url}
        began = time.monotonic()
        code, output = set_up(lab, cache, **env)
        injection = tally.inject("registry unreachable", f"after {registry.served} answers")
        assert registry.served == BEFORE_THE_END
        assert registry.dropped > 0
        assert code == 1, output[-3000:]
        assert "Traceback" not in output
        assert "The Go module proxy was not reached" in output, output[-3000:]
        assert time.monotonic() - began < 300
        assert not program.exists()
        registry.left = 10**9
        code, output = set_up(lab, cache, **env)
    assert code == 0, output[-3000:]
    assert os.access(program, os.X_OK)
    shutil.rmtree(modules)
    injection.ended("the error names registry and fix; set-up went on")
