"""
Tracing: spans of OpenTelemetry, from the POST that publishes a message to its deliveries.

========  ==============================  ====================================================
SERVER    ``POST api/v1/publish``         a POST to the API, in the trace of its request
PRODUCER  ``publish``                     messages until Redis has them, in the trace of the
                                          POST, or in the one that each of them names
CONSUMER  ``deliver``                     a message on one node, for all who hear it there
========  ==============================  ====================================================

A trace travels as W3C's ``traceparent`` and ``tracestate``: headers of the request, and of the
message, so that clients and services can begin it and go on with it. What is malformed is
ignored. A message that is in no trace, or in one that is not sampled, is left as it is.

Nobody imports this module, or anything of OpenTelemetry, unless ``STOMP_TRACING`` is on. Then
:func:`start` puts hooks where messages pass, and :func:`traced` is around the API. Attributes have
the names of OpenTelemetry's conventions; the child of a message's context is its delivery, not one
that is linked.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final, TypeVar

from django.urls import Resolver404, resolve
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from realtime import __version__, broker
from realtime.hub import feed
from realtime.messages.message import Checked, Message
from realtime.sessions.node import services

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How the service is called where ``OTEL_SERVICE_NAME`` says nothing else.
SERVICE_NAME: Final = "stomp-gateway"

#: Seconds that a process which ends takes at most to send what waits.
FLUSH_SECONDS: Final = 3.0

#: Seconds between two log lines that say what goes wrong with sending.
WARNING_SECONDS: Final = 60.0

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

#: As much of a trace's state is passed on, in characters, as W3C asks for at least.
MAX_TRACESTATE: Final = 512

_propagator: Final = TraceContextTextMapPropagator()
_PUBLISH: Final = {
    "messaging.system": "stomp",
    "messaging.operation.name": "publish",
    "messaging.operation.type": "send",
}
_DELIVER: Final = {
    "messaging.system": "stomp",
    "messaging.operation.name": "deliver",
    "messaging.operation.type": "process",
}


# On and off


def start() -> None:
    """Trace from now on; spans go where OpenTelemetry's own variables say."""
    logging.getLogger("opentelemetry").addHandler(OneAMinute(logging.WARNING))
    logging.getLogger("opentelemetry").propagate = False
    if not isinstance(trace.get_tracer_provider(), TracerProvider):  # it may be somebody else's
        trace.set_tracer_provider(open_provider())
    services.append(_flush_at_the_end)
    broker.trace = trace_publish
    feed.trace = trace_delivery


def open_provider() -> TracerProvider:
    """Return what makes spans, and sends them in the background; at exit it sends the last."""
    ours = {
        "service.name": SERVICE_NAME,
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()[:60]}-{os.getpid()}",
    }
    theirs = OTELResourceDetector().detect().attributes
    provider = TracerProvider(resource=Resource.create({**ours, **theirs}))
    provider.add_span_processor(Batches(OTLPSpanExporter()))
    return provider


class Batches(BatchSpanProcessor):
    """OpenTelemetry's, but it gives up at the end: its own waits 30 s for a collector (1.45)."""

    def shutdown(self) -> None:
        self._batch_processor.shutdown(timeout_millis=int(FLUSH_SECONDS * 1000))


async def _flush_at_the_end(node: object) -> None:
    """Send what waits when the node ends: not every server lets Python come to its exit."""
    try:
        await asyncio.Event().wait()
    finally:
        provider = trace.get_tracer_provider()
        assert isinstance(provider, TracerProvider)
        await asyncio.to_thread(provider.shutdown)


class OneAMinute(logging.Handler):
    """Say what OpenTelemetry says, but not too often: without a collector it says a lot."""

    _said_at = -math.inf
    _unsaid = 0

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            return  # what clients send is no matter of the log
        if time.monotonic() - self._said_at < WARNING_SECONDS:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more since the last such line)" if self._unsaid else ""
        self._said_at, self._unsaid = time.monotonic(), 0
        logger.warning("OpenTelemetry: %s", f"{record.getMessage()[:300]}{more}")


# What travels


def context_of(headers: Mapping[str, Any]) -> Context | None:
    """Return the trace that headers name, or None if they name none."""
    if not isinstance(parent := headers.get(TRACEPARENT), str):
        return None
    carrier = {TRACEPARENT: parent}
    state = headers.get(TRACESTATE)
    if isinstance(state, str) and len(state) <= MAX_TRACESTATE:
        carrier[TRACESTATE] = state
    context = _propagator.extract(carrier, Context())
    return context if _span_context(context).is_valid else None


def _span_context(context: Context) -> SpanContext:
    return trace.get_current_span(context).get_span_context()


@cache
def _tracer() -> trace.Tracer:
    return trace.get_tracer("realtime", __version__)


def _fail(span: Span, error: BaseException) -> None:
    kind = type(error)
    span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
    span.set_status(StatusCode.ERROR)


# Requests


def traced(application: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application for HTTP that does the same, with a SERVER span for each POST."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "POST":
            return await application(scope, receive, send)
        span = _begin_request(scope)
        if not span.is_recording():
            return await application(scope, receive, send)
        with trace.use_span(span, True, record_exception=False, set_status_on_exception=False):
            try:
                await application(scope, receive, partial(_send, span, send))
            except Exception as error:
                _fail(span, error)
                raise

    return answer


async def _send(span: Span, send: Callable[[Any], Awaitable[None]], message: Any) -> None:
    if message["type"] == "http.response.start":
        span.set_attribute("http.response.status_code", message["status"])
        if message["status"] >= 500:
            span.set_attribute("error.type", str(message["status"]))
            span.set_status(StatusCode.ERROR)
    await send(message)


def _begin_request(scope: Any) -> Span:
    attributes = {
        "http.request.method": "POST",
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
    }
    context = context_of(_trace_headers(scope["headers"])) or Context()
    span = _tracer().start_span("POST", context, SpanKind.SERVER, attributes)
    if span.is_recording():
        _name_route(span, scope["path"].removeprefix(scope.get("root_path", "")))
    return span


def _trace_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return what a request says of its trace; several states are one, several parents nonsense."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name in (b"traceparent", b"tracestate"):
            found.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return {name: ",".join(values) for name, values in found.items()}


def _name_route(span: Span, path: str) -> None:
    try:
        route = resolve(path).route
    except Resolver404:
        return
    span.set_attribute("http.route", route)
    span.update_name(f"POST {route}")


# Publishing


def trace_publish(messages: Sequence[Checked], send: Callable[[], T]) -> T:
    """
    Publish messages by ``send``, with a PRODUCER span for those in each trace that is sampled; they
    name it to whoever hears them. Return what ``send`` does: the answers, or a future of them.
    """
    begun = _begin_publishing(messages)
    if not begun:
        return send()
    try:
        answers = send()
    except Exception as error:
        _end_publishing(messages, begun, error)
        raise
    if isinstance(answers, asyncio.Future):
        answers.add_done_callback(partial(_published, messages, begun))
    else:
        _end_publishing(messages, begun, answers)
    return answers


#: A span, and where the messages are that it is for.
Begun = tuple[Span, list[int]]


def _begin_publishing(messages: Sequence[Checked]) -> list[Begun]:
    traces: dict[tuple[int, int], tuple[Context, list[int]]] = {}
    for place, checked in enumerate(messages):
        context = context_of(checked.message.headers) or _current_context()
        parent = _span_context(context)
        if parent.trace_flags.sampled:
            traces.setdefault((parent.trace_id, parent.span_id), (context, []))[1].append(place)
    begun = []
    for context, places in traces.values():
        span = _begin_span(context, [messages[place] for place in places])
        if span.is_recording():
            begun.append((span, places))
    return begun


def _current_context() -> Context:
    """Return that of the request which is being answered, or of a span of somebody's own."""
    span = trace.get_current_span()
    return trace.set_span_in_context(span, Context()) if span.is_recording() else Context()


def _begin_span(context: Context, messages: Sequence[Checked]) -> Span:
    attributes: dict[str, str | int] = {**_PUBLISH}
    destinations = {checked.message.destination for checked in messages}
    if len(destinations) == 1:
        attributes["messaging.destination.name"] = destinations.pop()
    if len(messages) > 1:
        attributes["messaging.batch.message_count"] = len(messages)
    span = _tracer().start_span("publish", context, SpanKind.PRODUCER, attributes)
    if span.is_recording():
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(span, Context()))
        for checked in messages:
            headers = checked.envelope["headers"]
            headers.pop(TRACESTATE, None)
            headers.update(carrier)
    return span


def _published(
    messages: Sequence[Checked], begun: Sequence[Begun], future: asyncio.Future[list[Any]]
) -> None:
    if future.cancelled():
        _end_publishing(messages, begun, asyncio.CancelledError())
    else:
        _end_publishing(messages, begun, future.exception() or future.result())


def _end_publishing(messages: Sequence[Checked], begun: Sequence[Begun], answers: Any) -> None:
    """End spans: ``answers`` are those to the messages, or the error of all."""
    for span, places in begun:
        own = [answers] if isinstance(answers, BaseException) else [answers[at] for at in places]
        errors = [answer for answer in own if isinstance(answer, BaseException)]
        if errors:
            _fail(span, errors[0])
        elif len(places) == 1:
            span.set_attribute("messaging.message.id", broker.id_of(messages[places[0]], own[0]))
        span.end()


# Delivering


class Delivery:
    """What one node delivers of one trace to one destination; it may come in several parts."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self._ids: set[str] = set()
        self._deliveries = 0

    def add(self, ids: Sequence[str], subscriptions: int) -> None:
        """Take note of messages that were handed to so many subscriptions."""
        self._ids.update(ids)
        self._deliveries += len(ids) * subscriptions

    def end(self) -> None:
        """End the span."""
        if len(self._ids) == 1:
            self.span.set_attribute("messaging.message.id", *self._ids)
        else:
            self.span.set_attribute("messaging.batch.message_count", len(self._ids))
        self.span.set_attribute("stomp.subscriptions", self._deliveries // len(self._ids))
        self.span.end()


#: Those that have begun, by traceparent and destination.
_deliveries: Final[dict[tuple[str, str], Delivery]] = {}


def trace_delivery(messages: Sequence[Message]) -> Callable[[int], None] | None:
    """Return what has to be told how often messages were handed on, or None: they have no trace."""
    traces: dict[tuple[str, str], list[Message]] = {}
    for message in messages:
        if isinstance(parent := message.headers.get(TRACEPARENT), str):
            traces.setdefault((parent, message.destination), []).append(message)
    return partial(_delivered, traces, time.time_ns(), len(messages)) if traces else None


def _delivered(
    traces: Mapping[tuple[str, str], Sequence[Message]], began: int, count: int, deliveries: int
) -> None:
    for key, messages in traces.items():
        delivery = _deliveries.get(key) or _begin_span_of(key, messages[0], began)
        if delivery is not None:
            delivery.add([message.id for message in messages], deliveries // count)


def _begin_span_of(key: tuple[str, str], message: Message, began: int) -> Delivery | None:
    """Begin a span that ends when the outboxes have written: in the turn after the next."""
    context = context_of(message.headers)
    if context is None or not _span_context(context).trace_flags.sampled:
        return None
    attributes = {**_DELIVER, "messaging.destination.name": message.destination}
    span = _tracer().start_span("deliver", context, SpanKind.CONSUMER, attributes, start_time=began)
    if not span.is_recording():
        return None
    delivery = _deliveries[key] = Delivery(span)
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, _end_delivery, key)
    return delivery


def _end_delivery(key: tuple[str, str]) -> None:
    _deliveries.pop(key).end()
