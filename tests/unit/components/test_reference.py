"""The page of settings says what the code takes."""

from __future__ import annotations

from components.config import discovery, settings_reference
from components.config.lab_file import model_for
from components.places import PROJECT


def test_the_page_is_as_the_code_makes_it() -> None:
    written = (PROJECT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == settings_reference.page(), (
        "run 'python -m components.config.settings_reference > docs/settings.md'"
    )


def test_every_setting_is_on_it() -> None:
    page = settings_reference.page()
    for distribution in discovery.distributions():
        for kind in discovery.host_kinds():
            model = model_for(distribution, kind)
            hosts = discovery.host_kind(kind).settings
            for key in [f.alias for m in (model, hosts) for f in m.model_fields.values() if f.alias]:
                assert key == "hosts" or f"| `{key}` |" in page or key in ("kind", "distribution"), key


def test_a_key_says_its_range_its_words_and_its_default() -> None:
    page = settings_reference.page()
    assert "| `workers` | 0 to 100 | `2` |" in page
    assert "| `accelerator` | `kvm`, `tcg` | `kvm` |" in page
    assert "| `addresses` | a list, each a mapping of `address`, `port`, `user`, `key` | must be given |" in page
