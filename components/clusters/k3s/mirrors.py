"""Mirrors of registries in K3s's form."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from components.config.settings import Registry
from components.site.mirrors import CA_ON_HOST, PrivateText, hosts_of, login_file, mirrors_of

FILE = "etc/rancher/k3s/registries.yaml"


def registries_yaml(registries: Mapping[str, Registry], with_ca: bool, logins: Mapping[str, str]) -> dict[str, str]:
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
    return {FILE: PrivateText(json.dumps(content, indent=1) + "\n"), **login_file(logins)}
