"""``make pins``: looks up what ``components/catalog/distributions.toml`` calls unpinned, in the vendors' own lists of digests.

It needs a way out. What a vendor publishes no list for stays unpinned, and is named.
"""

from __future__ import annotations

import re
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

from components.catalog import pins
from inputs.errors import InputError
from inputs.textfile import read_text

SILENCE_S = 30.0
LARGEST_LIST = 1 << 20


def digest_in(text: str, file: str) -> str | None:
    """A file's digest in a list as ``sha256sum`` writes it: ``DIGEST  NAME``, ``DIGEST *NAME``, by path or by name."""
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if re.fullmatch(r"[0-9a-f]{64}", digest) and name.strip().removeprefix("*").rpartition("/")[2] == file:
            return digest
    return None


def fill(path: Path) -> tuple[list[str], list[str]]:
    """Fill in the file's unpinned digests.

    Returns:
        What was looked up, and why the rest was not; one line each.
    """
    text = read_text(path, path.name)
    # Refused with its line before it is filled in.
    pins.require_whole(path)
    found: list[str] = []
    left: list[str] = []
    for distribution, known in tomllib.loads(text).items():
        for version, digests in known.get("digests", {}).items():
            minor = next((m for m, v in known["minors"].items() if v == version), "")
            for pin in pins.release(distribution, minor, None if minor else version).artifacts:
                if digests.get(pin.name) != pins.UNPINNED:
                    continue
                what = f"{distribution} {version} {pin.name}"
                digest, why = _look_up(pin)
                if digest is None:
                    left.append(f"{what}: {why}")
                    continue
                section = re.escape(f'[{distribution}.digests."{version}"]')
                line = rf'({section}\n(?:[^\[\n]*\n)*?{re.escape(pin.name)} = )"{pins.UNPINNED}"'
                text, times = re.subn(line, rf'\g<1>"{digest}"', text)
                (found if times == 1 else left).append(f"{what}: {digest}")
    path.write_text(text, encoding="utf-8")
    return found, left


def _look_up(pin: pins.Pin) -> tuple[str | None, str]:
    if not pin.sums:
        return None, "the vendor publishes no list of digests"
    try:
        with urllib.request.urlopen(pin.sums, timeout=SILENCE_S) as answer:
            text = answer.read(LARGEST_LIST).decode("utf-8", "replace")
    except (urllib.error.URLError, OSError, ValueError) as error:
        return None, f"{pin.sums} could not be read: {error}"
    digest = digest_in(text, pin.file)
    return digest, "" if digest else f"{pin.sums} has no {pin.file}"


def main() -> int:
    """Fill in and tell; 1 when something stays unpinned."""
    try:
        found, left = fill(pins.FILE)
    except (InputError, pins.PinError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in found:
        print(f"pinned    {line}")
    for line in left:
        print(f"unpinned  {line}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
