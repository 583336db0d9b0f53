"""Stacks for the conformance tests."""

import os
import shutil
from pathlib import Path

import pytest

from tests.conformance.stack import Sleeper, Stack

HERE = Path(__file__).parent
PLUGIN = "pulumi-resource-command"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PATH on which the plugin under test comes first."""
    for program in ("pulumi", "pulumi-language-python"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on PATH")
    set_up = sorted(Path(os.environ.get("PULUMI_HOME", "")).glob(f"plugins/resource-command-v*/{PLUGIN}"))
    plugin = os.environ.get("LITELAB_COMMAND_PLUGIN") or next(iter(set_up), None)
    if plugin is None:
        pytest.skip(f"no {PLUGIN} below PULUMI_HOME, and LITELAB_COMMAND_PLUGIN is not set")
    folder = tmp_path_factory.mktemp("bin")
    (folder / PLUGIN).symlink_to(Path(plugin).resolve())
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, programs: str) -> Path:
    """Make an empty stack once: a copy of it costs less than a new one."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(HERE / "program", folder / "program")
    (folder / "state").mkdir()
    made = Stack(folder, programs).pulumi("stack", "init", "test")
    assert made.returncode == 0, made.stdout
    return folder


@pytest.fixture
def stack(tmp_path: Path, template: Path, programs: str) -> Stack:
    """Return an empty stack."""
    folder = tmp_path / "stack"
    shutil.copytree(template, folder)
    selected = Stack(folder, programs)
    selected.env["PULUMI_STACK"] = "test"
    return selected


@pytest.fixture
def sleeper(tmp_path: Path) -> Sleeper:
    """Return a command that sleeps."""
    return Sleeper(tmp_path)
