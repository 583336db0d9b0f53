"""What hosts are given of the place where a lab stands."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from components import site
from components.labfile import parse
from components.settings import SettingsError
from tests.doubles.authority import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def made(settings: dict[str, Any], ca: str = "", addresses: tuple[str, ...] = ("10.87.3.11",)) -> dict[str, str]:
    lab = parse(settings, "x")
    return site.files(lab, ca, site.FORMS[lab.distribution], addresses)


class TestFiles:
    def test_a_proxy_is_told_to_units_shells_and_steps_in_both_spellings(self) -> None:
        found = made({"proxy": "http://proxy.example:3128", "noProxy": [".example"]})
        assert set(found) == {
            "etc/litelab/environment", "etc/profile.d/litelab-site.sh", "etc/systemd/system.conf.d/litelab-site.conf",
        }  # fmt: skip
        told = dict(line.split("=", 1) for line in found["etc/litelab/environment"].splitlines())
        assert told["HTTPS_PROXY"] == told["http_proxy"] == "http://proxy.example:3128"
        assert told["NO_PROXY"] == told["no_proxy"]
        for content in found.values():
            assert "HTTP_PROXY=http://proxy.example:3128" in content
        assert found["etc/systemd/system.conf.d/litelab-site.conf"].startswith(
            '[Manager]\nDefaultEnvironment="http_proxy='
        )

    def test_what_is_near_is_reached_without_the_proxy(self) -> None:
        found = made(
            {"proxy": "http://p", "noProxy": [".example"]}, addresses=("10.87.3.11", "8.8.4.4", "host.example")
        )
        near = found["etc/litelab/environment"].splitlines()[2].removeprefix("no_proxy=").split(",")
        assert {"10.0.0.0/8", ".svc", ".cluster.local", "localhost", "8.8.4.4", ".example"} <= set(near)
        assert "10.87.3.11" not in near

    def test_mirrors_reach_containerd_in_their_order_with_the_authority(self, authority: Authority) -> None:
        registries = {
            "docker.io": {"mirrors": ["https://a:5000", "http://b"]},
            "*": "https://cache",
            "r.example:5000": "https://c",
        }
        found = made({"registries": registries}, authority.pem)
        hosts = tomllib.loads(found["etc/containerd/certs.d/docker.io/hosts.toml"])["host"]
        assert list(hosts) == ["https://a:5000", "http://b"]
        assert hosts["https://a:5000"] == {"capabilities": ["pull", "resolve"], "ca": "/etc/litelab/site-ca.crt"}
        assert found["etc/litelab/site-ca.crt"] == authority.pem
        assert {
            "etc/containerd/certs.d/_default/hosts.toml",
            "etc/containerd/certs.d/r.example:5000/hosts.toml",
        } <= set(found)

    def test_mirrors_reach_k0s_where_its_containerd_is_told_to_look(self) -> None:
        found = made({"distribution": "k0s", "registries": {"docker.io": "https://cache:5000"}})
        assert set(found) == {"etc/containerd/certs.d/docker.io/hosts.toml"}

    def test_mirrors_reach_k3s_in_its_own_file(self, authority: Authority) -> None:
        found = made({"distribution": "k3s", "registries": {"*": "https://cache:5000"}}, authority.pem)
        content = json.loads(found["etc/rancher/k3s/registries.yaml"])
        assert content["mirrors"] == {"*": {"endpoint": ["https://cache:5000"]}}
        assert content["configs"] == {"cache:5000": {"tls": {"ca_file": "/etc/litelab/site-ca.crt"}}}

    def test_mirrors_reach_microk8s_in_the_folder_that_its_own_links_lead_to(self) -> None:
        found = made({"distribution": "microk8s", "registries": {"*": "https://cache:5000"}})
        assert set(found) == {"etc/containerd/certs.d/_default/hosts.toml"}

    def test_mirrors_reach_cri_o_in_their_order_and_http_is_said_to_be_meant(self) -> None:
        registries = {"docker.io": {"mirrors": ["https://a:5000", "http://b"]}, "r.example:5000": "https://c"}
        (text,) = made({"distribution": "microshift", "registries": registries}).values()
        assert tomllib.loads(text)["registry"] == [
            {
                "prefix": "docker.io",
                "location": "docker.io",
                "mirror": [{"location": "a:5000"}, {"location": "b", "insecure": True}],
            },
            {"prefix": "r.example:5000", "location": "r.example:5000", "mirror": [{"location": "c"}]},
        ]

    def test_all_others_are_refused_for_cri_o_which_knows_no_such_thing(self) -> None:
        with pytest.raises(ValueError, match=r"'\*' can't be told to microshift.*Name each one"):
            made({"distribution": "microshift", "registries": {"*": "https://c", "docker.io": "https://c"}})

    def test_a_lab_that_asks_for_nothing_gets_nothing(self) -> None:
        assert made({}) == {}

    def test_the_archive_is_the_same_for_the_same_files(self) -> None:
        content = {"etc/b": "2\n", "etc/a": "ü\n"}
        first = site.archive(content)
        assert first == site.archive(dict(reversed(content.items())))
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(first))) as tar:
            files = {entry.name: (entry.mode, entry.uid, tar.extractfile(entry)) for entry in tar}
        assert sorted(files) == ["etc/a", "etc/b"]
        assert {(mode, uid) for mode, uid, _ in files.values()} == {(0o644, 0)}


class TestAuthority:
    def test_certificates_are_taken_as_they_are(self, tmp_path: Path, authority: Authority) -> None:
        (tmp_path / "ca.pem").write_text(authority.pem * 2)
        assert site.authority(str(tmp_path / "ca.pem")) == authority.pem * 2

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (None, "{path}: there is no such file"),
            ("no certificate", "{path}: holds no certificate in PEM"),
            ("\n-----BEGIN CERTIFICATE-----\nMIIB\n", "{path}:2: here begins what is no certificate in PEM"),
            ("\n\n-----BEGIN EC PRIVATE KEY-----", "{path}:3: holds a private key too"),
            (b"\x30\x82\x01\x0a", "{path}: is in DER. Convert it: openssl x509 -inform der"),
            (b"caf\xe9", "{path}:1: has the byte 0xe9, which is no UTF-8"),
        ],
    )
    def test_what_is_no_certificate_is_refused(self, tmp_path: Path, content: str | bytes | None, told: str) -> None:
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(SettingsError) as caught:
            site.authority(str(path), "stacks/x.yaml:3: ca")
        message = str(caught.value)
        assert message.startswith("stacks/x.yaml:3: ca: " + told.format(path=path))
        assert "\n" not in message

    def test_a_private_key_never_goes_to_hosts(self, tmp_path: Path, authority: Authority) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        (tmp_path / "both.pem").write_text(authority.pem + pem)
        with pytest.raises(SettingsError, match="holds a private key too"):
            site.authority(str(tmp_path / "both.pem"))
