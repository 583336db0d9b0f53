"""What goes to the hosts of an ``upstream`` lab: programs, CNI plugins and images, in one folder with a manifest."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.setup import images
from tools.setup.cache import key_of, keyed, link, same_file, sha256_of

PACKED = "files.tar.zst"

BUSYBOX_LINKS = (
    "sh",
    "nc",
    "ping",
    "nslookup",
    "sleep",
    "cat",
    "echo",
    "true",
    "ls",
    "httpd",
    "date",
    "dd",
    "hostname",
    "ip",
    "env",
)


def assemble(
    cache: Path, programs: Mapping[str, Path], node: Path, node_pin: Mapping[str, list[str]], names: Mapping[str, str]
) -> Path:
    """A folder of ``bin/``, ``cni/``, ``images/``, ``manifest.json`` (path to SHA-256), which ``provide`` gives a name.

    ``files.tar.zst`` is the three folders as they travel to hosts: packed once, for three hosts and every lab.

    Args:
        cache: the cache folder.
        programs: built programs by name; ``coredns`` and ``pause`` become images.
        node: unpacked files of Debian packages.
        node_pin: package to the paths that are wanted of it.
        names: image to its full name.
    """
    # Each program's folder has its content key in its name.
    key = key_of(
        *(p.parent.name for p in programs.values()),
        node.name,
        str(names),
        str(node_pin),
        Path(images.__file__),
        Path(__file__),
    )

    def make(folder: Path) -> None:
        for part in ("bin", "cni", "images"):
            (folder / part).mkdir()
        for name, program in programs.items():
            if name not in {"coredns", "pause"}:
                same_file(folder / "bin" / name, program)
        for paths in node_pin.values():
            for path in paths:
                source = node / "tree" / path
                if source.is_file() and source.name != "busybox":
                    same_file(folder / ("cni" if "/cni/" in path else "bin") / source.name, source)
        busybox = next(p for p in (node / "tree" / path for path in node_pin["busybox-static"]) if p.is_file())
        machine = platform.machine()
        images.write(folder / "images/pause.tar", names["pause"], {"pause": programs["pause"]}, ["/pause"], machine)
        images.write(
            folder / "images/coredns.tar", names["coredns"], {"coredns": programs["coredns"]}, ["/coredns"], machine
        )
        tools: dict[str, Path | str] = {"bin/busybox": busybox, **{f"bin/{name}": "busybox" for name in BUSYBOX_LINKS}}
        images.write(folder / "images/busybox.tar", names["busybox"], tools, ["sh"], machine)
        manifest = {str(p.relative_to(folder)): sha256_of(p) for p in sorted(folder.rglob("*")) if p.is_file()}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        pack = ["tar", "--create", "--owner=0", "--group=0", "--use-compress-program=zstd -T0 -q"]
        subprocess.run(
            [*pack, f"--file={folder / PACKED}", f"--directory={folder}", "bin", "cni", "images"], check=True
        )

    return keyed(cache / "artifacts", "upstream", key, make)


def provide(cache: Path, made: Path, version: str, *, default: bool) -> None:
    """Name what was assembled: ``<cache>/artifacts/upstream-<version>``, and ``upstream`` where it is the default."""
    link(cache / "artifacts" / f"upstream-{version}", made)
    if default:
        link(cache / "artifacts" / "upstream", made)
