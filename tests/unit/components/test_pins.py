"""Versions and digests: what a lab asks for, and what a networked machine fills in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.catalog import pins
from inputs.errors import InputError
from tools import pin_digests

DIGEST = "ab" * 32


class TestRelease:
    def test_the_minor_decides_the_version(self) -> None:
        assert pins.release("k0s", "1.34", None).version.startswith("v1.34.")

    def test_a_version_of_another_minor_is_refused(self) -> None:
        with pytest.raises(pins.PinError, match=r"which is no 1\.34"):
            pins.release("k3s", "1.34", "v1.33.5+k3s1")

    def test_a_version_may_leave_out_the_v(self) -> None:
        assert pins.release("k3s", "1.34", "1.34.9+k3s1").version == "v1.34.9+k3s1"

    def test_a_version_that_nobody_pinned_has_no_digest(self) -> None:
        assert {pin.sha256 for pin in pins.release("k3s", "1.34", "v1.34.99+k3s1").artifacts} == {""}

    def test_addresses_quote_what_a_server_would_take_for_something_else(self) -> None:
        for pin in pins.release("k0s", "1.34", None).artifacts:
            assert "+" not in pin.url
            assert "%2B" in pin.url
            assert "+" in pin.file

    @pytest.mark.parametrize("distribution", sorted(pins._all()))
    def test_every_minor_has_a_version_with_addresses(self, distribution: str) -> None:
        for minor in pins._all()[distribution].minors:
            for pin in pins.release(distribution, minor, None).artifacts:
                assert pin.optional or pin.url.startswith("https://")

    @pytest.mark.parametrize("distribution", sorted(pins._all()))
    def test_every_distribution_has_the_default_minor(self, distribution: str) -> None:
        assert pins.default_minor() in pins.versions(distribution)

    def test_a_version_is_of_the_minor_that_it_is_pinned_for(self) -> None:
        for distribution in ("upstream", "k0s", "k3s", "microk8s"):
            for minor, version in pins.versions(distribution).items():
                assert f"{version}.".startswith(f"v{minor}."), distribution


class TestFilling:
    @pytest.fixture
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        sums = tmp_path / "sums.txt"
        sums.write_text(f"{'cd' * 32} *other\n{DIGEST} *tool-v1.34.0\n")
        path = tmp_path / "distributions.toml"
        path.write_text(
            f'[d]\nminors = {{ "1.34" = "v1.34.0" }}\nbase = "file://{tmp_path}/"\nsums = "sums.txt"\n\n[d.artifacts]\n'
            'tool = { file = "tool-{version}" }\nlost = { file = "lost" }\n\n'
            '[d.digests."v1.34.0"]\nlost = "unpinned"\ntool = "unpinned"\n'
        )
        monkeypatch.setattr(pins, "FILE", path)
        pins._all.cache_clear()
        return path

    @pytest.fixture(autouse=True)
    def _forget(self) -> Iterator[None]:
        yield
        pins._all.cache_clear()

    def test_what_the_vendor_lists_is_filled_in_and_the_rest_is_named(self, file: Path) -> None:
        found, left = pin_digests.fill(file)
        assert found == [f"d v1.34.0 tool: {DIGEST}"]
        assert [line.partition(":")[0] for line in left] == ["d v1.34.0 lost"]
        assert f'lost = "unpinned"\ntool = "{DIGEST}"\n' in file.read_text()

    @pytest.mark.parametrize(
        ("before", "after", "told"),
        [
            ('"v1.34.0" }\nbase', '"v1.34.0"\nbase', "distributions.toml:2: is not TOML"),
            ("base =", "bsae =", "distributions.toml:3: unknown key d.bsae. Did you mean base?"),
            ('"1.34" =', '"1,34" =', "distributions.toml:2: d.minors: takes names of the form"),
            ('file = "lost"', "optional = true", "distributions.toml:8: d.artifacts.lost.file: is missing"),
            (
                'lost = "unpinned"',
                'lost = "abc"',
                "distributions.toml:11: d.digests.v1.34.0.lost: takes text of the form",
            ),
            (
                'lost = "unpinned"',
                'losst = "unpinned"',
                "distributions.toml:10: d.digests: losst of v1.34.0 is none of the artifacts, which are tool, lost",
            ),
            ("[d]", "d = 1\n[d]", "distributions.toml:2: is not TOML"),
            ("[d]", "# caf\xe9\n[d]", "distributions.toml:1: has the byte 0xe9"),
        ],
    )
    def test_what_a_contributor_gets_wrong_is_told_with_its_line(
        self, file: Path, before: str, after: str, told: str
    ) -> None:
        text = file.read_text()
        assert before in text
        file.write_bytes(text.replace(before, after, 1).encode("latin-1"))
        with pytest.raises(InputError) as caught:
            pins.release("d", "1.34", None)
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_second_time_changes_nothing(self, file: Path) -> None:
        pin_digests.fill(file)
        before = file.read_text()
        pin_digests.fill(file)
        assert file.read_text() == before

    @pytest.mark.parametrize("line", [f"{DIGEST}  tool", f"{DIGEST} *tool", f"{DIGEST}  ./bin/tool", f"{DIGEST} tool"])
    def test_every_form_of_sha256sum_is_read(self, line: str) -> None:
        assert pin_digests.digest_in(f"# list\n{line}\n", "tool") == DIGEST

    def test_a_name_that_only_begins_alike_is_another_file(self) -> None:
        assert pin_digests.digest_in(f"{DIGEST}  tool-arm64\n", "tool") is None
