"""The environment of everything that Litelab starts: what an operator's variables can't change, and which ones pass on purpose."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tools import environment
from tools.errors import SetupError
from tools.setup import gobuild, pip

HOSTILE = {
    "Python": "PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONOPTIMIZE PYTHONSAFEPATH PYTHONIOENCODING PYTHONHASHSEED VIRTUAL_ENV",
    "pip": "PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV PIP_NO_BINARY PIP_PRE PIP_CONSTRAINT PIP_DRY_RUN PIP_NO_INDEX",
    "Go": "GOFLAGS GOOS GOARCH GOPATH GOWORK GO111MODULE GOTOOLCHAIN GOBIN GOROOT CGO_ENABLED CC GOEXPERIMENT GODEBUG GOTMPDIR GOCACHE GOAMD64",
    "Git": "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_CONFIG_GLOBAL GIT_CONFIG_COUNT",
    "Pulumi": "PULUMI_CONFIG_PASSPHRASE PULUMI_BACKEND_URL PULUMI_HOME PULUMI_STACK PULUMI_ACCESS_TOKEN PULUMI_PARALLEL PULUMI_PYTHON_CMD PULUMI_CONFIG",
    "Kubernetes": "KUBECONFIG KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBECTL_EXTERNAL_DIFF",
    "OpenSSH": "SSH_ASKPASS SSH_ASKPASS_REQUIRE DISPLAY WAYLAND_DISPLAY SSH_AGENT_PID SSH_CONNECTION SSH_ORIGINAL_COMMAND",
    "locale": "LANG LANGUAGE LC_CTYPE LC_NUMERIC LC_MESSAGES TZ",
    "make": "MAKEFLAGS MAKELEVEL MFLAGS MAKEFILES MAKEOVERRIDES",
    "shell": "BASH_ENV ENV CDPATH IFS SHELLOPTS BASHOPTS GREP_OPTIONS POSIXLY_CORRECT TAR_OPTIONS GZIP XZ_OPT LS_COLORS PS4 BASH_FUNC_ssh%%",
    "loader": "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT GCONV_PATH OPENSSL_CONF HOSTALIASES RES_OPTIONS",
    "systemd": "SYSTEMD_LOG_LEVEL SYSTEMD_PAGER SYSTEMD_COLORS NOTIFY_SOCKET",
    "others": "HOST ROLE SUBNET PREFIX INTERNET CONTEXTS NODES JOIN_S PYTEST_ADDOPTS DOCKER_HOST AWS_PROFILE GRPC_PROXY SOURCE_DATE_EPOCH ZSTD_CLEVEL LITELAB_RUN LITELAB_LAB_ID LITELAB_GONE",
}


@pytest.mark.parametrize("name", [name for names in HOSTILE.values() for name in names.split()])
def test_what_was_exported_for_other_purposes_reaches_no_program(name: str) -> None:
    made = environment.pulumi({"PATH": "/bin", name: "/hostile"})
    assert made == environment.pulumi({"PATH": "/bin"})
    assert "/hostile" not in made.values()


@pytest.mark.parametrize(
    "name",
    [
        "TERM",
        "NO_COLOR",
        "CI",
        "YES",
        "DESTROY_ON_FAILURE",
        "SSH_TIMEOUT_S",
        "FAULTS_SEED",
        "LITELAB_CA",
        "SUDO_USER",
        "SSL_CERT_FILE",
        "APT_CONFIG",
        "PIP_INDEX_URL",
        "PIP_TRUSTED_HOST",
        "PIP_CERT",
        "PIP_CONFIG_FILE",
        "GOPROXY",
        "GOPRIVATE",
        "GONOPROXY",
        "SSH_AUTH_SOCK",
        "LIBVIRT_DEFAULT_URI",
    ],
)
def test_what_is_meant_for_litelab_or_for_package_clients_passes(name: str) -> None:
    assert environment.clean({name: "given"})[name] == "given"


def test_a_clean_environment_stays_as_it_is() -> None:
    operator = {
        "PATH": "/bin",
        "HOME": "/root",
        "https_proxy": "http://p:1",
        "NO_PROXY": ".example",
        "LITELAB_CACHE": "/c",
    }
    once = environment.clean(operator)
    assert environment.clean(once) == once


def test_the_folders_of_system_administration_are_always_in_the_path(tmp_path: Path) -> None:
    """``su`` without ``-`` leaves them out; an empty or relative entry is the folder in which a program happens to run."""
    made = environment.search_path("/home/me/bin:::.:bin:/usr/bin:/bin", tmp_path).split(":")
    assert made[:3] == [f"{tmp_path}/venv/bin", f"{tmp_path}/bin", "/home/me/bin"]
    assert {"/usr/sbin", "/sbin", "/usr/local/sbin"} <= set(made)
    assert all(folder.startswith("/") for folder in made)
    assert len(made) == len(set(made))


class TestProxies:
    @pytest.mark.parametrize(
        "name", ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    )
    def test_both_cases_are_set_and_this_machine_and_labs_are_exempt_in_both(self, name: str) -> None:
        made = environment.proxies({name: "http://proxy.example:3128"}, ["198.51.100.7"])
        assert made[name.lower()] == made[name.upper()] == "http://proxy.example:3128"
        assert made["no_proxy"] == made["NO_PROXY"]
        wanted = {
            "localhost",
            "127.0.0.1",
            "127.0.0.0/8",
            "::1",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "198.51.100.7",
        }
        assert wanted <= set(made["no_proxy"].split(","))

    def test_what_was_exempt_stays_exempt_whatever_its_case_and_separator(self) -> None:
        made = environment.proxies({"http_proxy": "http://p:1", "no_proxy": ".a, .b", "NO_PROXY": ".c"})
        assert made["NO_PROXY"].split(",")[:3] == [".a", ".b", ".c"]

    def test_a_proxy_without_a_scheme_gets_one(self) -> None:
        assert environment.proxies({"https_proxy": "proxy:3128"})["HTTPS_PROXY"] == "http://proxy:3128"

    @pytest.mark.parametrize(
        "operator", [{}, {"http_proxy": ""}, {"http_proxy": "http://p:1", "NO_PROXY": "*"}, {"no_proxy": ".a"}]
    )
    def test_without_a_proxy_nothing_is_set(self, operator: dict[str, str]) -> None:
        assert environment.proxies(operator) == {}

    def test_hosts_of_the_checkouts_labs_are_found_in_their_ssh_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "run/my").mkdir(parents=True)
        (tmp_path / "run/my/ssh_config").write_text(
            "Host host-1\n  HostName 198.51.100.7\n  Port 22\nHost host-2\n  HostName 127.0.0.1\n"
        )
        assert environment.lab_addresses(tmp_path) == ["198.51.100.7"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("SUDO_UID", "x"), ("COLUMNS", "wide"), ("TMPDIR", "/nonexistent"), ("TMPDIR", "tmp"), ("TMPDIR", "/etc/passwd")],
)
def test_a_value_that_can_not_be_used_is_left_out(name: str, value: str) -> None:
    assert name not in environment.clean({name: value})


def test_asking_git_leaves_the_index_to_its_owner(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path)]
    variables = {**environment.clean({}), "HOME": str(tmp_path)}
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file").write_text("text")
    subprocess.run([*git, "add", "file"], check=True)
    before = (tmp_path / ".git/index").stat().st_ino
    # Another time makes Git read the file and, where it may, note that it is the same.
    os.utime(tmp_path / "file", (1, 1))
    subprocess.run([*git, "status", "--porcelain"], env=variables, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / ".git/index").stat().st_ino == before


def test_an_empty_environment_gets_home_and_user_from_the_machine() -> None:
    made = environment.clean({})
    assert made["HOME"] == str(Path("~").expanduser()) or Path(made["HOME"]).is_absolute()
    assert made["USER"] == made["LOGNAME"] != ""


@pytest.mark.parametrize("value", ["", "secret"])
def test_the_checkouts_own_passphrase_wins(value: str) -> None:
    made = environment.pulumi({"PULUMI_CONFIG_PASSPHRASE": value, "PULUMI_CONFIG_PASSPHRASE_FILE": "/mine"})
    assert "PULUMI_CONFIG_PASSPHRASE" not in made
    assert made["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(environment.OWN / "passphrase")


def test_builds_have_their_temporary_files_on_the_caches_disk(tmp_path: Path) -> None:
    made = environment.for_builds({"LITELAB_CACHE": str(tmp_path), "TMPDIR": "/tmp"})
    assert made["TMPDIR"] == str(tmp_path / "tmp")
    assert Path(made["TMPDIR"]).is_dir()


class TestPackageClients:
    def test_pip_keeps_its_indexes_and_loses_where_it_installs(self) -> None:
        listed = (
            ":env:.index-url='https://b.example/simple'\nglobal.cert='/ca.pem'\nglobal.extra-index-url='\\nhttps://c\\nhttps://d'\n"
            "global.index-url='https://a.example/simple'\nglobal.no-index='true'\ninstall.no-binary=':all:'\ninstall.target='/x'\ninstall.user='true'\n"
        )
        found = pip.chosen(listed)
        assert found == {
            "index-url": "https://b.example/simple",
            "cert": "/ca.pem",
            "extra-index-url": "https://c https://d",
        }

    def test_a_folder_of_packages_may_be_the_only_source(self) -> None:
        assert pip.chosen("global.no-index='true'\nglobal.find-links='/wheels'\n") == {
            "no-index": "true",
            "find-links": "/wheels",
        }

    def test_go_keeps_its_proxy_and_loses_what_it_builds(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "go").mkdir()
        (tmp_path / "go/env").write_text("GOPROXY=https://goproxy.example\nGOOS=plan9\nGOFLAGS=-mod=vendor\n")
        for name, value in {"XDG_CONFIG_HOME": str(tmp_path), "GOARCH": "mips", "LITELAB_CACHE": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        for name in ("GOPROXY", "GOENV"):
            monkeypatch.delenv(name, raising=False)
        made = gobuild.environment(tmp_path)
        assert made["GOPROXY"] == "https://goproxy.example"
        assert made["GOENV"] == "off"
        assert made["GOFLAGS"] == "-mod=readonly -modcacherw -buildvcs=false"
        assert not {"GOOS", "GOARCH"} & set(made)


class TestPlainPulumi:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin/pulumi"
        program.write_text("#!/bin/sh\nenv\n")
        program.chmod(0o755)
        return tmp_path

    def shown(self, cache: Path, folder: Path, *arguments: str) -> dict[str, str]:
        operator = {
            "PATH": os.environ["PATH"], "LITELAB_CACHE": str(cache), "PULUMI_CONFIG_PASSPHRASE": "", "BASH_ENV": "/x",
            "PYTHONHOME": "/x", "https_proxy": "http://p:1",
        }  # fmt: skip
        program = environment.PROJECT / "tools/bin/pulumi"
        said = subprocess.run(
            [program, *arguments], cwd=folder, env=operator, capture_output=True, text=True, check=True, timeout=20
        )
        return dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)

    @pytest.mark.parametrize("way", [[], ["-C", "{}"], ["--cwd={}"], ["up", "--cwd", "{}"], ["-C{}"]])
    def test_on_this_project_it_runs_in_the_clean_environment(self, cache: Path, way: list[str]) -> None:
        folder = cache if way else environment.PROJECT / "components"
        made = self.shown(cache, folder, *(word.format(environment.PROJECT) for word in way))
        assert not {"PULUMI_CONFIG_PASSPHRASE", "BASH_ENV", "PYTHONHOME"} & set(made)
        assert made["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(environment.OWN / "passphrase")
        assert "127.0.0.1" in made["no_proxy"]

    def test_on_another_project_it_is_pulumi_as_it_is(self, cache: Path) -> None:
        (cache / "other").mkdir()
        (cache / "other/Pulumi.yaml").write_text("name: other\n")
        made = self.shown(cache, cache / "other")
        assert made["BASH_ENV"] == "/x"
        assert made["PULUMI_CONFIG_PASSPHRASE"] == ""

    def test_before_set_up_one_line_says_what_comes_first(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [environment.PROJECT / "tools/bin/pulumi", "up"], env={"PATH": os.environ["PATH"], "LITELAB_CACHE": str(tmp_path)},
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (
            1,
            f"error: There is no Pulumi in {tmp_path}. 'make setup' builds it; the first time 'sudo make setup'.\n",
        )


class TestSite:
    def read(self, tmp_path: Path, text: str) -> dict[str, str]:
        (tmp_path / "site.yaml").write_text(text)
        return environment.site_settings(tmp_path / "site.yaml")

    @pytest.mark.parametrize(
        "text",
        [
            "backend: s3://bucket/litelab?region=eu-west-1\n",
            "# mine\nproxy: http://p:1\nbackend:   'file:///srv/litelab'  # shared\npassphraseFile: \"/etc/a b\"\n",
            '"backend": "https://api.example"\n',
            "passphraseFile: ~/passphrase # here\nhosts:\n  backend: none\n",
            "proxy: http://p:1\n",
        ],
    )
    def test_it_reads_what_a_yaml_reader_reads(self, tmp_path: Path, text: str) -> None:
        whole = yaml.safe_load(text)
        assert self.read(tmp_path, text) == {key: whole[key] for key in ("backend", "passphraseFile") if key in whole}

    @pytest.mark.parametrize(
        "text",
        [
            "backend:\n", "backend: |\n  s3://b\n", "backend: [s3://b]\n", "backend: bucket\n", "backend: file://here\n",
            "passphraseFile:\n  /x\n", "backend: s3://a\nbackend: s3://b\n", "backend: &a s3://b\n",
        ],
    )  # fmt: skip
    def test_another_form_is_refused_with_its_line(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(SetupError, match=r"site\.yaml, line \d: (backend|passphraseFile): "):
            self.read(tmp_path, text)

    def test_there_need_be_none(self, tmp_path: Path) -> None:
        assert environment.site_settings(tmp_path / "site.yaml") == {}
