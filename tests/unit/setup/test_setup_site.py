"""Set-up behind a proxy and an authority of a site's own: pip, Go and curl are started for real against a local server."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.authority import Authority
from tools import environment
from tools.errors import SetupError
from tools.setup import site


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(Authority().pem)
    return tmp_path / "ca.pem"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path, certificate: tuple[Path, Path]) -> Iterator[str]:
    """A package index on loopback, by https."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: _Quiet(*arguments, directory=str(folder))
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Its address, and the authority that vouches for it."""
    authority = Authority()
    (tmp_path / "its-ca.pem").write_text(authority.pem)
    folder = tmp_path / "www" / "simple" / "litelab-nothing"
    folder.mkdir(parents=True)
    wheel = folder / "litelab_nothing-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr(
            "litelab_nothing-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: litelab-nothing\nVersion: 1\n"
        )
        packed.writestr(
            "litelab_nothing-1.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        packed.writestr("litelab_nothing-1.dist-info/RECORD", "")
    versions = tmp_path / "www" / "example.test" / "nothing" / "@v"
    versions.mkdir(parents=True)
    (versions / "list").write_text("v1.2.3\n")
    (versions / "v1.2.3.info").write_text('{"Version": "v1.2.3"}')
    (versions / "v1.2.3.mod").write_text("module example.test/nothing\n")
    (folder / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    with serving(tmp_path / "www", authority.issue(tmp_path, "127.0.0.1")) as address:
        yield address, tmp_path / "its-ca.pem"


def bare() -> dict[str, str]:
    """The environment without what this machine itself was told of authorities and proxies."""
    told = {
        "SSL_CERT_FILE",
        "PIP_CERT",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "APT_CONFIG",
        "LITELAB_CA",
        *(form for name in (*environment.PROXIES, "no_proxy") for form in (name, name.upper())),
    }
    return {key: value for key, value in os.environ.items() if key not in told and not key.startswith("PIP_")}


def pip(address: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "--isolated",
        "download",
        "--no-deps",
        "--retries",
        "0",
        "--no-cache-dir",
        "-d",
        str(folder),
    ]
    # --isolated takes no variables: the bundle is given as pip would read it.
    certificate = ["--cert", environment["PIP_CERT"]] if "PIP_CERT" in environment else []
    return subprocess.run(
        [*command, *certificate, "--index-url", f"{address}/simple", "litelab-nothing"],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_pip_downloads_only_when_it_was_told_of_the_authority(tmp_path: Path, index: tuple[str, Path]) -> None:
    address, ca = index
    refused = pip(address, tmp_path / "a", bare())
    assert refused.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stdout + refused.stderr
    told = site.trust(tmp_path / "cache", {"LITELAB_CA": str(ca)})
    assert pip(address, tmp_path / "b", {**bare(), **told}).returncode == 0
    assert [p.suffix for p in (tmp_path / "b").iterdir()] == [".whl"]


@pytest.mark.skipif(not shutil.which("go"), reason="no Go here")
def test_go_asks_its_proxy_only_when_it_was_told_of_the_authority(tmp_path: Path, index: tuple[str, Path]) -> None:
    address, ca = index
    told = site.trust(tmp_path / "cache", {"LITELAB_CA": str(ca)})
    go = {"GOPROXY": address, "GOFLAGS": "-mod=mod", "GOSUMDB": "off", "GOTOOLCHAIN": "local", "GOWORK": "off",
          "GOMODCACHE": str(tmp_path / "mod"), "GOCACHE": str(tmp_path / "build")}  # fmt: skip
    command = ["go", "list", "-m", "-versions", "example.test/nothing"]
    (tmp_path / "module").mkdir()
    (tmp_path / "module/go.mod").write_text("module example.test/here\n")

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        environment = {**bare(), **go, **more}
        return subprocess.run(
            command, cwd=tmp_path / "module", env=environment, capture_output=True, text=True, timeout=120
        )

    assert "certificate signed by unknown authority" in run().stderr
    done = run(**told)
    assert done.stdout == "example.test/nothing v1.2.3\n", done.stderr


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
def test_what_reads_the_systems_bundle_is_told_too(tmp_path: Path, index: tuple[str, Path]) -> None:
    address, ca = index
    told = site.trust(tmp_path / "cache", {"LITELAB_CA": str(ca)})
    command = ["curl", "-sS", "-m", "30", "-o", "/dev/null", f"{address}/simple/"]
    assert subprocess.run(command, env=bare(), capture_output=True, timeout=60).returncode == 60
    assert subprocess.run(command, env={**bare(), **told}, capture_output=True, timeout=60).returncode == 0


def test_the_systems_own_authorities_stay_trusted(tmp_path: Path, ca: Path) -> None:
    system = tmp_path / "system.pem"
    system.write_text(Authority().pem)
    told = site.trust(tmp_path / "cache", {"LITELAB_CA": str(ca), "SSL_CERT_FILE": str(system)})
    bundle = Path(told["SSL_CERT_FILE"]).read_text()
    assert system.read_text() in bundle
    assert ca.read_text() in bundle


def test_apt_is_told_in_its_own_file_and_keeps_what_it_was_told_before(tmp_path: Path, ca: Path) -> None:
    told = site.trust(tmp_path / "cache", {"LITELAB_CA": str(ca), "APT_CONFIG": "/etc/apt/mine.conf"})
    content = Path(told["APT_CONFIG"]).read_text()
    assert f'Acquire::https::CAInfo "{told["SSL_CERT_FILE"]}";' in content
    assert '#include "/etc/apt/mine.conf";' in content
    shown = subprocess.run(
        ["apt-config", "dump", "Acquire::https::CAInfo"],
        env={**bare(), "APT_CONFIG": site.trust(tmp_path / "cache", {"LITELAB_CA": str(ca)})["APT_CONFIG"]},
        capture_output=True, text=True, timeout=30,
    ).stdout  # fmt: skip
    assert told["SSL_CERT_FILE"] in shown


def test_without_the_variable_nothing_is_changed(tmp_path: Path) -> None:
    assert site.trust(tmp_path, {}) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("content", "told"), [(None, "can't be read"), ("nothing", "holds no certificate in PEM")])
def test_a_file_that_is_no_authority_is_named_with_the_cure(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(SetupError, match=f"LITELAB_CA names {path}, which {told}.*unset it"):
        site.trust(tmp_path / "cache", {"LITELAB_CA": str(path)})
