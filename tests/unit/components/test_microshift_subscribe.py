"""A subscription by activation key: the key is in no argument, no error and no file, the pull secret in one of root's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.steps.scripts import scripts_of

KEY, ORGANIZATION = "canary-of-the-key", "canary-of-the-organization"
PULL = json.dumps({"auths": {"quay.io": {"auth": "canary-of-the-pull-secret"}}})
ALL = {"organization": ORGANIZATION, "activationKey": KEY, "pullSecret": PULL}

# A stand-in for RHEL's module: what it is told, it records; with FAIL it raises an error that has the key in it.
DBUS = """
import json, os, types
def note(**what):
    with open(os.environ["CALLS"], "a") as file: file.write(json.dumps(what) + "\\n")
class Service:
    def Start(self, locale, dbus_interface): note(start=dbus_interface); return "unix:abstract=/private"
    def Stop(self, locale, dbus_interface): note(stop=dbus_interface)
class SystemBus:
    def get_object(self, name, path): note(name=name, path=path); return Service()
class Connection:
    def __init__(self, address): note(address=address)
    def call_blocking(self, *words, timeout):
        note(call=words)
        if os.environ.get("FAIL"): raise RuntimeError(f"no such key: {words[5][1][0]}")
connection = types.SimpleNamespace(Connection=Connection)
"""


def run(tmp_path: Path, text: str, state: str = "unregistered", **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "dbus.py").write_text(DBUS)
    return subprocess.run(
        [sys.executable, str(scripts_of("microshift") / "subscribe.py"), str(tmp_path / "etc/crio/secret"), state],
        input=text, capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "CALLS": str(tmp_path / "calls"), **environment},
    )  # fmt: skip


def test_it_registers_over_the_services_private_bus(tmp_path: Path) -> None:
    done = run(tmp_path, json.dumps(ALL))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert {"address": "unix:abstract=/private"} in calls
    (call,) = [c["call"] for c in calls if "call" in c]
    assert call[3] == "RegisterWithActivationKeys"
    assert call[5] == [ORGANIZATION, [KEY], {}, {}, ""]
    assert calls[-1] == {"stop": "com.redhat.RHSM1.RegisterServer"}


def test_the_pull_secret_is_roots_alone(tmp_path: Path) -> None:
    run(tmp_path, json.dumps(ALL))
    file = tmp_path / "etc/crio/secret"
    assert file.read_text() == PULL
    assert file.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in file.parent.iterdir()] == ["secret"]


def test_a_host_that_is_registered_is_not_registered_twice(tmp_path: Path) -> None:
    assert run(tmp_path, json.dumps(ALL), "registered").returncode == 0
    assert not (tmp_path / "calls").exists()
    assert (tmp_path / "etc/crio/secret").exists()


def test_an_error_does_not_show_the_key_and_ends_the_private_bus(tmp_path: Path) -> None:
    done = run(tmp_path, json.dumps(ALL), FAIL="1")
    assert done.returncode == 1
    assert done.stderr == "no such key: [secret]\n"
    assert "stop" in (tmp_path / "calls").read_text().splitlines()[-1]
    assert not (tmp_path / "etc/crio/secret").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "canary-of-the-key",
        "{}",
        json.dumps({**ALL, "pullSecret": "canary"}),
        json.dumps({**ALL, "pullSecret": "{}"}),
    ],
)
def test_what_is_no_subscription_is_refused_unseen(tmp_path: Path, text: str) -> None:
    done = run(tmp_path, text)
    assert done.returncode == 1
    assert "canary" not in done.stdout + done.stderr
    assert not (tmp_path / "calls").exists()
