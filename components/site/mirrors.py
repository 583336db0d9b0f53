"""Mirrors of container registries, in the form of each distribution's container runtime."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from components.config.settings import Registry

CA_ON_HOST = "/etc/litelab/site-ca.crt"
LOGINS = "etc/litelab/registries-auth.json"
"""The mirrors' logins on a host, one a line: CRI-O reads it, scripts put it into containerd's configuration (``shared/logins.sh``)."""
K3S = "etc/rancher/k3s/registries.yaml"
PRIVATE = frozenset({LOGINS, K3S})
"""Files that only root may read."""
API = "v2"
"""Below it is the API of a registry (OCI distribution specification)."""
_OF_A_NAME = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
"""What stands between the slashes of an image's name (distribution/reference)."""

Form = Callable[[Mapping[str, Registry], bool, Mapping[str, str]], dict[str, str]]
"""From registries, whether hosts trust an authority of the site, and logins by host, to files by path below ``/``.

A login is the base64 of ``USER:PASSWORD``.
"""


@dataclass(frozen=True)
class Mirror:
    """A mirror's address.

    Attributes:
        origin: scheme, host and port: ``https://harbor.example``.
        path: the root of its API, ``/v2/dockerhub-proxy``; empty when that is ``/v2`` itself.
    """

    origin: str
    path: str

    @property
    def host(self) -> str:
        """Host and port, as they were written."""
        return self.origin.partition("://")[2]

    @property
    def address(self) -> str:
        """Where its API begins, unless that is ``/v2``."""
        return self.origin + self.path


def mirror_of(address: str) -> Mirror:
    """A mirror by its address: a path with a segment ``v2`` is the root of the API, before any other comes ``/v2``.

    >>> mirror_of("https://harbor.example/dockerhub-proxy").path
    '/v2/dockerhub-proxy'
    """
    scheme, _, rest = address.partition("://")
    host, _, path = rest.partition("/")
    segments = [segment for segment in path.split("/") if segment]
    if API not in segments:
        segments.insert(0, API)
    return Mirror(f"{scheme}://{host}", "" if segments == [API] else "/" + "/".join(segments))


def mirrors_of(registry: Registry) -> list[Mirror]:
    """Its mirrors in their order, each once."""
    return list(dict.fromkeys(map(mirror_of, registry.mirrors)))


def hosts_of(registries: Iterable[Registry]) -> list[str]:
    """Hosts of all mirrors, in alphabetical order."""
    return sorted({mirror.host for registry in registries for mirror in mirrors_of(registry)})


def containerd(registries: Mapping[str, Registry], with_ca: bool, logins: Mapping[str, str]) -> dict[str, str]:
    """For containerd with ``config_path = "/etc/containerd/certs.d"`` (containerd, docs/hosts.md).

    Logins are no matter of these files: what their header says goes to the mirror alone, never to a token service.
    """
    found = {}
    for name, registry in registries.items():
        lines = [
            f'[host."{mirror.address}"]\n  capabilities = ["pull", "resolve"]\n'
            + ("  override_path = true\n" if mirror.path else "")
            + (f'  ca = "{CA_ON_HOST}"\n' if with_ca else "")
            for mirror in mirrors_of(registry)
        ]
        found[f"etc/containerd/certs.d/{'_default' if name == '*' else name}/hosts.toml"] = "".join(lines)
    return found | _login_file(logins)


def k3s(registries: Mapping[str, Registry], with_ca: bool, logins: Mapping[str, str]) -> dict[str, str]:
    """For K3s, which takes a path as the root of the API (docs.k3s.io, Private Registry Configuration; k3s, pkg/agent/containerd/config.go).

    JSON is YAML.
    """
    content: dict[str, object] = {
        "mirrors": {
            name: {"endpoint": [mirror.address for mirror in mirrors_of(registry)]}
            for name, registry in registries.items()
        }
    }
    configs: dict[str, dict[str, object]] = {}
    if with_ca:
        configs = {host: {"tls": {"ca_file": CA_ON_HOST}} for host in hosts_of(registries.values())}
    for host, login in logins.items():
        user, _, password = base64.b64decode(login).decode().partition(":")
        configs.setdefault(host, {})["auth"] = {"username": user, "password": password}
    if configs:
        content["configs"] = configs
    return {K3S: json.dumps(content, indent=1) + "\n", **_login_file(logins)}


def crio(registries: Mapping[str, Registry], with_ca: bool, logins: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG001 # hosts trust it already
    """For CRI-O (containers-registries.conf(5), crio.conf(5)); a prefix is a registry's name, or one of its subdomains.

    Raises:
        ValueError: it has no form for all others (``*``), or for the path of a mirror.
    """
    if "*" in registries:
        msg = (
            "'*' can't be told to microshift, whose CRI-O takes mirrors of registries by their names alone. "
            "Name each one (docker.io, quay.io, registry.k8s.io)."
        )
        raise ValueError(msg)
    lines = []
    for name, registry in registries.items():
        lines.append(f'[[registry]]\nprefix = "{name}"\nlocation = "{name}"\n')
        for mirror in mirrors_of(registry):
            lines.append(f'[[registry.mirror]]\nlocation = "{_location(mirror)}"\n')
            # CRI-O speaks https first even so, and then trusts whoever answers.
            lines.extend(["insecure = true\n"] if mirror.origin.startswith("http://") else [])
    found = {"etc/containers/registries.conf.d/99-litelab-site.conf": "".join(lines)}
    if logins:
        found["etc/crio/crio.conf.d/99-litelab-site.conf"] = f'[crio.image]\nglobal_auth_file = "/{LOGINS}"\n'
    return found | _login_file(logins)


def _location(mirror: Mirror) -> str:
    """Host and path, without the ``/v2`` that CRI-O itself puts between them."""
    _, api, *segments = mirror.path.split("/") if mirror.path else ("", API)
    if api != API:
        msg = (
            f"{mirror.address} can't be told to microshift, whose CRI-O asks every mirror below /v2. "
            "Name a mirror whose API begins there."
        )
        raise ValueError(msg)
    if strange := next((segment for segment in segments if not _OF_A_NAME.fullmatch(segment)), ""):
        msg = (
            f"{mirror.address} can't be told to microshift: for its CRI-O the path is part of an image's name, which can't hold "
            f"{strange!r}. Name a mirror whose path has small letters, digits, and single marks between them."
        )
        raise ValueError(msg)
    return "/".join([mirror.host, *segments])


def _login_file(logins: Mapping[str, str]) -> dict[str, str]:
    if not logins:
        return {}
    lines = ",\n".join(f' "{host}": {{"auth": "{login}"}}' for host, login in logins.items())
    return {LOGINS: f'{{"auths": {{\n{lines}\n}}}}\n'}


FORMS: dict[str, Form] = {
    "upstream": containerd,
    "k3s": k3s,
    "k0s": containerd,
    "microk8s": containerd,
    "microshift": crio,
}
"""By distribution. What needs more than files on a host does its part's ``mirrors.sh``."""
