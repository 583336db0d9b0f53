"""Build the resources that the file named by RESOURCES describes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import local, remote

# Pulumi ends a program by SIGINT after an error. As an exception it hangs in the
# SDK's threads at times, and Pulumi then waits 5 s before it kills the program.
signal.signal(signal.SIGINT, signal.SIG_DFL)

KINDS: dict[str, Any] = {
    "local": local.Command,
    "remote": remote.Command,
    "copy": remote.CopyToRemote,
}
WRAPPERS: dict[str, Any] = {
    "secret": pulumi.Output.secret,
    "file": pulumi.FileAsset,
    "text": pulumi.StringAsset,
    "archive": pulumi.FileArchive,
}


def build(value: Any) -> Any:
    """Turn a description into a value: ``{"$secret": "x"}`` becomes a secret."""
    if isinstance(value, list):
        return [build(item) for item in value]
    if isinstance(value, dict):
        for key, item in value.items():
            if key.startswith("$"):
                return WRAPPERS[key[1:]](item)
        return {key: build(item) for key, item in value.items()}
    return value


def options(given: dict[str, Any]) -> pulumi.ResourceOptions:
    """Turn a description into resource options."""
    timeouts = given.pop("custom_timeouts", None)
    return pulumi.ResourceOptions(
        custom_timeouts=pulumi.CustomTimeouts(**timeouts) if timeouts else None,
        **given,
    )


for spec in json.loads(Path(os.environ["RESOURCES"]).read_text()):
    resource = KINDS[spec["kind"]](
        spec["name"],
        opts=options(spec.get("opts", {})),
        **build(spec["args"]),
    )
    if spec["kind"] != "copy":
        pulumi.export(spec["name"], resource.stdout)
        pulumi.export(f"{spec['name']}-err", resource.stderr)

if "RUN" in os.environ:
    pulumi.export("run", local.run(**json.loads(os.environ["RUN"])).stdout)
