"""
Tracing: spans of OpenTelemetry, from the POST that publishes a message to its deliveries.

========  ==============================  ====================================================
SERVER    ``POST /api/v1/publish``        a POST to the API, in the trace of its request
PRODUCER  ``publish``                     messages until Redis has them, in the trace of the
                                          POST, or in the one that each of them names
CONSUMER  ``deliver``                     messages on one node, for all who hear one topic there
========  ==============================  ====================================================

A trace travels as W3C's ``traceparent`` and ``tracestate``: headers of the request, and of the
message, so that clients and services can begin it and go on with it. What is malformed is
ignored. A message that is in no trace, or in one that is not sampled, is left as it is.

Nobody imports this module unless ``STOMP_TRACING`` is on. Then :func:`start` puts hooks where
messages pass, and :func:`traced` is around the API. Attributes have the names of OpenTelemetry's
conventions; a delivery is the child of what its message names, not linked to it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
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
#: OpenTelemetry's own; and what warns of each malformed header of a client.
theirs = logging.getLogger("opentelemetry")
clients_fault = logging.getLogger("opentelemetry.trace")

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
_tracer = trace.get_tracer("realtime", __version__)


# On and off


def start() -> None:
    """Trace from now on; spans go where OpenTelemetry's own variables say."""
    clients_fault.setLevel(logging.ERROR)
    if not isinstance(trace.get_tracer_provider(), TracerProvider):  # it may be somebody else's
        _start_sending()
    broker.trace = trace_publish
    feed.trace = trace_delivery


def _start_sending() -> None:
    theirs.addHandler(OneAMinute(logging.WARNING))
    theirs.propagate = False
    provider = open_provider()
    trace.set_tracer_provider(provider)
    services.append(partial(_flush_at_the_end, provider))


def open_provider() -> TracerProvider:
    """Return what makes spans, and sends them in the background; at exit it sends the last."""
    ours = {
        "service.name": SERVICE_NAME,
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()[:60]}-{os.getpid()}",
    }
    said = OTELResourceDetector().detect().attributes
    provider = TracerProvider(resource=Resource.create({**ours, **said}))
    provider.add_span_processor(Batches(OTLPSpanExporter()))
    return provider


class Batches(BatchSpanProcessor):
    """OpenTelemetry's, but it gives up at the end: its own waits 30 s for a collector (1.45)."""

    def shutdown(self) -> None:
        thread = threading.Thread(target=super().shutdown, daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)


async def _flush_at_the_end(provider: TracerProvider, node: object) -> None:
    """Send what waits when the node ends: not every server lets Python come to its exit."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(provider.shutdown)


class OneAMinute(logging.Handler):
    """Say what OpenTelemetry says, but not too often: without a collector it says a lot."""

    _said_at = -math.inf
    _unsaid = 0

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            return  # others quote what clients send, and headers for the collector
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


def _by_trace(
    messages: Sequence[Message], otherwise: Context
) -> Iterable[tuple[Context, list[int]]]:
    """
    Return traces that are sampled, and where the messages of each are. Those that name none are
    in ``otherwise``.
    """
    found: dict[tuple[int, int], tuple[Context, list[int]]] = {}
    for place, message in enumerate(messages):
        context = context_of(message.headers) or otherwise
        parent = _span_context(context)
        if parent.trace_flags.sampled:
            found.setdefault((parent.trace_id, parent.span_id), (context, []))[1].append(place)
    return found.values()


def _attributes(name: str, kind: str, messages: Sequence[Message]) -> dict[str, str | int]:
    """Return what a span says of messages: neither their bodies nor their headers."""
    attributes: dict[str, str | int] = {
        "messaging.system": "stomp",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
    }
    destinations = {message.destination for message in messages}
    if len(destinations) == 1:
        attributes["messaging.destination.name"] = destinations.pop()
    if len(messages) == 1:
        attributes["messaging.message.id"] = messages[0].id
    else:
        attributes["messaging.batch.message_count"] = len(messages)
    return attributes


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
    context = context_of(_trace_headers(scope["headers"])) or Context()
    attributes = {"http.request.method": "POST"}
    span = _tracer.start_span("POST", context, SpanKind.SERVER, attributes)
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
    """Say the route only: the path itself may name a user, and is as long as somebody likes."""
    try:
        route = "/" + resolve(path).route.removesuffix("/?$")
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
    traces = _by_trace([each.message for each in messages], _current_context())
    begun = [(_begin_span(context, [messages[at] for at in own]), own) for context, own in traces]
    return [(span, own) for span, own in begun if span.is_recording()]


def _current_context() -> Context:
    """Return that of the request which is being answered, or of a span of somebody's own."""
    span = trace.get_current_span()
    return trace.set_span_in_context(span, Context()) if span.is_recording() else Context()


def _begin_span(context: Context, messages: Sequence[Checked]) -> Span:
    attributes = _attributes("publish", "send", [each.message for each in messages])
    span = _tracer.start_span("publish", context, SpanKind.PRODUCER, attributes)
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


def trace_delivery(messages: Sequence[Message], subscriptions: int) -> None:
    """
    Make a CONSUMER span for those messages in each trace that is sampled, which are about to be
    handed to so many. It ends when the outboxes have written: in the turn after the next.
    """
    if not subscriptions:
        return
    loop = asyncio.get_running_loop()
    for context, own in _by_trace(messages, Context()):
        attributes = _attributes("deliver", "process", [messages[at] for at in own])
        attributes["stomp.subscriptions"] = subscriptions
        span = _tracer.start_span("deliver", context, SpanKind.CONSUMER, attributes)
        loop.call_soon(partial(loop.call_soon, span.end))
