"""What a lab needs of this machine, said before anything is made. ``python -m components.checks.preflight STACK`` prints it."""

from __future__ import annotations

import json
import subprocess
import sys

from components.checks import layout, named_files, paths
from components.checks.machine import this_machine
from components.config import discovery, lab_file, settings
from components.config.layers import Configured, configured
from components.places import PROJECT, SITE, cache_folder, lab_stands, run_folder

PREFIX = "litelab:"


def require(lab: settings.LabSettings, stack: str) -> None:
    """Refuse a lab that this machine can't carry, or that another Litelab has made and this one can't go on with.

    Raises:
        settings.SettingsError: every reason, with its fix.
    """
    refused = layout.refusal(stack)
    if refused:
        raise settings.SettingsError(refused)
    wrong = paths.problems(PROJECT, cache_folder())
    if wrong:
        msg = f"Stack {stack} can't be made on this machine: {'; '.join(wrong)}. Nothing was made."
        raise settings.SettingsError(msg)
    is_new = not lab_stands(PROJECT / run_folder(stack))
    found = discovery.host_kind(lab.hosts.kind).problems(lab, this_machine(PROJECT), is_new)
    if found:
        msg = f"Stack {stack} can't be made on this machine: {'; '.join(found)}. Nothing was made."
        raise settings.SettingsError(msg)


def _configuration(stack: str) -> dict[str, Configured]:
    """The stack's own ``litelab:`` configuration, as Pulumi hands it to the program."""
    shown = subprocess.run(
        ["pulumi", "config", "--json", "--show-secrets", "--stack", stack, "--cwd", str(PROJECT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode != 0:
        msg = f"Stack {stack}: Pulumi can't show its configuration: {' '.join(shown.stderr.split())}"
        raise settings.SettingsError(msg)
    return {
        key.removeprefix(PREFIX): configured(entry.get("value", ""), secret=entry.get("secret", False))
        for key, entry in json.loads(shown.stdout).items()
        if key.startswith(PREFIX)
    }


def lab_of(stack: str) -> settings.LabSettings:
    """The settings of a stack's lab, read as Pulumi's program reads them.

    Raises:
        settings.SettingsError: no such lab, or settings that can't be used.
    """
    values = _configuration(stack)
    return lab_file.load(PROJECT / "stacks", stack, values.pop("lab", Configured("")).text, values, SITE)


def main(arguments: list[str]) -> int:
    """Print the estimate; 1 and one paragraph when the lab can't be made."""
    if len(arguments) != 1:
        print("usage: python -m components.checks.preflight STACK", file=sys.stderr)
        return 2
    stack = arguments[0]
    try:
        lab = lab_of(stack)
        print(f"{stack}: {discovery.host_kind(lab.hosts.kind).estimate(lab, this_machine(PROJECT))}")
        named_files.require(lab)
        require(lab, stack)
    except settings.SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
