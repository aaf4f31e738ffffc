"""A schema registry with Confluent's API, where there is one: for ids that our own file does not know.

Five calls of a small HTTP API, by the standard library: confluent-kafka's client brings further packages, of
versions that not every index has. Tests use that client as the other side.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from ..core.errors import ConfigError, Retryable

ANSWER_S: Final = 30.0  # for a command
LOOKUP_S: Final = 2.0  # for the intake, which waits
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
UNKNOWN_S: Final = 60.0
"""So long an id that the registry does not know, or a registry that does not answer, is not asked again."""
IDS_MAX: Final = (
    1_000  # unknown ids that are remembered; a producer that makes them up cannot fill the memory
)
_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_NOT_FOUND: Final = (404,)


class RegistryClient:
    """One registry. `url` may hold `user:password@`; messages never repeat it."""

    def __init__(self, url: str, answer_s: float = ANSWER_S) -> None:
        self._answer_s = answer_s
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("schema_registry must be an address such as http://registry:8081")
        self._headers = {"Accept": _TYPE, "Content-Type": _TYPE}
        if parts.username:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"

    def schema_of(self, schema_id: int) -> Any | None:
        """The schema of an id; None when the registry does not know it."""
        found = self._call("GET", f"/schemas/ids/{schema_id}")
        return None if found is None else json.loads(found["schema"])

    def id_of(self, subject: str, schema: Mapping[str, Any]) -> int | None:
        """The id of a schema within a subject; None when it is not registered there."""
        found = self._call("POST", f"/subjects/{quote(subject)}", {"schema": json.dumps(schema)})
        return None if found is None else int(found["id"])

    def is_compatible(self, subject: str, schema: Mapping[str, Any]) -> bool:
        """Whether a schema may follow those of its subject; one that is the first may."""
        path = f"/compatibility/subjects/{quote(subject)}/versions/latest"
        found = self._call("POST", path, {"schema": json.dumps(schema)})
        return True if found is None else bool(found["is_compatible"])

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        """Register a schema; again gives the same id. Raises ConfigError when it is not compatible."""
        path = f"/subjects/{quote(subject)}/versions"
        found = self._call("POST", path, {"schema": json.dumps(schema)})
        if found is None:
            raise ConfigError(f"the registry does not take {subject}")
        return int(found["id"])

    def set_compatibility(self, subject: str, level: str) -> None:
        """Say which changes of a subject the registry may take."""
        self._call("PUT", f"/config/{quote(subject)}", {"compatibility": level})

    def _call(self, method: str, path: str, document: object = None) -> Any | None:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self._base + path, body, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._answer_s) as answer:
                return json.loads(answer.read(ANSWER_BYTES_MAX))
        except urllib.error.HTTPError as error:
            with error:
                if error.code in _NOT_FOUND:
                    return None
                if error.code in (409, 422):
                    raise ConfigError(f"the registry refuses {path}: {_message(error)}") from None
                raise Retryable(f"the schema registry answers {error.code} to {path}") from None
        except (OSError, ValueError) as error:
            raise Retryable(f"the schema registry does not answer ({error})") from None


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(ANSWER_BYTES_MAX))["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"


class SchemaLookup:
    """Schemas by id for the intake. It never raises, and remembers what it could not find for a while.

    A call may take `LOOKUP_S`; it is made once for an id, and not at all while the registry is silent.
    """

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self._unknown: dict[int, float] = {}
        self._silent_until = 0.0

    def __call__(self, schema_id: int) -> Any | None:
        """The schema of an id; None when it is not known now."""
        now = time.monotonic()
        if now < self._silent_until or now < self._unknown.get(schema_id, 0.0):
            return None
        try:
            found = self._client.schema_of(schema_id)
        except (ConfigError, Retryable):
            self._silent_until = time.monotonic() + UNKNOWN_S
            return None
        if found is None:
            if len(self._unknown) >= IDS_MAX:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[schema_id] = now + UNKNOWN_S
        return found
