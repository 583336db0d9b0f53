"""What MicroK8s's steps make of what ``snap`` says: which version is there, what is retried, what an error tells."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.components import onhost
from tests.unit.components.onhost import NEEDS_ROOT

pytestmark = NEEDS_ROOT


def on_host(script: str, tmp_path: Path, snap: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has sourced the steps' own, with a ``snap`` that does as told."""
    sourced = ("clusters/step.sh", "microk8s/microk8s.sh")
    return onhost.on_host("sleep() { :; }\n" + script, *sourced, folder=tmp_path, programs={"snap": snap})


LIST = 'printf "Name Version Rev\\nmicrok8s v1.34.4 8511\\n"'


@pytest.mark.parametrize(
    ("wanted", "is_it"),
    [
        ("v1.34", True),
        ("v1.34.4", True),
        ("v1.34.4+rev8511", True),
        ("v1.34.4+rev8512", False),
        ("v1.34.40", False),
        ("v1.3", False),
        ("v1.35", False),
        ("v1.34.5", False),
    ],
)
def test_an_installed_snap_is_the_wanted_one_by_minor_patch_or_revision(
    tmp_path: Path, wanted: str, is_it: bool
) -> None:
    done = on_host(f"satisfies {wanted} && echo yes || echo no", tmp_path, LIST)
    assert done.stdout == ("yes\n" if is_it else "no\n"), done.stderr


def test_the_channel_is_the_minors(tmp_path: Path) -> None:
    done = on_host("channel v1.34.4+rev8511; RISK=edge; channel v1.35", tmp_path, "")
    assert done.stdout == "1.34/stable\n1.35/edge\n"


def test_a_lock_that_is_held_is_waited_for(tmp_path: Path) -> None:
    snap = """
n=$(cat "$DIR/n" 2>/dev/null || echo 0); echo $((n + 1)) >"$DIR/n"
[ "$n" -ge 3 ] || { echo 'error: snap "microk8s" has "install-snap" change in progress' >&2; exit 1; }
echo installed"""
    done = on_host('snap_do "install it" 60 install microk8s && cat "$DIR/n"', tmp_path, snap)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr


def test_a_lock_that_is_never_given_back_ends_with_what_holds_it(tmp_path: Path) -> None:
    snap = """echo 'error: snap "microk8s" has "install-snap" change in progress' >&2; exit 1"""
    done = on_host('snap_do "install it" 1 install microk8s', tmp_path, snap)
    assert done.returncode == 1
    assert "waited 1 s to install it; snapd is still busy" in done.stderr
    assert "snap changes" in done.stderr


def test_a_store_out_of_reach_is_said_at_once_with_both_cures(tmp_path: Path) -> None:
    snap = 'echo "error: unable to contact snap store" >&2; echo x >>"$DIR/calls"; exit 1'
    done = on_host('snap_do "install it" 60 install microk8s', tmp_path, snap)
    assert done.returncode == 1
    assert "hosts: {internet: true}" in done.stderr
    assert "artifacts: microk8s, microk8s-assert, core22, core22-assert" in done.stderr
    assert (tmp_path / "calls").read_text() == "x\n"


def test_what_snapd_refuses_is_said_in_its_own_words(tmp_path: Path) -> None:
    done = on_host('snap_do "install it" 60 install x', tmp_path, 'echo "error: snap \\"x\\" not found" >&2; exit 1')
    assert done.returncode == 1
    assert 'snapd could not install it: error: snap "x" not found' in done.stderr


NODES = {"metal-7": "10.0.0.1", "node-b.corp.example": "10.0.0.2", "host-1": "10.0.0.3"}
"""Machines with names of their own; the lab's host-1 is metal-7, and its host-3 is called host-1."""


def cluster(tmp_path: Path, script: str, nodes: dict[str, str] = NODES) -> subprocess.CompletedProcess[str]:
    """Run a script with the functions of ``verify.sh`` and ``token.sh``, on the first controller of a cluster."""
    listed = "".join(f"{name} {address}\n" for name, address in nodes.items())
    (tmp_path / "nodes").write_text(listed)
    functions = """
hostname() { echo metal-7; }
NODE=host-1 NODE_NAME=metal-7 MICROK8S=$DIR/microk8s HOSTS_FILE=$DIR/hosts
take() { . /dev/stdin < <(sed '/^case /,$d; /^\\. /d; s/^set -e.*//; s/^HOST=.*//; s/^KEPT=.*//' "$COMPONENTS/clusters/microk8s/scripts/$1"); }
. "$COMPONENTS/clusters/scripts/names.sh"
take verify.sh; take token.sh
nodes() { cat "$DIR/nodes"; }
kubectl() { :; }
"""
    sourced = ("clusters/step.sh", "microk8s/microk8s.sh")
    programs = {
        "microk8s": '[ "$1" = add-node ] && printf "%032d/%012d\\n" 0 0 || echo "$*" >>"$DIR/asked"',
        "systemctl": "", "getent": 'grep -w "$2" "$DIR/hosts" 2>/dev/null',
    }  # fmt: skip
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    return onhost.on_host(
        "mkdir -p /etc/systemd/system; mount -t tmpfs none /etc/systemd/system\n" + functions + script,
        *sourced,
        folder=tmp_path,
        programs=programs,
    )


def asked(tmp_path: Path) -> list[str]:
    """What ``microk8s`` was asked to do."""
    path = tmp_path / "asked"
    return path.read_text().splitlines() if path.exists() else []


VERIFIED = "NODES=host-1,host-2,host-3 ADDRESSES=10.0.0.1,10.0.0.2,10.0.0.3\n"


class TestNamesOfTheirOwn:
    def test_no_node_of_the_labs_hosts_is_removed_whatever_its_name(self, tmp_path: Path) -> None:
        done = cluster(tmp_path, VERIFIED + "remove_others")
        assert done.returncode == 0, done.stderr
        assert asked(tmp_path) == []

    def test_the_only_node_of_one_host_stays(self, tmp_path: Path) -> None:
        done = cluster(tmp_path, "NODES=host-1 ADDRESSES=10.0.0.1\nremove_others", {"metal-7": "10.0.0.9"})
        assert done.returncode == 0, done.stderr
        assert asked(tmp_path) == []

    def test_a_node_of_a_host_that_left_is_removed_by_its_own_name(self, tmp_path: Path) -> None:
        done = cluster(tmp_path, VERIFIED + "remove_others", {**NODES, "host-2": "10.0.0.4"})
        assert done.returncode == 0, done.stderr
        assert asked(tmp_path) == ["remove-node host-2 --force"]

    def test_nodes_are_waited_for_by_the_names_that_they_have(self, tmp_path: Path) -> None:
        done = cluster(tmp_path, VERIFIED + "by_own_names; echo $NODES")
        assert done.stdout == "metal-7,node-b.corp.example,host-1\n", done.stderr

    def test_a_host_whose_node_is_missing_is_waited_for_by_the_name_it_gave(self, tmp_path: Path) -> None:
        script = 'echo "host-2 10.0.0.2 node-b" >"$MEMBERS"\n' + VERIFIED + "by_own_names; echo $NODES"
        done = cluster(tmp_path, script, {"metal-7": "10.0.0.1"})
        assert done.stdout == "metal-7,node-b,host-3\n", done.stderr

    def test_a_joining_host_is_found_by_its_name(self, tmp_path: Path) -> None:
        script = 'HOST=host-2 KEPT=$DIR/kept\ncreate absent node-b.corp.example 10.0.0.2; cat "$MEMBERS"'
        done = cluster(tmp_path, script, {"metal-7": "10.0.0.1"})
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "host-2 10.0.0.2 node-b.corp.example"
        assert "10.0.0.2 node-b.corp.example # litelab" in (tmp_path / "hosts").read_text()

    @pytest.mark.parametrize(
        ("nodes", "removed"),
        [
            ({"metal-7": "10.0.0.1"}, []),
            # Made anew, with another address, under another name, or in another's place.
            ({"metal-7": "10.0.0.1", "node-b": "10.0.0.9"}, ["node-b"]),
            ({"metal-7": "10.0.0.1", "other": "10.0.0.2"}, ["other"]),
            ({"metal-7": "10.0.0.1", "earlier": "10.0.0.8"}, ["earlier"]),
            ({"metal-7": "10.0.0.1", "third": "10.0.0.3"}, []),
            # The first controller has no other address than the lab's, and never goes.
            ({"metal-7": "10.0.0.2"}, []),
        ],
    )
    def test_what_an_earlier_host_of_the_name_left_is_removed(
        self, tmp_path: Path, nodes: dict[str, str], removed: list[str]
    ) -> None:
        members = 'printf "host-2 10.0.0.8 earlier\\nhost-3 10.0.0.3 third\\n" >"$MEMBERS"\n'
        done = cluster(tmp_path, members + "HOST=host-2 KEPT=$DIR/kept\ncreate absent node-b 10.0.0.2", nodes)
        assert done.returncode == 0, done.stderr
        assert [line for line in asked(tmp_path) if "remove" in line] == [
            f"remove-node {name} --force" for name in removed
        ]
