"""The API of a cluster whose hosts are reached through another machine: its kubeconfig, and that every client verifies by it."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import api
import forward
import pytest
import yaml
from kubernetes import client, config

from benchmarks.kube.connection import Connection
from benchmarks.model.outcome import MeasurementError
from components.places import PROJECT, cache_folder
from components.steps.scripts import scripts_of

THROUGH = "ssh://me@big.example"
ADDRESS = "10.87.3.11"
KUBECTL = cache_folder() / "artifacts/upstream/bin/kubernetes"


def script(part: str, file: str, name: str) -> ModuleType:
    """A script as a module; dataclasses look it up by its name."""
    spec = importlib.util.spec_from_file_location(name, scripts_of(part) / file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


pki = script("upstream", "pki.py", "litelab_pki_of_forwards")


def kubeconfig(*servers: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "host-1",
        "users": [{"name": "admin", "user": {"client-key-data": "KEY"}}],
        "clusters": [
            {"name": f"host-{n}", "cluster": {"server": s, "certificate-authority-data": "CA"}}
            for n, s in enumerate(servers, start=1)
        ],
        "contexts": [{"name": "host-1", "context": {"cluster": "host-1", "user": "admin"}}],
    }


class TestRewriting:
    def test_each_server_is_a_port_of_loopback_checked_for_its_own_address(self) -> None:
        ports = {"10.87.3.11:6443": 20001, "10.87.3.12:6443": 20002}
        found = api.through_ways(kubeconfig("https://10.87.3.11:6443", "https://10.87.3.12:6443"), ports.__getitem__)
        assert [c["cluster"] for c in found["clusters"]] == [
            {"server": "https://127.0.0.1:20001", "certificate-authority-data": "CA", "tls-server-name": "10.87.3.11"},
            {"server": "https://127.0.0.1:20002", "certificate-authority-data": "CA", "tls-server-name": "10.87.3.12"},
        ]

    def test_nothing_else_changes(self) -> None:
        given = kubeconfig("https://10.87.3.11:6443")
        found = api.through_ways(given, lambda _: 20001)
        assert {k: v for k, v in found.items() if k != "clusters"} == {
            k: v for k, v in given.items() if k != "clusters"
        }
        assert given == kubeconfig("https://10.87.3.11:6443")

    def test_a_name_that_the_cluster_gave_itself_stays_and_so_does_a_path(self) -> None:
        given = kubeconfig("https://10.87.3.11/k8s")
        given["clusters"][0]["cluster"]["tls-server-name"] = "api.example"
        asked: list[str] = []
        (found,) = api.through_ways(given, lambda target: asked.append(target) or 20001)["clusters"]  # type: ignore[func-returns-value]
        assert found["cluster"]["server"] == "https://127.0.0.1:20001/k8s"
        assert found["cluster"]["tls-server-name"] == "api.example"
        assert asked == ["10.87.3.11:443"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lab's run folder, beside an ssh that goes nowhere."""
    monkeypatch.setenv("PATH", f"{PROJECT / 'tests/doubles/ssh'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("THROUGH", THROUGH)
    monkeypatch.setattr(api, "RUN", tmp_path / "run" / "x-lab")
    api.RUN.mkdir(parents=True)
    yield api.RUN
    forward.close_all(api.RUN)


class TestStep:
    def step(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *servers: str) -> list[str]:
        """The servers that it prints for these."""
        monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(kubeconfig(*servers))))
        assert api.main(["create"]) == 0
        return [c["cluster"]["server"] for c in json.loads(capsys.readouterr().out)["clusters"]]

    def test_again_it_prints_the_same(
        self, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        servers = ("https://10.87.3.11:6443", "https://10.87.3.12:6443", "https://10.87.3.11:6443")
        first = self.step(monkeypatch, capsys, *servers)
        assert first == self.step(monkeypatch, capsys, *servers)
        assert len(set(first)) == 2
        assert forward.names(run) == ["api-10.87.3.11-6443", "api-10.87.3.12-6443"]

    def test_a_server_that_is_gone_has_no_way_any_more_and_hosts_keep_theirs(
        self, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        forward.opened(run, "host-1", THROUGH, "10.87.3.11:22")
        self.step(monkeypatch, capsys, "https://10.87.3.11:6443", "https://10.87.3.12:6443")
        self.step(monkeypatch, capsys, "https://10.87.3.12:6443")
        assert forward.names(run) == ["api-10.87.3.12-6443", "host-1"]
        assert api.main(["delete"]) == 0
        assert forward.names(run) == ["host-1"]

    @pytest.mark.usefixtures("run")
    def test_why_it_can_not_be_opened_is_one_paragraph(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FAKE_SSH_SAYS", "Host key verification failed.")
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(kubeconfig("https://10.87.3.11:6443"))))
        assert api.main(["create"]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(
            "error: big.example's ssh host key is not known here, and nothing was sent to it. Log in once with"
        )


class _Version(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(
            {
                "major": "1",
                "minor": "34",
                "gitVersion": "v1.35.4",
                "gitCommit": "",
                "gitTreeState": "",
                "buildDate": "",
                "goVersion": "",
                "compiler": "",
                "platform": "",
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Kubeconfigs for a server on loopback whose certificate is for the address behind: one as made for it, one for another server."""
    folder = tmp_path_factory.mktemp("server")
    ca = pki.authority("ca")
    pair = pki.issue(ca, "kube-apiserver", None, (ADDRESS,))
    (folder / "server.pem").write_text(pair.crt + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Version)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, address in (("right", ADDRESS), ("wrong", "10.87.3.99")):
        given = yaml.safe_load(
            pki.kubeconfig("x", f"https://{address}:6443", ca, "admin", pki.issue(ca, "admin", "system:masters"))
        )
        text = json.dumps(api.through_ways(given, lambda _: server.server_address[1]))
        (folder / name).write_text(text)
    yield folder / "right", folder / "wrong"
    server.shutdown()


class TestClients:
    """That of ours, the Python package's and stock kubectl check the certificate for the address behind, and refuse another."""

    def test_what_measures_takes_it(self, reached: tuple[Path, Path]) -> None:
        async def ask(path: Path) -> str:
            async with await Connection.open(path) as connection:
                return str((await connection.require_answer())["gitVersion"])

        assert asyncio.run(ask(reached[0])) == "v1.35.4"
        with pytest.raises(MeasurementError):
            asyncio.run(ask(reached[1]))

    def test_the_python_package_takes_it(self, reached: tuple[Path, Path]) -> None:
        def ask(path: Path) -> str:
            with config.new_client_from_config(str(path)) as found:  # type: ignore[no-untyped-call]
                return str(client.VersionApi(found).get_code(_request_timeout=20).git_version)

        assert ask(reached[0]) == "v1.35.4"
        with pytest.raises(Exception, match="certificate"):
            ask(reached[1])

    @pytest.mark.skipif(not KUBECTL.exists(), reason="set-up has not built kubectl")
    def test_kubectl_takes_it(self, reached: tuple[Path, Path]) -> None:
        def ask(path: Path) -> subprocess.CompletedProcess[str]:
            command = ["kubectl", "--kubeconfig", str(path), "--request-timeout=20s", "get", "--raw", "/version"]
            return subprocess.run(command, executable=KUBECTL, capture_output=True, text=True, check=False, timeout=60)

        assert '"gitVersion": "v1.35.4"' in ask(reached[0]).stdout
        assert "not 10.87.3.99" in ask(reached[1]).stderr
