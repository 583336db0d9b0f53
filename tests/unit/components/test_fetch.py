"""What hosts get: whole, the right one, and known by who vouches for it."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.steps import scripts

CONTENT = b"a program\n" * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A vendor's site on loopback: what it has, and how many first answers it cuts off in the middle."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def vendor() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.headers.get("Range", "all"))
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.cuts:
                state.cuts -= 1
                body = body[: len(body) // 2]
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()


@dataclass
class Lab:
    """A stack's run folder with the script in it."""

    project: Path
    cache: Path

    def fetch(self, *files: dict[str, str], own: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        script = self.project / ".lab/run/x-lab/part-0123456789ab/fetch.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        for source in (scripts.scripts_of("clusters") / "fetch.py", scripts.scripts_of("catalog") / "download.py"):
            shutil.copy(source, script.parent)
        blank = {"kind": "file", "name": "tool", "sha256": "", "proof": "", "rename": ""}
        request = {"part": "part", "version": "v1", "own": own, "files": [{**blank, **f} for f in files]}
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        return subprocess.run(
            ["python3", str(script), "create"],
            input=json.dumps(request), capture_output=True, text=True, timeout=120,
            env={**environment, "LITELAB_CACHE": str(self.cache)},
        )  # fmt: skip

    @property
    def list(self) -> str:
        return (self.project / ".lab/run/x-lab/part.list").read_text()

    def blob(self, digest: str) -> bytes:
        return (self.cache / "blobs" / digest).read_bytes()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "checkout", tmp_path / "cache")


def told(done: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    assert done.returncode == 0, done.stderr
    files: list[dict[str, str]] = json.loads(done.stdout)["files"]
    return files


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


class TestDownloads:
    def test_a_pinned_file_is_taken_and_said_to_be_pinned(self, lab: Lab, vendor: Server) -> None:
        vendor.files["/tool"] = CONTENT
        files = told(lab.fetch({"source": f"{vendor.address}/tool", "sha256": DIGEST, "proof": "pinned"}))
        assert files == [{"name": "tool", "sha256": DIGEST, "proof": "pinned"}]
        assert lab.blob(DIGEST) == CONTENT
        assert lab.list == f"version v1\nfile tool {DIGEST}\n"

    def test_a_second_time_asks_nobody(self, lab: Lab, vendor: Server) -> None:
        vendor.files["/tool"] = CONTENT
        for _ in range(2):
            told(lab.fetch({"source": f"{vendor.address}/tool", "sha256": DIGEST, "proof": "pinned"}))
        assert len(vendor.asked) == 1

    def test_another_content_is_refused_and_nothing_of_it_is_kept(self, lab: Lab, vendor: Server) -> None:
        vendor.files["/tool"] = b"another program"
        message = refusal(lab.fetch({"source": f"{vendor.address}/tool", "sha256": DIGEST, "proof": "pinned"}))
        assert f"it must have {DIGEST}" in message
        assert list((lab.cache / "blobs").iterdir()) == []

    def test_a_cut_download_is_taken_up_where_it_ended(self, lab: Lab, vendor: Server) -> None:
        vendor.files["/tool"], vendor.cuts = CONTENT, 1
        told(lab.fetch({"source": f"{vendor.address}/tool", "sha256": DIGEST, "proof": "pinned"}))
        assert vendor.asked == ["all", f"bytes={len(CONTENT) // 2}-"]

    def test_a_server_that_never_gets_to_the_end_is_given_up_in_one_paragraph(self, lab: Lab, vendor: Server) -> None:
        vendor.files["/tool"], vendor.cuts = CONTENT, 99
        message = refusal(lab.fetch({"source": f"{vendor.address}/tool"}))
        assert "could not be downloaded (4 tries)" in message
        assert "the connection ended" in message
        assert list((lab.cache / "blobs").iterdir()) == []

    def test_a_file_that_is_not_there_is_not_asked_for_again(self, lab: Lab, vendor: Server) -> None:
        assert "404" in refusal(lab.fetch({"source": f"{vendor.address}/tool"}))
        assert len(vendor.asked) == 1


class TestFirstUse:
    def test_what_nobody_vouches_for_is_recorded_and_held_to(self, lab: Lab, vendor: Server) -> None:
        vendor.files["/tool"] = CONTENT
        assert told(lab.fetch({"source": f"{vendor.address}/tool"}))[0]["proof"] == "first use"
        assert json.loads((lab.project / ".lab/artifacts.lock").read_text()) == {f"{vendor.address}/tool": DIGEST}
        shutil.rmtree(lab.cache)
        vendor.files["/tool"] = b"exchanged meanwhile"
        assert f"it must have {DIGEST}" in refusal(lab.fetch({"source": f"{vendor.address}/tool"}))

    def test_a_refused_file_is_not_recorded(self, lab: Lab, vendor: Server) -> None:
        refusal(lab.fetch({"source": f"{vendor.address}/tool"}))
        assert not (lab.project / ".lab/artifacts.lock").exists()


class TestLocalFiles:
    def test_a_relative_path_starts_at_the_project(self, lab: Lab) -> None:
        lab.project.mkdir()
        (lab.project / "tool").write_bytes(CONTENT)
        assert told(lab.fetch({"source": "tool", "sha256": DIGEST, "proof": "local"}))[0]["sha256"] == DIGEST

    def test_a_file_that_changed_since_it_was_looked_at_is_refused(self, lab: Lab, tmp_path: Path) -> None:
        (tmp_path / "tool").write_bytes(b"changed")
        source = str(tmp_path / "tool")
        assert "must have" in refusal(lab.fetch({"source": source, "sha256": DIGEST, "proof": "local"}))


def docker_tar(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w") as tar:
        manifest = json.dumps([{"Config": "c.json", "RepoTags": [name], "Layers": []} for name in names]).encode()
        for name, data in (("c.json", b"{}"), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def image(lab: Lab, tmp_path: Path) -> Callable[[list[str]], subprocess.CompletedProcess[str]]:
    def fetch(names: list[str]) -> subprocess.CompletedProcess[str]:
        docker_tar(tmp_path / "image.tar", names)
        entry = {"kind": "image", "name": "image", "source": str(tmp_path / "image.tar"), "rename": "r.example/a:2"}
        return lab.fetch(entry)

    return fetch


class TestImages:
    def test_an_image_gets_the_name_that_the_lab_says(
        self, lab: Lab, image: Callable[[list[str]], subprocess.CompletedProcess[str]]
    ) -> None:
        digest = told(image(["b:1"]))[0]["sha256"]
        with tarfile.open(fileobj=io.BytesIO(lab.blob(digest))) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            assert json.load(manifest)[0]["RepoTags"] == ["r.example/a:2"]

    def test_renaming_twice_gives_the_same_bytes(
        self, image: Callable[[list[str]], subprocess.CompletedProcess[str]]
    ) -> None:
        assert told(image(["b:1"])) == told(image(["b:1"]))

    def test_a_tar_of_two_images_has_no_one_name(
        self, image: Callable[[list[str]], subprocess.CompletedProcess[str]]
    ) -> None:
        assert "no tar of one container image" in refusal(image(["b:1", "c:1"]))

    def test_a_missing_image_of_set_up_says_how_to_make_it(self, lab: Lab) -> None:
        assert "make setup" in refusal(lab.fetch(own=("pause",)))
