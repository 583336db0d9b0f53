"""Every setting of a lab, as a page: ``python -m components.config.settings_reference > docs/settings.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from components.config import discovery
from components.config.settings import HostSettings, LabSettings

HEAD = """\
# Settings

What a lab's file in `stacks/` takes. A stack overrides single ones: `pulumi config set --path litelab:hosts.cpus 4`. Keys that are
not here are refused, with the nearest that is. Made from the code by `python -m components.config.settings_reference > docs/settings.md`.
"""


def page() -> str:
    """All settings, as Markdown: what every lab has, then what a host kind or a distribution adds or has otherwise."""
    parts = [HEAD, "## Every lab\n", _table(LabSettings)]
    parts += ["## Every kind of hosts, below `hosts:`\n", _table(HostSettings)]
    for name in discovery.host_kinds():
        parts += [f"## `hosts.kind: {name}`\n", _table(discovery.host_kind(name).settings, base=HostSettings)]
    for name in discovery.distributions():
        parts += [f"## `distribution: {name}`\n", _table(discovery.distribution(name).settings, base=LabSettings)]
    return "\n".join(parts)


def _table(model: type[BaseModel], base: type[BaseModel] | None = None) -> str:
    """Its settings, or those that its base has not or has otherwise."""
    schema = model.model_json_schema()
    known = base.model_json_schema()["properties"] if base is not None else {}
    rows = [
        f"| `{key}` | {_takes(shown, schema)} | {_default(key, shown, schema)} | {shown.get('description', '')} |\n"
        for key, shown in schema["properties"].items()
        # Headings say the kind, and hosts have tables of their own.
        if key != "hosts" and shown != known.get(key) and "const" not in shown
    ]
    if not rows:
        return "Nothing more.\n"
    return "| key | takes | default | what |\n|---|---|---|---|\n" + "".join(rows)


def _takes(shown: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a key takes, in words."""
    words = list(dict.fromkeys(_words(shown, schema)))
    return " or ".join(word for word in words if word != "nothing") or "anything"


def _words(shown: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in shown:
        inside = schema["$defs"][shown["$ref"].rpartition("/")[2]]
        keys = ", ".join(f"`{key}`" for key in inside["properties"])
        yield f"a mapping of {keys}"
    elif "anyOf" in shown:
        for one in shown["anyOf"]:
            yield from _words(one, schema)
    elif "const" in shown:
        yield f"`{shown['const']}`"
    elif "enum" in shown:
        yield ", ".join(f"`{value}`" for value in shown["enum"])
    elif shown.get("type") == "array":
        yield f"a list, each {' or '.join(_words(shown['items'], schema))}"
    elif shown.get("type") == "object":
        (each,) = shown.get("patternProperties", {"": shown.get("additionalProperties")}).values()
        yield f"a mapping of names, each to {' or '.join(_words(each, schema))}"
    elif shown.get("type") in ("integer", "number"):
        low, high = shown.get("minimum"), shown.get("maximum")
        yield f"{low} to {high}" if low is not None and high is not None else "a number"
    else:
        yield {"boolean": "`true`, `false`", "string": "text", "null": "nothing"}.get(
            str(shown.get("type")), "anything"
        )


def _default(key: str, shown: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if key in schema.get("required", ()):
        return "must be given"
    value = shown.get("default")
    return "" if value in (None, [], {}) else f"`{value if isinstance(value, str) else json.dumps(value)}`"


if __name__ == "__main__":
    print(page(), end="")
