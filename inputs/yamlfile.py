"""YAML that a person wrote: its content, and the line and the text of every value.

Only what settings need: mappings with keys of text, lists, text, decimal numbers, true and false. What YAML 1.1 reads as something
else than a person means (010 as 8, 22:22 as 1342, dates) is refused, and so are duplicate keys, several documents and tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from inputs.errors import InputError
from inputs.places import Place, dotted
from inputs.textfile import read_text

DEEPEST = 40
"""Levels of nesting."""
MOST_VALUES = 20_000
"""Values after aliases are followed: a few lines of aliases can stand for millions."""
MOST_BYTES = 2**18
LONGEST_NUMBER = 60
_SHOWN_KEYS = 6
_TAG = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FRACTION = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_QUOTE = "put it in quotes"


@dataclass(frozen=True)
class Document:
    """A document.

    Attributes:
        shown: how messages call it.
        content: what it holds, in plain Python types.
        lines: the line of every value: where its key is, or where it begins in a list.
        written: the text of values that are no text to YAML: ``1.30`` of the number 1.3.
    """

    shown: str
    content: Any
    lines: dict[Place, int] = field(default_factory=dict)
    written: dict[Place, str] = field(default_factory=dict)

    def at(self, place: Place) -> str:
        """File and line of a value, or of what is nearest above it."""
        while place and place not in self.lines:
            place = place[:-1]
        line = self.lines.get(place)
        return f"{self.shown}:{line}" if line else self.shown

    def text(self, place: Place) -> str | None:
        """The value as it was written, where YAML reads it as something else than text."""
        return self.written.get(place)

    def has(self, place: Place) -> bool:
        """Whether anything was written there."""
        return place in self.lines


def read_yaml(path: Path, shown: str) -> Document:
    """The document in a file.

    Raises:
        InputError: it can't be read, or is refused; with the line.
    """
    return parse_yaml(read_text(path, shown, most_bytes=MOST_BYTES), shown)


def parse_yaml(text: str, shown: str, *, keep_text: bool = False) -> Document:
    """The document in a text.

    Args:
        text: what was written.
        shown: how messages call it.
        keep_text: what YAML 1.1 would read as a date or as a number that is not decimal is text.

    Raises:
        InputError: it is no YAML, or is refused; with the line.
    """
    document = Document(shown, None)
    try:
        loader = _Loader(text)
        node = loader.get_node() if loader.check_node() else None
        if node is not None and loader.check_node():
            line = loader.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            msg = f"{shown}:{line}: begins a second document ('---'), and one is needed. Leave the line out, or make two files."
            raise InputError(msg)
        builder = _Builder(document, keep_text)
        content = builder.build(node, (), 0) if node is not None else None
    except yaml.MarkedYAMLError as error:
        raise InputError(_not_yaml(shown, error)) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        code = ord(error.character) if isinstance(error.character, str) else error.character
        msg = f"{shown}:{line}: is not YAML: it has the control character U+{code:04X}. Delete it."
        raise InputError(msg) from None
    except (ValueError, OverflowError) as error:
        # An escape of no character, such as "\UFFFFFFFF".
        msg = f"{shown}: is not YAML: {error}. See to its escapes, which begin with a backslash."
        raise InputError(msg) from None
    return Document(shown, content, document.lines, document.written)


class _Loader(yaml.SafeLoader):
    """Composes nodes, and nothing deeper than people write."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"it is nested more than {DEEPEST} levels deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    def __init__(self, document: Document, keep_text: bool) -> None:
        self._document = document
        self._keep_text = keep_text
        self._count = 0

    def build(self, node: Node, place: Place, depth: int) -> Any:
        self._count += 1
        line = _line(node)
        # At the top it is the whole file.
        if place:
            self._document.lines.setdefault(place, line)
        if self._count > MOST_VALUES or depth > DEEPEST:
            raise self._refusal(
                line,
                place,
                f"holds more than {MOST_VALUES} values, or more than {DEEPEST} levels of them, once its aliases (*name) are followed. Write the values themselves",
            )
        if isinstance(node, MappingNode):
            self._require_tag(node, place, "map")
            return {key: self.build(value, (*place, key), depth + 1) for key, value in self._pairs(node, place, depth)}
        if isinstance(node, SequenceNode):
            self._require_tag(node, place, "seq")
            return [self.build(value, (*place, number), depth + 1) for number, value in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, place)

    def _pairs(self, node: MappingNode, place: Place, depth: int) -> Iterator[tuple[str, Node]]:
        """Keys and values; a merge key (``<<``) gives those that the mapping has not itself."""
        own: dict[str, tuple[int, Node]] = {}
        merged: list[Node] = []
        has_merge = False
        for key_node, value in node.value:
            key, line = self._key(key_node, place), _line(key_node)
            if key_node.tag == f"{_TAG}merge":
                if has_merge:
                    raise self._refusal(line, place, "has a second merge key (<<). Give one a list: <<: [*a, *b]")
                has_merge = True
                merged = value.value if isinstance(value, SequenceNode) else [value]
                continue
            if key in own:
                raise self._refusal(
                    line, (*place, key), f"is there twice, here and in line {own[key][0]}. Delete one of the two"
                )
            own[key] = (line, value)
        for key, (line, _) in own.items():
            self._document.lines[*place, key] = line
        yield from ((key, value) for key, (_, value) in own.items())
        seen = set(own)
        for source in merged:
            if not isinstance(source, MappingNode):
                raise self._refusal(_line(source), place, "a merge key (<<) takes mappings, such as <<: *name")
            self._count += len(source.value)
            if depth > DEEPEST or self._count > MOST_VALUES:
                raise self._refusal(_line(source), place, "its merge keys (<<) are nested too deep")
            for key, value in self._pairs(source, place, depth + 1):
                if key not in seen:
                    seen.add(key)
                    yield key, value

    def _key(self, node: Node, place: Place) -> str:
        line = _line(node)
        if not isinstance(node, ScalarNode):
            raise self._refusal(line, place, "a key is text, and here it is a list or a mapping. Write KEY: VALUE")
        if not _is_whole(node.value):
            raise self._refusal(line, place, "a key has an escape of half a character. Write the character itself")
        if node.tag in (f"{_TAG}str", f"{_TAG}value", f"{_TAG}merge"):
            return str(node.value)
        if not node.tag.startswith(_TAG):
            raise self._refusal(line, place, f"a key has the tag {node.tag}, which is not taken here. Leave it out")
        if node.value == "":
            raise self._refusal(line, place, "a value has no key. Write KEY: VALUE")
        raise self._refusal(line, place, f"the key {node.value} is no text to YAML: {_QUOTE}: '{node.value}'")

    def _scalar(self, node: ScalarNode, place: Place) -> Any:
        kind, text, line = node.tag.removeprefix(_TAG), str(node.value), _line(node)
        if not _is_whole(text):
            raise self._refusal(
                line, place, "has an escape of half a character (\\ud800 to \\udfff). Write the character itself"
            )
        if kind in ("str", "value", "merge"):
            return text
        self._document.written[place] = text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in _Loader.bool_values:
            return _Loader.bool_values[text.lower()]
        if kind in ("int", "float") and len(text) > LONGEST_NUMBER and not self._keep_text:
            raise self._refusal(line, place, f"is a number of {len(text)} digits. If it is text, {_QUOTE}")
        if kind == "int" and _DECIMAL.fullmatch(text) and len(text) <= LONGEST_NUMBER:
            return int(text)
        if kind in ("int", "float") and (_FRACTION.fullmatch(text) or _DECIMAL.fullmatch(text)):
            return float(text)
        if kind in ("int", "float", "timestamp"):
            if self._keep_text:
                return text
            reads = "a date" if kind == "timestamp" else _number(node)
            decimal = "" if kind == "timestamp" else ", or else write a plain decimal number"
            raise self._refusal(
                line, place, f"is {text}, which YAML reads as {reads}. If it is text, {_QUOTE}: '{text}'{decimal}"
            )
        raise self._refusal(line, place, f"has the tag {_shown_tag(node.tag)}, which is not taken here. Leave it out")

    def _require_tag(self, node: Node, place: Place, kind: str) -> None:
        if node.tag != _TAG + kind:
            raise self._refusal(
                _line(node), place, f"has the tag {_shown_tag(node.tag)}, which is not taken here. Leave it out"
            )

    def _refusal(self, line: int, place: Place, why: str) -> InputError:
        where = f"{self._document.shown}:{line}"
        return InputError(f"{where}: {dotted(place[:_SHOWN_KEYS])}: {why}." if place else f"{where}: {why}.")


def _is_whole(text: str) -> bool:
    """Whether it can be written: an escape can make half of a character."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _number(node: ScalarNode) -> str:
    """What YAML 1.1 makes of it, in words."""
    construct = _Loader.construct_yaml_int if node.tag == f"{_TAG}int" else _Loader.construct_yaml_float
    try:
        return f"the number {construct(_Loader(''), node)}"
    except (ValueError, OverflowError, IndexError):
        return "a number"


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _shown_tag(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag


def _not_yaml(shown: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    if "<stream end>" in str(error.problem) and error.context_mark:
        mark = error.context_mark
    where = f"{shown}:{mark.line + 1}" if mark else shown
    problem = " ".join(str(error.problem or error.context).split())
    context = ""
    if error.context and error.context_mark and mark and error.context_mark.line != mark.line:
        context = f" ({' '.join(str(error.context).split())} of line {error.context_mark.line + 1})"
    return f"{where}: is not YAML: {problem}{context}.{_cure(problem, str(error.context or ''))}"


def _cure(problem: str, context: str) -> str:
    if "'\\t'" in problem or "tab" in problem:
        return " Indent with spaces, not with tabs."
    if "alias" in problem or "alias" in context:
        return " A text or a key that begins with * goes in quotes: '*'."
    if "anchor" in context:
        return " A text that begins with & goes in quotes."
    if "cannot start any token" in problem:
        return " A text that begins with such a character goes in quotes."
    if "mapping values are not allowed" in problem:
        return " A text with a colon and a space goes in quotes; a key stands on a line of its own."
    if "could not find expected ':'" in problem or "did not find expected key" in problem:
        return " A key is followed by a colon and a space, and the keys of one mapping are indented alike."
    if "block end" in problem or "block mapping" in context:
        return " The keys of one mapping are indented alike."
    if "flow" in context:
        return " A bracket that was opened must be closed."
    if "quoted scalar" in context:
        return " A quote that was opened must be closed."
    return " Correct it."
