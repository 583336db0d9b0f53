"""An operator whose shell holds the worst that it may: doctor, set-up, a preview and a benchmark do what they do in a clean one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.apiserver import ApiServer, serving
from tools import environment, places
from tools.lab import stacks

PROJECT = places.PROJECT
_TOOLS = [f"{sys.base_prefix}/bin", *([str(Path(go).parent)] if (go := shutil.which("go")) else []), "/usr/bin", "/bin"]
CLEAN = {
    "PATH": ":".join(_TOOLS),
    "HOME": os.environ.get("HOME", "/root"),
    "LITELAB_CACHE": str(places.cache()),
}


class Hostile:
    """Variables that break, or mislead, whatever reads them; what they name leaves a mark where it is run or written to."""

    def __init__(self, folder: Path) -> None:
        self.mark = folder / "mark"
        self.elsewhere = folder / "elsewhere"
        module, shell, home, go = folder / "modules", folder / "shell.sh", folder / "home", folder / "nothing"
        module.mkdir()
        for name in ("json", "sitecustomize", "pulumi", "yaml"):
            (module / f"{name}.py").write_text(
                f"open({str(self.mark)!r}, 'a').write('{name} ')\nraise SystemExit('hostile')\n"
            )
        shell.write_text(f"echo shell >>'{self.mark}'\nexit 66\n")
        for path, text in {
            ".config/pip/pip.conf": f"[install]\nuser = true\ntarget = {self.elsewhere}\n[global]\nrequire-virtualenv = true\nno-binary = :all:\n",
            ".config/go/env": "GOOS=plan9\nGOFLAGS=-mod=vendor\nCGO_ENABLED=1\n",
            ".pulumi/credentials.json": "not JSON",
            ".ssh/config": "Host *\n  ProxyCommand false\n",
        }.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text)
        self.groups: dict[str, dict[str, str]] = {
            "python": {
                "PYTHONPATH": str(module), "PYTHONHOME": str(go), "PYTHONSTARTUP": str(shell), "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2",
                "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "none", "PYTHONHASHSEED": "x", "PYTHONMALLOC": "x", "PYTHONINSPECT": "1",
                "PYTHONPLATLIBDIR": "x", "PYTHONTRACEMALLOC": "x", "VIRTUAL_ENV": str(go), "PYTEST_ADDOPTS": "--bogus",
            },
            "pip": {
                "PIP_USER": "1", "PIP_TARGET": str(self.elsewhere), "PIP_PREFIX": str(self.elsewhere), "PIP_ROOT": str(self.elsewhere),
                "PIP_REQUIRE_VIRTUALENV": "1", "PIP_NO_BINARY": ":all:", "PIP_CONSTRAINT": str(go), "PIP_PYTHON": str(go), "PIP_DRY_RUN": "1",
                "PIP_LOG": str(self.elsewhere / "log"), "PIP_CACHE_DIR": str(self.elsewhere), "PIP_PLATFORM": "win32", "PIP_REPORT": str(self.mark),
            },
            "go": {
                "GOFLAGS": "-mod=vendor", "GOOS": "plan9", "GOARCH": "mips", "GOPATH": str(go), "GOWORK": str(go), "GO111MODULE": "off",
                "GOTOOLCHAIN": "go1.99.0", "GOROOT": str(go), "GOBIN": str(go), "CGO_ENABLED": "1", "CC": "false", "GOEXPERIMENT": "none",
                "GODEBUG": "x=1", "GOTMPDIR": str(go), "GOCACHE": str(go), "GOMODCACHE": str(go), "GOAMD64": "v9", "GOMAXPROCS": "x",
            },
            "git": {"GIT_DIR": str(go), "GIT_WORK_TREE": str(go), "GIT_CONFIG_GLOBAL": str(shell), "GIT_CONFIG_COUNT": "x", "GIT_EXEC_PATH": str(go)},
            "pulumi": {
                "PULUMI_CONFIG_PASSPHRASE": "", "PULUMI_CONFIG_PASSPHRASE_FILE": str(go), "PULUMI_BACKEND_URL": "s3://none", "PULUMI_HOME": str(home),
                "PULUMI_STACK": "none", "PULUMI_ACCESS_TOKEN": "x", "PULUMI_PARALLEL": "x", "PULUMI_CONFIG": "x", "PULUMI_PYTHON_CMD": "false",
                "PULUMI_ENABLE_LEGACY_PLUGIN_SEARCH": "true", "PULUMI_DEBUG_PROVIDERS": "command:1", "PULUMI_OPTION_PARALLEL": "x", "PULUMI_RUN_PROGRAM": "x",
            },
            "kubernetes": {"KUBECONFIG": str(shell), "KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "1", "KUBERNETES_MASTER": "x"},
            "openssh": {
                "SSH_AUTH_SOCK": str(go), "SSH_ASKPASS": str(shell), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":99", "SSH_AGENT_PID": "1",
            },
            "locale": {"LANG": "tr_TR.UTF-8", "LC_ALL": "xx", "LANGUAGE": "tr", "LC_NUMERIC": "de_DE.UTF-8", "TZ": "x/y", "COLUMNS": "x"},
            "make": {"MAKEFLAGS": "e -j4", "MAKELEVEL": "3", "MFLAGS": "-j4", "MAKEFILES": str(go), "SETUP": "false", "RUN": "false", "STACK": "none"},
            "shell": {
                "BASH_ENV": str(shell), "ENV": str(shell), "CDPATH": ".:..:/", "POSIXLY_CORRECT": "1", "GREP_OPTIONS": "-v", "TAR_OPTIONS": "--bogus",
                "SHELL": "/bin/false", "TMPDIR": str(go), "IFS": "/", "HOST": "laptop", "NAME": "wsl", "CMD": f"touch '{self.mark}'", "JSON": "",
                "BASH_FUNC_ssh%%": f"() {{ touch '{self.mark}'; }}", "LD_LIBRARY_PATH": str(go), "OPENSSL_CONF": str(go), "SUDO_UID": "x",
            },
            "proxies": {"http_proxy": "127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9", "grpc_proxy": "127.0.0.1:9"},
        }  # fmt: skip
        self.everything = {
            **{name: value for group in self.groups.values() for name, value in group.items()},
            "HOME": str(home), "PATH": CLEAN["PATH"], "LITELAB_CACHE": CLEAN["LITELAB_CACHE"],
        }  # fmt: skip

    def left_no_mark(self) -> None:
        assert not self.mark.exists(), self.mark.read_text()
        assert not self.elsewhere.exists()


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    return Hostile(tmp_path)


def said(command: list[str], operator: dict[str, str], folder: Path = PROJECT) -> str:
    done = subprocess.run(
        command, cwd=folder, env=operator, capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


GROUPS = "python pip go git pulumi kubernetes openssh locale make shell proxies".split()  # noqa: SIM905 # read as a list


@pytest.mark.parametrize("group", GROUPS)
def test_a_program_gets_nothing_of_it(hostile: Hostile, group: str) -> None:
    """By make's own way of starting programs, and by what ``env.sh`` puts in front of Pulumi."""
    assert set(hostile.groups) == set(GROUPS)
    command = ["python3", "-I", "tools/environment.py", "run", "env", "-0"]
    plain = said(command, CLEAN)
    found = dict(line.split("=", 1) for line in said(command, {**CLEAN, **hostile.groups[group]}).split("\0") if line)
    expected = dict(line.split("=", 1) for line in plain.split("\0") if line)
    proxies = {form for name in (*environment.PROXIES, "no_proxy") for form in (name, name.upper())}
    passed = {"SSH_AUTH_SOCK"} | (proxies if group == "proxies" else set())
    assert {name: value for name, value in found.items() if name not in passed} == expected


def test_make_takes_every_setting_from_its_command_line_alone() -> None:
    text = (PROJECT / "Makefile").read_text()
    listed = set(text.partition("override TAKEN := ")[2].partition("\n")[0].split())
    own = {"SETUP", "LABS", "RUN", "TAKEN", "BY_LAB", "GOALS", "KNOWN", "STRANGE", "TARGETS", "MAKECMDGOALS"}
    used = set(re.findall(r"\$\((?:if |or |value |origin )?([A-Z][A-Z_]*)\b", text))
    assert used == listed | own
    assert {name for name in own if f"override {name} :=" in text} == own - {"MAKECMDGOALS"}
    assert "$(foreach name,$(TAKEN),$(if $(filter environment%" in text


@pytest.mark.parametrize(
    ("words", "exported", "told"),
    [
        ("destroy", {"STACK": "my"}, "STACK is in the environment, and make takes it from its command line alone: 'make destroy STACK=my'"),
        ("status", {"STACK": "my"}, "'make status STACK=my', or 'unset STACK'"),
        ("destroy STAKC=my", {}, "there is no setting STAKC="),
        ("lab stack=my", {}, "there is no setting stack="),
        ("destroy k0s-lab", {}, "there is no target k0s-lab; 'make help' lists them. A lab is named by STACK=, as in 'make destroy STACK=k0s-lab'"),
        ("k0s-lab", {}, "as in 'make status STACK=k0s-lab'"),
        ("status STACK=", {}, "STACK= names no stack"),
    ],
)  # fmt: skip
def test_a_word_that_was_meant_to_choose_a_lab_is_refused_before_anything_is_done(
    words: str, exported: dict[str, str], told: str
) -> None:
    done = subprocess.run(
        ["make", *words.split()], cwd=PROJECT, env={**CLEAN, **exported}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert told in done.stderr
    assert "Nothing was done" in done.stderr


@pytest.mark.parametrize(
    ("words", "exported", "runs"),
    [
        ("destroy STACK=my", {"STACK": "other"}, "destroy my"),
        ("doctor", {"STACK": "other"}, "doctor"),
        ("lab YES=1 LITELAB_CACHE=/x GOPROXY=off", {}, "lab upstream-lab"),
        ("lab HOST=host-2", {"HOST": "machine", "NAME": "x"}, "lab upstream-lab"),
    ],
)
def test_what_make_takes_is_taken(words: str, exported: dict[str, str], runs: str) -> None:
    done = said(["make", "-n", *words.split()], {**CLEAN, **exported})
    assert done.splitlines()[-1].strip().endswith(runs)


def test_doctor_finds_the_same(hostile: Hostile) -> None:
    def found(operator: dict[str, str]) -> dict[str, Any]:
        doctor = json.loads(said(["make", "-s", "doctor", "JSON=1"], operator))
        # What is reached through a proxy depends on the proxy.
        sites = {"Go modules", "Python packages", "Debian mirror"}
        return {entry["name"]: entry["ok"] for entry in doctor["findings"] if entry["name"] not in sites}

    assert found({**hostile.everything, **dict.fromkeys(hostile.groups["proxies"], "")}) == found(CLEAN)
    hostile.left_no_mark()


SET_UP = """
import json, sys, tomllib
from tools import places
from tools.setup import gobuild, venv
from tools.setup.cache import sha256_of
from tools.progress import Progress
cache, pins = places.cache(), tomllib.loads((places.TOOLS / "pins.toml").read_text())["go"]
progress = Progress(cache)
folder = venv.ensure(cache, ("runtime",), progress) if "packages" in sys.argv else cache
go = gobuild.Go(cache, pins["minimum"], progress)
program = gobuild.build(cache, go, "pause", pins["programs"]["pause"], progress)
brought = [path.name for path in folder.glob("lib/python3*/site-packages/litelab*")]
print(json.dumps({"program": [program.parent.parent.name, sha256_of(program)], "brought": brought}))
"""


def _wheel(folder: Path) -> str:
    """A package with nothing in it, and the lock that pins it."""
    folder.mkdir()
    path = folder / "litelab_nothing-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: litelab-nothing\nVersion: 1\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            packed.writestr(f"litelab_nothing-1.dist-info/{name}", text)
    return f"litelab-nothing==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.mark.slow
def test_set_up_makes_the_same_environment_and_the_same_program(hostile: Hostile, tmp_path: Path) -> None:
    """In a checkout and a cache of its own, with Go's own caches from the real one: a virtual environment, and a build."""
    real = places.cache()
    if not (shutil.which("go", path=CLEAN["PATH"]) or any((real / "built").glob("go-*"))):
        pytest.skip("no Go here: set-up has not run")

    def made(name: str, operator: dict[str, str], *what: str) -> dict[str, Any]:
        checkout, cache = tmp_path / name, tmp_path / f"{name}-cache"
        shutil.copytree(PROJECT / "tools", checkout / "tools")
        (checkout / "tools/locks/runtime.txt").write_text(_wheel(checkout / "wheels"))
        (cache / "built").mkdir(parents=True)
        (cache / "go").symlink_to(real / "go")
        for toolchain in (real / "built").glob("go-*"):
            (cache / "built" / toolchain.name).symlink_to(toolchain)
        if operator is not CLEAN and os.geteuid() == 0 and shutil.which("git"):
            # go asks git for the commit to note in a program, and git refuses root a clone of another user.
            subprocess.run(["git", "init", "-q", checkout], check=True, timeout=20)
            for path in (checkout, checkout / ".git"):
                os.chown(path, 65534, 65534)
        # How this machine's pip is set up: a folder, and nothing else.
        client = {"PIP_FIND_LINKS": str(checkout / "wheels"), "PIP_NO_INDEX": "1", "LITELAB_CACHE": str(cache)}
        command = ["python3", "-I", "tools/environment.py", "run", "python3", "-c", SET_UP, *what]
        result: dict[str, Any] = json.loads(said(command, {**operator, **client}, checkout))
        return result

    found = made("hostile", hostile.everything, "packages")
    assert found["brought"] == ["litelab_nothing-1.dist-info"]
    assert found["program"] == made("clean", CLEAN)["program"]
    hostile.left_no_mark()


@pytest.mark.slow
@pytest.mark.skipif(not stacks.exists("upstream-lab"), reason="there is no stack: set-up has not run here")
def test_plain_pulumi_previews_the_same(hostile: Hostile) -> None:
    def preview(operator: dict[str, str]) -> Any:
        shown = json.loads(
            said(["sh", "-c", ". ./env.sh; pulumi preview --stack upstream-lab --json --non-interactive"], operator)
        )
        return sorted((step["op"], step["urn"]) for step in shown["steps"]), shown["changeSummary"]

    # No shell reads this one in a script; where a shell does, it is lost before any file of ours is read.
    operator = {name: value for name, value in hostile.everything.items() if name != "ENV"}
    assert preview(operator) == preview(CLEAN)
    hostile.left_no_mark()


@pytest.mark.slow
def test_a_benchmark_measures_every_pod(hostile: Hostile, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("name: small\nkind: pods\nclients: 2\nimage: i\nwarmups: 0\nrepeats: 1\n")

    async def measured() -> tuple[int, bytes]:
        async with serving(ApiServer(), tmp_path / "kubeconfig"):
            process = await asyncio.create_subprocess_exec(
                "python3", "-I", "tools/environment.py", "run", "python3", "-m", "benchmarks", "run", str(tmp_path / "small.yaml"),
                "--kubeconfig", str(tmp_path / "kubeconfig"), "--out", str(tmp_path / "out"),
                cwd=PROJECT, env=hostile.everything, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            output, _ = await asyncio.wait_for(process.communicate(), 120)
            return process.returncode or 0, output

    code, output = asyncio.run(measured())
    assert code == 0, output.decode()
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["outcome"]["verdict"] == "good", summary
    hostile.left_no_mark()
