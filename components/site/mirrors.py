"""Mirrors of container registries, in the form of each distribution's container runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from components.config.settings import Registry

CA_ON_HOST = "/etc/litelab/site-ca.crt"
LOGINS = "etc/litelab/registries-auth.json"
"""The mirrors' logins on a host, one a line: CRI-O reads it, scripts put it into containerd's configuration (``components/clusters/scripts/logins.sh``)."""
API = "v2"
"""Below it is the API of a registry (OCI distribution specification)."""

Form = Callable[[Mapping[str, Registry], bool, Mapping[str, str]], dict[str, str]]
"""From registries, whether hosts trust an authority of the site, and logins by host, to files by path below ``/``.

A login is the base64 of ``USER:PASSWORD``.
"""


class PrivateText(str):
    """Content of a file that only root may read."""

    __slots__ = ()


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
    return found | login_file(logins)


def login_file(logins: Mapping[str, str]) -> dict[str, str]:
    """The logins as one file, which only root may read; none without logins."""
    if not logins:
        return {}
    lines = ",\n".join(f' "{host}": {{"auth": "{login}"}}' for host, login in logins.items())
    return {LOGINS: PrivateText(f'{{"auths": {{\n{lines}\n}}}}\n')}
