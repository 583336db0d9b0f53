"""The kubeconfig, looked at before Kubernetes' client stumbles over it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.model.outcome import UserError
from inputs import suggestions, validation_errors, yamlfile
from inputs.errors import InputError
from inputs.places import Place, dotted
from inputs.textfile import read_text


def require_usable(path: Path, context: str = "") -> None:
    """See that the current context, or the one of that name, leads to a server and a user.

    Raises:
        UserError: with file, line and key.
    """
    shown = str(path)
    try:
        document = yamlfile.parse_yaml(read_text(path, shown), shown, keep_text=True)
        _check(document, context)
    except InputError as error:
        msg = f"The kubeconfig can't be used: {error}"
        raise UserError(msg) from error


def _check(document: yamlfile.Document, context: str) -> None:
    content = document.content
    if not isinstance(content, Mapping):
        msg = f"{document.shown}: is no kubeconfig, which holds clusters, contexts and users. Is it the right file?"
        raise InputError(msg)
    chosen = context or content.get("current-context")
    if not chosen:
        msg = f"{document.shown}: current-context: is missing. Set it, or name a context with --context."
        raise InputError(msg)
    place: Place = () if context else ("current-context",)
    used = _named(document, "contexts", chosen, "context", place)
    at = used[0]
    cluster = _named(document, "clusters", used[1].get("cluster"), "cluster", (*at, "context", "cluster"))
    _named(document, "users", used[1].get("user"), "user", (*at, "context", "user"))
    if not isinstance(cluster[1].get("server"), str):
        here = (*cluster[0], "cluster", "server")
        msg = f"{document.at(here)}: {dotted(here)}: must be the address of the API server, such as https://10.0.0.11:6443."
        raise InputError(msg)


def _named(
    document: yamlfile.Document, key: str, name: object, inside: str, asked: Place
) -> tuple[Place, Mapping[str, Any]]:
    """The place and the content of an entry of ``clusters``, ``contexts`` or ``users``."""
    entries = document.content.get(key)
    if not isinstance(entries, list):
        msg = f"{document.at((key,))}: {key}: must be a list of entries with name and {inside}, and it is {validation_errors.shown(entries)}."
        raise InputError(msg)
    for number, entry in enumerate(entries):
        if isinstance(entry, Mapping) and entry.get("name") == name and isinstance(entry.get(inside), Mapping):
            return (key, number), entry[inside]
    names = [str(entry.get("name")) for entry in entries if isinstance(entry, Mapping)]
    near = suggestions.nearest(str(name), names)
    where = f"{document.at(asked)}: {dotted(asked)}: " if asked else f"{document.shown}: "
    msg = f"{where}there is no {inside} {validation_errors.shown(name)} in {key}, or it is empty.{near} There are: {', '.join(names) or 'none'}."
    raise InputError(msg)
