"""Where a value is in a document, and what is known of that place."""

from __future__ import annotations

from typing import Protocol

Place = tuple[int | str, ...]
"""Keys and positions from the top: ``("hosts", "addresses", 0)``."""
_LONGEST_KEY = 60


class Source(Protocol):
    """Where values come from."""

    def at(self, place: Place) -> str:
        """File and line of a value, or of what is nearest above it."""

    def text(self, place: Place) -> str | None:
        """The value as it was written, where YAML reads it as something else than text."""

    def has(self, place: Place) -> bool:
        """Whether anything was written there."""


def dotted(place: Place) -> str:
    """``("hosts", "addresses", 0)`` as ``hosts.addresses.0``."""
    return ".".join(_key(part) for part in place)


def _key(part: int | str) -> str:
    text = str(part)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}..."


class Unknown:
    """A source of values whose lines nobody knows.

    Attributes:
        shown: what messages call it.
    """

    def __init__(self, shown: str) -> None:
        self.shown = shown

    def at(self, place: Place) -> str:  # noqa: ARG002 - the same for all
        """Its name."""
        return self.shown

    def text(self, place: Place) -> str | None:  # noqa: ARG002
        """Nobody knows."""
        return None

    def has(self, place: Place) -> bool:  # noqa: ARG002
        """Nobody knows."""
        return False
