"""Logins of mirrors: read from what ``docker login`` writes, refused with the line, and never shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.lab_file import load
from components.config.settings import SettingsError
from components.site import logins
from inputs.errors import InputError, one_paragraph

SECRET = "canary-of-a-password"
AUTH = base64.b64encode(f"robot:{SECRET}".encode()).decode()


def file_of(folder: Path, content: Any) -> str:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return str(path)


def refusal(folder: Path, content: Any, *hosts: str) -> str:
    with pytest.raises(InputError) as caught:
        logins.read(file_of(folder, content), hosts or ("harbor.example",))
    message = str(caught.value)
    assert SECRET not in message
    assert AUTH[:20] not in message
    return message


class TestReading:
    @pytest.mark.parametrize(
        ("key", "host"),
        [
            ("harbor.example", "harbor.example"),
            ("harbor.example:8443", "harbor.example:8443"),
            ("https://harbor.example", "harbor.example"),
            ("https://harbor.example:8443/v2/", "harbor.example:8443"),
            ("http://harbor.example/v1/", "harbor.example"),
            ("harbor.example", "harbor.example:443"),
            ("harbor.example:443", "harbor.example"),
        ],
    )
    def test_a_login_is_found_by_the_mirrors_host(self, tmp_path: Path, key: str, host: str) -> None:
        found = logins.read(file_of(tmp_path, {"auths": {key: {"auth": AUTH}}}), ["open.example", host])
        assert found == {host: AUTH}

    @pytest.mark.parametrize(("key", "host"), [("a.example", "b.example"), ("a.example:8443", "a.example")])
    def test_a_login_of_another_host_or_port_is_not_taken(self, tmp_path: Path, key: str, host: str) -> None:
        message = refusal(tmp_path, {"auths": {key: {"auth": AUTH}}}, host)
        assert f"has no login for any mirror ({host}); it has some for {key}. Log in to the mirror" in message

    def test_the_very_name_wins_over_what_means_the_same(self, tmp_path: Path) -> None:
        other = base64.b64encode(b"other:other").decode()
        content = {"auths": {"https://m.example/v1/": {"auth": other}, "m.example": {"auth": AUTH}}}
        assert logins.read(file_of(tmp_path, content), ["m.example"]) == {"m.example": AUTH}

    def test_user_and_password_may_be_written_out(self, tmp_path: Path) -> None:
        content = {"auths": {"m.example": {"username": "robot", "password": SECRET}}}
        assert logins.read(file_of(tmp_path, content), ["m.example"]) == {"m.example": AUTH}

    def test_other_keys_of_the_file_do_not_matter(self, tmp_path: Path) -> None:
        content = {"auths": {"m.example": {"auth": AUTH}}, "credsStore": "desktop", "HttpHeaders": {}, "psFormat": "x"}
        assert logins.read(file_of(tmp_path, content), ["m.example"]) == {"m.example": AUTH}

    def test_the_file_may_be_in_the_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file_of(tmp_path, {"auths": {"m.example": {"auth": AUTH}}})
        monkeypatch.setenv("HOME", str(tmp_path))
        assert logins.read("~/config.json", ["m.example"]) == {"m.example": AUTH}


class TestRefusals:
    def test_a_password_that_a_helper_keeps(self, tmp_path: Path) -> None:
        message = refusal(tmp_path, {"auths": {"harbor.example": {}}, "credsStore": "desktop"})
        assert (
            "config.json:3: the password for harbor.example is not in this file: 'docker login' gave it to" in message
        )
        assert "the helper 'desktop' (credsStore). Write one yourself:" in message
        message = refusal(tmp_path, {"credHelpers": {"harbor.example": "ecr-login"}})
        assert "the helper 'ecr-login' (credHelpers)" in message

    @pytest.mark.parametrize(
        ("entry", "told"),
        [
            ({}, "has no user and password"),
            ({"auth": "%%%"}, "has no user and password"),
            ({"auth": base64.b64encode(SECRET.encode()).decode()}, "has no user and password"),
            ({"auth": base64.b64encode(f"robot:{SECRET}\n".encode()).decode()}, "has no user and password"),
            ({"auth": AUTH, "identitytoken": SECRET}, "has an identity token"),
            (AUTH, 'takes {"auth": "..."}'),
        ],
    )
    def test_an_entry_without_a_password_has_its_line(self, tmp_path: Path, entry: Any, told: str) -> None:
        message = refusal(tmp_path, {"auths": {"harbor.example": entry}})
        assert "config.json:3: " + told in message

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("[]", "is no file of logins"),
            ('{"auths": []}', "is no file of logins"),
            ("{}", "has no login for any mirror (harbor.example); it has none at all"),
            (f'{{"auths": {{"a": {{"auth": "{AUTH}" "x"}}}}}}', ":1: is not JSON"),
        ],
    )
    def test_a_file_of_something_else(self, tmp_path: Path, content: str, told: str) -> None:
        assert told in refusal(tmp_path, content)

    def test_a_key_with_a_login_of_its_own_is_not_shown(self, tmp_path: Path) -> None:
        message = refusal(tmp_path, {"auths": {f"https://robot:{SECRET}@a.example/v1/": {}}})
        assert "it has some for a.example." in message

    def test_a_file_in_another_encoding_is_not_quoted(self, tmp_path: Path) -> None:
        path = tmp_path / "config.json"
        path.write_bytes(f"\n{SECRET}".encode() + b"\xe9")
        with pytest.raises(InputError) as caught:
            logins.read(str(path), ["m"])
        assert str(caught.value) == f"{path}:2: is no text in UTF-8. Is it the right file?"

    def test_a_file_that_is_not_there_has_the_line_of_the_setting(self, tmp_path: Path) -> None:
        text = "registries: {docker.io: 'https://m.example'}\nregistriesAuth: no/such.json\n"
        (tmp_path / "x-lab.yaml").write_text(text)
        with pytest.raises(SettingsError) as caught:
            logins.of_mirrors(load(tmp_path, "x-lab", "", {}))
        message = str(caught.value)
        assert "x-lab.yaml:2: registriesAuth: no/such.json: there is no such file. Nothing was made." in message


@given(
    content=st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.just(AUTH),
        lambda inner: (
            st.dictionaries(
                st.sampled_from(
                    ["auths", "auth", "username", "password", "identitytoken", "credsStore", "credHelpers", "m"]
                ),
                inner,
                max_size=3,
            )
            | st.lists(inner, max_size=2)
        ),
        max_leaves=8,
    )
)
def test_a_file_of_any_content_gives_a_login_or_one_paragraph_that_hides_it(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        (login,) = logins.read(str(path), ["m"]).values()
    except InputError as error:
        assert one_paragraph(str(error)) == str(error)  # noqa: PT017
        assert AUTH not in str(error)  # noqa: PT017
        return
    user, _, password = base64.b64decode(login).decode().partition(":")
    assert user
    assert password
