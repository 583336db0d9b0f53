"""What k0s is told on a host, by the minor that is staged there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.unit.components import onhost
from tests.unit.components.onhost import NEEDS_ROOT

pytestmark = NEEDS_ROOT

CERTS = "/etc/containerd/certs.d"


def containerd(folder: Path, version: str, *, lowers_oom: bool) -> dict[str, dict[str, object]]:
    """The drop-in of k0s's containerd, by plugin."""
    script = f"""
cp "$COMPONENTS/clusters/scripts/step.sh" "$COMPONENTS/clusters/scripts/logins.sh" "$COMPONENTS/clusters/k0s/scripts/k0s.sh" "$DIR"
. "$DIR/k0s.sh"
staged_version() {{ echo {version}; }}
can_lower_oom() {{ {"true" if lowers_oom else "false"}; }}
CONTAINERD=$DIR/drop-in
configure_containerd
cat "$CONTAINERD"
"""
    done = onhost.on_host(script, folder=folder)
    assert done.returncode == 0, done.stderr
    content = tomllib.loads(done.stdout)
    assert content["version"] == (3 if "1.36" in version else 2)
    plugins: dict[str, dict[str, object]] = content["plugins"]
    return plugins


@pytest.mark.parametrize("lowers_oom", [True, False])
class TestContainerd:
    def test_up_to_1_35_it_is_the_form_of_containerd_1(self, tmp_path: Path, lowers_oom: bool) -> None:
        plugins = containerd(tmp_path, "v1.34.10+k0s.0", lowers_oom=lowers_oom)
        more = {} if lowers_oom else {"restrict_oom_score_adj": True}
        assert plugins == {"io.containerd.grpc.v1.cri": {"registry": {"config_path": CERTS}, **more}}

    def test_from_1_36_on_that_of_containerd_2(self, tmp_path: Path, lowers_oom: bool) -> None:
        plugins = containerd(tmp_path, "v1.36.3+k0s.2", lowers_oom=lowers_oom)
        assert plugins["io.containerd.cri.v1.images"] == {"registry": {"config_path": CERTS}}
        runtime = plugins.get("io.containerd.cri.v1.runtime")
        assert runtime == (None if lowers_oom else {"restrict_oom_score_adj": True})
