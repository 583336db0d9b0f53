"""Secrets out of text that a person will hand on: what this lab's own secrets are, and what any secret looks like."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

GONE = "[removed]"
PIECE = 32
"""Characters of a secret that, left in a text, count as a leak."""
LEAST = 6
"""Characters of a password, or of a form of it, that is searched for: a shorter one is in many words."""

# What a secret looks like, whosever it is. Each keeps what names it.
_LOOKS = (
    re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?:.|\n)*?(?=-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
    re.compile(r'(client-key-data"?\s*[:=]\s*"?)[A-Za-z0-9+/=]{16,}'),
    re.compile(r"(?i)(authorization:\s*(?:bearer|basic)\s+)[^\s\"']+"),
    re.compile(r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/@\"']+:[^\s/@\"']+(?=@)"),
    # A proxy's login, which needs no scheme and no password, and whose password may hold slashes.
    re.compile(r"(?i)(\b(?:https?|all|ftp)_proxy[\"']?\s*[:=]\s*[\"']?(?:[a-z][a-z0-9+.-]*://)?)[^\s\"']+(?=@)"),
    re.compile(r"(?i)((?:[a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|pullsecret|activationkey|apikey|api_key))[\"']?\s*[:=]\s*[\"']?)(?!true\b|false\b|null\b|none\b|/)[^\s\"',}&]{6,}"),
    # k0s and K3s join tokens, kubeadm's too.
    re.compile(r"()\bK10[0-9a-f]{32,}::[^\s\"']+"),
    re.compile(r"()\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    re.compile(r"()\bH4sI[A-Za-z0-9+/=\n]{200,}"),
)  # fmt: skip


def _texts(files: Iterable[Path]) -> Iterator[str]:
    """The files that are there and may be read."""
    for path in files:
        with contextlib.suppress(OSError):
            yield path.read_text(encoding="utf-8", errors="replace")


def known_secrets(files: Iterable[Path]) -> set[str]:
    """Every line of these files that is long enough to be part of a key, and what their base64 parts hold.

    A file that is not there, or not for us, holds nothing that could be in a text of ours.
    """
    found: set[str] = set()
    for text in _texts(files):
        for part in re.findall(r"client-key-data[\"']?\s*:\s*[\"']?([A-Za-z0-9+/=]+)", text):
            found |= {part, *_lines(base64.b64decode(part + "==").decode(errors="replace"))}
        if "client-key-data" not in text:
            found |= set(_lines(text))
    return found


def known_logins(files: Iterable[Path]) -> set[str]:
    """Passwords and logins in files of the form that ``docker login`` writes.

    A file that is not there, or not for us, holds none.
    """
    found: set[str] = set()
    for text in _texts(files):
        for encoded in re.findall(r'"auth"\s*:\s*"([A-Za-z0-9+/=]+)"', text):
            try:
                login = base64.b64decode(encoded, validate=True).decode()
            except ValueError:
                login = ""
            found |= {encoded.rstrip("="), login, login.partition(":")[2]}
        for quoted in re.findall(r'"(?:password|identitytoken)"\s*:\s*("(?:[^"\\]|\\.)*")', text):
            try:
                found.add(str(json.loads(quoted)))
            except ValueError:
                found.add(quoted.strip('"'))
    # A text may be JSON itself.
    found |= {json.dumps(secret)[1:-1] for secret in found}
    return {secret for secret in found if len(secret) >= LEAST}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if len(line.strip()) >= PIECE and not line.startswith("-----")]


def clean(text: str, secrets: Iterable[str]) -> str:
    """The text without any of these secrets, plain or in base64, and without what looks like one."""
    # Keys begin alike, so one may have cut into another: whole ones first, the longest at the front, then pieces.
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, *_in_base64(secret), *_pieces(secret)):
            text = text.replace(form, GONE)
    for look in _LOOKS:
        text = look.sub(rf"\g<1>{GONE}", text)
    return text


def without_login(address: str) -> str:
    """A proxy's address without user and password, whatever form it has."""
    scheme, separator, rest = address.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if "@" in rest else address


def left(text: str, secrets: Iterable[str]) -> int:
    """How many of the secrets are still there, if only by a piece."""
    return sum(any(piece in text for piece in _pieces(secret)) for secret in secrets)


def _pieces(secret: str) -> list[str]:
    forms = (secret, *_in_base64(secret))
    return [form[at : at + PIECE] for form in forms for at in range(0, max(len(form) - PIECE, 0) + 1, PIECE)]


def _in_base64(secret: str) -> list[str]:
    """The secret inside of a longer base64 text, at each of three offsets, without the characters that it shares."""
    found = []
    for offset in range(3):
        encoded = base64.b64encode(b" " * offset + secret.encode()).decode()
        found.append(encoded[4 if offset else 0 : len(encoded) // 4 * 4 - 4])
    return [form for form in found if len(form) >= LEAST]
