"""Host kinds and distributions by name: a module's name in its folder is the name that settings take."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

import components.clusters
import components.hosts

if TYPE_CHECKING:
    from components.contract import Distribution, HostKind


def host_kinds() -> list[str]:
    """What ``hosts.kind`` takes."""
    return sorted(module.name for module in pkgutil.iter_modules(components.hosts.__path__))


def host_kind(name: str) -> HostKind[Any]:
    """A host kind; its module is read only now, for it may need packages that other labs do without."""
    kind: HostKind[Any] = importlib.import_module(f"components.hosts.{name}").KIND
    return kind


def distributions() -> list[str]:
    """What ``distribution`` takes."""
    return sorted(module.name for module in pkgutil.iter_modules(components.clusters.__path__))


def distribution(name: str) -> Distribution[Any]:
    """A distribution."""
    found: Distribution[Any] = importlib.import_module(f"components.clusters.{name}").DISTRIBUTION
    return found
