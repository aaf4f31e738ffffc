"""The file of destinations: read and checked once, at start. Every mistake is one sentence with its place.

Secrets stand in files or in the environment, never in this file.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.core.duration import parse_duration_ms
from pipeline.core.errors import ConfigError
from pipeline.settings import read_yaml_file

from .signing import signer_of
from .template import READY, Template, check

SECRET_HEADERS: Final = ("authorization", "key", "token", "secret", "password", "cookie")
"""A header whose name holds one of these is a secret."""
DAY_MS: Final = 86_400_000


def _to_ms(value: object) -> object:
    if isinstance(value, str):
        return parse_duration_ms(value)
    raise ValueError("write a duration such as 500ms, 10s, 5m or 3d")


Duration = Annotated[int, BeforeValidator(_to_ms)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(_Part):
    """Where a secret is. A file is read again when it changes, so a key can be replaced while we run."""

    file: Path | None = None
    env: str | None = None
    prefix: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError("name one place, {file: PATH} or {env: NAME}")
        self.read()
        return self

    def read(self) -> str:
        """The secret as it is now, `prefix` before it. Raises ValueError when it cannot be had."""
        if self.env is not None:
            found = os.environ.get(self.env, "")
            if not found.strip():
                raise ValueError(f"the environment has no {self.env}")
            return self.prefix + found.strip()
        assert self.file is not None
        try:
            found = self.file.expanduser().read_text("utf-8").strip()
        except OSError as error:
            raise ValueError(f"{self.file} cannot be read ({error.strerror})") from None
        if not found:
            raise ValueError(f"{self.file} is empty")
        return self.prefix + found


class OwnTemplate(_Part):
    """A template of the user's own."""

    each: dict[str, Any]
    many: dict[str, Any] = {"changes": "{items}"}
    needs: tuple[str, ...] = ()
    is_list: bool = False


class Destination(_Part):
    """One destination. docs/reference/delivery.md describes the fields."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    url: str
    segments: tuple[str, ...] | None = None
    changes: tuple[Literal["entered", "exited"], ...] = ("entered", "exited")
    signing: tuple[Secret, ...] = ()
    headers: dict[str, str | Secret] = {}
    template: str | OwnTemplate = "elo"
    batch: int = Field(1, ge=1, le=10_000)
    rate: float = Field(0, ge=0)
    concurrency: int = Field(10, ge=1, le=1_000)
    timeout: Duration = 10_000
    retries: tuple[Duration, ...] = Field(
        (5_000, 30_000, 120_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000), min_length=1
    )
    retry_for: Duration = 3 * DAY_MS
    disable_after: Duration = 5 * DAY_MS
    backfill: Literal["ask", "send", "skip"] = "ask"
    start: Literal["now", "beginning"] = "now"

    @model_validator(mode="after")
    def _check(self) -> Destination:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must be an address that begins with https:// or http://")
        if parts.username or parts.password:
            raise ValueError("url must not hold a password, use headers with {file: PATH} or {env: NAME}")
        if isinstance(self.template, str) and self.template not in READY:
            raise ValueError(f"template {self.template!r} is none, {_near(self.template, READY)}")
        if (problem := check(self.body)) is not None:
            raise ValueError(f"template: {problem}")
        for name, value in self.headers.items():
            if isinstance(value, str) and any(word in name.lower() for word in SECRET_HEADERS):
                raise ValueError(f"headers.{name} looks like a secret, use {{file: PATH}} or {{env: NAME}}")
        for secret in self.signing:
            signer_of(secret.read())
        return self

    @property
    def body(self) -> Template:
        """The template of its bodies."""
        own = self.template
        return READY[own] if isinstance(own, str) else Template(own.each, own.many, own.needs, own.is_list)

    def wants(self, change: Mapping[str, Any]) -> bool:
        """Whether it takes changes of this segment and kind."""
        return change["change"] in self.changes and (
            self.segments is None or change["segment_id"] in self.segments
        )


class _File(_Part):
    destinations: tuple[Destination, ...] = Field(min_length=1)


def read_destinations(path: Path) -> tuple[Destination, ...]:
    """Read and check the file. Raises ConfigError with one sentence."""
    document = read_yaml_file(path, "file of destinations")
    try:
        found = _File.model_validate(document).destinations
    except ValidationError as error:
        raise ConfigError(f"{path}: {_sentence(document, error)}") from None
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{path}: two destinations are called {twice}, names are for life and unique")
    return found


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"take one of {', '.join(known)}"


def _sentence(document: object, error: ValidationError) -> str:
    """The first mistake as an instruction. It never repeats a value that may be a secret."""
    errors = error.errors(include_url=False, include_input=False)
    # Where a text or a mapping may stand, a mapping that is wrong is also "no text".
    first = next((one for one in errors if one["type"] not in ("string_type", "too_short")), errors[0])
    place = [part for part in first["loc"] if part not in ("OwnTemplate", "Secret", "str")]
    where = ""
    for part in place:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    named = _name_of(document, place)
    where = where.replace(f"destinations[{place[1]}]", named, 1) if named else where or "the file"
    kind = first["type"]
    if kind == "value_error":
        return f"{where}: {first['ctx']['error']}"
    if kind == "extra_forbidden":
        known = (
            Destination.model_fields if len(place) == 3 else ("file", "env", "prefix", *_File.model_fields)
        )
        return f"{where} is not known, {_near(str(place[-1]), list(known))}"
    if kind == "missing":
        return f"{where} is missing"
    if kind == "string_pattern_mismatch":
        return f"{where}: write lower-case letters, digits and -, beginning with a letter"
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _name_of(document: object, place: list[Any]) -> str:
    try:
        return str(document["destinations"][place[1]]["name"])  # type: ignore[index]
    except (TypeError, KeyError, IndexError):
        return ""
