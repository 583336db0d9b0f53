"""Hosts of each kind in turn, made by the program that a lab uses, without a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.contract.cases import CASES, NAMES, Case
from tests.contract.hostsonly import HostsStack

USER = """
useradd -m -s /bin/bash -p '*' op
mkdir -p ~op/.ssh
cp /root/.ssh/authorized_keys ~op/.ssh/
chown -R op: ~op/.ssh
echo 'op ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/op
chmod 440 /etc/sudoers.d/op
"""


@dataclass
class Made:
    """Hosts of one kind that stand."""

    kind: str
    case: Case
    stack: HostsStack
    ground: HostsStack
    untouched_before: dict[str, Any]

    @property
    def names(self) -> list[str]:
        return [host["name"] for host in self.stack.hosts]


@pytest.fixture(scope="session")
def ground() -> Iterator[HostsStack]:
    """Three nspawn hosts, with a user who may use sudo."""
    if os.geteuid() != 0:
        pytest.skip("nspawn hosts are made by root")
    stack = HostsStack("contract-nspawn", {})
    case = CASES["nspawn"]
    stack = HostsStack("contract-nspawn", case.hosts(stack))
    try:
        stack.prepare()
        stack.up()
        for name in NAMES:
            stack.by_root(name, USER)
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="session", params=CASES)
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    """Hosts of each kind in turn."""
    kind: str = request.param
    case = CASES[kind]
    name = f"contract-{kind}"
    ground: HostsStack = HostsStack(name, {}) if case.stands_alone else request.getfixturevalue("ground")
    if case.is_itself_the_ground:
        yield Made(kind, case, ground, ground, {})
        return
    stack = HostsStack(name, case.hosts(ground))
    try:
        stack.prepare()
        before = case.untouched(ground)
        stack.up()
        yield Made(kind, case, stack, ground, before)
    finally:
        stack.close()
