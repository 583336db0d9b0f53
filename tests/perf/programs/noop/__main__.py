"""Commands that do nothing, in the shape of a lab: what Pulumi itself costs. ``shape.json`` says which."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pulumi
from pulumi_command import local

signal.signal(signal.SIGINT, signal.SIG_DFL)

made: dict[str, pulumi.Resource] = {}
for entry in json.loads(Path("shape.json").read_text(encoding="utf-8")):
    opts = pulumi.ResourceOptions(
        parent=made.get(entry["parent"]),
        depends_on=[made[name] for name in entry["dependencies"]],
        deleted_with=made.get(entry["deletedWith"]),
    )
    if not entry["isCommand"]:
        made[entry["name"]] = pulumi.ComponentResource(entry["type"], entry["name"], None, opts)
        continue
    opts.delete_before_replace = True
    opts.additional_secret_outputs = ["stdout", "stderr"] if entry["secret"] else None
    stdin = "x" * entry["stdin"]
    made[entry["name"]] = local.Command(
        entry["name"],
        create="true",
        delete="true",
        stdin=pulumi.Output.secret(stdin) if entry["secret"] else stdin or None,
        environment=entry["environment"],
        triggers=["0123456789ab"] * entry["triggers"],
        logging=local.Logging.NONE,
        add_previous_output_in_env=False,
        opts=opts,
    )
