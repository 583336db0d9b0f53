"""An administrator's kubeconfig, with a context for each controller or cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml


def with_contexts(kubeconfig: str, servers: Mapping[str, str]) -> str:
    """The same cluster by each of its API servers.

    Args:
        kubeconfig: as the distribution wrote it, with one cluster and one user.
        servers: ``https://ADDRESS:PORT`` by the name of the context; the first is the current one.
    """
    found = yaml.safe_load(kubeconfig)
    (cluster,), (user,) = found["clusters"], found["users"]
    return _written(
        {name: {**cluster["cluster"], "server": server} for name, server in servers.items()},
        dict.fromkeys(servers, "admin"),
        {"admin": user["user"]},
    )


def merged(kubeconfigs: Mapping[str, str]) -> str:
    """Several clusters in one.

    Args:
        kubeconfigs: each with one cluster and one user, by the name of its context; the first is the current one. Other lines may
            stand before it.
    """
    each = {name: yaml.safe_load(text[max(text.find("apiVersion:"), 0) :]) for name, text in kubeconfigs.items()}
    return _written(
        {name: one["clusters"][0]["cluster"] for name, one in each.items()},
        {name: name for name in each},
        {name: one["users"][0]["user"] for name, one in each.items()},
    )


def _written(clusters: Mapping[str, Any], user_of: Mapping[str, str], users: Mapping[str, Any]) -> str:
    # JSON is YAML.
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": next(iter(clusters)),
        "clusters": [{"name": name, "cluster": cluster} for name, cluster in clusters.items()],
        "users": [{"name": name, "user": user} for name, user in users.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user_of[name]}} for name in clusters],
    }
    return json.dumps(content, indent=1) + "\n"
