"""``make logs``: what tells why a lab is as it is goes in, what opens it stays out."""

from __future__ import annotations

import base64
import json
import re
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import SetupError
from tools.lab import bundle, redact, stacks, status
from tools.setup import doctor

KEY_TEXT = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=40, max_size=200)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def private_key(folder: Path, name: str) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "canary", "-f", str(folder / name)],
        check=True,
        timeout=20,
    )
    return (folder / name).read_text()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout and its cache, in which a lab was made and left its canaries everywhere."""
    own, run = tmp_path / ".lab", tmp_path / ".lab/run/my"
    disk = run / "hosts/host-1/upper/etc/kubernetes/pki"
    for folder in (disk, own / "config", own / "logs", own / "results/my/20260101T000000Z-pods-8", tmp_path / "stacks",
                   tmp_path / "cache/logs", own / "state/.pulumi/stacks/litelab", own / "state/.pulumi/history/litelab/my"):  # fmt: skip
        folder.mkdir(parents=True)
    (tmp_path / "stacks/my.yaml").write_text("workers: 2\n")
    (own / "passphrase").write_text("canary-passphrase-0123456789-0123456789\n")
    ssh, host = private_key(run, "id_ed25519"), private_key(disk, "ca.key")
    inline = base64.b64encode(private_key(tmp_path, "admin").encode()).decode()
    (run / "kubeconfig").write_text(json.dumps({"users": [{"user": {"client-key-data": inline}}]}, indent=1))
    (run / "steps.jsonl").write_text('{"step":"host","host":"host-1","seconds":1.5}\n')
    console = run / "hosts/host-1/console.log"
    console.write_text(f"systemd booted\n{ssh}\nkey in base64 {base64.b64encode(('ab' + host).encode()).decode()}\n")
    (own / "results/my/20260101T000000Z-pods-8/console.log").write_text(f"measuring, with {inline}\n")
    (own / "config/Pulumi.my.yaml").write_text(
        "encryptionsalt: v1:canary-salt\nconfig:\n  litelab:workers: 3\n  litelab:pull:\n    secure: v1:canary-secure\n"
    )
    (tmp_path / "cache/logs/pip-runtime.log").write_text(
        "fetching https://canary-user:canary-password@mirror.example/simple\nAuthorization: Bearer canary-bearer\n"
    )
    state = {"checkpoint": {"latest": {
        "resources": [{"urn": "urn:host-1", "type": "command:local:Command", "inputs": {"stdin": "canary-input"},
                       "outputs": {"stdout": "canary-output"}, "created": "2026-01-01T00:00:00Z"}],
        "pending_operations": [{"type": "creating", "resource": {"urn": "urn:node", "inputs": {"stdin": "canary-input"}}}],
    }}}  # fmt: skip
    (own / "state/.pulumi/stacks/litelab/my.json").write_text(json.dumps(state))
    (own / "state/.pulumi/history/litelab/my/my-1.history.json").write_text(
        json.dumps(
            {"kind": "update", "result": "failed", "config": {"x": "canary-config"}, "resourceChanges": {"create": 3}}
        )
    )
    (own / "results/my/20260101T000000Z-pods-8/result.json").write_text('{"error": "no pod came up"}')
    (own / "logs/my.bench.log").write_text("error: the workload pods-8 could not be measured\n")
    monkeypatch.setenv("https_proxy", "http://canary-user:canary/pass@word@proxy.example:3128")
    monkeypatch.setattr(status, "guide", lambda *_: {"hosts": {"host-1": {"role": "worker", "units": ["k3s-agent"]}}})
    (own / "logs/my.jsonl").write_text('{"at": 1, "urn": "urn:node", "error": "no node: waited"}\n')
    monkeypatch.setattr(bundle, "OWN", own)
    monkeypatch.setattr(bundle, "PROJECT", tmp_path)
    monkeypatch.setattr(stacks, "STATE", own / "state")
    monkeypatch.setattr(doctor, "findings", list)
    return tmp_path


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        return {
            entry.name.partition("/")[2]: content.read().decode()
            for entry in tar
            if (content := tar.extractfile(entry)) is not None
        }


class TestBundle:
    def test_it_holds_what_tells_of_the_lab(self, checkout: Path) -> None:
        texts = unpacked(bundle.make(checkout / "cache", "my").path)
        assert set(texts) >= {
            "README.txt", "versions.json", "doctor.json", "pulumi.json", "settings/my.yaml", "settings/configuration.txt",
            "set-up/pip-runtime.log", "lab/steps.jsonl", "hosts/host-1/console.log", "results/20260101T000000Z-pods-8.txt",
        }  # fmt: skip
        assert "systemd booted" in texts["hosts/host-1/console.log"]
        assert "litelab:workers: 3" in texts["settings/configuration.txt"]
        assert "mirror.example/simple" in texts["set-up/pip-runtime.log"]
        told = json.loads(texts["pulumi.json"])
        assert told["runs"] == [{"kind": "update", "result": "failed", "resourceChanges": {"create": 3}}]
        assert told["resources"][0]["urn"] == "urn:host-1"
        assert told["pending"] == [{"type": "creating", "urn": "urn:node"}]
        assert "no node: waited" in texts["events.jsonl"]
        assert "kubernetes" in json.loads(texts["versions.json"])["programs"]

    def test_it_answers_what_a_failed_bench_asks(self, checkout: Path) -> None:
        for words in (("init", "-q"), ("add", "stacks")):
            subprocess.run(["git", "-C", checkout, *words], check=True, timeout=20)
        texts = unpacked(bundle.make(checkout / "cache", "my").path)
        assert "could not be measured" in texts["console/make-bench.txt"]
        assert json.loads(texts["results/20260101T000000Z-pods-8/result.json"]) == {"error": "no pod came up"}
        assert "A  stacks/my.yaml" in texts["machine/git.txt"]
        assert "https_proxy=http://proxy.example:3128" in texts["machine/proxies.txt"]
        for section in (
            "ip route show table all",
            "ip rule",
            "cat /proc/swaps",
            "cat /etc/resolv.conf",
            "cat /proc/mounts",
            "df -h",
        ):
            assert f"===== {section}\n" in texts["machine/state.txt"]

    def test_hosts_are_asked_for_the_units_of_their_distribution(
        self, checkout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (checkout / ".lab/run/my/ssh_config").write_text("Host host-1\n")
        asked = []

        def said(command: list[str], *, stdin: str = "", **_: object) -> str:
            asked.extend([stdin] if command[-1] == "bash -s" else [])
            return ""

        monkeypatch.setattr(bundle, "_said", said)
        bundle.make(checkout / "cache", "my")
        assert "for unit in k3s-agent; do" in asked[0]

    def test_the_clusters_own_pods_are_asked_what_they_printed(
        self, checkout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def said(command: list[str], **_: object) -> str:
            if "custom-columns=N:.metadata.namespace,P:.metadata.name" in command:
                return "kube-system coredns-1\ndefault mine\n"
            if "--previous" in command:
                return "Error: previous terminated container not found"
            return "[ERROR] plugin/loop" if "logs" in command else "NAME\n"

        monkeypatch.setattr(bundle, "_said", said)
        texts = unpacked(bundle.make(checkout / "cache", "my").path)
        assert {name for name in texts if name.startswith("cluster/logs/")} == {
            "cluster/logs/kube-system/coredns-1.txt"
        }
        assert texts["cluster/logs/kube-system/coredns-1.txt"] == "[ERROR] plugin/loop"

    def test_no_secret_is_in_it(self, checkout: Path) -> None:
        texts = unpacked(bundle.make(checkout / "cache", "my").path)
        whole = "\n".join(texts.values())
        assert "canary" not in whole
        run = checkout / ".lab/run/my"
        keys = redact.known_secrets(
            [run / "id_ed25519", run / "kubeconfig", run / "hosts/host-1/upper/etc/kubernetes/pki/ca.key"]
        )
        assert len(keys) > 8
        assert redact.left(whole, keys) == 0
        assert redact.GONE in texts["hosts/host-1/console.log"]
        assert redact.GONE in texts["results/20260101T000000Z-pods-8.txt"]

    def test_no_login_of_a_mirror_is_in_it_whichever_setting_names_the_file(self, checkout: Path) -> None:
        run = checkout / ".lab/run/my"
        on_host = run / "hosts/host-1/upper/etc/litelab/registries-auth.json"
        on_host.parent.mkdir(parents=True)
        files = {
            "stacks/my.yaml": checkout / "lab.json",
            ".lab/site.yaml": checkout / "site.json",
            ".lab/config/Pulumi.my.yaml": checkout / "stack.json",
            "": on_host,
        }
        passwords = []
        for number, (setting, path) in enumerate(files.items()):
            passwords.append(f'pass"{number}word')
            path.write_text(json.dumps({"auths": {"m": {"auth": encoded(f"robot${number}:{passwords[-1]}")}}}))
            if setting:
                prefix = "litelab:" if "Pulumi" in setting else ""
                (checkout / setting).write_text(f"a: 1\n{prefix}registriesAuth: '{path}'\n")
        said = "".join(f"{json.dumps(p)} {p} {encoded(f'robot${n}:{p}')}\n" for n, p in enumerate(passwords))
        (run / "hosts/host-1/console.log").write_text(said + "systemd booted\n")
        whole = "\n".join(unpacked(bundle.make(checkout / "cache", "my").path).values())
        assert "systemd booted" in whole
        for number, password in enumerate(passwords):
            login = f"robot${number}:{password}"
            for form in (password, json.dumps(password)[1:-1], encoded(login)[:-4], encoded(password)[:-4]):
                assert form not in whole

    def test_it_is_for_its_owner_alone(self, checkout: Path) -> None:
        path = bundle.make(checkout / "cache", "my").path
        assert path.parent == checkout / ".lab/logs"
        assert re.fullmatch(r"my-\d{8}T\d{6}Z\.tar\.gz", path.name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_secret_that_no_rule_removes_keeps_the_bundle_from_being_written(
        self, checkout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redact, "clean", lambda text, _: text)
        with pytest.raises(SetupError, match="still holds a secret of the lab my"):
            bundle.make(checkout / "cache", "my")
        assert not list((checkout / ".lab/logs").glob("*.tar.gz"))

    def test_a_lab_that_was_never_up_has_a_bundle_too(self, checkout: Path) -> None:
        texts = unpacked(bundle.make(checkout / "cache", "other").path)
        assert json.loads(texts["pulumi.json"])["resources"] == []
        assert "set-up/pip-runtime.log" in texts

    def test_it_says_what_it_holds_and_no_more(self, checkout: Path) -> None:
        holds = (
            "set-up's logs, the hosts' consoles, the lab's steps, what measuring said, what make printed, this machine's "
            "network, disk and swap, what Pulumi did, settings, versions and what make doctor finds"
        )
        made = bundle.make(checkout / "cache", "my")
        assert (made.holds, made.lacks) == (holds, "The lab my is not up, so no host was asked for its journal.")
        made = bundle.make(checkout / "cache", "other")
        assert made.holds == (
            "set-up's logs, this machine's network, disk and swap, settings, versions and what make doctor finds"
        )

    def test_a_host_that_does_not_answer_is_named(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (checkout / ".lab/run/my/ssh_config").write_text("Host host-1\nHost host-2\n")

        def said(command: list[str], **_: object) -> str:
            return "\n===== journalctl --no-pager -n 4000\nbooted\n" if "host-1" in command else "ssh: no route\n"

        monkeypatch.setattr(bundle, "_said", said)
        made = bundle.make(checkout / "cache", "my")
        assert "the journal of host-1," in made.holds
        assert made.lacks == "host-2 gave no journal; the bundle has what ssh said."


class TestRedact:
    @given(secret=KEY_TEXT, before=st.text("ab \n", max_size=5), offset=st.integers(0, 2))
    def test_a_known_secret_goes_plain_and_inside_of_base64(self, secret: str, before: str, offset: int) -> None:
        inside = base64.b64encode(b"x" * offset + secret.encode() + b"tail").decode()
        text = redact.clean(f"{before}{secret}\n{inside}", [secret])
        assert redact.left(text, [secret]) == 0
        assert secret not in text

    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\nafter", "after"),
            ("a key cut short: -----BEGIN EC PRIVATE KEY-----\nMIGHcanary", "a key cut short"),
            ('"client-key-data": "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5"', "client-key-data"),
            ("Authorization: Bearer canary.canary", "Authorization: Bearer"),
            ("token eyJhbGciOiJSUzI1.eyJpc3MiOiJjYW5.c2lnbmF0dXJl end", "end"),
            ("proxy http://me:canary@proxy.example:3128/ said", "@proxy.example:3128/ said"),
            ("https_proxy=http://me:can/ary@canary@proxy.example:3128", "@proxy.example:3128"),
            ("HTTP_PROXY=me:canary@proxy.example:3128", "@proxy.example:3128"),
            ("https_proxy='http://canary@proxy.example'", "@proxy.example'"),
            ("registryPassword: 'canary-canary' # of mine", "# of mine"),
            ("--token=canarycanary --server=x", "--server=x"),
            ("join K10" + "a1" * 32 + "::server:canary now", "now"),
        ],
    )
    def test_what_looks_like_a_secret_goes_and_its_neighbours_stay(self, text: str, left: str) -> None:
        cleaned = redact.clean(text, [])
        assert left in cleaned
        assert redact.GONE in cleaned
        for part in ("canary", "MIGH", "Y2FuYXJ5", "eyJpc3", "a1a1a1"):
            assert part not in cleaned

    @pytest.mark.parametrize(
        "text",
        [
            "kubelet: Started container main in pod bench-1/pods-8-0",
            "service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
            "https://10.87.3.11:6443/readyz",
            "automountServiceAccountToken: false",
            "sha256:0123456789abcdef0123456789abcdef",
        ],
    )
    def test_what_is_no_secret_stays(self, text: str) -> None:
        assert redact.clean(text, []) == text
