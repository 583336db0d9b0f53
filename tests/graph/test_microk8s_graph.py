"""What is MicroK8s's own in the graph: hosts join one after another, and a controller before any worker."""

from __future__ import annotations

import itertools

import pytest

from components.config.lab_file import parse
from components.config.settings import SettingsError
from tests.graph.declared import Declare

MICROK8S = {"distribution": "microk8s", "hosts": {"kind": "nspawn"}, "workloads": []}


def test_each_join_waits_for_the_one_before(lab: Declare) -> None:
    graph = lab({**MICROK8S, "controllers": 3, "workers": 2})
    joins = graph.steps("join-")
    assert joins == ["join-host-2", "join-host-3", "join-host-4", "join-host-5"]
    for earlier, later in itertools.pairwise(joins):
        assert earlier in graph.directly_after(later)


def test_what_is_installed_is_told_to_staging_and_what_is_tainted_is_not(lab: Declare) -> None:
    """Else a changed taint would stage every host again."""
    before, after = lab(MICROK8S), lab({**MICROK8S, "controllerRunsWorkloads": True})
    assert before.commands["stage-host-1"].plain["stdin"] == "ADDONS=minimal\nRISK=stable\n"
    assert before.commands["stage-host-1"].inputs == after.commands["stage-host-1"].inputs


def test_a_version_may_name_the_revision(lab: Declare) -> None:
    graph = lab({**MICROK8S, "version": "v1.35.4+rev8511"})
    assert graph.cluster["version"] == "v1.35.4+rev8511"


def test_another_minor_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"version is v1\.33\.1, which is no 1\.35"):
        parse({**MICROK8S, "version": "v1.33.1"}, "x")
