"""Container images without a registry: OCI layouts in a tar, as ``ctr images import`` reads them; same input, same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def layer(files: Mapping[str, Path | str]) -> bytes:
    """A layer: path to a file of this machine, or to the target of a link."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, source in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            if isinstance(source, str):
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, source, 0o777
                tar.addfile(entry)
            else:
                content = source.read_bytes()
                entry.size, entry.mode = len(content), 0o755
                tar.addfile(entry, io.BytesIO(content))
    return raw.getvalue()


def write(target: Path, name: str, files: Mapping[str, Path | str], command: list[str], machine: str) -> None:
    """An image of one layer.

    Args:
        target: the tar to write.
        name: full name with registry and tag.
        files: what is in it; see ``layer``.
        command: its entry point when it is one absolute path, else what runs by default.
        machine: as ``uname -m`` says.
    """
    content = layer(files)
    key = "Entrypoint" if command[0].startswith("/") and len(command) == 1 else "Cmd"
    config = _json(
        {
            "architecture": ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {key: command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(content)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", content)],
        }
    )
    # Without the first annotation, a second import takes over the first one's name.
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
    entry = {**_descriptor("application/vnd.oci.image.manifest.v1+json", manifest), "annotations": names}
    parts = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
    }
    parts |= {f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}": blob for blob in (manifest, config, content)}
    with tarfile.open(target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, blob in parts.items():
            info = tarfile.TarInfo(path)
            info.size = len(blob)
            tar.addfile(info, io.BytesIO(blob))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}
