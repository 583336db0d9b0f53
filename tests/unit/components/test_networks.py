"""Networks that hosts can't be in are refused by the settings, with both named."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from components.config import discovery
from components.config.lab_file import parse
from components.config.settings import SettingsError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILWBcIbHkD/3xHoyFAvxaHjN4bRMX6qDLXUstH+MqyoF"


def refusal(hosts: dict[str, Any], distribution: str = "upstream") -> str:
    """What is said of a lab that is refused."""
    with pytest.raises(SettingsError) as caught:
        parse({"distribution": distribution, "hosts": hosts}, "stacks/x.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith("Nothing was made.")
    return message


def existing(address: str) -> dict[str, Any]:
    return {"kind": "existing", "addresses": [address], "key": "~/.ssh/lab", "hostKeys": [f"@cert-authority * {KEY}"]}


@pytest.mark.parametrize("kind", ["nspawn", "libvirt"])
@pytest.mark.parametrize(
    "subnet",
    [
        "0.0.0.0/24",
        "127.0.0.0/24",
        "127.1.2.0/24",
        "169.254.7.0/24",
        "224.0.0.0/24",
        "239.1.1.0/24",
        "240.0.0.0/24",
        "255.255.255.0/24",
    ],
)
def test_networks_that_ipv4_keeps_for_itself_are_refused(kind: str, subnet: str) -> None:
    message = refusal({"kind": kind, "subnet": subnet})
    assert f"{subnet} can't be a network of hosts" in message


@pytest.mark.parametrize(
    "address", ["0.0.0.1", "127.0.0.1", "127.0.0.1:2222", "169.254.1.1", "224.0.0.1", "255.255.255.255"]
)
def test_so_are_addresses(address: str) -> None:
    assert "is no address by which hosts reach each other" in refusal(existing(address))


@pytest.mark.parametrize("distribution", discovery.distributions())
@pytest.mark.parametrize("whose", ["pods", "services"])
class TestOverlaps:
    @pytest.mark.parametrize("kind", ["nspawn", "libvirt"])
    def test_a_subnet_in_a_distributions_network_is_refused_with_both(
        self, distribution: str, whose: str, kind: str
    ) -> None:
        needs = discovery.distribution(distribution).needs
        assert needs
        network = ipaddress.IPv4Network(getattr(needs, whose))
        for subnet in {next(network.subnets(new_prefix=24)), *list(network.subnets(new_prefix=24))[-1:]}:
            message = refusal({"kind": kind, "subnet": str(subnet)}, distribution)
            assert f"hosts.subnet: {subnet} overlaps {network}, the network of {distribution}'s {whose}" in message

    def test_an_address_there_is_refused_with_both(self, distribution: str, whose: str) -> None:
        needs = discovery.distribution(distribution).needs
        assert needs
        network = ipaddress.IPv4Network(getattr(needs, whose))
        assert f"hosts.addresses.0: {network[7]} overlaps {network}" in refusal(existing(str(network[7])), distribution)


@pytest.mark.parametrize("distribution", discovery.distributions())
@pytest.mark.parametrize(
    "subnet", ["10.87.3.0/24", "10.139.0.0/24", "172.29.1.0/24", "192.168.122.0/24", "10.112.0.0/24"]
)
def test_others_are_taken(distribution: str, subnet: str) -> None:
    parse({"distribution": distribution, "hosts": {"kind": "nspawn", "subnet": subnet}}, "x")
