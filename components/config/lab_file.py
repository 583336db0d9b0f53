"""The lab's whole configuration: one YAML file in ``stacks/``, single keys overridden by Pulumi configuration.

Unknown keys and values out of range are refused, each named by its path, before anything is made.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, create_model

from components.checks import networks
from components.config import discovery
from components.config.layers import Configuration, Configured, Given, configured
from components.config.settings import DEFAULT_DISTRIBUTION, DEFAULT_HOST_KIND, LabSettings, SettingsError
from inputs import suggestions, validation_errors, yamlfile
from inputs.errors import InputError
from inputs.places import Place, Source, Unknown

SITE_KEYS = ("proxy", "noProxy", "ca", "registries", "registriesAuth")
"""What a file for all labs may hold."""
CHECKOUT_KEYS = ("backend", "passphraseFile")
"""What it may hold beside that, which is no lab's: where Pulumi keeps the checkout's state (``tools/environment.py``)."""


def load(
    folder: Path, stack: str, lab: str, overrides: Mapping[str, Any | Configured], site: Path | None = None
) -> LabSettings:
    """Read the lab of a stack.

    Args:
        folder: where lab files are.
        stack: the stack's name, and the lab's unless ``lab`` is given.
        lab: a lab's name, or ``""``.
        overrides: the stack's ``litelab:`` configuration by key: text as typed, or what ``--path`` made; it wins.
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
        near = suggestions.nearest(name, labs)
        msg = (
            f"Stack {stack}: there is no lab {name!r} in {folder.name}/.{near} Labs: {', '.join(labs)}. "
            f"Name one with 'pulumi config set --stack {stack} litelab:lab LAB', or make its file."
        )
        raise SettingsError(msg)
    file = _mapping(path, "a lab", "distribution: upstream")
    if not file.content:
        # What is left of a lab on a user's machines would be another lab, here.
        msg = f"{file.shown}: is empty, and a lab is a mapping such as 'distribution: upstream'. Nothing was made."
        raise SettingsError(msg)
    given = Given({}, file)
    if site is not None and os.path.lexists(site):
        given = given.over(*_shared(site))
    configuration = Configuration(stack, {key: configured(value) for key, value in overrides.items()})
    try:
        hosts = configuration.read("hosts") if "hosts" in overrides else {}
        lab_file = _moved(file.content, hosts)
        given = given.over(lab_file, file)
        return _parse(given, configuration)
    except InputError as error:
        msg = f"{error} Nothing was made."
        raise SettingsError(msg) from None


def _shared(site: Path) -> tuple[dict[str, Any], Source]:
    file = _mapping(site, "what all labs share", "proxy: http://proxy.example:3128")
    if other := [key for key in file.content if key not in (*SITE_KEYS, *CHECKOUT_KEYS)]:
        near = suggestions.nearest(other[0], (*SITE_KEYS, *CHECKOUT_KEYS))
        msg = (
            f"{file.at((other[0],))}: {', '.join(other)} can't be shared by all labs; it takes {', '.join((*SITE_KEYS, *CHECKOUT_KEYS))}.{near} "
            "Nothing was made."
        )
        raise SettingsError(msg)
    return {key: value for key, value in file.content.items() if key in SITE_KEYS}, file


def _mapping(path: Path, what: str, example: str) -> yamlfile.Document:
    """A YAML file of keys and values; an empty one has none."""
    where = f"{path.parent.name}/{path.name}"
    try:
        file = yamlfile.read_yaml(path, where)
    except InputError as error:
        msg = f"{error} Nothing was made."
        raise SettingsError(msg) from None
    if file.content is None:
        return yamlfile.Document(where, {})
    if not isinstance(file.content, dict):
        msg = f"{where}: holds {_called(file.content)}, and {what} is a mapping such as '{example}'. Nothing was made."
        raise SettingsError(msg)
    return file


def _called(content: object) -> str:
    return "a list" if isinstance(content, list) else f"the value {validation_errors.shown(content)}"


def parse(content: Mapping[str, Any], where: str) -> LabSettings:
    """Check a lab's settings; ``where`` names their source in errors.

    Raises:
        SettingsError: naming every key that is wrong, by its path, with the fix.
    """
    try:
        return _parse(Given(dict(content), Unknown(where)), Configuration("", {}))
    except InputError as error:
        msg = f"{error} Nothing was made."
        raise SettingsError(msg) from None


def _parse(given: Given, configuration: Configuration) -> LabSettings:
    """Check settings, those of the stack's configuration over the others."""
    model = model_for(
        _one_of(discovery.distributions(), "distribution", given, configuration) or DEFAULT_DISTRIBUTION,
        _one_of(discovery.host_kinds(), "hosts.kind", given, configuration) or DEFAULT_HOST_KIND,
    )
    given = given.over({key: configuration.read(key, model) for key in configuration.values}, configuration)
    try:
        lab = model.model_validate(given.content)
    except ValidationError as error:
        problems = validation_errors.sentence(validation_errors.explain(error, model, given))
        fix = configuration.fix("KEY") if configuration.at(()) in problems else ""
        msg = f"{problems}{fix} Nothing was made."
        raise SettingsError(msg) from None
    lab = lab.where_given(given)
    needs = discovery.distribution(lab.distribution).needs
    found = networks.clashes(lab, needs) if needs else []
    if found:
        msg = f"{'; '.join(found)}. Nothing was made."
        raise SettingsError(msg)
    return lab


@functools.cache
def model_for(distribution: str, kind: str) -> type[LabSettings]:
    """The settings of a lab of this distribution on hosts of this kind; both are names that the registry knows."""
    hosts = discovery.host_kind(kind).settings
    return create_model(
        "LabSettings",
        __base__=discovery.distribution(distribution).settings,
        hosts=(hosts, Field(default_factory=lambda: hosts.model_validate({}), description="What every host is")),
    )


def _one_of(known: list[str], key: str, given: Given, configuration: Configuration) -> str | None:
    """The name that a key of the settings has; None when it is not there."""
    place: Place = tuple(key.split("."))
    source: Source = given
    value = _at(given.content, place)
    if place[0] in configuration.values:
        asked = (
            configuration.values["distribution"].text
            if len(place) == 1
            else _at({"hosts": configuration.read("hosts")}, place)
        )
        source, value = (configuration, asked) if asked is not None else (source, value)
    if value is None or (isinstance(value, str) and value in known):
        return value
    near = suggestions.nearest(str(value), known)
    fix = configuration.fix(key) if source is configuration else ""
    is_value = validation_errors.shown(value, source.text(place))
    msg = f"{source.at(place)}: {key}: takes one of {', '.join(known)}, and it is {is_value}.{near}{fix} Nothing was made."
    raise SettingsError(msg)


def _at(content: Any, place: Place) -> Any:
    for part in place:
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def _moved(content: dict[str, Any], configured_hosts: Any) -> dict[str, Any]:
    """A lab without what only its own kind of hosts has, when the stack asks for another kind."""
    hosts, kind = content.get("hosts"), _at(configured_hosts, ("kind",))
    known = discovery.host_kinds()
    if not isinstance(hosts, Mapping) or kind not in known or hosts.get("kind") not in known or kind == hosts["kind"]:
        return content

    def keys(of: str) -> set[str]:
        return {f.alias or name for name, f in discovery.host_kind(of).settings.model_fields.items()}

    theirs = keys(hosts["kind"]) - keys(str(kind))
    return {**content, "hosts": {key: value for key, value in hosts.items() if key not in theirs}}
