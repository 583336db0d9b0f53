"""The environment of every program that set-up, ``make``, Pulumi and steps start.

It has three parts: the operator's variables that are on a list, what Litelab sets itself, and what host kinds and
backends declare in ``tools/pins.toml``. Everything else that the operator has exported stays outside.

As a program it needs nothing but Python, and no variable of Python's changes how it runs::

    python3 -I tools/environment.py run COMMAND...    start a program in it
    python3 -I tools/environment.py setup VERB...     the same for python3 -m tools.setup
    python3 -I tools/environment.py lab VERB...       the same for python3 -m tools.lab
    python3 -I tools/environment.py pulumi ...        the same for pulumi; another project's Pulumi is left as it is
    python3 -I tools/environment.py shell             what env.sh evaluates
"""

from __future__ import annotations

import fnmatch
import os
import pwd
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

PROJECT = Path(__file__).resolve().parent.parent
OWN = PROJECT / ".lab"
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""Where labs have their hosts."""
LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")
"""The single address too: not every client reads networks."""

PACKAGE_CLIENTS = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NETRC"),
    *("APT_CONFIG", "XDG_CONFIG_HOME"),
    *("PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_CERT"),
    *("PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_KEYRING_PROVIDER"),
    *("GOPROXY", "GOPRIVATE", "GONOPROXY", "GOINSECURE", "GOAUTH", "GOVCS", "GOENV"),
)
"""How package clients are set up on this machine: indexes, mirrors, authorities. Not what they install, nor where."""
ALLOWED = (
    *("HOME", "USER", "LOGNAME", "SUDO_USER", "XDG_RUNTIME_DIR"),
    *("TERM", "COLORTERM", "NO_COLOR"),
    *("CI", "YES", "DESTROY_ON_FAILURE", "SSH_TIMEOUT_S", "LOCK_TIMEOUT_S", "FAULTS_SEED", "LITELAB_*"),
    *PACKAGE_CLIENTS,
)
INTERNAL = ("LITELAB_RUN", "LITELAB_LAB_ID", "LITELAB_GONE", "LITELAB_FORWARD")
"""What Litelab's scripts tell each other: never the operator's to set."""
NUMBERS = ("COLUMNS", "LINES", "SUDO_UID", "SUDO_GID")
"""Taken when they are numbers."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
OWN_PULUMI = ("PULUMI_BACKEND_URL", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_SKIP_UPDATE_CHECK")


def cache_folder(operator: Mapping[str, str]) -> Path:
    """The cache: ``LITELAB_CACHE``, else ``.cache`` in the checkout."""
    return Path(operator.get("LITELAB_CACHE") or PROJECT / ".cache").resolve()


def clean(operator: Mapping[str, str]) -> dict[str, str]:
    """The environment that Litelab's programs get from an operator who has this one; of a clean one, the same again."""
    cache = cache_folder(operator)
    allowed = (*ALLOWED, *declared())
    found = {name: value for name, value in operator.items() if _is_allowed(name, allowed)}
    found |= {name: operator[name] for name in NUMBERS if operator.get(name, "").isdecimal()}
    if operator.get("PIP_NO_INDEX") and operator.get("PIP_FIND_LINKS"):
        # A mirror in a folder. Alone it would only forbid every download.
        found["PIP_NO_INDEX"] = operator["PIP_NO_INDEX"]
    if _is_usable_folder(operator.get("TMPDIR", "")):
        found["TMPDIR"] = operator["TMPDIR"]
    found |= {
        "PATH": search_path(operator.get("PATH", ""), cache),
        "LITELAB_CACHE": str(cache),
        "LC_ALL": "C.UTF-8",
        # OpenSSH starts proxy commands with it.
        "SHELL": "/bin/sh",
        "PYTHONNOUSERSITE": "1",
        # Pulumi asks Git whether the checkout is changed. As root it would leave the user an index that is root's.
        "GIT_OPTIONAL_LOCKS": "0",
        **proxies(operator, lab_addresses(OWN)),
    }
    return _with_home(found)


def pulumi(operator: Mapping[str, str]) -> dict[str, str]:
    """The same for Pulumi: with its home in the cache, and the checkout's own state and passphrase unless ``site.yaml`` names others."""
    site = site_settings()
    cache = cache_folder(operator)
    return {
        **clean(operator),
        "PULUMI_BACKEND_URL": site.get("backend", f"file://{OWN / 'state'}"),
        "PULUMI_HOME": str(cache / "pulumi-home"),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase_file(site)),
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }


def for_builds(operator: Mapping[str, str]) -> dict[str, str]:
    """The same for downloads and builds, whose temporary files go to the cache's disk: ``/tmp`` may be small, or forbid programs."""
    temporary = cache_folder(operator) / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {**clean(operator), "TMPDIR": str(temporary)}


def enter() -> None:
    """Make this process's own environment clean, and with it that of all it starts."""
    made = clean(os.environ)
    os.environ.clear()
    os.environ.update(made)
    tempfile.tempdir = None


def search_path(given: str, cache: Path) -> str:
    """``PATH``: ours, the operator's without places relative to wherever a program happens to run, and the system's."""
    theirs = (folder for folder in given.split(os.pathsep) if folder.startswith("/"))
    return os.pathsep.join(dict.fromkeys([str(cache / "venv/bin"), str(cache / "bin"), *theirs, *SYSTEM_PATH]))


def proxies(operator: Mapping[str, str], addresses: Sequence[str] = ()) -> dict[str, str]:
    """Proxy variables in both cases, as some clients read only one, with this machine and labs exempt.

    Nothing when there is no proxy, or when ``no_proxy`` is ``*``.
    """
    found = {}
    for name in PROXIES:
        # Lower case first, as curl and Python have it.
        if value := operator.get(name) or operator.get(name.upper()):
            found[name] = value if "://" in value else f"http://{value}"
    exempt = [
        entry for name in ("no_proxy", "NO_PROXY") for entry in re.split(r"[,\s]+", operator.get(name, "")) if entry
    ]
    if not found or "*" in exempt:
        return {}
    found["no_proxy"] = ",".join(dict.fromkeys([*exempt, *LOOPBACK, *PRIVATE_NETWORKS, *addresses]))
    return {form: value for name, value in found.items() for form in (name, name.upper())}


def lab_addresses(own: Path) -> list[str]:
    """Addresses of the hosts of this checkout's labs, which need not be in a private network."""
    found: list[str] = []
    for config in sorted(own.glob("run/*/ssh_config")):
        try:
            text = config.read_text(encoding="utf-8", errors="replace")
        except OSError:
            # Another user's lab.
            continue
        found += re.findall(r"^\s*HostName\s+([^\s,]+)\s*$", text, re.MULTILINE)
    return sorted(set(found) - set(LOOPBACK))


def declared() -> list[str]:
    """Variables that host kinds need, and the backend in use: ``environment`` in ``[needs]`` of ``tools/pins.toml``."""
    import tomllib

    try:
        needs = tomllib.loads((PROJECT / "tools" / "pins.toml").read_text(encoding="utf-8")).get("needs", {})
    except (OSError, ValueError):
        # Set-up says what is wrong with it, and where.
        return []
    backend = site_settings().get("backend", "").partition("://")[0]
    wanted = [*needs.get("hosts", {}).values(), needs.get("backends", {}).get(backend, {})]
    return [name for need in wanted for name in need.get("environment", [])]


def site_settings(path: Path = OWN / "site.yaml") -> dict[str, str]:
    """``backend`` and ``passphraseFile`` of ``.lab/site.yaml``, where they are set.

    They are needed before there is a YAML reader, so each must be one plain line.

    Raises:
        SetupError: one can't be used.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    except UnicodeDecodeError:
        _refuse(f"{_shown(path)} is not text in UTF-8. Save it as UTF-8; then run the same command again.")
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not (given := re.match(r"""["']?(backend|passphraseFile)["']?\s*:(?:\s+(.*))?$""", line)):
            continue
        key, where = given[1], f"{_shown(path)}, line {number}: {given[1]}"
        value = _plain(given[2] or "")
        if value is None:
            _refuse(f"{where}: takes its value as plain text on the same line, such as '{_EXAMPLES[key]}'.")
        if key in found:
            _refuse(f"{where}: is there twice. Keep one of them.")
        if key == "backend" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s]+", value):
            _refuse(f"{where}: takes the address of a Pulumi backend, such as '{_EXAMPLES[key]}', and it is {value!r}.")
        if key == "backend" and value.startswith("file://") and not value.startswith("file:///"):
            _refuse(f"{where}: takes an absolute folder, such as 'file:///srv/litelab', and it is {value!r}.")
        found[key] = value
    return found


_EXAMPLES = {"backend": "backend: s3://my-bucket/litelab", "passphraseFile": "passphraseFile: /etc/litelab/passphrase"}


def _plain(text: str) -> str | None:
    """The value of a YAML scalar on one line; None for any other form, or an empty one."""
    text = text.strip()
    if quoted := re.fullmatch(r"""(?:"([^"\\]+)"|'([^']+)')(?:\s+#.*)?""", text):
        return quoted[1] or quoted[2]
    text = re.sub(r"(^|\s+)#.*$", "", text)
    return text if text and text[0] not in "\"'|>&*{[!%@`?-" and ": " not in text else None


def passphrase_file(site: Mapping[str, str]) -> Path:
    """The file with the passphrase of this checkout's stacks; a relative one is below the project."""
    return PROJECT / Path(site["passphraseFile"]).expanduser() if "passphraseFile" in site else OWN / "passphrase"


def for_shell(operator: Mapping[str, str]) -> Iterator[str]:
    """Commands that give a person's shell what plain Pulumi needs, and leave the rest of it alone."""
    wanted = pulumi(operator)
    cache = Path(wanted["LITELAB_CACHE"])
    ours = [str(cache / "venv/bin"), str(PROJECT / "tools/bin"), str(cache / "bin")]
    given = [folder for folder in operator.get("PATH", "").split(os.pathsep) if folder not in ours]
    path = os.pathsep.join(dict.fromkeys([*ours, *given, *SYSTEM_PATH]))
    forms = [form for name in (*PROXIES, "no_proxy") for form in (name, name.upper())]
    for name in (*OWN_PULUMI, "LITELAB_CACHE", *(form for form in forms if form in wanted)):
        yield f"export {name}={shlex.quote(wanted[name])}"
    yield f"export PATH={shlex.quote(path)}"
    hostile = [name for name in operator if name.startswith(("PULUMI_", "PYTHON")) and name not in OWN_PULUMI]
    hostile += [name for name in forms if name in operator and name not in wanted]
    for name in sorted(hostile):
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield f"unset {name}"


def _is_allowed(name: str, allowed: Sequence[str]) -> bool:
    return name not in INTERNAL and any(fnmatch.fnmatchcase(name, pattern) for pattern in allowed)


def _is_usable_folder(path: str) -> bool:
    return path.startswith("/") and Path(path).is_dir() and os.access(path, os.W_OK | os.X_OK)


def _with_home(found: dict[str, str]) -> dict[str, str]:
    """Who the user is and where their home is, as the machine knows it where the operator's environment does not say."""
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        home, name = "/", str(os.geteuid())
    else:
        home, name = user.pw_dir, user.pw_name
    if not found.get("HOME", "").startswith("/"):
        found["HOME"] = home
    for variable in ("USER", "LOGNAME"):
        found[variable] = found.get(variable) or name
    return found


def _shown(path: Path) -> str:
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


def _refuse(message: str) -> NoReturn:
    from tools.errors import SetupError

    raise SetupError(message)


_PROJECT_FILES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")


def _is_of_this_project(arguments: Sequence[str]) -> bool:
    """Whether Pulumi, called with these arguments from here, works on this checkout's project."""
    folder = Path()
    for number, word in enumerate(arguments):
        if word == "--":
            break
        if word in {"-C", "--cwd"} and number + 1 < len(arguments):
            folder = Path(arguments[number + 1])
        elif found := re.match(r"(?:--cwd=|-C=?)(.+)", word):
            folder = Path(found[1])
    folder = folder.absolute().resolve()
    found_in = next(
        (at for at in (folder, *folder.parents) if any((at / name).is_file() for name in _PROJECT_FILES)), None
    )
    return found_in == PROJECT


def _start(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    # Python ignores these for itself; what it starts must not.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    sys.stdout.flush()
    os.environ.clear()
    os.environ.update(environment)
    try:
        # By the new PATH.
        os.execvp(command[0], list(command))
    except OSError as error:
        print(
            f"error: {command[0]} can't be run: {error.strerror}. 'make doctor' says what is missing.", file=sys.stderr
        )
        sys.exit(127)


def main(arguments: list[str]) -> int:
    """Run one verb; those that start a program do not return."""
    if sys.version_info < (3, 11):  # noqa: UP036 # the first that an older Python sees
        version = ".".join(map(str, sys.version_info[:3]))
        print(
            f"error: Litelab needs Python 3.11 or newer, and python3 is {version} ({sys.executable}). Install a newer one and put it first in PATH.",
            file=sys.stderr,
        )
        return 1
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # A Ctrl-C before the program has started ends this one without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(PROJECT))
    from tools.errors import SetupError

    verb, words = (arguments[0], arguments[1:]) if arguments else ("", [])
    try:
        # Hosts' programs and other users read what is made: what is secret gets its mode by name.
        if verb in {"run", "setup", "lab"} or (verb == "pulumi" and _is_of_this_project(words)):
            os.umask(0o022)
        if verb == "run" and words:
            _start(words, pulumi(os.environ))
        if verb in {"setup", "lab"}:
            os.chdir(PROJECT)
            _start([sys.executable, "-m", f"tools.{verb}", *words], clean(os.environ))
        if verb == "pulumi":
            program = cache_folder(os.environ) / "bin" / "pulumi"
            if not program.exists():
                _refuse(
                    f"There is no Pulumi in {program.parent.parent}. 'make setup' builds it; the first time 'sudo make setup'."
                )
            _start([str(program), *words], pulumi(os.environ) if _is_of_this_project(words) else dict(os.environ))
        if verb == "shell":
            print("\n".join(for_shell(os.environ)))
            return 0
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("usage: environment.py run COMMAND... | setup VERB... | lab VERB... | pulumi ... | shell", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
