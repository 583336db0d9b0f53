"""From Pulumi configuration to lab settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from components import labfile, layout, preflight, settings
from components.steps import PROJECT, SITE


def load_settings() -> settings.LabSettings:
    """The settings of the stack this program runs for.

    Raises:
        settings.SettingsError: the lab does not exist, its settings can't be used, or this machine can't carry it.
    """
    values = _values()
    lab = str(values.pop("lab", "") or "")
    stack = pulumi.get_stack()
    loaded = labfile.load(PROJECT / "stacks", stack, lab, values, SITE)
    # A preview shows any lab on any machine; only making one needs this machine.
    if not pulumi.runtime.is_dry_run():
        preflight.require(loaded, stack)
        layout.mark(stack)
    return loaded


def _values() -> dict[str, Any]:
    """Every ``litelab:`` key of the stack, typed as YAML would type it."""
    prefix = f"{pulumi.get_project()}:"
    raw: Mapping[str, Any] = {k: v for k, v in pulumi.runtime.config.CONFIG.get().items() if k.startswith(prefix)}
    return {(name := key.removeprefix(prefix)): labfile.typed(name, value) for key, value in raw.items()}
