"""A file from an address, for the scripts of several parts: cut connections are taken up where they ended."""

from __future__ import annotations

import errno
import time
import urllib.error
import urllib.request
from pathlib import Path

TRIES = 4
SILENCE_S = 30.0
"""How long a server may say nothing."""
LATER = (408, 429)
"""What a server answers that may do as it is asked another time, beside its own errors."""


class DownloadError(Exception):
    """It did not come.

    Attributes:
        tries: how often it was tried.
        refused: the server has said no, and would again.
    """

    def __init__(self, why: str, tries: int, *, refused: bool) -> None:
        super().__init__(why)
        self.tries = tries
        self.refused = refused


def download(url: str, target: Path, limit_s: float) -> None:
    """All of it, going on after what ``target`` has already, in at most ``limit_s``.

    Raises:
        DownloadError: with the last reason.
    """
    deadline = time.monotonic() + limit_s
    for attempt in range(1, TRIES + 1):
        try:
            _once(url, target, deadline, limit_s)
        except urllib.error.HTTPError as error:
            why = f"the server says {error.code} {error.reason}"
            if error.code < 500 and error.code not in LATER:
                raise DownloadError(why, attempt, refused=True) from None
        except (OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            if getattr(error, "errno", None) == errno.ENOSPC:
                break
        else:
            return
        if time.monotonic() > deadline:
            break
        if attempt < TRIES:
            time.sleep(2**attempt)
    raise DownloadError(why, attempt, refused=False)


def _once(url: str, target: Path, deadline: float, limit_s: float) -> None:
    have = target.stat().st_size if target.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=SILENCE_S)
    except urllib.error.HTTPError as error:
        if have and error.code == 416:
            # Nothing lies behind what is there: it was whole already.
            return
        raise
    with answer, target.open("ab") as file:
        if have and answer.status != 206:
            file.truncate(0)
        length, got = answer.headers.get("Content-Length"), 0
        while chunk := answer.read(1 << 20):
            file.write(chunk)
            got += len(chunk)
            if time.monotonic() > deadline:
                msg = f"it took more than {limit_s:.0f} s"
                raise OSError(msg)
        if length is not None and got != int(length):
            msg = f"the connection ended after {got} of {length} bytes"
            raise OSError(msg)
