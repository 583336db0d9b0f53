"""``docs/troubleshooting.md`` quotes messages that the project has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "troubleshooting.md"
SHORTEST = 6
"""Characters of a fixed part that tell one message from another."""


def squeezed(text: str) -> str:
    """Source text as a person would read what it prints: strings that go on in the next line joined, escapes undone."""
    text = re.sub(r"[\"']\s*\n\s*f?r?[\"']", "", text)
    return " ".join(text.replace("\\", "").replace('"', "'").split())


def read(*folders: str) -> list[str]:
    files = [
        p for folder in folders for p in sorted((PROJECT / folder).rglob("*")) if p.suffix in {".py", ".sh", ".go"}
    ]
    return [squeezed(p.read_text(encoding="utf-8")) for p in files]


def fixed_parts(quote: str) -> list[str]:
    """What of a message does not differ from one time to the next."""
    return [squeezed(part).strip() for part in quote.split("…") if len(part.strip()) >= SHORTEST]


QUOTES = re.findall(r"^### `(.+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
SOURCES = read("components", "inputs", "tools", "benchmarks")


def test_every_heading_of_a_message_is_a_quote() -> None:
    headings = re.findall(r"^### .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) == len(QUOTES) > 15


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_is_one_that_the_sources_have(quote: str) -> None:
    parts = fixed_parts(quote)
    assert parts, "nothing of it is fixed"
    assert any(all(part in source for part in parts) for source in SOURCES), parts
