"""Hosts alone, of the kind and with the settings that the stack's configuration names: what every kind promises is tested on them."""

from __future__ import annotations

import json
import signal

import pulumi

from components.config import discovery

signal.signal(signal.SIGINT, signal.SIG_DFL)
settings = json.loads(pulumi.Config().require("hosts"))
kind = discovery.host_kind(settings["kind"])
roles = json.loads(pulumi.Config().require("roles"))
made = kind.component("hosts", kind.settings.model_validate(settings), roles, "contract", pulumi.ResourceOptions())
pulumi.export(
    "hosts",
    [
        {
            "name": host.name,
            "role": host.role,
            "address": host.address,
            "port": host.ssh.port,
            "user": host.ssh.user,
            "identity": host.identity,
            "livesOn": host.preexisting,
        }
        for host in made.hosts
    ],
)
pulumi.export("facts", made.facts)
