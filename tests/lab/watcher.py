"""A second pair of eyes on a cluster: every pod that was ever there, seen through kubectl and not through the benchmarks."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.lab.lab import LabStack


@dataclass
class Seen:
    """One pod, as the watch told of it."""

    uid: str
    namespace: str
    nodes: set[str] = field(default_factory=set)
    phases: set[str] = field(default_factory=set)
    deleted: bool = False


class PodWatcher(threading.Thread):
    """Watches all pods from the moment the lab has a kubeconfig until it is stopped."""

    def __init__(self, lab: LabStack) -> None:
        super().__init__(daemon=True, name=f"pods of {lab.name}")
        self.lab = lab
        self.pods: dict[str, Seen] = {}
        self._stop_asked = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> None:
        while not self.lab.kubeconfig.exists():
            if self._stop_asked.wait(0.02):
                return
        command = ["get", "pods", "--all-namespaces", "--watch", "--output-watch-events", "-o", "json"]
        while not self._stop_asked.is_set():
            self._process = self.lab.start_kubectl(*command)
            assert self._process.stdout
            for line in self._process.stdout:
                self._take(json.loads(line))
            # A watch may be cut. What is gone by now, nobody will tell of.
            if not self._stop_asked.is_set():
                there = {pod["metadata"]["uid"] for pod in self.lab.get("pods", "--all-namespaces")["items"]}
                for seen in self.pods.values():
                    seen.deleted |= seen.uid not in there

    def stop(self) -> None:
        self._stop_asked.set()
        if self._process:
            self._process.terminate()
            self._process.wait(10)
        self.join(10)

    def _take(self, event: dict[str, Any]) -> None:
        pod = event["object"]
        uid = pod["metadata"]["uid"]
        seen = self.pods.setdefault(uid, Seen(uid, pod["metadata"]["namespace"]))
        seen.phases.add(pod["status"].get("phase", ""))
        seen.nodes |= {pod["spec"]["nodeName"]} if "nodeName" in pod["spec"] else set()
        seen.deleted |= event["type"] == "DELETED"
