"""Virtual machines through libvirt: per lab a pool, a network and volumes of its own, guests alike by construction."""

from components.contract import HostKind
from components.hosts.libvirt.component import LibvirtHosts
from components.hosts.libvirt.preflight import estimate, problems
from components.hosts.libvirt.settings import LibvirtSettings

KIND = HostKind(LibvirtSettings, LibvirtHosts, estimate, problems)

__all__ = ["KIND", "LibvirtHosts", "LibvirtSettings"]
