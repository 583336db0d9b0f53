"""pip as this machine has set it up for downloads, and nothing else of its settings.

Where packages come from is the machine's business; where they are installed, and how, is set-up's. Both stand in the same
files and variables, so pip is asked for its settings, those of the first kind are kept, and it gets no other.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path

from tools import environment as environments
from tools.errors import SetupError

KEPT = (
    *("index-url", "extra-index-url", "find-links", "trusted-host", "cert", "client-cert", "proxy"),
    *("timeout", "default-timeout", "retries", "keyring-provider"),
)


def environment(cache: Path, python: Path) -> dict[str, str]:
    """The environment for a ``python -m pip install`` of set-up.

    Raises:
        SetupError: pip can't read its own settings.
    """
    clean = environments.for_builds(os.environ)
    kept = {f"PIP_{key.upper().replace('-', '_')}": value for key, value in settings(python).items()}
    return {
        **{name: value for name, value in clean.items() if not name.startswith("PIP_")},
        **kept,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CACHE_DIR": str(cache / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }


def settings(python: Path) -> dict[str, str]:
    """What this machine tells pip of indexes and the way to them, by pip's own names; several values with blanks between."""
    asked = subprocess.run(
        [str(python), "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
        env=environments.clean(os.environ),
        stdin=subprocess.DEVNULL,
    )
    if asked.returncode != 0:
        said = " ".join(asked.stderr.split()[-60:])
        msg = f"pip can't read its settings: {said}. Correct the file that it names; then run the same command again."
        raise SetupError(msg)
    return chosen(asked.stdout)


def chosen(listed: str) -> dict[str, str]:
    """The settings to keep, out of what ``pip config list`` prints."""
    found: dict[str, str] = {}
    # As pip ranks them.
    for section in ("global", "install", ":env:"):
        for key, value in re.findall(rf"^{re.escape(section)}\.([a-z-]+)=(.+)$", listed, re.MULTILINE):
            text = " ".join(str(ast.literal_eval(value)).split())
            if text and (key in KEPT or key == "no-index"):
                found[key] = text
    # Without a folder to look in, it would only forbid every download.
    if "find-links" not in found:
        found.pop("no-index", None)
    return found
