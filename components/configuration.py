"""From Pulumi configuration to lab settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import yaml

from components import settings
from components.steps import PROJECT


def load_settings() -> settings.LabSettings:
    """The settings of the stack this program runs for.

    Raises:
        settings.SettingsError: the lab does not exist, or its settings can't be used.
    """
    values = _values()
    lab = str(values.pop("lab", "") or "")
    return settings.load(PROJECT / "stacks", pulumi.get_stack(), lab, values)


def _values() -> dict[str, Any]:
    """Every ``litelab:`` key of the stack, typed as YAML would type it."""
    prefix = f"{pulumi.get_project()}:"
    raw: Mapping[str, Any] = {k: v for k, v in pulumi.runtime.config.CONFIG.get().items() if k.startswith(prefix)}
    return {key.removeprefix(prefix): _typed(value) for key, value in raw.items()}


def _typed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return yaml.safe_load(value) if value else value
