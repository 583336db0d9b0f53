"""A host kind is one module and its page: nothing else knows of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import components.hosts
from components.config import discovery, lab_file
from components.config.lab_file import parse
from components.config.settings import SettingsError
from components.places import PROJECT
from tests.doubles import hostkinds
from tests.graph.declared import Declare


@pytest.fixture
def _toy_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the double were in ``components/hosts/``, for the length of a test."""
    monkeypatch.setattr(components.hosts, "__path__", [*components.hosts.__path__, *hostkinds.__path__])
    lab_file.model_for.cache_clear()


@pytest.mark.usefixtures("_toy_module")
class TestOneModule:
    def test_its_name_and_its_settings_are_known(self) -> None:
        assert "toy" in discovery.host_kinds()
        lab = parse({"hosts": {"kind": "toy", "colour": "blue"}}, "x")
        assert lab.hosts.model_dump()["colour"] == "blue"
        with pytest.raises(SettingsError, match=r"unknown key hosts\.color\. Did you mean colour\?"):
            parse({"hosts": {"kind": "toy", "color": "blue"}}, "x")

    def test_a_lab_stands_on_it_whole(self, lab: Declare) -> None:
        graph = lab({"hosts": {"kind": "toy"}, "workloads": ["pods-8"]})
        assert {"toy-1", "toy-2", "toy-3"} <= graph.after("stage-host-1") | graph.after("verify")
        assert {"controller", "node-host-3", "verify", "access", "workload-pods-8"} <= set(graph.commands)
        assert {c.host for c in graph.commands.values() if c.is_remote} == {"host-1", "host-2", "host-3"}
        assert '"colour": "red"' in graph.commands["access"].plain["stdin"]

    def test_what_is_on_its_hosts_goes_with_them(self, lab: Declare) -> None:
        graph = lab({"hosts": {"kind": "toy"}})
        assert graph.deleted_with("stage-host-2") == "toy-2"


class TestNowhereElse:
    def test_without_its_module_it_is_unknown(self) -> None:
        with pytest.raises(SettingsError, match=r"hosts\.kind: takes one of .*, and it is 'toy'"):
            parse({"hosts": {"kind": "toy"}}, "x")

    @pytest.mark.parametrize("kind", discovery.host_kinds())
    def test_each_kind_has_its_page(self, kind: str) -> None:
        page = PROJECT / "docs" / f"hosts-{kind}.md"
        assert page.read_text(encoding="utf-8").startswith("# ")

    @pytest.mark.parametrize("kind", discovery.host_kinds())
    def test_what_all_kinds_share_names_none_but_the_default(self, kind: str) -> None:
        kinds = [PROJECT / "components/hosts" / name for name in discovery.host_kinds()]
        shared = [
            p
            for p in (PROJECT / "components").rglob("*.py")
            if p.name != "settings.py" and not set(kinds) & set(p.parents)
        ]
        assert len(shared) > 20
        shared += list((PROJECT / "benchmarks").rglob("*.py"))
        told = [p.name for p in shared if re.search(rf"[\"']{kind}[\"']", Path(p).read_text(encoding="utf-8"))]
        assert told == []
