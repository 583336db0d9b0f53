"""The hosts of the default lab alone."""

from __future__ import annotations

import signal

import pulumi

from components.hosts.nspawn.component import NspawnHosts
from components.hosts.nspawn.settings import NspawnSettings

signal.signal(signal.SIGINT, signal.SIG_DFL)
hosts = NspawnHosts("hosts", NspawnSettings.model_validate({}), ["controller", "worker", "worker"], "perf")
pulumi.export("prefix", hosts.prefix)
