"""YAML that people write: what is read, with its lines, and how the rest is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from inputs.errors import InputError
from inputs.yamlfile import parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 9)
)

REFUSED: list[tuple[str, bytes, str]] = [
    (
        "latin-1",
        "a: 1\nname: café".encode("latin-1"),
        "f.yaml:2: has the byte 0xe9, which is no UTF-8, near 'name: café'",
    ),
    ("utf-16", "a: 1".encode("utf-16"), "f.yaml:1: is text in UTF-16, and UTF-8 is needed"),
    ("utf-16 without a mark", "a: 1".encode("utf-16-le"), "f.yaml:1: has a NUL byte"),
    ("utf-32", "a: 1".encode("utf-32"), "f.yaml:1: is text in UTF-32"),
    ("NUL", b"a: 1\nb: \0\n", "f.yaml:2: has a NUL byte"),
    ("a control character", b"a: 1\nb: \x07\n", "f.yaml:2: is not YAML: it has the control character U+0007"),
    (
        "tabs",
        b"a:\n\tb: 1\n",
        "f.yaml:2: is not YAML: found character '\\t' that cannot start any token. Indent with spaces",
    ),
    ("an open bracket", b"a: 1\nb: [1\nc: 2\n", "f.yaml:"),
    ("an open quote", b"a: 1\nb: 'x\n", "f.yaml:"),
    (
        "two colons",
        b"a: 1\nb: c: d\n",
        "f.yaml:2: is not YAML: mapping values are not allowed here. A text with a colon",
    ),
    (
        "a bare star",
        b"a: 1\n*: b\n",
        "f.yaml:2: is not YAML: expected alphabetic or numeric character, but found ':'. A text or",
    ),
    ("a bare at", b"a: 1\nb: @x\n", "f.yaml:2: is not YAML: found character '@' that cannot start any token"),
    ("indentation", b"a:\n  b: 1\n c: 2\n", "f.yaml:3: is not YAML"),
    ("a key twice", b"a: 1\nb:\n  c: 1\n  d: 1\n  c: 2\n", "f.yaml:5: b.c: is there twice, here and in line 3"),
    ("two documents", b"a: 1\n---\nb: 1\n", "f.yaml:2: begins a second document"),
    ("an alias of nothing", b"a: *b\n", "f.yaml:1: is not YAML: found undefined alias"),
    ("a bomb", BOMB.encode(), "f.yaml:"),
    ("an alias of itself", b"a: &a [*a]\n", "f.yaml:1: a.0.0"),
    ("deep brackets", b"a: " + b"[" * 5000, "f.yaml:1: is not YAML: it is nested more than 40 levels deep"),
    ("deep blocks", "".join(f"{' ' * n}a:\n" for n in range(60)).encode(), "f.yaml:40: is not YAML: it is nested more"),
    ("many values", b"a: [" + b"1," * 30_000 + b"]", "holds more than 20000 values"),
    ("large", b"# " + b"x" * 2**20, "f.yaml: has more than 256 KiB"),
    ("a long number", b"a: " + b"9" * 5000, "f.yaml:1: a: is a number of 5000 digits"),
    (
        "octal",
        b"a: 010\n",
        "f.yaml:1: a: is 010, which YAML reads as the number 8. If it is text, put it in quotes: '010'",
    ),
    ("hexadecimal", b"a: 0x1F\n", "a: is 0x1F, which YAML reads as the number 31"),
    ("sexagesimal", b"a: 22:22\n", "a: is 22:22, which YAML reads as the number 1342"),
    ("underscores", b"a: 1_000\n", "a: is 1_000, which YAML reads as the number 1000"),
    ("a number that is none", b"a: 0x_\n", "a: is 0x_, which YAML reads as a number"),
    ("a number of nothing", b"a: !!int ''\n", "a: is , which YAML reads as a number"),
    ("infinity", b"a: .inf\n", "a: is .inf, which YAML reads as the number inf"),
    ("a date", b"a: 2024-01-01\n", "a: is 2024-01-01, which YAML reads as a date. If it is text, put it in quotes"),
    ("no date", b"a: 2024-13-45\n", "a: is 2024-13-45, which YAML reads as a date"),
    ("a time", b"a: 2001-12-14t21:59:43.10-05:00\n", "which YAML reads as a date"),
    ("a key that is a number", b"1.30: a\n", "f.yaml:1: the key 1.30 is no text to YAML: put it in quotes: '1.30'"),
    ("a key that is true", b"a:\n  on: b\n", "f.yaml:2: a: the key on is no text to YAML: put it in quotes: 'on'"),
    ("a key that is nothing", b"~: a\n", "f.yaml:1: the key ~ is no text to YAML"),
    ("a key that is a list", b"? [a]\n: b\n", "f.yaml:1: a key is text, and here it is a list or a mapping"),
    ("a tag", b"a: !!python/object/apply:os.system [id]\n", "f.yaml:1: a: has the tag !!python/object/apply:os.system"),
    ("a tag of its own", b"a: !vault x\n", "f.yaml:1: a: has the tag !vault"),
    ("binary", b"a: !!binary aGk=\n", "f.yaml:1: a: has the tag !!binary"),
    ("a set", b"a: !!set {b, c}\n", "f.yaml:1: a: has the tag !!set"),
    ("no such truth", b"a: !!bool perhaps\n", "f.yaml:1: a: has the tag !!bool"),
    ("a merge of text", b"a:\n  <<: b\n", "f.yaml:2: a: a merge key (<<) takes mappings"),
    ("two merges", b"x: &x {}\na:\n  <<: *x\n  <<: *x\n", "f.yaml:4: a: has a second merge key"),
    ("a bad escape", b'a: "\\UFFFFFFFF"\n', "f.yaml: is not YAML"),
    ("half a character", b'a: "\\ud800"\n', "f.yaml:1: a: has an escape of half a character"),
    ("another version", b"%YAML 9.9\n---\na: 1\n", "f.yaml:1: is not YAML"),
]


@pytest.mark.parametrize(("content", "told"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_broken_file_is_one_paragraph_with_its_line(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "f.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_yaml(tmp_path / "f.yaml", "f.yaml")
    message = str(caught.value)
    assert told in message
    assert message.startswith("f.yaml")
    assert message.isprintable()
    assert len(message) < 400


READ: list[tuple[str, bytes, object]] = [
    ("nothing", b"", None),
    ("a comment", b"# a\n", None),
    ("a mark", "a: ü\n".encode("utf-8-sig"), {"a": "ü"}),
    ("lines of Windows", b"a: 1\r\nb:\r\n  - c\r\n", {"a": 1, "b": ["c"]}),
    ("one document with its marks", b"%YAML 1.1\n---\na: 1\n...\n", {"a": 1}),
    ("a merge", b"x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n", {"x": {"a": 1, "b": 2}, "y": {"b": 3, "a": 1}}),
    ("an alias", b"x: &x [1]\ny: *x\n", {"x": [1], "y": [1]}),
    ("numbers", b"[0, -1, +2, 1.5, .5, 1.]", [0, -1, 2, 1.5, 0.5, 1.0]),
    ("truths", b"[yes, no, on, off, true, False]", [True, False, True, False, True, False]),
    ("quoted", b"['1.30', \"no\", '010']", ["1.30", "no", "010"]),
    (
        "text that looks like more",
        b"[1e5, 10.0.0.1, 10.0.0.1:22, =, 1.34.4]",
        ["1e5", "10.0.0.1", "10.0.0.1:22", "=", "1.34.4"],
    ),
]


@pytest.mark.parametrize(("content", "found"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_what_people_mean_is_read(tmp_path: Path, content: bytes, found: object) -> None:
    (tmp_path / "f.yaml").write_bytes(content)
    assert read_yaml(tmp_path / "f.yaml", "f.yaml").content == found


class TestNoFile:
    @pytest.mark.parametrize(
        ("make", "told"),
        [
            (lambda _: None, "f.yaml: there is no such file."),
            (lambda path: path.mkdir(), "f.yaml: is a directory, and a regular file is needed. Name the file itself."),
            (os.mkfifo, "f.yaml: is a FIFO (a named pipe), and a regular file is needed."),
            (lambda path: path.symlink_to("/dev/zero"), "f.yaml: is a device, and a regular file is needed."),
            (lambda path: path.symlink_to(path), "f.yaml: can't be read: Too many levels of symbolic links."),
            (lambda path: path.symlink_to("none"), "f.yaml: there is no such file."),
            (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "f.yaml: is a socket or a device"),
        ],
        ids=["missing", "directory", "fifo", "device", "loop", "dangling", "socket"],
    )
    def test_it_is_named(self, tmp_path: Path, make: object, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        make(Path("f.yaml") if make is not os.mkfifo else "f.yaml")  # type: ignore[operator]
        with pytest.raises(InputError) as caught:
            read_yaml(Path("f.yaml"), "f.yaml")
        assert str(caught.value).startswith(told)

    def test_a_file_of_another_user_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def denied(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", denied)
        with pytest.raises(InputError, match=r"f\.yaml: can't be read: permission denied\. Let the user who runs this"):
            read_yaml(tmp_path / "f.yaml", "f.yaml")


class TestLines:
    TEXT = "# a lab\na: 1.30\nb:\n  - c\n  - d: no\n\nx: &x {e: 010x}\ny:\n  <<: *x\n"

    def test_every_value_has_the_line_of_its_key(self) -> None:
        document = parse_yaml(self.TEXT, "f.yaml")
        lines = {("a",): 2, ("b",): 3, ("b", 0): 4, ("b", 1): 5, ("b", 1, "d"): 5, ("x",): 7, ("y",): 8, ("y", "e"): 7}
        assert {place: document.lines[place] for place in lines} == lines

    def test_what_is_not_there_has_the_line_of_what_is_above(self) -> None:
        document = parse_yaml(self.TEXT, "f.yaml")
        assert document.at(("b", 1, "nosuch", 3)) == "f.yaml:5"
        assert document.at(("nosuch",)) == "f.yaml"

    def test_what_yaml_reads_otherwise_is_kept_as_written(self) -> None:
        document = parse_yaml(self.TEXT, "f.yaml")
        assert (document.text(("a",)), document.text(("b", 1, "d")), document.text(("b", 0))) == ("1.30", "no", None)

    def test_text_can_be_kept(self) -> None:
        document = parse_yaml("[1.30, no, 010, 22:22, 2024-01-01, .inf, ~]", "f", keep_text=True)
        assert [document.text((n,)) or document.content[n] for n in range(7)] == [
            "1.30", "no", "010", "22:22", "2024-01-01", ".inf", "~"
        ]  # fmt: skip
