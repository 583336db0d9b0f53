"""What a person may say of hosts that they have, and what they are told when it is wrong."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.checks.machine import Machine
from components.config.lab_file import model_for, parse
from components.config.settings import SettingsError
from components.hosts.existing import requirements as existing
from components.hosts.existing.known_hosts import parse_address, parse_known_key
from components.hosts.existing.settings import ExistingSettings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILWBcIbHkD/3xHoyFAvxaHjN4bRMX6qDLXUstH+MqyoF"
ADDRESSES = ["192.0.2.11", "192.0.2.12", "node-3.lab.example:2222"]
HOSTS: dict[str, Any] = {
    "kind": "existing",
    "addresses": ADDRESSES,
    "key": "~/.ssh/lab",
    "hostKeys": [f"192.0.2.11,192.0.2.12 {KEY}", f"[node-3.lab.example]:2222 {KEY} a comment"],
}
MACHINE = Machine(architecture="x86_64", cpus=1, memory_mib=512, disk_free_gib=0.1, is_root=False)


def refusal(**hosts: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        parse({"hosts": {**HOSTS, **hosts}}, "stacks/x.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith("Nothing was made.")
    return message


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key as ssh wants one."""
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def why_not(key: Path, **lab: Any) -> str:
    settings = parse({"hosts": {**HOSTS, "key": str(key)}, **lab}, "x")
    return "; ".join(existing.problems(settings, MACHINE, True))


class TestSettings:
    def test_hosts_with_their_keys_are_accepted(self) -> None:
        hosts = parse({"hosts": HOSTS}, "x").hosts
        assert isinstance(hosts, ExistingSettings)
        assert [host.address for host in hosts.addresses] == ADDRESSES
        assert (hosts.user, hosts.allow_different) == ("root", False)

    @pytest.mark.parametrize("key", ["addresses", "hostKeys"])
    def test_what_can_not_be_guessed_must_be_there(self, key: str) -> None:
        with pytest.raises(SettingsError, match=rf"hosts\.{key}: is missing"):
            parse({"hosts": {k: v for k, v in HOSTS.items() if k != key}}, "x")

    @pytest.mark.parametrize(
        "address", ["", "-x", "a b", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "fd00::1", "a;b:22", "user@host"]
    )
    def test_what_is_no_address_is_named(self, address: str) -> None:
        assert "hosts.addresses.0.address: " in refusal(addresses=[address])

    def test_no_address_at_all_is_refused(self) -> None:
        assert "names no host" in refusal(addresses=[])

    def test_one_host_can_not_have_two_places(self) -> None:
        assert "192.0.2.11:22 is there twice" in refusal(addresses=["192.0.2.11", "192.0.2.12", "192.0.2.11:22"])

    @pytest.mark.parametrize("user", ["", "a b", "-x", "@x", ".x", "$(id)", "a;b", "a\nb", "CORP\\op", "x" * 65])
    def test_a_user_is_a_name(self, user: str) -> None:
        assert "hosts.user: " in refusal(user=user)

    @pytest.mark.parametrize(
        "user",
        ["root", "ubuntu", "first.last", "First.Last", "user@corp.example", "corp+user", "a_b-c", "42nd", "x" * 64],
    )
    def test_logins_of_directories_are_taken(self, user: str) -> None:
        hosts = parse({"hosts": {**HOSTS, "user": user}}, "x").hosts
        assert isinstance(hosts, ExistingSettings)
        assert hosts.user == user

    @pytest.mark.parametrize("path", ["key", "../key", "~other/key", "/tmp/a b", "/tmp/$(id)", "/tmp/a\nb"])
    def test_a_key_is_a_plain_path(self, path: str) -> None:
        assert "hosts.key: " in refusal(key=path)

    @given(st.text(max_size=30))
    def test_what_is_accepted_as_an_address_or_a_path_is_one_plain_word(self, text: str) -> None:
        for name in ("addresses", "key", "user"):
            value = [text] if name == "addresses" else text
            try:
                parse({"hosts": {**HOSTS, name: value, "hostKeys": [f"@cert-authority * {KEY}"]}}, "x")
            except SettingsError:
                continue
            assert re.fullmatch(r"[A-Za-z0-9_~/.][A-Za-z0-9_.@:+/-]*", text)

    def test_the_list_of_text_settings_is_whole(self) -> None:
        """A new setting that is text must be looked at here."""
        schema = model_for("upstream", "existing").model_json_schema()["$defs"]["ExistingSettings"]
        texts = {name for name, field in schema["properties"].items() if '"string"' in json.dumps(field)}
        assert texts == {"kind", "user", "key", "hostKeys"}


class TestHostKeys:
    def test_a_host_without_a_key_is_refused_with_the_command_that_shows_it(self) -> None:
        message = refusal(hostKeys=[f"192.0.2.11,192.0.2.12 {KEY}"])
        assert "no line for node-3.lab.example:2222" in message
        assert "ssh-keyscan -t ed25519 -p 2222 node-3.lab.example" in message

    def test_a_key_for_port_22_is_none_for_another_port(self) -> None:
        assert "no line for 192.0.2.11:2222" in refusal(addresses=["192.0.2.11:2222"], hostKeys=[f"192.0.2.11 {KEY}"])

    def test_an_authority_covers_what_its_pattern_does(self) -> None:
        parse({"hosts": {**HOSTS, "hostKeys": [f"@cert-authority 192.0.2.*,*.lab.example {KEY}"]}}, "x")
        assert "no line for node-3" in refusal(hostKeys=[f"@cert-authority 192.0.2.* {KEY}"])

    @pytest.mark.parametrize(
        "line",
        [
            "",
            KEY,
            f"@revoked 192.0.2.11 {KEY}",
            "192.0.2.11 ssh-ed25519 no-base64!",
            "192.0.2.11 ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQAB",
            f"192.0.2.11 ssh-dss {KEY.split()[1]}",
            f"192.0.2.11 {KEY}\n* {KEY}",
        ],
    )
    def test_what_is_no_line_of_known_hosts_is_refused(self, line: str) -> None:
        assert "hosts.hostKeys: " in refusal(hostKeys=[line])

    def test_a_hashed_line_is_refused_with_the_plain_form(self) -> None:
        assert "ssh-keyscan" in refusal(hostKeys=[f"|1|a=|b= {KEY}"])

    def test_only_the_hosts_own_keys_are_its(self) -> None:
        known = [parse_known_key(line) for line in HOSTS["hostKeys"]]
        assert [key.is_of(parse_address("192.0.2.11")) for key in known] == [True, False]
        assert [key.is_of(parse_address(ADDRESSES[2])) for key in known] == [False, True]


class TestProblems:
    def test_a_small_machine_and_an_ordinary_user_can_drive_a_lab(self, key: Path) -> None:
        assert why_not(key) == ""

    @pytest.mark.parametrize("workers", [1, 3])
    def test_addresses_must_be_as_many_as_hosts(self, key: Path, workers: int) -> None:
        assert "set workers to 2" in why_not(key, workers=workers)

    def test_each_of_three_controllers_takes_an_address(self, key: Path) -> None:
        lab = {"distribution": "k3s", "controllers": 3, "controllerRunsWorkloads": True}
        assert why_not(key, workers=0, **lab) == ""
        assert "controllers (3) and workers (2) are 5: correct it, or set workers to 0" in why_not(
            key, workers=2, **lab
        )

    def test_a_key_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        assert f"{tmp_path / 'none'} can't be read (No such file or directory)" in why_not(tmp_path / "none")

    @pytest.mark.parametrize("mode", [0o604, 0o640, 0o622])
    def test_a_key_that_others_may_use_is_refused(self, key: Path, mode: int) -> None:
        key.chmod(mode)
        assert f"chmod 600 {key}" in why_not(key)

    def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(self, key: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(key)], check=True)
        assert "has a passphrase" in why_not(key)

    def test_a_public_key_is_no_private_one(self, key: Path) -> None:
        public = key.with_suffix(".pub")
        public.chmod(0o600)
        assert "is no private key" in why_not(public)


JUMP = {"address": "bastion.example:2200", "user": "first.last", "hostKeys": [f"[bastion.example]:2200 {KEY}"]}


class TestWaysIn:
    """What users of k0sctl.yaml have: user, port and key of each host, a bastion, an agent's key."""

    def settings(self, **hosts: Any) -> ExistingSettings:
        made = parse({"hosts": {**HOSTS, **hosts}}, "x").hosts
        assert isinstance(made, ExistingSettings)
        return made

    def test_a_host_may_have_user_port_and_key_of_its_own(self) -> None:
        own = {"address": "192.0.2.12", "port": 2222, "user": "first.last", "key": "/k"}
        made = self.settings(addresses=["192.0.2.11", own], hostKeys=[f"192.0.2.11,[192.0.2.12]:2222 {KEY}"])
        first, second = made.addresses
        assert (first.user, first.key, first.at.port) == (None, None, 22)
        assert (second.user, second.key, str(second.at)) == ("first.last", "/k", "192.0.2.12:2222")

    def test_a_port_is_said_once(self) -> None:
        text = refusal(addresses=[{"address": "192.0.2.11:22", "port": 2222}])
        assert "has a port in address (192.0.2.11:22) and as port (2222): keep one" in text

    def test_its_own_port_counts_for_its_key(self) -> None:
        assert "hostKeys has no line for 192.0.2.11:2222" in refusal(
            addresses=[{"address": "192.0.2.11", "port": 2222}]
        )

    def test_a_host_is_there_once_however_it_is_written(self) -> None:
        both = ["192.0.2.11", {"address": "192.0.2.11", "port": 22}]
        assert "192.0.2.11:22 is there twice" in refusal(addresses=both)

    @pytest.mark.parametrize("key", ["keyPath", "hostKey", "adress"])
    def test_an_unknown_key_of_a_host_is_named(self, key: str) -> None:
        text = refusal(addresses=[{"address": "192.0.2.11", key: "x"}])
        assert f"unknown key hosts.addresses.0.{key}." in text
        assert "Keys here: address, key, port, user." in text

    def test_somebody_must_be_able_to_log_in(self) -> None:
        without = {k: v for k, v in HOSTS.items() if k != "key"}
        with pytest.raises(SettingsError, match=r"key is missing, .*192\.0\.2\.11:22.*agent: true"):
            parse({"hosts": without}, "x")
        parse({"hosts": {**without, "agent": True}}, "x")
        parse({"hosts": {**without, "addresses": [{"address": "192.0.2.11", "key": "/k"}]}}, "x")

    def test_a_bastion_has_a_known_key(self) -> None:
        assert self.settings(bastion=JUMP).bastion
        assert "hosts.bastion: hostKeys has no line for bastion.example:22" in refusal(
            bastion={**JUMP, "address": "bastion.example"}
        )
        assert "hosts.bastion.hostKeys: is missing" in refusal(bastion={"address": "bastion.example"})

    def test_a_bastion_without_key_takes_the_hosts(self) -> None:
        without = {k: v for k, v in HOSTS.items() if k != "key"}
        with pytest.raises(SettingsError, match=r"the bastion bastion\.example:2200"):
            parse({"hosts": {**without, "addresses": [{"address": "192.0.2.11", "key": "/k"}], "bastion": JUMP}}, "x")

    def test_every_key_that_is_named_is_looked_at(self, key: Path) -> None:
        hosts = {**HOSTS, "key": str(key), "bastion": {**JUMP, "key": "/no/such"}}
        found = existing.problems(parse({"hosts": hosts}, "x"), MACHINE, True)
        assert any(text.startswith("hosts.bastion.key: /no/such can't be read") for text in found)

    def test_without_an_agent_its_key_is_not_promised(self, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        hosts = {**HOSTS, "key": str(key), "agent": True}
        assert "SSH_AUTH_SOCK is not set" in "; ".join(existing.problems(parse({"hosts": hosts}, "x"), MACHINE, True))
        monkeypatch.setenv("SSH_AUTH_SOCK", "/no/such")
        assert "the agent at SSH_AUTH_SOCK has no key" in "; ".join(
            existing.problems(parse({"hosts": hosts}, "x"), MACHINE, True)
        )
