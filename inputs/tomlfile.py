"""TOML that contributors edit: its content, and the line of every key. Standard library only: set-up imports it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from inputs.errors import InputError
from inputs.places import Place
from inputs.textfile import read_text


class TomlDocument:
    """A document.

    Attributes:
        shown: how messages call it.
        content: what it holds.
    """

    def __init__(self, shown: str, text: str, content: dict[str, Any]) -> None:
        self.shown, self.content = shown, content
        self._lines = _lines_of(text)

    def at(self, place: Place) -> str:
        """File and line of a key, or of what is nearest above it."""
        while place and place not in self._lines:
            place = place[:-1]
        return f"{self.shown}:{self._lines[place]}" if place else self.shown

    def text(self, place: Place) -> str | None:  # noqa: ARG002 - TOML says what it is
        """TOML reads nothing as something else."""
        return None

    def has(self, place: Place) -> bool:
        """Whether the key was written."""
        return place in self._lines


def read_toml(path: Path, shown: str) -> TomlDocument:
    """The document in a file.

    Raises:
        InputError: it can't be read, or is no TOML; with the line.
    """
    return parse_toml(read_text(path, shown), shown)


def parse_toml(text: str, shown: str) -> TomlDocument:
    """The document in a text.

    Raises:
        InputError: it is no TOML; with the line.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.DOTALL)
        line = (found[2] or text.count("\n") + 1) if found else ""
        where = f"{shown}:{line}" if line else shown
        msg = f"{where}: is not TOML: {found[1] if found else error}. Correct it."
        raise InputError(msg) from None
    except RecursionError:
        msg = f"{shown}: is not TOML: it is nested too deep."
        raise InputError(msg) from None
    except ValueError as error:
        msg = f"{shown}: is not TOML: {error}."
        raise InputError(msg) from None
    return TomlDocument(shown, text, content)


def _lines_of(text: str) -> dict[Place, int]:
    """The line of each table and key that stands at the beginning of a line."""
    found: dict[Place, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = here = _keys(header[1])
        elif key := re.match(r"\s*([^=#\s][^=#]*?)\s*=", line):
            here = (*table, *_keys(key[1]))
        else:
            continue
        for length in range(1, len(here) + 1):
            found.setdefault(here[:length], number)
    return found


def _keys(dotted: str) -> Place:
    """The keys of a dotted one, quoted ones unquoted; none where it is something else."""
    try:
        inside: Any = tomllib.loads(f"{dotted} = 0")
    except (tomllib.TOMLDecodeError, RecursionError):
        return ()
    keys: list[int | str] = []
    while isinstance(inside, dict) and inside:
        keys.append(next(iter(inside)))
        inside = inside[keys[-1]]
    return tuple(keys)
