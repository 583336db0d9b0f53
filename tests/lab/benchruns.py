"""Runs of the benchmarks on a real lab, beside a second pair of eyes that outlives an API server's restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes
import yaml

from benchmarks.model.result import Result, load_result
from tests.lab.lab import PROJECT, LabStack, wait_for


class Witness(threading.Thread):
    """Lists all pods of benchmark namespaces again and again, and asks anew when nobody answers."""

    def __init__(self, lab: LabStack) -> None:
        super().__init__(daemon=True, name=f"pods of {lab.name}")
        self.pods: dict[str, dict[str, str]] = {}
        """Namespace to UID to name, of every pod that was ever there."""
        self._lab = lab
        self._stop_asked = threading.Event()

    def run(self) -> None:
        connect: Any = kubernetes.config.new_client_from_config
        api: Any = kubernetes.client.CoreV1Api(connect(str(self._lab.kubeconfig)))
        while not self._stop_asked.wait(0.1):
            try:
                answer = api.list_pod_for_all_namespaces(_preload_content=False, _request_timeout=3)
                items = json.loads(answer.data)["items"]
            except Exception:
                # Whatever it is, the next look tells.
                continue
            for item in items:
                metadata = item["metadata"]
                if metadata["namespace"].startswith("bench-"):
                    self.pods.setdefault(metadata["namespace"], {})[metadata["uid"]] = metadata["name"]

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(10)

    def seen(self) -> int:
        return sum(map(len, list(self.pods.values())))

    def of(self, run_id: str) -> set[str]:
        """UIDs of all pods of one run."""
        return {uid for name, pods in self.pods.items() if name.startswith(f"bench-{run_id}-") for uid in pods}


@dataclass
class BenchRun:
    """``python -m benchmarks run`` with a workload of its own."""

    lab: LabStack
    out: Path
    process: subprocess.Popen[str]
    began: float = field(default_factory=time.monotonic)
    said: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, lab: LabStack, folder: Path, out: Path | None = None, **workload: Any) -> BenchRun:
        """Measure ``workload``, a workload file's content, in the background."""
        file = folder / f"workload-{time.monotonic_ns()}.yaml"
        content = {"name": "faulty", "kind": "pods", "image": "litelab/pause:1", "warmups": 0, "repeats": 1}
        file.write_text(yaml.safe_dump({**content, **workload}))
        out = out or folder / "out"
        command = [sys.executable, "-m", "benchmarks", "run", str(file), "--out", str(out)]
        process = subprocess.Popen(
            [*command, "--kubeconfig", str(lab.kubeconfig), "--hosts", str(lab.run_folder / "hosts.json")],
            cwd=PROJECT, env={**os.environ, **lab.env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        run = cls(lab, out, process)
        threading.Thread(target=run._listen, daemon=True).start()
        return run

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line)

    @property
    def output(self) -> str:
        return "".join(self.said)

    def until(self, text: str, seconds: float = 90) -> None:
        """Wait until it has said something."""

        def heard() -> bool | None:
            assert self.process.poll() is None or text in self.output, f"ended before {text!r}:\n{self.output}"
            return text in self.output or None

        wait_for(text, seconds, heard)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float) -> int:
        """Its exit code; it must come by itself, within the limits that it was given and some time for a busy machine."""
        try:
            code = self.process.wait(max(seconds - (time.monotonic() - self.began), 1))
        except subprocess.TimeoutExpired:
            self.process.kill()
            msg = f"it had not ended after {seconds:.0f} s:\n{self.output}"
            raise AssertionError(msg) from None
        assert "Traceback" not in self.output, self.output
        return code

    def result(self) -> Result:
        return load_result(self.out)

    def samples(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "samples.jsonl").read_text().splitlines()]


def counted_once(run: BenchRun, witness: Witness) -> Result:
    """The result, after it was held to what the witness saw: no pod is missing, none is there twice, and no call either."""
    result = run.result()
    repeats = [*result.warmups, *result.repeats]
    pods = [pod.uid for repeat in repeats for pod in repeat.pods]
    assert {uid: count for uid, count in Counter(pods).items() if count > 1} == {}
    assert set(pods) == witness.of(result.run_id), run.output
    samples = run.samples()
    assert Counter(s["uid"] for s in samples if s["kind"] == "pod") == Counter(pods)
    calls = Counter((c.verb, c.object, c.start_ns) for repeat in repeats for c in repeat.calls)
    assert Counter((s["verb"], s["object"], s["start_ns"]) for s in samples if s["kind"] == "call") == calls
    measured = result.repeats
    up = sum(pod.succeeded for repeat in measured for pod in repeat.pods)
    assert result.summary.pods_succeeded == up
    assert result.summary.pods_requested == len(measured) * result.workload.pods
    if measured:
        assert result.summary.success_rate == round(up / result.summary.pods_requested, 6)
    for repeat in repeats:
        assert all(pod.cause for pod in repeat.pods if not pod.succeeded)
    return result
