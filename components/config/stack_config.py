"""From Pulumi configuration to lab settings."""

from __future__ import annotations

import pulumi

from components.checks import layout, named_files, preflight
from components.config import lab_file, settings
from components.config.layers import Configured, configured
from components.places import PROJECT, SITE


def load_settings() -> settings.LabSettings:
    """The settings of the stack this program runs for.

    Raises:
        settings.SettingsError: the lab does not exist, its settings or a file that they name can't be used, or this machine can't
            carry it.
    """
    values = _values()
    lab = values.pop("lab", Configured("")).text
    stack = pulumi.get_stack()
    loaded = lab_file.load(PROJECT / "stacks", stack, lab, values, SITE)
    named_files.require(loaded)
    # A preview shows any lab on any machine; only making one needs this machine.
    if not pulumi.runtime.is_dry_run():
        preflight.require(loaded, stack)
        layout.mark(stack)
    return loaded


def _values() -> dict[str, Configured]:
    """Every ``litelab:`` key of the stack."""
    prefix = f"{pulumi.get_project()}:"
    return {
        key.removeprefix(prefix): configured(value, secret=pulumi.runtime.config.is_config_secret(key))
        for key, value in pulumi.runtime.config.CONFIG.get().items()
        if key.startswith(prefix)
    }
