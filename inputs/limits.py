"""Bounds that lab files, workload files and ``make bench`` share. Standard library only: set-up imports it."""

from __future__ import annotations

MOST_REPEATS = 100
"""Measured repeats of one workload."""

WORKLOAD = r"/?[A-Za-z0-9][A-Za-z0-9._/+@-]*"
"""A workload's name, or its file's path: from the project or from ``/``. It becomes a word of a shell command."""


def workload_label(workload: str) -> str:
    """What results of a workload are called, one name for each file: ``pods-8``; ``my-pods`` for ``my/pods.yaml``."""
    return workload.removesuffix(".yaml").strip("/").replace("/", "-")
