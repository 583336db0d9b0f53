"""The proxy and the authority of the place where this machine stands, for everything that set-up downloads.

Proxies are the usual variables (``http_proxy``, ``https_proxy``, ``no_proxy``), which every client reads itself.
``LITELAB_CA`` names a PEM file of authorities to trust beside the system's; each client is told of both in its own way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tools.errors import SetupError

SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
BUNDLE = "LITELAB_CA_BUNDLE"
"""Where the bundle is, for what takes it neither from a variable nor from apt's configuration."""


def trust(cache: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to the environment so that every download trusts the authorities in ``LITELAB_CA``; nothing without it.

    Go reads ``SSL_CERT_FILE``, pip ``PIP_CERT``, Python's clients ``REQUESTS_CA_BUNDLE``, apt a configuration file.

    Raises:
        SetupError: the file can't be read or holds no certificate.
    """
    named = environment.get("LITELAB_CA", "")
    if not named:
        return {}
    try:
        own = Path(named).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        msg = f"LITELAB_CA names {named}, which can't be read: {why}. Name a PEM file of certificates, or unset it."
        raise SetupError(msg) from error
    if "-----BEGIN CERTIFICATE-----" not in own:
        msg = f"LITELAB_CA names {named}, which holds no certificate in PEM ('-----BEGIN CERTIFICATE-----'). Name the authority's own file, or unset it."
        raise SetupError(msg)
    system = next(
        (
            Path(p)
            for p in (environment.get("SSL_CERT_FILE", ""), *SYSTEM_BUNDLES)
            if p and Path(p).is_file() and Path(p) != cache / "trust" / "bundle.pem"
        ),
        None,
    )
    known = system.read_text(encoding="utf-8").rstrip("\n") + "\n" if system else ""
    folder = cache / "trust"
    bundle = _write(folder / "bundle.pem", known + own)
    # apt reads one such file; a person's own stays in force.
    before = environment.get("APT_CONFIG", "")
    include = f'#include "{before}";\n' if before and before != str(folder / "apt.conf") else ""
    apt = _write(folder / "apt.conf", f'{include}Acquire::https::CAInfo "{bundle}";\n')
    return {
        BUNDLE: str(bundle),
        "SSL_CERT_FILE": str(bundle),
        "PIP_CERT": str(bundle),
        "REQUESTS_CA_BUNDLE": str(bundle),
        "CURL_CA_BUNDLE": str(bundle),
        "APT_CONFIG": str(apt),
    }


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    # apt's downloads run as a user of its own.
    temporary.chmod(0o644)
    temporary.replace(path)
    return path
