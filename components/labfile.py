"""The lab's whole configuration: one YAML file in ``stacks/``, single keys overridden by Pulumi configuration.

Unknown keys and values out of range are refused, each named by its path, before anything is made.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, create_model

from components import refusals, registry
from components.settings import DEFAULT_DISTRIBUTION, DEFAULT_HOST_KIND, LabSettings, SettingsError

SITE_KEYS = ("proxy", "noProxy", "ca", "registries")
"""What a file for all labs may hold."""


def load(folder: Path, stack: str, lab: str, overrides: Mapping[str, Any], site: Path | None = None) -> LabSettings:
    """Read the lab of a stack.

    Args:
        folder: where lab files are.
        stack: the stack's name, and the lab's unless ``lab`` is given.
        lab: a lab's name, or ``""``.
        overrides: single settings, nested as in the file; they win.
        site: a file with what all labs share, if there is one; the lab's own file wins.

    Raises:
        SettingsError: no such lab, or settings that can't be used.
    """
    name = lab or stack
    path = folder / f"{name}.yaml"
    labs = sorted(p.stem for p in folder.glob("*.yaml"))
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", stack):
        msg = (
            f"Stack {stack!r}: a lab's name becomes part of host, link and folder names, so it takes small letters, "
            "digits and hyphens, 40 at most. Make one with 'make stack NAME=my-lab FROM=upstream-lab'."
        )
        raise SettingsError(msg)
    if name not in labs:
        near = refusals.nearest(name, labs)
        msg = (
            f"Stack {stack}: there is no lab {name!r} in {folder.name}/.{near} Labs: {', '.join(labs)}. "
            f"Name one with 'pulumi config set --stack {stack} litelab:lab LAB', or make its file."
        )
        raise SettingsError(msg)
    content = _mapping(path, "a lab", "distribution: upstream")
    shared = {}
    if site is not None and site.exists():
        shared = _mapping(site, "what all labs share", "proxy: http://proxy.example:3128")
        if other := sorted(set(map(str, shared)) - set(SITE_KEYS)):
            msg = f"{site.parent.name}/{site.name}: {', '.join(other)} can't be shared by all labs; it takes {', '.join(SITE_KEYS)}. Nothing was made."
            raise SettingsError(msg)
    from_site = f", or {site.parent.name}/{site.name}" if site is not None and shared else ""
    where = f"{folder.name}/{path.name} (or litelab: configuration of stack {stack}{from_site})"
    return parse(_merge(_moved(_merge(shared, content), overrides), overrides), where)


def _mapping(path: Path, what: str, example: str) -> dict[str, Any]:
    """A YAML file of keys and values; an empty one has none."""
    where = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        msg = f"{where} is not YAML: {' '.join(str(error).split())}. Mend it and run again."
        raise SettingsError(msg) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        msg = f"{where} holds a {type(content).__name__}, and {what} is a mapping such as '{example}'."
        raise SettingsError(msg)
    return content


def parse(content: Mapping[str, Any], where: str) -> LabSettings:
    """Check a lab's settings; ``where`` names their source in errors.

    Raises:
        SettingsError: naming every key that is wrong, by its path, with the cure.
    """
    hosts = content.get("hosts")
    kind = hosts.get("kind") if isinstance(hosts, Mapping) else None
    model = model_for(
        _one_of(registry.distributions(), content.get("distribution", DEFAULT_DISTRIBUTION), "distribution", where),
        _one_of(registry.host_kinds(), kind or DEFAULT_HOST_KIND, "hosts.kind", where),
    )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = refusals.explain(error, model)
        msg = f"{where}: {problems}{'' if problems.endswith('?') else '.'} Nothing was made."
        raise SettingsError(msg) from None


@functools.cache
def model_for(distribution: str, kind: str) -> type[LabSettings]:
    """The settings of a lab of this distribution on hosts of this kind; both are names that the registry knows."""
    hosts = registry.host_kind(kind).settings
    return create_model(
        "LabSettings",
        __base__=registry.distribution(distribution).settings,
        hosts=(hosts, Field(default_factory=lambda: hosts.model_validate({}), description="What every host is")),
    )


def _one_of(known: list[str], value: object, key: str, where: str) -> str:
    if isinstance(value, str) and value in known:
        return value
    msg = f"{where}: {key}: takes one of {', '.join(known)}, and it is {value!r}.{refusals.nearest(str(value), known)} Nothing was made."
    raise SettingsError(msg)


def typed(key: str, value: Any) -> Any:
    """The value of configuration ``litelab:<key>`` as YAML would read it; Pulumi keeps all of them as text.

    Raises:
        SettingsError: it is no YAML.
    """
    try:
        return yaml.safe_load(value) if isinstance(value, str) and value else value
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        msg = f"litelab:{key}: its value in the stack's configuration is not YAML: {why}. Nothing was made."
        raise SettingsError(msg) from error


def _moved(content: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A lab without what only its own kind of hosts has, when the stack asks for another kind."""
    hosts, over = content.get("hosts"), overrides.get("hosts")
    kind = over.get("kind") if isinstance(over, Mapping) else None
    known = registry.host_kinds()
    if not isinstance(hosts, Mapping) or kind not in known or hosts.get("kind") not in known or kind == hosts["kind"]:
        return content

    def keys(of: str) -> set[str]:
        return {f.alias or name for name, f in registry.host_kind(of).settings.model_fields.items()}

    theirs = keys(hosts["kind"]) - keys(str(kind))
    return {**content, "hosts": {key: value for key, value in hosts.items() if key not in theirs}}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
