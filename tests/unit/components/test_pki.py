"""The cluster's certificates: whom they name, what they may do, and how they reach a host."""

from __future__ import annotations

import base64
import importlib.util
import io
import ipaddress
import json
import subprocess
import sys
import tarfile
from types import ModuleType
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from components.steps.scripts import scripts_of

PATH = scripts_of("upstream") / "pki.py"
CONTROLLER = {"name": "host-1", "address": "10.87.3.11", "role": "controller"}
WORKER = {"name": "host-2", "address": "10.87.3.12", "role": "worker"}
LAB = {"cluster": "x-lab", "server": "https://10.87.3.11:6443", "serviceAddress": "10.96.0.1"}


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("litelab_pki", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


pki = _load()


@pytest.fixture(scope="module")
def ca() -> dict[str, Any]:
    made: dict[str, Any] = pki.authorities()
    return made


@pytest.fixture(scope="module")
def controller(ca: dict[str, Any]) -> dict[str, str]:
    files: dict[str, str] = pki.host_files({"ca": ca, **CONTROLLER, **LAB})
    return files


@pytest.fixture(scope="module")
def worker(ca: dict[str, Any]) -> dict[str, str]:
    files: dict[str, str] = pki.host_files({"ca": ca, **WORKER, **LAB})
    return files


def certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def of_config(text: str) -> tuple[x509.Certificate, dict[str, Any]]:
    """The client certificate in a kubeconfig, and the kubeconfig."""
    content = yaml.safe_load(text)
    data = content["users"][0]["user"]["client-certificate-data"]
    return certificate(base64.b64decode(data).decode()), content


def subject(crt: x509.Certificate) -> tuple[str, str]:
    """Common name and organization, which are a Kubernetes user and its group."""
    names, groups = (
        crt.subject.get_attributes_for_oid(oid) for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    )
    assert len(names) == 1
    return str(names[0].value), ",".join(str(g.value) for g in groups)


def sans(crt: x509.Certificate) -> set[str]:
    names = crt.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def every_certificate(files: dict[str, str]) -> dict[str, x509.Certificate]:
    found = {p: certificate(t) for p, t in files.items() if p.endswith(".crt") and not p.endswith("ca.crt")}
    return found | {p: of_config(t)[0] for p, t in files.items() if p.endswith(".conf")}


class TestTrust:
    @pytest.mark.parametrize("host", ["controller", "worker"])
    def test_every_certificate_is_signed_by_its_authority(
        self, host: str, ca: dict[str, Any], request: pytest.FixtureRequest
    ) -> None:
        found = every_certificate(request.getfixturevalue(host))
        assert len(found) >= 4
        for path, crt in found.items():
            issuer = certificate(ca["frontProxy" if "front-proxy" in path else "ca"]["crt"])
            crt.verify_directly_issued_by(issuer)
            assert crt.not_valid_after_utc <= issuer.not_valid_after_utc, path

    def test_a_strict_verifier_accepts_the_api_server_by_every_name_clients_use(
        self, ca: dict[str, Any], controller: dict[str, str]
    ) -> None:
        store = verification.Store([certificate(ca["ca"]["crt"])])
        crt = certificate(controller["etc/kubernetes/pki/apiserver.crt"])
        addresses = ["10.87.3.11", "127.0.0.1", "10.96.0.1"]
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        subjects: list[x509.DNSName | x509.IPAddress] = [*map(x509.DNSName, names)]
        subjects += [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
        for name in subjects:
            verification.PolicyBuilder().store(store).build_server_verifier(name).verify(crt, [])

    def test_a_certificate_of_another_lab_is_refused(self, controller: dict[str, str]) -> None:
        store = verification.Store([certificate(pki.authorities()["ca"]["crt"])])
        verifier = verification.PolicyBuilder().store(store).build_server_verifier(x509.DNSName("kubernetes"))
        with pytest.raises(verification.VerificationError):
            verifier.verify(certificate(controller["etc/kubernetes/pki/apiserver.crt"]), [])

    def test_the_front_proxys_authority_is_not_the_clusters(self, ca: dict[str, Any]) -> None:
        client = pki.issue(pki.Pair(**ca["frontProxy"]), "front-proxy-client")
        with pytest.raises(ValueError, match="does not match certificate issuer"):
            certificate(client.crt).verify_directly_issued_by(certificate(ca["ca"]["crt"]))

    @pytest.mark.parametrize("host", ["controller", "worker"])
    def test_every_key_belongs_to_its_certificate(self, host: str, request: pytest.FixtureRequest) -> None:
        files = request.getfixturevalue(host)
        pairs = [p.removesuffix(".key") for p in files if p.endswith(".key") and not p.endswith("sa.key")]
        assert pairs
        for path in pairs:
            key = serialization.load_pem_private_key(files[f"{path}.key"].encode(), None)
            assert public(key.public_key()) == public(certificate(files[f"{path}.crt"]).public_key()), path

    def test_the_service_accounts_public_key_is_that_of_its_private_key(self, controller: dict[str, str]) -> None:
        key = serialization.load_pem_private_key(controller["etc/kubernetes/pki/sa.key"].encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        told = serialization.load_pem_public_key(controller["etc/kubernetes/pki/sa.pub"].encode())
        assert public(key.public_key()) == public(told)


class TestIdentities:
    @pytest.mark.parametrize(
        ("config", "user", "group"),
        [
            ("kubelet", "system:node:host-1", "system:nodes"),
            ("kube-proxy", "system:kube-proxy", ""),
            ("flannel", "flannel", ""),
            ("controller-manager", "system:kube-controller-manager", ""),
            ("scheduler", "system:kube-scheduler", ""),
            ("admin", "admin", "system:masters"),
        ],
    )
    def test_a_component_is_the_user_that_kubernetes_gives_rights(
        self, controller: dict[str, str], config: str, user: str, group: str
    ) -> None:
        assert subject(of_config(controller[f"etc/kubernetes/{config}.conf"])[0]) == (user, group)

    def test_a_nodes_certificate_names_that_node_alone(self, worker: dict[str, str]) -> None:
        crt = certificate(worker["etc/kubernetes/pki/kubelet.crt"])
        assert subject(crt) == ("system:node:host-2", "system:nodes")
        assert sans(crt) == {"host-2", "10.87.3.12"}

    def test_a_client_can_not_pose_as_a_server(self, controller: dict[str, str]) -> None:
        for path, crt in every_certificate(controller).items():
            uses = set(crt.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
            serves = path.rsplit("/", 1)[-1] in {"apiserver.crt", "kubelet.crt", "etcd.crt"}
            assert (ExtendedKeyUsageOID.SERVER_AUTH in uses) == serves, path

    def test_no_certificate_on_a_host_can_sign_others(self, controller: dict[str, str]) -> None:
        for path, crt in every_certificate(controller).items():
            assert not crt.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, path

    def test_no_host_gets_an_authoritys_key(
        self, ca: dict[str, Any], controller: dict[str, str], worker: dict[str, str]
    ) -> None:
        authority_keys = {ca["ca"]["key"], ca["frontProxy"]["key"]}
        assert authority_keys.isdisjoint({*controller.values(), *worker.values()})

    def test_a_worker_gets_nothing_that_is_the_controllers(self, worker: dict[str, str]) -> None:
        assert {p.removeprefix("etc/kubernetes/") for p in worker} == {
            "pki/ca.crt", "pki/kubelet.crt", "pki/kubelet.key", "kubelet.conf", "kube-proxy.conf", "flannel.conf",
        }  # fmt: skip
        assert not any(subject(crt)[1] == "system:masters" for crt in every_certificate(worker).values())

    def test_control_plane_programs_talk_to_the_api_server_beside_them(self, controller: dict[str, str]) -> None:
        servers = {
            path.rsplit("/", 1)[-1]: of_config(text)[1]["clusters"][0]["cluster"]["server"]
            for path, text in controller.items()
            if path.endswith(".conf")
        }
        inner = {"controller-manager.conf", "scheduler.conf", "admin.conf"}
        here = {name for name, server in servers.items() if server == "https://127.0.0.1:6443"}
        # The administrator's leaves the host: it must name an address that the operator reaches.
        assert here <= inner
        assert {"controller-manager.conf", "scheduler.conf"} <= here
        assert servers["kubelet.conf"] == LAB["server"]


class TestArchive:
    def test_every_file_is_roots_and_for_root_alone(self, controller: dict[str, str]) -> None:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(pki.archive(controller))), mode="r:gz") as tar:
            entries = tar.getmembers()
            assert {e.name for e in entries} == set(controller)
            for entry in entries:
                assert (entry.mode, entry.uid, entry.gid) == (0o600, 0, 0), entry.name
                assert not entry.name.startswith("/")
                assert ".." not in entry.name.split("/")
                content = tar.extractfile(entry)
                assert content
                assert content.read().decode() == controller[entry.name]

    def test_it_is_one_line_that_a_shell_can_pass_on(self, worker: dict[str, str]) -> None:
        assert set(pki.archive(worker)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


class TestCommandLine:
    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(PATH), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def test_what_ca_prints_is_what_host_reads(self) -> None:
        made = json.loads(self.run("create", "ca").stdout)
        answer = self.run("create", "host", stdin=json.dumps({"ca": made, **CONTROLLER, **LAB}))
        assert answer.returncode == 0, answer.stderr
        result = json.loads(answer.stdout)
        crt, content = of_config(result["kubeconfig"])
        assert subject(crt) == ("admin", "system:masters")
        assert (
            content["clusters"][0]["cluster"]["certificate-authority-data"]
            == base64.b64encode(made["ca"]["crt"].encode()).decode()
        )
        assert result["files"]

    def test_the_kubeconfig_it_hands_out_names_an_address_the_operator_reaches(self) -> None:
        made = json.loads(self.run("create", "ca").stdout)
        answer = self.run("create", "host", stdin=json.dumps({"ca": made, **CONTROLLER, **LAB}))
        assert (
            of_config(json.loads(answer.stdout)["kubeconfig"])[1]["clusters"][0]["cluster"]["server"] == LAB["server"]
        )

    def test_a_worker_yields_no_kubeconfig(self, ca: dict[str, Any]) -> None:
        answer = self.run("create", "host", stdin=json.dumps({"ca": ca, **WORKER, **LAB}))
        assert json.loads(answer.stdout)["kubeconfig"] == ""

    def test_delete_has_nothing_to_undo(self) -> None:
        assert self.run("delete", "ca").returncode == 0

    def test_anything_else_prints_the_usage(self) -> None:
        answer = self.run("make", "ca")
        assert answer.returncode == 1
        assert "usage: pki.py" in answer.stderr
