"""Which places a checkout and a cache may have: their paths go through mount options, URLs, lists with colons, shells and make."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

LONGEST = 200
"""Bytes: the kernel takes 255 for a program's ``#!`` line, and what is below the folder needs the rest."""
MOVE = "move it with mv, also while its labs are up"
ELSEWHERE = "name another folder: LITELAB_CACHE=/var/cache/litelab"


def checkout_problem(path: str) -> str:
    """Why a checkout can't be at a path, with the fix, or nothing. Letters of any language and blanks are fine."""
    return _problem(path, "the checkout", _is_for_checkout, MOVE)


def cache_problem(path: str) -> str:
    """Why the cache can't be at a path, with the fix, or nothing: programs are built there, and the hosts' root is mounted from it."""
    return _problem(
        path, "the cache", lambda character: bool(re.fullmatch(r"[A-Za-z0-9/._+@=-]", character)), ELSEWHERE
    )


def _problem(path: str, what: str, is_fine: Callable[[str], bool], fix: str) -> str:
    refused = next((character for character in path if not is_fine(character)), "")
    if refused:
        shown = f"the character {refused!r}" if refused != " " else "a blank"
        return f"{what} is at {path!r}, and programs that work there can't take {shown} in a path: {fix}"
    if what == "the checkout" and any(part != part.strip() for part in path.split("/")):
        return f"{what} is at {path!r}, and a folder's name begins or ends with a blank: {fix}"
    length = len(os.fsencode(path))
    if length > LONGEST:
        return f"{what} is at {path!r}, which is {length} bytes long, and {LONGEST} is the longest that programs take: {fix}"
    return ""


def _is_for_checkout(character: str) -> bool:
    if character.isascii():
        return bool(re.fullmatch(r"[A-Za-z0-9/._+@=~ -]", character))
    # Letters, their marks, and numbers; not bytes that are no UTF-8, which are surrogates here.
    return unicodedata.category(character)[0] in "LMN"


def problems(checkout: Path, cache: Path) -> list[str]:
    """What is wrong with both places, as they are without links."""
    found = [checkout_problem(str(checkout.resolve())), cache_problem(str(cache.resolve()))]
    return [problem for problem in found if problem]


def mount_problems(folder: Path, what: str, flags: int, *, makes_devices: bool = False) -> list[str]:
    """What a file system's mount options (``os.statvfs``) forbid that programs in a folder need, with the fix."""
    forbidden = [("ro", os.ST_RDONLY), ("noexec", os.ST_NOEXEC)] + ([("nodev", os.ST_NODEV)] if makes_devices else [])
    named = [name for name, flag in forbidden if flags & flag]
    fix = ELSEWHERE if what == "the cache" else MOVE
    return [f"{what}, {folder}, is on a file system that is mounted {','.join(named)}: {fix}"] if named else []
