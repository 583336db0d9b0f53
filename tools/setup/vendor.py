"""A vendor's own plugin, where Pulumi can download it; elsewhere a provider of ours is built (``gobuild``)."""

from __future__ import annotations

import os
import socket
import urllib.parse
from pathlib import Path

from tools import environment as environments
from tools.errors import SetupError
from tools.progress import Progress
from tools.setup.cache import remove

PREFIX = "pulumi-resource-"
SITE = ("get.pulumi.com", 443)
TIMEOUT_S = 4.0
MARK = "built-by-litelab"


def place(cache: Path, name: str, version: str) -> Path:
    """Where Pulumi keeps a plugin."""
    return cache / "pulumi-home" / "plugins" / f"resource-{name}-v{version}" / f"{PREFIX}{name}"


def mark_ours(program: Path) -> None:
    """Say beside a plugin that it is built here and not the vendor's."""
    program.parent.mkdir(parents=True, exist_ok=True)
    (program.parent / MARK).touch()


def brings(cache: Path, program: str, version: str, progress: Progress) -> bool:
    """Whether a program is a plugin that the vendor's own is there for, so that none need be built."""
    if not program.startswith(PREFIX):
        return False
    # On PATH, one that an older set-up made would come before it.
    remove([cache / "bin" / program])
    return plugin(cache, program.removeprefix(PREFIX), version, progress)


def plugin(cache: Path, name: str, version: str, progress: Progress) -> bool:
    """Whether the vendor's plugin of this version is at hand, downloaded now if its site answers.

    Pulumi checks the download against the checksums that it carries or that its site signs; a site that does not answer,
    or a download that fails, leaves the choice to our own provider.
    """
    program = place(cache, name, version)
    ours = (program.parent / MARK).exists()
    if program.exists() and not ours:
        return True
    proxy = urllib.parse.urlsplit(environments.proxies(os.environ).get("https_proxy", ""))
    try:
        socket.create_connection((proxy.hostname, proxy.port or 3128) if proxy.hostname else SITE, TIMEOUT_S).close()
    except OSError:
        return False
    home = cache / "pulumi-home"
    own = {"PULUMI_HOME": str(home), "HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "1"}
    environment = {**environments.for_builds(os.environ), **own}
    try:
        with progress.step(f"{name} plugin of the vendor", "download"):
            command = [str(cache / "bin" / "pulumi"), "plugin", "install", "--reinstall", "resource", name, version]
            progress.run(f"plugin-{name}", command, environment=environment)
    except SetupError as error:
        progress.say(f"  {error} Building our own provider instead.")
        return False
    (program.parent / MARK).unlink(missing_ok=True)
    return True
