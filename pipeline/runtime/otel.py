"""Spans by OpenTelemetry's SDK: one for a batch or a request, never one for a touchpoint.

Only `open_spans` imports this. Name, sampler, limits and receiver are the SDK's own and come from its
standard variables. A batch links to what was sampled where its trace began, and makes no span without any.
Names of attributes are those of OpenTelemetry's semantic conventions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .. import __version__
from ..core.touchpoint import TRACEPARENT
from .traces import Traced


class Spans:
    """Makes spans. They are sent from a thread of its own, and what is left when the process ends."""

    def __init__(self, service: str) -> None:
        found = OTELResourceDetector().detect().attributes
        ours = {"service.name": service, "service.version": __version__, **found}
        provider = TracerProvider(resource=Resource.create(ours))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = provider.get_tracer("elo", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def batch(self, topic: str, traced: Traced, records: int, group: str) -> None:
        """A batch with so many records of a topic was processed until now."""
        if links := self._links(traced.parents):
            attributes: Mapping[str, str | int] = {
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": topic,
                "messaging.consumer.group.name": group,
                "messaging.batch.message_count": records,
            }
            name, kind = f"process {topic}", SpanKind.CONSUMER
            self._tracer.start_span(name, Context(), kind, attributes, links, traced.begun_ns).end()

    def received(self, method: str, path: str, traceparent: str) -> Span:
        """Begin the span of a request that somebody has sent. `traceparent`: theirs, or empty."""
        attributes = {"http.request.method": method, "http.route": path, "url.path": path}
        return self._tracer.start_span(
            f"{method} {path}", self._context(traceparent), SpanKind.SERVER, attributes
        )

    def sending(self, destination: str, address: str, traceparents: list[str]) -> Span | None:
        """Begin the span of a request with changes; None when none of their traces is sampled.

        It goes on with the trace of a single change, and links to those of several.
        """
        links = self._links(dict.fromkeys(traceparents))
        if not links:
            return None
        attributes = {
            "http.request.method": "POST",
            "server.address": address,
            "elo.destination": destination,
        }
        if len(traceparents) == 1:
            return self._tracer.start_span(
                "POST", self._context(traceparents[0]), SpanKind.CLIENT, attributes
            )
        return self._tracer.start_span("POST", Context(), SpanKind.CLIENT, attributes, links)

    def traceparent_of(self, span: Span) -> str:
        """The context of a span, for whoever comes next."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        return carrier[TRACEPARENT]

    def end(self, span: Span, status: int | None, error: str = "") -> None:
        """End the span of a request. `status`: of the answer. `error`: the kind of failure, if it is one."""
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if error:
            span.set_attribute("error.type", error)
            span.set_status(StatusCode.ERROR)
        span.end()

    def _context(self, traceparent: str) -> Context:
        return self._propagator.extract({TRACEPARENT: traceparent})

    def _links(self, traceparents: Iterable[str]) -> list[Link]:
        found = (get_current_span(self._context(one)).get_span_context() for one in traceparents)
        return [Link(one) for one in found if one.is_valid and one.trace_flags.sampled]
