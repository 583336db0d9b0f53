#!/usr/bin/env python3
"""The cluster's certificates: ``pki.py create ca`` and ``pki.py create host``, on the operator's machine.

``ca`` prints ``{"ca": {"crt", "key"}, "frontProxy": {"crt", "key"}, "serviceAccount": {"pub", "key"}}``. ``host`` reads that
as ``ca`` beside ``{"name", "address", "role", "cluster", "server", "serviceAddress"}`` from standard input, with several controllers
also ``endpoint``, a name that stands for all of them, and prints
``{"files": base64 of a gzipped tar for the host's /, "kubeconfig": the administrator's, on a controller}``. Both outputs are secrets.

Names, organizations and uses follow Kubernetes' "PKI certificates and requirements". Keys are ECDSA P-256, valid for a year:
a lab lives for days.
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import io
import ipaddress
import json
import sys
import tarfile
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = dt.timedelta(days=365)
PKI = "etc/kubernetes/pki"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    crt: str
    key: str


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def authority(common_name: str) -> Pair:
    """A certificate authority of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(_name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key))


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def issue(ca: Pair, common_name: str, organization: str | None = None, names: tuple[str, ...] = ()) -> Pair:
    """A certificate for a client, and for a server when ``names`` (DNS names and addresses) are given."""
    issuer = x509.load_pem_x509_certificate(ca.crt.encode())
    issuer_key = serialization.load_pem_private_key(ca.key.encode(), None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        msg = "the authority's key is not an elliptic curve key"
        raise TypeError(msg)
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name, organization))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + VALID - dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def kubeconfig(cluster: str, server: str, ca: Pair, user: str, pair: Pair) -> str:
    """A kubeconfig with everything inline, as JSON (which is YAML)."""

    def inline(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": cluster, "cluster": {"server": server, "certificate-authority-data": inline(ca.crt)}},
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": inline(pair.crt), "client-key-data": inline(pair.key)},
            },
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    return json.dumps(content, indent=1) + "\n"


def authorities() -> dict[str, dict[str, str]]:
    """What all of a cluster's certificates hang on."""
    service_account = ec.generate_private_key(ec.SECP256R1())
    public = service_account.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {
        "ca": vars(authority("kubernetes-ca")),
        "frontProxy": vars(authority("kubernetes-front-proxy-ca")),
        "serviceAccount": {"pub": public.decode(), "key": _pem(service_account)},
    }


def host_files(request: dict[str, Any]) -> dict[str, str]:
    """Every file a host needs, path below ``/`` to content."""
    name, address, cluster, server = (str(request[k]) for k in ("name", "address", "cluster", "server"))
    ca = Pair(**request["ca"]["ca"])
    front_proxy = Pair(**request["ca"]["frontProxy"])
    files: dict[str, str] = {f"{PKI}/ca.crt": ca.crt}

    def add(file: str, pair: Pair) -> None:
        files[f"{PKI}/{file}.crt"] = pair.crt
        files[f"{PKI}/{file}.key"] = pair.key

    def config(file: str, user: str, organization: str | None = None, at: str = server) -> None:
        pair = issue(ca, user, organization)
        files[f"etc/kubernetes/{file}.conf"] = kubeconfig(cluster, at, ca, user, pair)

    add("kubelet", issue(ca, f"system:node:{name}", "system:nodes", (name, address)))
    config("kubelet", f"system:node:{name}", "system:nodes")
    config("kube-proxy", "system:kube-proxy")
    config("flannel", "flannel")
    if request["role"] == "controller":
        here = "https://127.0.0.1:6443"
        domain = "kubernetes.default.svc.cluster.local"
        dns = (*(domain.rsplit(".", n)[0] for n in (4, 3, 2)), domain)
        shared = [request["endpoint"]] if "endpoint" in request else []
        names = (name, address, "127.0.0.1", "localhost", str(request["serviceAddress"]), *dns, *shared)
        add("apiserver", issue(ca, "kube-apiserver", None, names))
        add("kubelet-client", issue(ca, "kube-apiserver-kubelet-client", "system:masters"))
        add("etcd", issue(ca, name, None, (name, address, "127.0.0.1", "localhost")))
        add("etcd-client", issue(ca, "kube-apiserver-etcd-client"))
        add("front-proxy-client", issue(front_proxy, "front-proxy-client"))
        files[f"{PKI}/front-proxy-ca.crt"] = front_proxy.crt
        files[f"{PKI}/sa.pub"] = request["ca"]["serviceAccount"]["pub"]
        files[f"{PKI}/sa.key"] = request["ca"]["serviceAccount"]["key"]
        config("controller-manager", "system:kube-controller-manager", None, here)
        config("scheduler", "system:kube-scheduler", None, here)
        config("admin", "admin", "system:masters", f"https://{address}:6443")
    return files


def archive(files: dict[str, str]) -> str:
    """Base64 of a gzipped tar: files of root's, 0600."""
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path, text in sorted(files.items()):
            content = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = 0o600
            tar.addfile(entry, io.BytesIO(content))
    return base64.b64encode(raw.getvalue()).decode()


def main(arguments: list[str]) -> int:
    """Run one subcommand; ``delete`` has nothing to undo."""
    match arguments:
        case ["delete", *_]:
            return 0
        case ["create", "ca"]:
            print(json.dumps(authorities()))
            return 0
        case ["create", "host"]:
            files = host_files(json.load(sys.stdin))
            result = {"files": archive(files), "kubeconfig": files.get("etc/kubernetes/admin.conf", "")}
            print(json.dumps(result))
            return 0
    print("usage: pki.py create ca|host, pki.py delete", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
