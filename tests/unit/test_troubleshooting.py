"""``docs/troubleshooting.md`` quotes messages that the project has, and that a test has seen."""

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
    files = [p for folder in folders for p in sorted((PROJECT / folder).rglob("*")) if p.suffix in {".py", ".sh"}]
    return [squeezed(p.read_text(encoding="utf-8")) for p in files if p != Path(__file__)]


def fixed_parts(quote: str) -> list[str]:
    """What of a message does not differ from one time to the next."""
    return [squeezed(part).strip() for part in quote.split("…") if len(part.strip()) >= SHORTEST]


QUOTES = re.findall(r"^### `(.+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
SOURCES = read("components", "inputs", "tools", "benchmarks")
TESTS = read("tests")


def test_every_heading_of_a_message_is_a_quote() -> None:
    headings = re.findall(r"^### .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) == len(QUOTES) > 15


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_is_one_that_the_sources_have(quote: str) -> None:
    parts = fixed_parts(quote)
    assert parts, "nothing of it is fixed"
    assert any(all(part in source for part in parts) for source in SOURCES), parts


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_was_seen_by_a_test(quote: str) -> None:
    assert any(part in test for part in fixed_parts(quote) for test in TESTS), (
        f"no test asserts any of {fixed_parts(quote)}"
    )


@pytest.mark.parametrize("words", ["no such message anywhere", "holds a lot of other things"])
def test_a_message_that_nobody_prints_would_be_noticed(words: str) -> None:
    assert not any(words in source for source in SOURCES)


def test_every_command_that_the_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", PAGE.read_text(encoding="utf-8")))
    assert named
    assert named <= targets
