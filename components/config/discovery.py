"""Host kinds and distributions by name: a folder's name is the name that settings take."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import components.clusters
import components.hosts

if TYPE_CHECKING:
    from components.clusters.distribution import Distribution
    from components.hosts.host import HostKind


def host_kinds() -> list[str]:
    """What ``hosts.kind`` takes."""
    return _folders(components.hosts.__path__)


def host_kind(name: str) -> HostKind[Any]:
    """A host kind; its module is read only now, for it may need packages that other labs do without."""
    kind: HostKind[Any] = importlib.import_module(f"components.hosts.{name}.component").KIND
    return kind


def distributions() -> list[str]:
    """What ``distribution`` takes."""
    return _folders(components.clusters.__path__)


def distribution(name: str) -> Distribution[Any]:
    """A distribution."""
    found: Distribution[Any] = importlib.import_module(f"components.clusters.{name}.component").DISTRIBUTION
    return found


def _folders(parent: Iterable[str]) -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(parent) if module.ispkg)
