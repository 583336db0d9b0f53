"""Runs the lab's program against Pulumi's mocks, and keeps what it asked the engine for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.steps import scripts
from tests.graph.declared import Declare, Graph, declare

DEFAULT: dict[str, Any] = {"workers": 2, "workloads": ["pods-8", "deployments-40", "pods-24"]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout: what a program publishes goes there."""
    monkeypatch.setattr(scripts, "PROJECT", tmp_path)
    return tmp_path


@pytest.fixture
def lab(project: Path) -> Declare:
    """Declares a lab of the given settings, as ``up`` does."""
    return lambda settings=None, **options: declare({**DEFAULT, **(settings or {})}, **options)


@pytest.fixture
def graph(lab: Declare) -> Graph:
    """The default lab with three workloads."""
    return lab()
