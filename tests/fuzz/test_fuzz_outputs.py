"""What programs, hosts and a killed Pulumi leave for us to read: taken, passed over or refused, and no traceback."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.hosts.nspawn.scripts import subnet
from components.steps.scripts import scripts_of
from tests.fuzz.texts import VALUES, WORDS, edited, files, one_paragraph, swapped
from tools.errors import SetupError
from tools.lab import events, presence, stacks, status

PROJECT = Path(__file__).resolve().parents[2]


def script(part: str, name: str) -> ModuleType:
    """A step's program; its folder is no package."""
    spec = importlib.util.spec_from_file_location(f"fuzz_{part}_{name}", scripts_of(part) / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


facts = script("existing", "facts")

PROBED = """\
os=Debian
architecture=x86_64
cpus=2
memoryMib=1990
diskFreeMib=9000
init=systemd
swap=0
controllers=cpuset cpu io memory pids
lab=
address=192.0.2.11
missing=zstd
carries=K3s|/usr/local/bin/k3s-uninstall.sh
clockNs=1000000000000
"""


@given(text=st.one_of(edited([PROBED]), st.text(max_size=80)))
def test_facts_of_a_host_that_says_anything(text: str) -> None:
    said = facts.parse((line + "\n", 1000.0) for line in text.splitlines())
    for why in facts.problems(said, "own", "192.0.2.11", 2, 2048, "x86_64"):
        assert "Traceback" not in why


ROUTES = [
    {"dst": "default", "gateway": "192.168.1.1", "dev": "eth0", "protocol": "dhcp", "flags": []},
    {"dst": "10.0.0.0/8", "dev": "tun0", "table": "100", "nexthops": [{"gateway": "10.8.0.1", "dev": "tun0"}]},
    {"type": "local", "dst": "127.0.0.1", "dev": "lo", "table": "local"},
]  # fmt: skip
RULES = [
    {"priority": 0, "src": "all", "table": "local"},
    {"priority": 31764, "src": "all", "table": "main", "suppress_prefixlen": 0},
    {"priority": 31765, "not": None, "src": "all", "fwmark": "0xca6c", "table": "51820"},
    {"priority": 32766, "src": "10.0.0.0", "srclen": 8, "table": "main"},
]  # fmt: skip
ADDRESSES = [
    {
        "ifname": "eth0",
        "addr_info": [{"family": "inet", "local": "192.168.1.7", "prefixlen": 24, "address": "10.8.0.2"}],
    }
]
NEIGHBOURS = [{"dst": "192.168.1.1", "dev": "eth0", "state": ["REACHABLE"]}]


@given(data=st.data())
def test_any_answer_of_ip_leads_to_a_free_subnet_or_a_refusal(data: st.DataObject) -> None:
    answers = [data.draw(st.one_of(swapped(good), VALUES)) for good in (ROUTES, RULES, ADDRESSES, NEIGHBOURS)]
    network = subnet.parse(*answers)
    found = subnet.free("x-lab-abcdef", network, [])
    if found is None:
        return
    assert found.prefixlen == 24
    assert found.is_private
    assert not subnet.in_use(found, network)
    subnet.captor(found, network)
    try:
        subnet.rule_priority(found, network)
    except subnet.SubnetError as error:
        assert one_paragraph(str(error)), error  # noqa: PT017


@given(text=st.one_of(edited(["# x\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch lan\n"]), st.text()))
def test_a_resolv_conf_of_any_text(text: str) -> None:
    subnet.nameservers(text)


@given(
    text=edited(
        [
            "  sl  local_address rem_address   st\n   0: 0100007F:0016 0200A8C0:C350 01 0:0 00:0 0 0 0 1\n   1: 0:0 0:0 0A\n"
        ]
    )
)
def test_a_table_of_connections_of_any_text(text: str) -> None:
    subnet.peers(text)


SAID = """\
litelab-status up 1000 5000 100
litelab-status system running
litelab-status failed kubelet.service
litelab-status unit kubelet loaded active 0
litelab-status unit k3s not-found inactive
"""


@given(text=st.one_of(edited([SAID]), st.text(max_size=60)))
def test_a_host_that_says_anything_of_its_units(text: str) -> None:
    found = status.read_host(text, ["kubelet", "k3s"])
    assert found is None or found.text


EVENT = {
    "timestamp": 1,
    "diagnosticEvent": {"severity": "error", "urn": "u", "message": "m"},
    "resOutputsEvent": {"metadata": {"op": "create", "urn": "u"}},
}


@given(data=st.data())
def test_an_event_of_pulumi_of_any_form(data: st.DataObject) -> None:
    for line in (json.dumps(data.draw(swapped(EVENT))), data.draw(WORDS), json.dumps(data.draw(VALUES))):
        events.summary(line)


LOCK = {"pid": 1, "username": "root", "hostname": "h", "timestamp": "2026-01-02T03:04:05Z"}
STATE: dict[str, Any] = {
    "version": 3,
    "checkpoint": {
        "stack": "x",
        "latest": {
            "pending_operations": [],
            "resources": [
                {
                    "urn": "urn:pulumi:x::litelab::litelab:lab:Lab$litelab:hosts:NspawnHosts::hosts",
                    "type": "litelab:hosts:NspawnHosts",
                },
                {
                    "urn": "urn:pulumi:x::litelab::command:local:Command::host-1",
                    "type": "command:local:Command",
                    "parent": "urn:pulumi:x::litelab::litelab:lab:Lab$litelab:hosts:NspawnHosts::hosts",
                    "inputs": {"environment": {"STEP": "a/host.sh"}},
                    "outputs": {"stdout": "{}"},
                },
            ],
        },
    },
}


def state_file() -> Path:
    path = stacks.state_file("x")
    assert path
    return path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stacks, "STATE", tmp_path)
    monkeypatch.setattr(stacks, "PROJECT", tmp_path)
    monkeypatch.setattr(stacks, "OWN", tmp_path)
    for path in (state_file(), tmp_path / ".pulumi/locks/organization/litelab/x/1.json"):
        path.parent.mkdir(parents=True)
    return tmp_path


@given(data=st.data())
def test_a_lock_of_any_bytes_or_values(state: Path, data: st.DataObject) -> None:
    lock = state / ".pulumi/locks/organization/litelab/x/1.json"
    for content in (data.draw(files([json.dumps(LOCK)])), json.dumps(data.draw(swapped(LOCK))).encode()):
        lock.write_bytes(content)
        (found,) = stacks.locks("x", state)
        assert found.is_dead in (True, False)
        assert one_paragraph(f"process {found.pid} of {found.user} on {found.host} since {found.since}")


@given(data=st.data())
def test_a_state_of_any_bytes_or_values(state: Path, data: st.DataObject) -> None:
    path = state_file()
    for content in (data.draw(files([json.dumps(STATE)])), json.dumps(data.draw(swapped(STATE))).encode()):
        path.write_bytes(content)
        try:
            stacks.require_whole_state("x")
        except SetupError as error:
            assert "is cut off or broken" in str(error)  # noqa: PT017
        stacks.latest("x", state)
        known = presence.resources(state, "x")
        presence.kind_of(known)
        presence.parts(known)
        status.wanted_nodes(known)


@given(content=files(["encryptionsalt: v1:x\nconfig:\n  litelab:lab: 'k0s-lab'\n"]))
def test_a_stack_file_of_any_bytes(state: Path, content: bytes) -> None:
    (state / "config").mkdir(exist_ok=True)
    (state / "config" / "Pulumi.x.yaml").write_bytes(content)
    stacks._lab_of("x")
