"""The tests' own files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def test_no_two_test_files_have_one_name() -> None:
    """Else pytest refuses to collect them together."""
    names = Counter(path.name for path in Path(__file__).resolve().parents[1].rglob("test_*.py"))
    assert len(names) > 50
    assert [name for name, number in names.items() if number > 1] == []
