"""Files as people and accidents make them: real ones with edits, in all encodings, and plain bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

NASTY = [
    *("\t", "\0", "\r\n", "\r", "\ufeff", "\x85", "\u2028", "\x07", "\x1b[31m", "é", "\U0001f600"),
    *("---\n", "...\n", "%YAML 1.2\n", "%TAG ! x\n", "# ", "- ", "? ", ": ", "<<: ", "<<: *x\n", "&x ", "*x", "!", "!!set ", "!!binary "),
    *("!!python/object:os.system ", "!<tag:yaml.org,2002:int> ", "[", "]", "{", "}", "'", '"', "|\n", ">-\n", "@", "`", ","),
    *("no", "on", "~", "null", ".inf", "-.inf", ".nan", "1.30", "010", "0x_", "0b", "0o7", "1_0", "22:22", "1:60:00", "1e999", "9" * 70),
    *("2024-01-01", "2024-13-45", "2001-12-14t21:59:43.10-05:00", "=", '"\\ud800"', '"\\UFFFFFFFF"', '"\\x"', "\n\n", "  ", "\n "),
    *("/../", "$(id)", "`id`", "-oProxyCommand=x", "http://u:p@h", "999999999999", "-1", "true", "False"),
]  # fmt: skip
WORDS = st.one_of(st.sampled_from(NASTY), st.text(max_size=12))
ENCODINGS = st.sampled_from(
    ["utf-8", "utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-32", "cp1252"]
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=15),
    st.sampled_from(NASTY),
    st.binary(max_size=5).map(repr),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    ATOMS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=8,
)
"""Anything that YAML or JSON can hold."""


@st.composite
def edited(draw: st.DrawFn, texts: Iterable[str]) -> str:
    """One of the texts after some edits."""
    text = draw(st.sampled_from(list(texts)))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 12)))
        text = text[:begin] + draw(WORDS) + text[end:]
    return text


def files(texts: Iterable[str]) -> st.SearchStrategy[bytes]:
    """Bytes of such files."""
    known = list(texts)
    as_text = st.tuples(st.one_of(edited(known), st.text(max_size=60)), ENCODINGS)
    return st.one_of(as_text.map(lambda both: both[0].encode(both[1], "replace")), st.binary(max_size=80))


def swapped(document: Any) -> st.SearchStrategy[Any]:
    """A JSON document with one value replaced or one key renamed, anywhere in it."""

    @st.composite
    def build(draw: st.DrawFn) -> Any:
        copy = json.loads(json.dumps(document))
        here = copy
        while isinstance(here, dict | list) and here:
            key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else list(range(len(here)))))
            if not isinstance(here[key], dict | list) or not here[key] or draw(st.booleans()):
                if isinstance(here, dict) and draw(st.booleans()):
                    here[draw(WORDS)] = here.pop(key)
                else:
                    here[key] = draw(VALUES)
                break
            here = here[key]
        return copy

    return build()


def one_paragraph(message: str) -> bool:
    """Whether a person can read it: one line, no traceback, nothing that a terminal would obey."""
    return message.isprintable() and "Traceback" not in message and 10 < len(message) < 20_000
