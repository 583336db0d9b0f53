"""Where Pulumi keeps a checkout's state and passphrase, and what is done where the state can't be looked at."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from components.hosts.nspawn.scripts import orphans
from tools import environment, places
from tools.errors import SetupError
from tools.lab import stacks
from tools.progress import Progress


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a state of its own, which nothing has run in."""
    own = tmp_path / ".lab"
    own.mkdir()
    monkeypatch.setattr(environment, "OWN", own)
    monkeypatch.setattr(environment.site_settings, "__defaults__", (own / "site.yaml",))
    for name, value in {"OWN": own, "STATE": own / "state", "PROJECT": tmp_path}.items():
        monkeypatch.setattr(stacks, name, value)
    stacks._listed.cache_clear()
    return tmp_path


def site(checkout: Path, text: str) -> None:
    (checkout / ".lab/site.yaml").write_text(text)


class TestBackend:
    def test_a_folder_elsewhere_is_looked_at_like_the_checkouts_own(self, checkout: Path) -> None:
        assert stacks.folder() == checkout / ".lab/state"
        site(checkout, f"backend: file://{checkout}/shared?no_tmp_dir=true\n")
        assert stacks.folder() == checkout / "shared"
        state = checkout / "shared/.pulumi/stacks/litelab/my.json"
        state.parent.mkdir(parents=True)
        assert not stacks.exists("my")
        state.write_text("cut off")
        assert stacks.exists("my")
        with pytest.raises(
            SetupError, match=r"The state of stack my, shared/\.pulumi/stacks/litelab/my\.json, is cut off or broken"
        ):
            stacks.require_whole_state("my")

    def test_another_one_is_asked_by_pulumi(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        site(checkout, "backend: s3://bucket\n")
        program = checkout / "cache/bin/pulumi"
        program.parent.mkdir(parents=True)
        program.write_text(
            """#!/bin/sh
[ "$PULUMI_BACKEND_URL" = s3://bucket ] || exit 9
case "$1 $2" in
"stack ls") echo '[{"name": "organization/litelab/my"}]' ;;
"stack export") echo '{"deployment": {"pending_operations": [{"type": "creating"}]}}' ;;
*) exit 9 ;;
esac
"""
        )
        program.chmod(0o755)
        monkeypatch.setenv("LITELAB_CACHE", str(checkout / "cache"))
        assert [stacks.exists(name) for name in ("my", "other")] == [True, False]
        assert stacks.latest("my") == {"pending_operations": [{"type": "creating"}]}
        assert stacks.locks("my") == []
        stacks.require_whole_state("my")
        stacks.drop_cut_off_attributes("my")

    def test_a_folder_that_is_not_there_is_named_with_what_makes_it(self, checkout: Path) -> None:
        site(checkout, f"backend: file://{checkout}/shared\n")
        with pytest.raises(
            SetupError, match=rf"names the folder {checkout}/shared, and there is none\. Make it: 'mkdir"
        ):
            stacks.prepare()
        (checkout / "shared").mkdir()
        stacks.prepare()
        assert (checkout / ".lab/passphrase").exists()

    def test_before_set_up_no_stack_is_known_there(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        site(checkout, "backend: s3://bucket\n")
        monkeypatch.setenv("LITELAB_CACHE", str(checkout / "cache"))
        assert not stacks.exists("my")

    @pytest.mark.parametrize(
        ("backend", "name"),
        [
            ("s3://b", "AWS_PROFILE"),
            ("https://a.example", "PULUMI_ACCESS_TOKEN"),
            ("gs://b", "GOOGLE_CREDENTIALS"),
            ("azblob://b", "AZURE_STORAGE_ACCOUNT"),
        ],
    )
    def test_the_one_in_use_gets_its_variables_and_no_other(self, checkout: Path, backend: str, name: str) -> None:
        assert name not in environment.pulumi({name: "x"})
        site(checkout, f"backend: {backend}\n")
        assert environment.pulumi({name: "x"})[name] == "x"
        assert environment.pulumi({})["PULUMI_BACKEND_URL"] == backend

    def test_a_lab_with_its_state_there_is_no_orphan_as_long_as_it_has_its_record(self, checkout: Path) -> None:
        run = checkout / ".lab/run/my"
        run.mkdir(parents=True)
        (run / "lab.env").touch()
        assert not orphans.is_known(run)
        site(checkout, "proxy: http://p:1\nbackend: s3://bucket\n")
        assert orphans.is_known(run)
        (run / "lab.env").unlink()
        assert not orphans.is_known(run)


class TestPassphraseFile:
    def test_the_one_that_is_named_is_used_and_none_is_made(self, checkout: Path) -> None:
        site(checkout, f"passphraseFile: {checkout}/mine\n")
        (checkout / "mine").write_text("secret\n")
        stacks.prepare()
        assert not (checkout / ".lab/passphrase").exists()
        assert environment.pulumi({})["PULUMI_CONFIG_PASSPHRASE_FILE"] == f"{checkout}/mine"

    @pytest.mark.parametrize(
        ("content", "why"),
        [(None, "which can't be read: No such file"), (b"\n", "which is empty"), (b"\xff", "it is no text in UTF-8")],
    )
    def test_one_that_can_not_be_used_is_refused(self, checkout: Path, content: bytes | None, why: str) -> None:
        site(checkout, f"passphraseFile: {checkout}/mine\n")
        if content is not None:
            (checkout / "mine").write_bytes(content)
        with pytest.raises(SetupError, match=rf"passphraseFile names {checkout}/mine, .*{why}"):
            stacks.prepare()


@pytest.mark.skipif(not (places.cache() / "bin/pulumi").exists(), reason="there is no Pulumi: set-up has not run")
@pytest.mark.parametrize(("old", "with_secret"), [("", False), ("of a shell", True)])
def test_a_stack_of_another_passphrase_is_named_and_gets_the_checkouts_own(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], old: str, with_secret: bool
) -> None:
    shutil.copy(places.PROJECT / "Pulumi.yaml", checkout)
    cache = places.cache()
    stacks.prepare()
    stacks.create(cache, ["ours"], Progress(checkout))
    theirs = {**stacks.environment(cache), "PULUMI_CONFIG_PASSPHRASE": old}
    words_of = [["stack", "init", "my"], ["config", "set", "--stack", "my", "--secret", "key", "value"]]
    for words in words_of if with_secret else words_of[:1]:
        subprocess.run(
            [cache / "bin/pulumi", *words, "--non-interactive"],
            cwd=checkout,
            env=theirs,
            check=True,
            capture_output=True,
            timeout=120,
        )
    salt = (checkout / ".lab/config/Pulumi.my.yaml").read_text().partition("config:")[0]
    assert stacks.has_another_passphrase(cache, "ours") == ""
    why = stacks.has_another_passphrase(cache, "my")
    assert why.startswith("Stack my was made with another passphrase than the one in .lab/passphrase")
    assert "'make passphrase STACK=my'" in why

    def change(given: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{given}\n"))
        stacks.change_passphrase(cache, "my")

    if with_secret:
        # Where nothing is encrypted, any passphrase will do.
        with pytest.raises(SetupError, match="The passphrase of stack my was not changed: that is not its passphrase"):
            change("wrong")
    change(old)
    assert stacks.has_another_passphrase(cache, "my") == ""
    shown = json.loads(stacks.pulumi(cache, "config", "--stack", "my", "--show-secrets", "--json"))
    assert shown.get("litelab:key", {}).get("value") == ("value" if with_secret else None)
    change("whatever")
    # Settings that outlived their stack, with or without anything encrypted by the other passphrase.
    subprocess.run(
        [cache / "bin/pulumi", "stack", "rm", "--yes", "--force", "--preserve-config", "my"],
        cwd=checkout,
        env=theirs,
        check=True,
        capture_output=True,
        timeout=120,
    )
    left = checkout / ".lab/config/Pulumi.my.yaml"
    left.write_text(f"{salt}{'config: {litelab:key: {secure: x}}' if with_secret else ''}\n")
    if with_secret:
        with pytest.raises(SetupError, match="Stack my was made with another passphrase"):
            stacks.create(cache, ["my"], Progress(checkout))
    else:
        stacks.create(cache, ["my"], Progress(checkout))
        assert stacks.has_another_passphrase(cache, "my") == ""
    assert capsys.readouterr().out.endswith("Stack my has this checkout's passphrase already.\n")
