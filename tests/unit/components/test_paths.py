"""Checkouts and caches at every kind of path: each works, or is refused with the fix before anything is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.checks import paths
from tools.errors import SetupError
from tools.setup import doctor

FINE = ["/srv/litelab", "/home/a.b/lite_lab-2+x@y=z", "/srv/-dash"]
FINE_FOR_CHECKOUTS = [
    "/srv/~x",
    "/home/me/my labs/two  blanks",
    "/home/jörg/übung",
    "/home/日本/実験",
    "/home/e\u0301te",
]
REFUSED = [
    "/srv/a,b", "/srv/a:b", "/srv/100%", "/srv/it's", '/srv/say"so"', "/srv/a#b", "/srv/$HOME", "/srv/${x}", "/srv/a\\b", "/srv/a`b`",
    "/srv/a\nb", "/srv/a\tb", "/srv/*", "/srv/a?b", "/srv/[a]", "/srv/a;b", "/srv/a&b", "/srv/a|b", "/srv/(a)", "/srv/<a>", "/srv/a!b",
    "/srv/a^b", "/srv/{a}", "/srv/\udcff", "/srv/a\u200bb", "/srv/\U0001f600", "/srv/" + "x" * 200,
]  # fmt: skip


@pytest.mark.parametrize("path", FINE)
def test_plain_places_are_fine(path: str) -> None:
    assert paths.checkout_problem(path) == paths.cache_problem(path) == ""


@pytest.mark.parametrize("path", FINE_FOR_CHECKOUTS)
def test_blanks_and_letters_of_any_language_are_fine_for_a_checkout(path: str) -> None:
    assert paths.checkout_problem(path) == ""
    assert "LITELAB_CACHE=" in paths.cache_problem(path)


@pytest.mark.parametrize("path", [*REFUSED, "/srv/a /b", "/srv/ a"])
def test_all_others_are_refused_in_one_line_with_the_fix(path: str) -> None:
    said = paths.checkout_problem(path)
    assert said.endswith(paths.MOVE)
    assert "and programs that work there can't take" in said or "bytes long" in said or "with a blank" in said
    assert "\n" not in said
    said.encode()
    assert paths.cache_problem(path).endswith(paths.ELSEWHERE)


@given(st.text(max_size=30))
def test_whatever_is_taken_breaks_no_list_url_option_or_shell(text: str) -> None:
    path = f"/srv/{text}"
    if paths.checkout_problem(path) == "":
        assert not set(path) & set(",:%'\"#$\\`\n\t*?[];&|()<>!{}")
        path.encode()
    if paths.cache_problem(path) == "":
        assert path.isascii()
        assert " " not in path


@pytest.mark.parametrize(
    ("flags", "devices", "says"),
    [
        (0, True, ""),
        (os.ST_NOEXEC, False, "noexec"),
        (os.ST_RDONLY, False, "ro"),
        (os.ST_NODEV, True, "nodev"),
        (os.ST_NODEV, False, ""),
    ],
)
def test_mount_options_that_forbid_what_is_needed(flags: int, devices: bool, says: str) -> None:
    found = paths.mount_problems(Path("/srv/c"), "the cache", flags, makes_devices=devices)
    assert len(found) == bool(says)
    assert all(f"mounted {says}" in line and "LITELAB_CACHE=" in line for line in found)


def test_set_up_and_doctor_refuse_a_cache_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "a,b"
    with pytest.raises(SetupError, match=r"Nothing was made: the cache is at .*a,b.*LITELAB_CACHE="):
        doctor.require_places(cache)
    assert not cache.exists()
    monkeypatch.setattr("tools.places.cache", lambda: cache)
    finding = next(check for check in doctor.CHECKS if check.__name__ == "_places")()
    assert not finding.ok
    assert "LITELAB_CACHE=" in finding.fix


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    (tmp_path / "plain").symlink_to(tmp_path / "a,b")
    assert paths.problems(tmp_path / "plain", tmp_path) != []
    (tmp_path / "c,d").symlink_to(tmp_path)
    assert paths.problems(tmp_path / "c,d", tmp_path) == []
