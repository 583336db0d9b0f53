"""Guests alone: ``litelab:hosts`` has their settings as JSON, ``litelab:workers`` how many beside the controller."""

from __future__ import annotations

import json
import signal

import pulumi

from components.config.settings import SettingsError
from components.hosts.libvirt.component import LibvirtHosts
from components.hosts.libvirt.settings import LibvirtSettings

signal.signal(signal.SIGINT, signal.SIG_DFL)
config = pulumi.Config("litelab")
settings = LibvirtSettings.model_validate(json.loads(config.require("hosts")))
try:
    hosts = LibvirtHosts("hosts", settings, ["controller"] + ["worker"] * config.require_int("workers"), "test")
except SettingsError as error:
    raise pulumi.RunError(str(error)) from None
pulumi.export("prefix", hosts.prefix)
pulumi.export("hosts", [{"name": h.name, "address": h.address, "identity": h.identity} for h in hosts.hosts])
