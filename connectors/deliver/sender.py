"""Requests: the body of a change or several, signed just before it is sent, and what came of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from pipeline import __version__
from pipeline.core.touchpoint import TRACEPARENT

from .destinations import Destination
from .lane import Pending
from .signing import Signer, signer_of
from .template import render
from .verdict import Kind, Verdict, judge

if TYPE_CHECKING:
    from pipeline.runtime.otel import Spans

CONNECT_S: Final = 10.0
SECRETS_S: Final = 5.0  # a file with a secret is read again after so long
ANSWER_BYTES_MAX: Final = 65_536  # of an answer, so that its connection can be used again


class _Connector(aiohttp.TCPConnector):
    """Uses no connection again on which an answer came that nobody had asked for.

    Some servers answer twice, or end an idle connection with a status: the next request would get that.
    """

    async def _get(self, key: Any, traces: Any) -> Any:
        while (found := await super()._get(key, traces)) is not None and found.protocol.should_close:
            found.close()
        return found


class Sender:
    """Sends to one destination. Use it within one event loop, and close it. `spans`: None is off."""

    def __init__(self, destination: Destination, spans: Spans | None = None) -> None:
        self.destination, self._spans = destination, spans
        self._host = urlsplit(destination.url).hostname or ""
        self._batched = destination.batch > 1
        self._secrets_at = 0.0
        self._signers: list[Signer] = []
        self._headers: dict[str, str] = {}
        total_s = destination.timeout / 1000
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=destination.concurrency),
            timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=min(CONNECT_S, total_s)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(self, group: Sequence[Pending]) -> Verdict:
        """Send changes in one request and judge the answer. It never raises for what the network does."""
        spans, parents = self._spans, [one.traceparent for one in group if one.traceparent]
        span = spans.sending(self.destination.name, self._host, parents) if spans is not None else None
        if spans is None or span is None:
            return await self._send(group, {})
        verdict = await self._send(group, {TRACEPARENT: spans.traceparent_of(span)})
        spans.end(span, verdict.status, "" if verdict.kind is Kind.DELIVERED else verdict.detail)
        return verdict

    async def _send(self, group: Sequence[Pending], trace: Mapping[str, str]) -> Verdict:
        body = orjson.dumps(
            render(self.destination.body, [one.change for one in group], batched=self._batched)
        )
        verdict: Verdict | None = None
        try:
            headers = {**self._signed(_id_of(group), body), **trace}
            async with self._session.post(
                self.destination.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                verdict = judge(answer.status, answer.headers, time.time_ns() // 1_000_000)
                # The answer counts once its head is here; the rest is only read to keep the connection.
                await answer.content.read(ANSWER_BYTES_MAX)
                return verdict
        except TimeoutError:
            return verdict or Verdict(Kind.RETRY, "no answer in time")
        except (aiohttp.ClientError, OSError) as error:
            return verdict or Verdict(Kind.RETRY, type(error).__name__)
        except (
            ValueError
        ) as error:  # a secret that cannot be read at this moment; the message names its place
            return Verdict(Kind.RETRY, str(error))

    def _signed(self, message_id: str, body: bytes) -> dict[str, str]:
        self._read_secrets()
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"elo/{__version__}",
            "Idempotency-Key": message_id,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            **self._headers,
        }
        if self._signers:
            # `sign` takes text: given bytes it would sign their Python form.
            text = body.decode()
            headers["webhook-signature"] = " ".join(one.sign(message_id, now, text) for one in self._signers)
        return headers

    def _read_secrets(self) -> None:
        now = time.monotonic()
        if self._secrets_at and now - self._secrets_at < SECRETS_S:
            return
        self._signers = [signer_of(secret.read()) for secret in self.destination.signing]
        self._headers = {
            name: value if isinstance(value, str) else value.read()
            for name, value in self.destination.headers.items()
        }
        self._secrets_at = now


def _id_of(group: Sequence[Pending]) -> str:
    """The id of a request: that of its change, or of several a hash, the same for the same changes."""
    if len(group) == 1:
        return group[0].change_id
    return hashlib.sha256("|".join(one.change_id for one in group).encode()).hexdigest()[:32]
