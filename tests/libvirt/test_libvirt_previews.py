"""Every lab that names virtual machines can be previewed, and its preview leaves nothing."""

from __future__ import annotations

import pytest
import yaml

from tests.lab.lab import PROJECT, LabStack
from tests.libvirt.daemon import Daemon
from tests.libvirt.guests import NOTHING, left_in
from tests.libvirt.labs import configured, inside

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(300)]

LABS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((PROJECT / "stacks").glob("*.yaml"))}
OF_GUESTS = [name for name, lab in LABS.items() if lab["hosts"]["kind"] == "libvirt"]


def test_the_four_distributions_are_among_them() -> None:
    assert {"k0s", "k3s", "microk8s", "microshift"} <= {LABS[name]["distribution"] for name in OF_GUESTS}


@pytest.mark.parametrize("name", OF_GUESTS)
def test_a_preview_tells_three_guests_and_a_cluster_and_makes_nothing(name: str, daemon: Daemon) -> None:
    with configured(daemon, LabStack(f"lv-{name}", {"hosts.accelerator": "tcg"}, lab=name)) as stack:
        told = inside(daemon, stack, "pulumi", "preview", "--diff", "--stack", stack.name, "--non-interactive")
        assert told.count("libvirt:index/domain:Domain: (create)") == 3
        assert "litelab:clusters:" in told
        assert left_in(daemon) == NOTHING
