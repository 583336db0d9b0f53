"""``tools/pins.toml`` after a contributor's edit: one paragraph with line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.errors import SetupError
from tools.setup import pins

TEXT = pins.FILE.read_text(encoding="utf-8")


def test_the_committed_one_is_read() -> None:
    assert pins.read()["go"]["programs"]["etcd"]["package"] == "."


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('minimum = "', "minimum = ", "pins.toml:4: is not TOML"),
        ('minimum = "', 'minimum_ = "', "pins.toml:3: go.minimum: is missing, and must be text in quotes"),
        ('package = "."', "package = 1", "pins.toml:10: go.programs.etcd.package: is 1, and must be text in quotes"),
        ("[go.script]", "[go.scirpt]", "pins.toml:3: go.script: is missing, and must be a table"),
        ("[go]", "# caf\xe9\n[go]", "pins.toml:3: has the byte 0xe9"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, before: str, after: str, told: str) -> None:
    assert before in TEXT
    (tmp_path / "pins.toml").write_bytes(TEXT.replace(before, after, 1).encode("latin-1"))
    with pytest.raises(SetupError) as caught:
        pins.read(tmp_path / "pins.toml")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
