"""Bodies: how a change, or several, become the JSON that a destination expects. Pure.

A template is data: a structure with placeholders. `"{name}"` alone keeps the type of its value, inside a text
it becomes text; `{a|b}` takes the first that is there. An entry whose value is not there is left out. Ready
templates are written in the same language as those of a user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

_PLACEHOLDER: Final = re.compile(r"\{([a-z_.|]+)\}")
_ITEMS: Final = "{items}"
_IDENTIFIER: Final = re.compile(r"identifiers\.[a-z][a-z0-9_]*")
NAMES: Final = (
    "change_id", "profile_id", "segment_id", "segment_key", "segment_version", "change", "change_title",
    "inside", "sequence", "occurred_at", "occurred_at_iso", "occurred_at_s", "decided_at", "decided_at_iso",
    "cause", "event_ids", "backfill", "identifiers",
)  # fmt: skip
"""What a placeholder may name, besides `identifiers.TYPE`: the first identifier of a type."""


class Unaddressable(Exception):
    """The change has none of what the template needs to name the person. The message says what."""


@dataclass(frozen=True, slots=True)
class Template:
    """`each`: one change; `many`: the body around a list of them (`"{items}"`), used when `batch` is above 1.

    `needs`: each text names alternatives such as `identifiers.email|identifiers.user_id`, one must be there.
    `is_list`: a single change is written as a list as well.
    """

    each: Any
    many: Any = field(default_factory=lambda: {"changes": _ITEMS})
    needs: tuple[str, ...] = ()
    is_list: bool = False


_CHANGE: Final = {
    name: f"{{{name}}}"
    for name in NAMES
    if name not in ("segment_key", "change_title", "inside") and not name.endswith(("_iso", "_s"))
}
_AUDIENCE: Final = {
    "audience_key": "{segment_key}", "{segment_key}": "{inside}", "change_id": "{change_id}",
    "sequence": "{sequence}", "cause": "{cause}",
}  # fmt: skip
_PERSONAS: Final = {
    "personas": {
        "computation_class": "audience", "computation_id": "{segment_id}", "computation_key": "{segment_key}"
    }
}  # fmt: skip
_SEGMENT: Final = {
    "messageId": "{change_id}", "userId": "{identifiers.user_id}",
    "anonymousId": "{identifiers.anonymous_id|profile_id}", "timestamp": "{occurred_at_iso}",
    "context": {**_PERSONAS, "traits": {"email": "{identifiers.email}"}},
}  # fmt: skip
_BRAZE: Final = {"external_id": "{identifiers.user_id}", "email": "{identifiers.email}"}
_CUSTOMERIO: Final = {
    "type": "person", "action": "event", "name": "Audience {change_title}", "timestamp": "{occurred_at_s}"
}  # fmt: skip
_USER_OR_EMAIL: Final = ("identifiers.user_id|identifiers.email",)
READY: Final[Mapping[str, Template]] = MappingProxyType({
    "elo": Template(
        {"type": "membership.{change}", "timestamp": "{occurred_at_iso}", "data": _CHANGE},
        {"type": "membership.batch", "data": _ITEMS},
    ),
    "segment": Template(
        {"type": "track", "event": "Audience {change_title}", **_SEGMENT, "properties": _AUDIENCE},
        {"batch": _ITEMS},
    ),
    "segment-identify": Template(
        {"type": "identify", **_SEGMENT, "traits": {"{segment_key}": "{inside}"}}, {"batch": _ITEMS}
    ),
    "braze": Template(
        {**_BRAZE, "{segment_key}": "{inside}"}, {"attributes": _ITEMS}, _USER_OR_EMAIL, is_list=True
    ),
    "braze-events": Template(
        {**_BRAZE, "name": "Audience {change_title}", "time": "{occurred_at_iso}", "properties": _AUDIENCE},
        {"events": _ITEMS},
        _USER_OR_EMAIL,
        is_list=True,
    ),
    "customerio": Template(
        {**_CUSTOMERIO, "identifiers": {"id": "{identifiers.user_id}"}, "attributes": _AUDIENCE},
        {"batch": _ITEMS},
        ("identifiers.user_id",),
    ),
    "customerio-email": Template(
        {**_CUSTOMERIO, "identifiers": {"email": "{identifiers.email}"}, "attributes": _AUDIENCE},
        {"batch": _ITEMS},
        ("identifiers.email",),
    ),
})  # fmt: skip


def check(template: Template) -> str | None:
    """What is wrong with a template, as a sentence; None: nothing."""
    if _ITEMS not in list(_texts(template.many)):
        return 'many must hold "{items}" once, where the list of changes goes'
    for text in (*_texts(template.each), *(f"{{{need}}}" for need in template.needs)):
        for names in _PLACEHOLDER.findall(text):
            for name in names.split("|"):
                if name not in NAMES and not _IDENTIFIER.fullmatch(name):
                    return f"{{{name}}} is no placeholder, take one of {', '.join(NAMES)}, identifiers.TYPE"
    return None


def render(template: Template, changes: Sequence[Mapping[str, Any]], *, batched: bool) -> Any:
    """The document for changes, exactly one unless `batched`. Each must be addressable."""
    items = [_render(template.each, values_of(change)) for change in changes]
    return _with_items(template.many, items) if batched or template.is_list else items[0]


def check_addressable(template: Template, change: Mapping[str, Any]) -> None:
    """Raises Unaddressable when the change has nothing of what the template needs."""
    if template.needs:
        values = values_of(change)
        for need in template.needs:
            if _first(need, values) is None:
                raise Unaddressable(f"it has no {need.replace('|', ' or ')}")


def values_of(change: Mapping[str, Any]) -> dict[str, Any]:
    """What placeholders stand for in one change."""
    values = dict(change)
    for one in reversed(change["identifiers"]):
        values[f"identifiers.{one['type']}"] = one["value"]
    values["segment_key"] = change["segment_id"].replace("-", "_")
    values["inside"] = change["change"] == "entered"
    values["change_title"] = change["change"].capitalize()
    values["occurred_at_s"] = change["occurred_at"] // 1000
    for name in ("occurred_at", "decided_at"):
        at = datetime.fromtimestamp(change[name] / 1000, UTC)
        values[f"{name}_iso"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return values


def _first(names: str, values: Mapping[str, Any]) -> Any:
    return next((values[name] for name in names.split("|") if values.get(name) is not None), None)


def _render(part: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(part, Mapping):
        rendered = ((_render_text(key, values), _render(entry, values)) for key, entry in part.items())
        return {key: entry for key, entry in rendered if entry is not None}
    if isinstance(part, list | tuple):
        return [entry for entry in (_render(one, values) for one in part) if entry is not None]
    if isinstance(part, str):
        alone = _PLACEHOLDER.fullmatch(part)
        return _first(alone[1], values) if alone else _render_text(part, values)
    return part


def _render_text(text: str, values: Mapping[str, Any]) -> str:
    def shown(match: re.Match[str]) -> str:
        found = _first(match[1], values)
        return "" if found is None else str(found).lower() if isinstance(found, bool) else str(found)

    return _PLACEHOLDER.sub(shown, text)


def _with_items(part: Any, items: list[Any]) -> Any:
    if isinstance(part, Mapping):
        return {key: _with_items(entry, items) for key, entry in part.items()}
    return items if part == _ITEMS else part


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        for key, entry in part.items():
            yield str(key)
            yield from _texts(entry)
    elif isinstance(part, list | tuple):
        for one in part:
            yield from _texts(one)
    elif isinstance(part, str):
        yield part
