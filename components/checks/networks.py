"""Networks of a distribution's pods and services, which no host may be in."""

from __future__ import annotations

import ipaddress

from components.clusters.distribution import Needs
from components.config.settings import LabSettings


def clashes(lab: LabSettings, needs: Needs) -> list[str]:
    """Why a lab's distribution can't run on hosts in the networks that its settings name."""
    found = []
    for place, network in lab.hosts.networks().items():
        for whose, theirs in (("pods", needs.pods), ("services", needs.services)):
            if ipaddress.IPv4Network(network).overlaps(ipaddress.IPv4Network(theirs)):
                found.append(
                    f"{lab.at(*place)}: {network.removesuffix('/32')} overlaps {theirs}, the network of {lab.distribution}'s {whose}, so "
                    "packets for one would reach the other; take addresses for hosts outside of it"
                )
    return found
