"""What is wrong with a file, for the person who wrote it."""

from __future__ import annotations


class InputError(Exception):
    """A file can't be used; the message is one paragraph that names it."""

    def __init__(self, message: str) -> None:
        super().__init__(one_paragraph(message))


def one_paragraph(text: str) -> str:
    """The same in one line, with characters that can't be seen written as escapes."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
