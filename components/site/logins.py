"""Logins of mirrors, from a file of the form that ``docker login`` and ``podman login`` write (containers-auth.json(5))."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.config.settings import LabSettings, SettingsError
from components.places import PROJECT
from components.site.mirrors import hosts_of
from inputs import jsonfile, textfile
from inputs.errors import InputError
from inputs.places import Place

_KEY = "registriesAuth"
_PORTS = {"https": ":443", "http": ":80"}
_BY_HAND = 'Write one yourself: {"auths": {"HOST": {"auth": "..."}}}, where auth is what printf \'%s\' \'USER:PASSWORD\' | base64 -w0 prints.'


def of_mirrors(lab: LabSettings) -> dict[str, str]:
    """The base64 of ``USER:PASSWORD`` by the host of each mirror that has a login in the lab's file of them.

    Raises:
        SettingsError: the file can't be used, or has no login of any mirror; with its line, without what is in it.
    """
    if lab.registries_auth is None:
        return {}
    try:
        return read(lab.registries_auth, hosts_of(lab.registries.values()))
    except InputError as error:
        msg = f"{lab.at(_KEY)}: {error} Nothing was made."
        raise SettingsError(msg) from None


def read(path: str, hosts: Sequence[str]) -> dict[str, str]:
    """Logins of these hosts (``HOST`` or ``HOST:PORT``), in their order; hosts without one are left out.

    Args:
        path: from ``/``, ``~`` or below the project.
        hosts: as the mirrors' addresses have them.

    Raises:
        InputError: the file can't be used, or has no login of any of these hosts.
    """
    document = jsonfile.parse_json(_text(path), path)
    content = document.content
    entries = content.get("auths", {}) if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        msg = f"{path}: is no file of logins ({{\"auths\": {{...}}}}). Name one that 'docker login' or 'podman login' has written."
        raise InputError(msg)
    found = {}
    for host in hosts:
        key = _key_of(entries, host)
        if helper := _helper(content, key or host, entries.get(key) if key else None):
            where = document.at(("auths", key) if key else ())
            msg = (
                f"{where}: the password for {host} is not in this file: 'docker login' gave it to {helper}. {_BY_HAND}"
            )
            raise InputError(msg)
        if key:
            found[host] = _login(document, ("auths", key), entries[key])
    if not found:
        has = f"it has some for {', '.join(sorted(map(_host, entries)))}" if entries else "it has none at all"
        msg = f"{path}: has no login for any mirror ({', '.join(hosts)}); {has}. Log in to the mirror ('docker login {hosts[0] if hosts else 'HOST'}'), or leave {_KEY} out."
        raise InputError(msg)
    return found


def _text(path: str) -> str:
    """The file's text. What it holds is not quoted, as other files are when they are no UTF-8."""
    content = textfile.read_bytes(PROJECT / Path(path).expanduser(), path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        msg = f"{path}:{line}: is no text in UTF-8. Is it the right file?"
        raise InputError(msg) from None


def _host(key: str) -> str:
    """The host of a key, which may have a scheme and a path (``https://index.docker.io/v1/``), and by mistake a login."""
    return key.rpartition("@")[2].rpartition("://")[2].partition("/")[0]


def _key_of(entries: Mapping[str, Any], host: str) -> str | None:
    """The key of a host's login: itself, or what means the same."""
    bare = next((host.removesuffix(port) for port in _PORTS.values() if host.endswith(port)), host)
    names = (host, bare, *(bare + port for port in _PORTS.values() if ":" not in bare))
    exact = next((name for name in names if name in entries), None)
    return exact or next((key for name in names for key in entries if _host(key) == name), None)


def _helper(content: Mapping[str, Any], key: str, entry: Any) -> str:
    """Who keeps a host's password instead of the file, in words; empty when nobody does."""
    helpers = content.get("credHelpers")
    if isinstance(helpers, dict) and key in helpers:
        return f"the helper {_name(helpers[key])} (credHelpers)"
    if entry == {} and content.get("credsStore"):
        return f"the helper {_name(content['credsStore'])} (credsStore)"
    return ""


def _name(value: object) -> str:
    """A helper's name; what is none may be anything."""
    return repr(value) if isinstance(value, str) and re.fullmatch(r"[a-z0-9-]{1,30}", value) else "that it names"


def _login(document: jsonfile.JsonDocument, place: Place, entry: Any) -> str:
    """An entry's base64 of ``USER:PASSWORD``."""
    where = document.at(place)
    if not isinstance(entry, dict):
        msg = f'{where}: takes {{"auth": "..."}}. {_BY_HAND}'
        raise InputError(msg)
    if entry.get("identitytoken"):
        msg = f"{where}: has an identity token, which not every distribution takes. Log in with a user and a password, a robot's for example."
        raise InputError(msg)
    user, password = entry.get("username"), entry.get("password")
    if isinstance(entry.get("auth"), str):
        try:
            user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except ValueError:
            user = None
    # What a header or a line can't hold is no password.
    if not (
        isinstance(user, str) and isinstance(password, str) and user and password and (user + password).isprintable()
    ):
        msg = f"{where}: has no user and password: auth is the base64 of USER:PASSWORD. {_BY_HAND}"
        raise InputError(msg)
    return base64.b64encode(f"{user}:{password}".encode()).decode()
