"""One libvirtd for the session, in a network namespace and folders of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.libvirt import ground
from tests.libvirt.daemon import Daemon
from tests.libvirt.remote import Remote


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    if why := ground.hindrance():
        pytest.skip(why)
    lacking = [p for p in ("libvirtd", "virsh", "qemu-system-x86_64", "mkisofs", "dnsmasq") if shutil.which(p) is None]
    if lacking:
        pytest.fail(f"there is no {', '.join(lacking)}: make setup STACK=libvirt-lab")
    # Short: sockets live below it.
    folder = Path("/tmp") / f"litelab-libvirtd-{os.getpid()}"
    folder.mkdir(mode=0o711, exist_ok=True)
    try:
        with Daemon(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def remote(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """It, as a machine that is reached by ssh alone."""
    with Remote(daemon, tmp_path_factory.mktemp("remote")) as running:
        yield running
