"""What hosts are given of the place where a lab stands."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from components.config import discovery
from components.config.lab_file import parse
from components.config.settings import SettingsError
from components.site import component as site
from components.site.mirrors import LOGINS, PrivateText, mirror_of
from tests.doubles.authority import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


WITH_MIRRORS = [name for name in discovery.distributions() if discovery.distribution(name).mirrors]


def made(
    settings: dict[str, Any],
    ca: str = "",
    addresses: tuple[str, ...] = ("10.87.3.11",),
    passwords: Mapping[str, str] | None = None,
) -> dict[str, str]:
    lab = parse(settings, "x")
    form = discovery.distribution(lab.distribution).mirrors
    assert form is not None
    return site.files(lab, ca, form, addresses, passwords or {})


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

    def test_a_mirror_that_is_named_twice_is_told_once(self) -> None:
        twice = {"docker.io": {"mirrors": ["https://a", "https://b", "https://a/", "https://a/v2"]}}
        found = made({"registries": twice})
        assert list(tomllib.loads(found["etc/containerd/certs.d/docker.io/hosts.toml"])["host"]) == [
            "https://a",
            "https://b",
        ]

    def test_a_lab_that_asks_for_nothing_gets_nothing(self) -> None:
        assert made({}) == {}

    def test_the_archive_is_the_same_for_the_same_files(self) -> None:
        content = {"etc/b": "2\n", "etc/a": "ü\n", LOGINS: PrivateText("{}\n")}
        first = site.archive(content)
        assert first == site.archive(dict(reversed(content.items())))
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(first))) as tar:
            files = {entry.name: (entry.mode, entry.uid) for entry in tar}
        assert files == {"etc/a": (0o644, 0), "etc/b": (0o644, 0), LOGINS: (0o600, 0)}


class TestPaths:
    @pytest.mark.parametrize(
        ("address", "path"),
        [
            ("https://m", ""),
            ("https://m/", ""),
            ("https://m/v2", ""),
            ("https://m/v2/", ""),
            ("https://m/dockerhub-proxy", "/v2/dockerhub-proxy"),
            ("https://m/v2/dockerhub-proxy/", "/v2/dockerhub-proxy"),
            ("https://m:8443/a/b", "/v2/a/b"),
            ("https://m/artifactory/api/docker/hub/v2", "/artifactory/api/docker/hub/v2"),
            ("https://m/a/v2/b", "/a/v2/b"),
            ("https://m/v20", "/v2/v20"),
        ],
    )
    def test_a_path_with_v2_is_the_api_as_written_and_before_any_other_comes_v2(self, address: str, path: str) -> None:
        assert mirror_of(address).path == path

    @pytest.mark.parametrize("distribution", ["upstream", "k0s", "microk8s"])
    def test_containerd_takes_a_path_as_the_api_itself(self, distribution: str, authority: Authority) -> None:
        registries = {"docker.io": {"mirrors": ["https://m:8443/hub", "https://n"]}}
        found = made({"distribution": distribution, "registries": registries}, authority.pem)
        ca = "/etc/litelab/site-ca.crt"
        assert tomllib.loads(found["etc/containerd/certs.d/docker.io/hosts.toml"])["host"] == {
            "https://m:8443/v2/hub": {"capabilities": ["pull", "resolve"], "override_path": True, "ca": ca},
            "https://n": {"capabilities": ["pull", "resolve"], "ca": ca},
        }

    def test_k3s_takes_a_path_as_the_api_itself(self, authority: Authority) -> None:
        registries = {"docker.io": {"mirrors": ["https://m:8443/hub", "https://n/v2"]}}
        found = made({"distribution": "k3s", "registries": registries}, authority.pem)
        content = json.loads(found["etc/rancher/k3s/registries.yaml"])
        assert content["mirrors"] == {"docker.io": {"endpoint": ["https://m:8443/v2/hub", "https://n"]}}
        assert set(content["configs"]) == {"m:8443", "n"}

    def test_cri_o_puts_v2_before_a_path_itself(self) -> None:
        registries = {"docker.io": {"mirrors": ["https://m:8443/hub", "http://n/v2/a/b"]}}
        (text,) = made({"distribution": "microshift", "registries": registries}).values()
        (registry,) = tomllib.loads(text)["registry"]
        assert registry["mirror"] == [{"location": "m:8443/hub"}, {"location": "n/a/b", "insecure": True}]

    @pytest.mark.parametrize(
        ("mirror", "told"),
        [
            ("https://m/artifactory/hub/v2", "asks every mirror below /v2. Name a mirror whose API begins there"),
            ("https://m/Hub", "can't hold 'Hub'"),
            ("https://m/a..b", "can't hold 'a..b'"),
        ],
    )
    def test_a_path_that_cri_o_has_no_form_for_is_refused(self, mirror: str, told: str) -> None:
        with pytest.raises(SettingsError, match=r"registries: https://m/.* can't be told to microshift") as caught:
            site.require(parse({"distribution": "microshift", "registries": {"docker.io": mirror}}, "x"))
        assert told in str(caught.value)


LOGIN = base64.b64encode(b'robot$lab:pa"ss:w\\rd').decode()
TWO = {"docker.io": {"mirrors": ["https://m:8443/hub", "https://open"]}}


class TestLogins:
    @pytest.mark.parametrize("distribution", WITH_MIRRORS)
    def test_without_logins_hosts_get_no_file_of_them(self, distribution: str) -> None:
        assert not [path for path in made({"distribution": distribution, "registries": TWO}) if "auth" in path]

    @pytest.mark.parametrize("distribution", ["upstream", "k0s", "microk8s"])
    def test_containerds_files_of_mirrors_hold_none(self, distribution: str) -> None:
        found = made({"distribution": distribution, "registries": TWO}, passwords={"m:8443": LOGIN})
        assert json.loads(found.pop(LOGINS)) == {"auths": {"m:8443": {"auth": LOGIN}}}
        (text,) = found.values()
        assert LOGIN not in text

    def test_k3s_has_them_by_host_beside_the_authority(self, authority: Authority) -> None:
        found = made({"distribution": "k3s", "registries": TWO}, authority.pem, passwords={"m:8443": LOGIN})
        tls = {"ca_file": "/etc/litelab/site-ca.crt"}
        assert json.loads(found["etc/rancher/k3s/registries.yaml"])["configs"] == {
            "m:8443": {"tls": tls, "auth": {"username": "robot$lab", "password": 'pa"ss:w\\rd'}},
            "open": {"tls": tls},
        }

    def test_cri_o_is_told_of_the_file_of_them(self) -> None:
        found = made({"distribution": "microshift", "registries": TWO}, passwords={"m:8443": LOGIN})
        drop_in = tomllib.loads(found["etc/crio/crio.conf.d/99-litelab-site.conf"])
        assert drop_in == {"crio": {"image": {"global_auth_file": f"/{LOGINS}"}}}
        assert json.loads(found[LOGINS]) == {"auths": {"m:8443": {"auth": LOGIN}}}

    def test_files_that_hold_them_are_for_root_alone(self) -> None:
        for distribution in WITH_MIRRORS:
            content = made({"distribution": distribution, "registries": TWO}, passwords={"m:8443": LOGIN})
            with tarfile.open(fileobj=io.BytesIO(base64.b64decode(site.archive(content)))) as tar:
                modes = {entry.name: entry.mode for entry in tar}
            holding = {path for path, text in content.items() if LOGIN in text or "pa\\" in text}
            assert holding
            assert {modes[path] for path in holding} == {0o600}


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
