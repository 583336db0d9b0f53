"""A lab whose Pulumi package is not installed, as after a set-up for another lab."""

from __future__ import annotations

import sys

import pytest

from components.config.settings import SettingsError
from tests.graph.declared import STACK, declare


def test_a_lab_of_virtual_machines_names_what_installs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pulumi_libvirt", None)
    with pytest.raises(SettingsError, match=f"Run 'make setup STACK={STACK}', then the same command again"):
        declare({"workers": 1, "workloads": [], "hosts": {"kind": "libvirt"}})
