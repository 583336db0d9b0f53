"""What ``hosts:`` of a libvirt lab takes, and what its guests are told at their first boot. No libvirt is asked."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from components.config.lab_file import parse
from components.config.settings import SettingsError
from components.hosts.libvirt.seed import PATIENCE, mac, seed
from components.hosts.libvirt.settings import LibvirtSettings

WHERE = {"id": "litelab-x-abc123", "prefix": "10.87.3", "pool": "/p"}
CLIENT = {"private": "CLIENT SECRET", "public": "ssh-ed25519 CLIENT"}
PAIR = {"private": "HOST SECRET", "public": "ssh-ed25519 HOST"}


def hosts(**given: Any) -> LibvirtSettings:
    found = parse({"hosts": {"kind": "libvirt", **given}}, "stacks/x.yaml").hosts
    assert isinstance(found, LibvirtSettings)
    return found


def refusal(**given: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        hosts(**given)
    return str(caught.value)


def told(**given: Any) -> dict[str, Any]:
    """What a guest's cloud-init reads."""
    found = seed(WHERE, CLIENT, PAIR, 2, "host-2", hosts(**given))
    return {part: yaml.safe_load(text) for part, text in found.items()}


class TestSize:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ("small", (2, 2048, 10)),
            ("study", (2, 8192, 30)),
            ({"cpus": 4, "memoryGib": 1.5, "diskGib": 20}, (4, 1536, 20)),
        ],
    )
    def test_it_says_processors_memory_and_disk(self, size: Any, expected: tuple[int, int, int]) -> None:
        found = hosts(size=size)
        assert (found.cpus, found.memory_mib, found.disk_gib) == expected

    def test_a_single_figure_overrides_it(self) -> None:
        found = hosts(size="study", memoryMib=4096)
        assert (found.cpus, found.memory_mib, found.disk_gib) == (2, 4096, 30)

    def test_an_unknown_name_is_told_what_there_is(self) -> None:
        assert "takes small, study, or a mapping of cpus, memoryGib and diskGib" in refusal(size="large")

    def test_a_misspelt_key_is_named_by_its_path(self) -> None:
        assert "hosts.size.memoryGb" in refusal(size={"cpus": 1, "memoryGb": 1, "diskGib": 9})


class TestImage:
    def test_a_plain_name_is_one_that_is_known(self) -> None:
        assert hosts(image="debian").image.name == "debian"

    @pytest.mark.parametrize(
        "image",
        [
            {"source": "/images/rhel.qcow2"},
            {"source": "https://images.example/x.img"},
            {"sha256": "0" * 64},
            {"name": "debian", "source": "/x", "sha256": "0" * 64},
        ],
    )
    def test_what_guests_boot_has_a_digest(self, image: Any) -> None:
        assert "hosts.image" in refusal(image=image)

    def test_a_relative_path_is_refused(self) -> None:
        assert "hosts.image.source" in refusal(image={"source": "x.img", "sha256": "0" * 64})


class TestPlace:
    @pytest.mark.parametrize("uri", ["qemu:///system", "qemu:///session", "qemu+unix:///system?socket=/run/x"])
    def test_libvirt_of_this_machine_is_local(self, uri: str) -> None:
        assert hosts(uri=uri).is_local

    def test_libvirt_of_another_is_not(self) -> None:
        assert not hosts(uri="qemu+ssh://me@big.example/system").is_local

    @pytest.mark.parametrize("uri", ["lxc:///", "qemu+tcp://x/system", "http://x", "qemu:///system; rm"])
    def test_other_addresses_are_refused(self, uri: str) -> None:
        assert "hosts.uri: takes qemu:///system" in refusal(uri=uri)

    @pytest.mark.parametrize(
        ("uri", "through"),
        [
            ("qemu:///system", ""),
            ("qemu+unix:///system?socket=/run/x", ""),
            ("qemu+ssh:///system", ""),
            ("qemu://big.example/system", ""),
            ("qemu+ssh://me@big.example/system", "ssh://me@big.example"),
            ("qemu+ssh://me@big.example:2222/system", "ssh://me@big.example:2222"),
            (
                "qemu+ssh://me@big.example/system?keyfile=/k/a%20b&socket=/run/x",
                "ssh://me@big.example?keyfile=/k/a%20b",
            ),
            ("qemu+ssh://me@[2001:db8::1]/session", "ssh://me@[2001:db8::1]"),
        ],
    )
    def test_hosts_are_reached_through_the_machine_that_libvirt_is_reached_on_by_ssh(
        self, uri: str, through: str
    ) -> None:
        assert hosts(uri=uri).through == through

    @pytest.mark.parametrize(
        ("uri", "why"),
        [
            ("qemu+ssh://big.example/system", "needs the user to log in as"),
            ("qemu+ssh://me:secret@big.example/system", "needs the user to log in as, and no password"),
            ("qemu+ssh://me@big.example/system?no_verify=1", "the machine's key is always verified"),
            ("qemu+ssh://me@big.example/system?known_hosts_verify=ignore", "the machine's key is always verified"),
            ("qemu+ssh://me@big.example/system?knownhosts=/x", "say it in ssh's own configuration"),
            ("qemu+ssh://me@big.example:99999/system", "a port from 1 to 65535"),
        ],
    )
    def test_all_who_log_in_there_do_it_alike_and_verify_it(self, uri: str, why: str) -> None:
        assert why in refusal(uri=uri)

    def test_a_subnet_is_a_slash_24(self) -> None:
        assert "takes a /24" in refusal(subnet="10.0.0.0/16")


class TestFirstBoot:
    def test_the_host_has_the_key_that_it_is_verified_by(self) -> None:
        keys = told()["user"]["ssh_keys"]
        assert keys == {"ed25519_private": "HOST SECRET", "ed25519_public": "ssh-ed25519 HOST"}
        assert told()["user"]["ssh_genkeytypes"] == []

    def test_only_the_stacks_key_logs_in_and_no_password(self) -> None:
        user = told()["user"]
        assert user["ssh_authorized_keys"] == ["ssh-ed25519 CLIENT"]
        files = {f["path"]: f["content"] for f in user["write_files"]}
        assert "PasswordAuthentication no" in files["/etc/ssh/sshd_config.d/00-litelab.conf"]
        assert "CLIENT SECRET" not in str(user)

    def test_the_address_is_static_and_found_by_the_hardware_address(self) -> None:
        (link,) = told()["network"]["ethernets"].values()
        assert link["match"]["macaddress"] == mac(WHERE["id"], "host-2").lower()
        assert link["addresses"] == ["10.87.3.12/24"]
        assert "dhcp4" not in link

    def test_routes_are_in_the_form_that_old_cloud_inits_take(self) -> None:
        (link,) = told()["network"]["ethernets"].values()
        assert link["gateway4"] == "10.87.3.1"
        assert "default" not in str(link)

    def test_the_resolver_is_not_loopback(self) -> None:
        assert "nameserver 10.87.3.1" in str(told()["user"]["bootcmd"])

    def test_nothing_tells_how_many_hosts_there_are(self) -> None:
        names = str(told()["user"]["write_files"])
        assert "10.87.3.125 host-115" in names

    @pytest.mark.parametrize("accelerator", ["kvm", "tcg"])
    def test_an_emulated_host_asks_for_patience(self, accelerator: str) -> None:
        files = {f["path"]: f["content"] for f in told(accelerator=accelerator)["user"]["write_files"]}
        assert files["/etc/litelab/patience"] == f"{PATIENCE[accelerator]}\n"


def test_hardware_addresses_are_fixed_and_of_their_own() -> None:
    all_of_them = [mac(lab, f"host-{n}") for lab in ("a", "b") for n in range(1, 60)]
    assert len(set(all_of_them)) == len(all_of_them)
    assert all_of_them[0] == mac("a", "host-1")
    assert all(one.startswith("52:54:00:") and one == one.upper() for one in all_of_them)


def test_results_say_the_accelerator() -> None:
    assert hosts(accelerator="tcg").facts()["accelerator"] == "tcg"
    assert hosts().facts()["accelerator"] == "kvm"


def test_results_say_through_which_machine_hosts_are_reached_and_else_nothing_of_it() -> None:
    assert hosts(uri="qemu+ssh://me@big.example:22/system").facts()["reachedThrough"] == "big.example"
    assert set(hosts().facts()) == {"accelerator", "diskGib", "image"}
