"""The files that a lab's settings name, looked at before anything is made."""

from __future__ import annotations

from components.benchmarks import workload_files
from components.config import discovery
from components.config.settings import LabSettings
from components.site import component as site


def require(lab: LabSettings) -> None:
    """Look at artifacts, images, the authority and workload files.

    Raises:
        SettingsError: one is not there or can't be used, with the line that names it.
    """
    discovery.distribution(lab.distribution).check(lab)
    site.require(lab)
    workload_files.require(lab)
