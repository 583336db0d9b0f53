"""A text file that a person wrote, as text. Standard library only: set-up imports it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from inputs.errors import InputError

MOST_BYTES = 2**20
"""No file that people write by hand is larger."""
_MARKS = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO (a named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_text(path: Path, shown: str, *, most_bytes: int = MOST_BYTES) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Args:
        path: the file.
        shown: how messages call it.
        most_bytes: a larger file is refused.

    Raises:
        InputError: it is not there, no regular file, too large, or no UTF-8.
    """
    return decoded(read_bytes(path, shown, most_bytes=most_bytes), shown)


def read_bytes(path: Path, shown: str, *, most_bytes: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises:
        InputError: it is not there, no regular file, or too large.
    """
    with _opened(path, shown) as file:
        try:
            content = file.read(most_bytes + 1)
        except OSError as error:
            msg = f"{shown}: {_unreadable(error)}"
            raise InputError(msg) from error
    if len(content) > most_bytes:
        msg = (
            f"{shown}: has more than {most_bytes // 1024} KiB, which is too much for such a file. Is it the right one?"
        )
        raise InputError(msg)
    return content


def require_regular(path: Path, shown: str) -> None:
    """See that a file can be read, whatever its size.

    Raises:
        InputError: it is not there, or no regular file.
    """
    _opened(path, shown).close()


def _opened(path: Path, shown: str) -> BinaryIO:
    try:
        # Opening a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        msg = f"{shown}: {_unreadable(error)}"
        raise InputError(msg) from error
    except ValueError as error:
        msg = f"{shown}: can't be read: {error}. Name a file by its path."
        raise InputError(msg) from error
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind == stat.S_IFREG:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    msg = f"{shown}: is {_KINDS.get(kind, 'no regular file')}, and a regular file is needed. Name the file itself."
    raise InputError(msg)


def decoded(content: bytes, shown: str) -> str:
    """Text in UTF-8, without a byte order mark.

    Raises:
        InputError: it is no UTF-8, or holds a NUL byte; with the line.
    """
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            msg = f"{shown}:1: is text in {encoding}, and UTF-8 is needed. {_convert(encoding, shown)}"
            raise InputError(msg)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        # Near it, so that it is found.
        begin = before.rfind(b"\n") + 1
        near = content[max(begin, error.start - 20) : error.start + 12].splitlines()[0].decode("latin-1")
        msg = (
            f"{shown}:{line}: has the byte 0x{content[error.start]:02x}, which is no UTF-8, near {near!r} (read as Latin-1). "
            f"{_convert('ISO-8859-1', shown)}"
        )
        raise InputError(msg) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        msg = (
            f"{shown}:{line}: has a NUL byte, and text has none: it is damaged, or text in another encoding than UTF-8 "
            "(UTF-16 without a mark?). Save it as UTF-8."
        )
        raise InputError(msg)
    return text


def _convert(encoding: str, shown: str) -> str:
    return f"Save it as UTF-8, or convert it: iconv -f {encoding} -t UTF-8 {shown} > NEW."


def _unreadable(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "there is no such file."
    if error.errno == errno.EACCES:
        return "can't be read: permission denied. Let the user who runs this read it, or name another file."
    if error.errno == errno.ENXIO:
        return f"is {_KINDS[stat.S_IFSOCK]} or a device that is not there, and a regular file is needed. Name the file itself."
    return f"can't be read: {error.strerror or error}. Name a file that can be."
