"""What the place where a lab stands asks of its hosts: a proxy, an authority of its own, mirrors of registries.

Everything is files on the hosts, written before anything is installed there. Hosts of a lab that has none of these settings
are left as they are.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import io
import ipaddress
import re
import tarfile
from collections.abc import Mapping, Sequence

import pulumi
from cryptography import x509

from components.config import discovery
from components.config.settings import LabSettings, SettingsError
from components.hosts.host import Host
from components.places import PROJECT
from components.site import logins
from components.site.mirrors import CA_ON_HOST, Form, PrivateText, containerd
from components.steps.scripts import publish
from components.steps.steps import local_step
from inputs import textfile
from inputs.errors import InputError

_DER = (b"\x30\x82", b"\x30\x81")
NOT_BY_PROXY = ("localhost", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", ".svc", ".cluster.local")
"""Pods, services and hosts of labs; a proxy is for what is outside."""


def prepared(name: str, args: LabSettings, hosts: list[Host], opts: pulumi.ResourceOptions) -> list[Host]:
    """The same hosts, once they have what the settings ask for: who uses their identity waits for that.

    Raises:
        SettingsError: a file that they name can't be used, or the distribution can't be told of the mirrors.
    """
    if not (args.proxy or args.ca or args.registries):
        return hosts
    return Site(name, args, hosts, opts).hosts


class Site(pulumi.ComponentResource):
    """One step a host.

    Attributes:
        hosts: as they were given; their identity is known only when the step has run.
    """

    hosts: list[Host]

    def __init__(
        self, name: str, args: LabSettings, hosts: list[Host], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("litelab:site:Site", name, None, opts)
        scripts = publish("site", pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run(), also=("ssh", "clusters"))
        ca = authority(args.ca, args.at("ca"))
        form, passwords = _form(args), logins.of_mirrors(args)
        self.hosts = []
        content = pulumi.Output.all(*[h.address for h in hosts]).apply(
            lambda addresses: archive(files(args, ca, form, addresses, passwords))
        )
        if passwords:
            content = pulumi.Output.secret(content)
        for host in hosts:
            step = local_step(
                f"site-{host.name}",
                scripts,
                "site.sh",
                arguments=[host.name],
                # No trigger: a replacement would take along what is installed after it. This way the step runs again in its place.
                stdin=content,
                triggers=[host.identity],
                opts=pulumi.ResourceOptions(parent=self, depends_on=[host.resource], deleted_with=host.deleted_with),
            )
            # The same value: what is installed already stays, and what is to be installed waits.
            identity = pulumi.Output.all(host.identity, step.id).apply(lambda both: str(both[0]))
            self.hosts.append(dataclasses.replace(host, identity=identity))
        self.register_outputs({})


def require(lab: LabSettings) -> None:
    """Look at what the settings of the site name, before anything is made.

    Raises:
        SettingsError: a file that they name can't be used, or the distribution can't be told of the mirrors.
    """
    authority(lab.ca, lab.at("ca"))
    _form(lab)
    logins.of_mirrors(lab)


def authority(path: str | None, where: str = "ca") -> str:
    """The certificates in the file that ``ca`` names, as PEM; empty when it names none.

    Raises:
        SettingsError: there is no such file, or it holds something else; with its line.
    """
    if path is None:
        return ""
    try:
        content = textfile.read_bytes(PROJECT / path, path)
        if content.startswith(_DER):
            msg = f"{path}: is in DER. Convert it: openssl x509 -inform der -in {path} -out NEW.pem."
            raise InputError(msg)
        text = textfile.decoded(content, path)
        _require_certificates(text, path)
    except InputError as error:
        msg = f"{where}: {error} Name a PEM file of certificates by its path, from / or below the project. Nothing was made."
        raise SettingsError(msg) from error
    return text


def _require_certificates(text: str, shown: str) -> None:
    if found := re.search(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY", text):
        msg = f"{shown}:{_line(text, found.start())}: holds a private key too, which hosts must not get."
        raise InputError(msg)
    blocks = list(re.finditer(r"-----BEGIN ([A-Z0-9 ]+)-----.*?(?:-----END \1-----|\Z)", text, re.DOTALL))
    for block in blocks:
        try:
            x509.load_pem_x509_certificate(block[0].encode())
        except ValueError as error:
            msg = f"{shown}:{_line(text, block.start())}: here begins what is no certificate in PEM: it is cut off, damaged or something else ({error})."
            raise InputError(msg) from None
    if not blocks:
        msg = f"{shown}: holds no certificate in PEM ('-----BEGIN CERTIFICATE-----')."
        raise InputError(msg)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def files(
    args: LabSettings, ca: str, form: Form, addresses: Sequence[str], passwords: Mapping[str, str]
) -> dict[str, str]:
    """Every file that a host gets, path below ``/`` to content.

    Args:
        args: the lab.
        ca: certificates to trust, as PEM.
        form: the files that lead the distribution to mirrors.
        addresses: of all hosts.
        passwords: the mirrors' logins, by host (``components/site/logins.py``).
    """
    found = {CA_ON_HOST.removeprefix("/"): ca} if ca else {}
    if args.proxy:
        # Hosts of a lab are near each other, also when their addresses are public.
        public = [address for address in addresses if not _is_private(address)]
        near = ",".join([*NOT_BY_PROXY, *public, *args.no_proxy])
        values = {"http_proxy": args.proxy, "https_proxy": args.proxy, "no_proxy": near}
        values |= {key.upper(): value for key, value in values.items()}
        lines = "".join(f"{key}={value}\n" for key, value in values.items())
        found["etc/litelab/environment"] = lines
        found["etc/profile.d/litelab-site.sh"] = "".join(f"export {line}\n" for line in lines.splitlines())
        environment = " ".join(f'"{line}"' for line in lines.splitlines())
        found["etc/systemd/system.conf.d/litelab-site.conf"] = f"[Manager]\nDefaultEnvironment={environment}\n"
    return found | (form(args.registries, bool(ca), passwords) if args.registries else {})


def _is_private(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False


def _form(args: LabSettings) -> Form:
    form = discovery.distribution(args.distribution).mirrors
    if args.registries and form is None:
        msg = (
            f"{args.at('registries')}: Litelab has no form of mirrors for {args.distribution} yet. "
            "Leave registries out."
        )
        raise SettingsError(msg)
    form = form or containerd
    # What it can't say is refused here, not when addresses are known.
    try:
        form(args.registries, False, {})
    except ValueError as error:
        msg = f"{args.at('registries')}: {error} Nothing was made."
        raise SettingsError(msg) from None
    return form


def archive(contents: Mapping[str, str]) -> str:
    """Base64 of a gzipped tar of these files, root's: a ``PrivateText`` is for root alone, the others readable by all."""
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path, text in sorted(contents.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), 0o600 if isinstance(text, PrivateText) else 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return base64.b64encode(raw.getvalue()).decode()
