"""The files that a lab's settings name, looked at before anything is made."""

from __future__ import annotations

from components import registry, site, workloads
from components.settings import LabSettings


def require(lab: LabSettings) -> None:
    """Look at artifacts, images, the authority and workload files.

    Raises:
        SettingsError: one is not there or can't be used, with the line that names it.
    """
    registry.distribution(lab.distribution).check(lab)
    site.require(lab)
    workloads.require(lab)
