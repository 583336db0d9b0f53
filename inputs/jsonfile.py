"""JSON that a program or a person wrote: its content, and the line of every value."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from inputs.errors import InputError
from inputs.places import Place
from inputs.textfile import MOST_BYTES, read_text

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


class JsonDocument:
    """A document.

    Attributes:
        shown: how messages call it.
        content: what it holds.
    """

    def __init__(self, shown: str, text: str, content: Any) -> None:
        self.shown, self.content, self._text = shown, content, text

    @functools.cached_property
    def _lines(self) -> dict[Place, int]:
        # Asked for only when something is wrong.
        return lines_of(self._text)

    def at(self, place: Place) -> str:
        """File and line of a value, or of what is nearest above it."""
        while place and place not in self._lines:
            place = place[:-1]
        return f"{self.shown}:{self._lines[place]}" if place else self.shown

    def text(self, place: Place) -> str | None:  # noqa: ARG002 - JSON says what it is
        """JSON reads nothing as something else."""
        return None

    def has(self, place: Place) -> bool:
        """Whether anything was written there."""
        return place in self._lines


def read_json(path: Path, shown: str, *, most_bytes: int = MOST_BYTES) -> JsonDocument:
    """The document in a file.

    Raises:
        InputError: it can't be read, is no JSON, or has a key twice; with the line.
    """
    return parse_json(read_text(path, shown, most_bytes=most_bytes), shown)


def parse_json(text: str, shown: str) -> JsonDocument:
    """The document in a text.

    Raises:
        InputError: it is no JSON, or has a key twice; with the line.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        json.dumps(content, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        msg = (
            f"{shown}:{error.lineno}: is not JSON: {error.msg} (column {error.colno}). Is it whole, and the right file?"
        )
        raise InputError(msg) from None
    except RecursionError:
        msg = f"{shown}: is nested too deep. Is it the right file?"
        raise InputError(msg) from None
    except UnicodeEncodeError:
        msg = f"{shown}: has an escape of half a character (\\ud800 to \\udfff). Is it the right file?"
        raise InputError(msg) from None
    except _TwiceError as error:
        first, second = _twice(text, error.key)
        msg = f"{shown}:{second}: {error.key}: is there twice, here and in line {first}. Delete one of the two."
        raise InputError(msg) from None
    except ValueError as error:
        msg = f"{shown}: is not JSON: {error}."
        raise InputError(msg) from None
    return JsonDocument(shown, text, content)


class _TwiceError(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is no number"
    raise ValueError(msg)


def _twice(text: str, key: str) -> tuple[int, int]:
    """Lines of a key's first two places in one mapping."""
    seen: dict[Place, int] = {}
    for place, line in _keys(text):
        if place[-1] == key and place in seen:
            return seen[place], line
        seen.setdefault(place, line)
    return 0, 0


def lines_of(text: str) -> dict[Place, int]:
    """The line of each key, and of each entry of a list, in JSON that is whole."""
    found: dict[Place, int] = {}
    for place, line in _keys(text):
        found.setdefault(place, line)
    return found


def _keys(text: str) -> list[tuple[Place, int]]:
    found: list[tuple[Place, int]] = []
    # Of each open bracket: whether it is a list, and the key or position in it.
    stack: list[tuple[bool, int | str]] = []
    line, end, expects_key = 1, 0, False
    for token in _TOKEN.finditer(text):
        line += text.count("\n", end, token.start())
        end = token.start()
        word = token[0]
        if stack and expects_key and word[0] == '"':
            stack[-1] = (False, json.loads(word))
            found.append((tuple(part for _, part in stack), line))
            expects_key = False
            continue
        if (
            stack
            and stack[-1][0]
            and word not in ("]", ",", ":")
            and (tuple(part for _, part in stack), line) not in found[-1:]
        ):
            found.append((tuple(part for _, part in stack), line))
        if word in ("{", "["):
            stack.append((word == "[", 0 if word == "[" else ""))
            expects_key = word == "{"
        elif word in ("}", "]") and stack:
            stack.pop()
        elif word == "," and stack:
            is_list, part = stack[-1]
            stack[-1] = (is_list, int(part) + 1) if is_list else (False, "")
            expects_key = not is_list
    return found
