"""What spans say of publishing that failed, and what a trace may be in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from realtime import tracing
from realtime.messages.message import Message, check

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
TRACEPARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(autouse=True)
def provider(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("tests"))
    return provider


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize(
    "path, name",
    [
        ("/api/v1/publish", "POST /api/v1/publish"),
        ("/api/v1/publish/", "POST /api/v1/publish"),
        ("/api/v1/sessions/alice/messages", "POST /api/v1/sessions/(?P<id>[^/]+)/messages"),
        ("/api/alice", "POST /api/<path:path>"),
        ("/alice", "POST"),
    ],
)
async def test_a_request_is_named_by_its_route_and_never_by_its_path(
    exporter: InMemorySpanExporter, path: str, name: str
) -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503})

    async def send(message: Any) -> None:
        pass

    scope = {"method": "POST", "path": path, "query_string": b"alice", "headers": []}
    await tracing.traced(answer)(scope, None, send)
    [span] = exporter.get_finished_spans()
    assert span.name == name
    assert attributes_of(span)["error.type"] == "503"
    assert "alice" not in span.to_json()


def test_publishing_that_fails_is_a_span_that_failed(exporter: InMemorySpanExporter) -> None:
    checked = check(Message("/topic/a", b"x", {"traceparent": TRACEPARENT}))

    def fail() -> list[Any]:
        raise redis.ConnectionError("away")

    with pytest.raises(redis.ConnectionError):
        tracing.trace_publish([checked], fail)
    [span] = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes_of(span)["error.type"] == "redis.exceptions.ConnectionError"
    assert not span.events  # what the error says is for the log


@pytest.mark.parametrize("answer", [redis.ReadOnlyError("a replica"), None])
async def test_so_is_one_of_which_a_future_brings_the_bad_news(
    exporter: InMemorySpanExporter, answer: Exception | None
) -> None:
    checked = check(Message("/topic/a", b"x", {"traceparent": TRACEPARENT}))
    future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    assert tracing.trace_publish([checked], lambda: future) is future
    assert exporter.get_finished_spans() == ()
    if answer is None:
        future.cancel()
    else:
        future.set_result([answer])
    await asyncio.sleep(0)
    [span] = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


def test_messages_of_several_traces_have_a_span_for_each_trace(
    exporter: InMemorySpanExporter,
) -> None:
    parents = [
        TRACEPARENT,
        None,
        f"00-{7:032x}-{8:016x}-01",
        TRACEPARENT,
        f"00-{7:032x}-{8:016x}-00",
    ]
    headers = [{} if parent is None else {"traceparent": parent} for parent in parents]
    messages = [check(Message("/topic/a", b"x", each)) for each in headers]
    tracing.trace_publish(messages, lambda: [b"e-1"] * 5)
    first, second = sorted(exporter.get_finished_spans(), key=lambda span: span.context.trace_id)
    assert (first.parent.span_id, second.parent.span_id) == (8, SPAN)  # type: ignore[union-attr]
    assert attributes_of(first)["messaging.message.id"] == "e-1"
    assert attributes_of(second)["messaging.batch.message_count"] == 2
    named = [each.envelope["headers"].get("traceparent") for each in messages]
    one, other = (f"{span.context.span_id:016x}" for span in (second, first))
    assert named == [
        f"00-{TRACE:032x}-{one}-01",
        None,
        f"00-{7:032x}-{other}-01",
        f"00-{TRACE:032x}-{one}-01",
        parents[-1],
    ]


def test_what_the_sampler_leaves_out_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter
) -> None:
    never = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    monkeypatch.setattr(tracing, "_tracer", never.get_tracer("tests"))
    checked = check(Message("/topic/a", b"x", {"traceparent": TRACEPARENT, "tracestate": "a=1"}))
    before = dict(checked.envelope["headers"])
    tracing.trace_publish([checked], lambda: [b"e-1"])
    assert checked.envelope["headers"] == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": 7},
        {"traceparent": b"00"},
        {"traceparent": TRACEPARENT.upper()},
        {"Traceparent": TRACEPARENT},
    ],
)
def test_headers_that_name_no_trace_name_none(headers: Any) -> None:
    assert tracing.context_of(headers) is None


@pytest.mark.parametrize("state", ["a=" + 511 * "x", 7, "nonsense", "a=1,a=2", "=,=,="])
def test_a_state_that_is_malformed_or_too_long_does_not_spoil_its_trace(state: Any) -> None:
    context = tracing.context_of({"traceparent": TRACEPARENT, "tracestate": state})
    assert context is not None
    span_context = tracing._span_context(context)
    assert (span_context.trace_id, span_context.span_id) == (TRACE, SPAN)
    assert len(span_context.trace_state.to_header()) <= tracing.MAX_TRACESTATE


def test_opentelemetry_says_something_once_a_minute_and_nothing_that_clients_sent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("realtime.tracing.time.monotonic", lambda: now[0])
    handler = tracing.OneAMinute(logging.WARNING)

    def say(name: str, text: str) -> None:
        handler.emit(logging.LogRecord(name, 40, "", 1, text, (), None))

    say("opentelemetry.trace.span", "Member doesn't match: evil")
    say("opentelemetry.util.re", "Header format invalid! secret")
    for text in ("away", "away", "away", "x" * 1000):
        say("opentelemetry.exporter.otlp", text)
    now[0] += 61
    say("opentelemetry.sdk", "x" * 1000)
    said: Sequence[str] = [record.getMessage() for record in caplog.records]
    assert said == [
        "OpenTelemetry: away",
        f"OpenTelemetry: {'x' * 300} (3 more since the last such line)",
    ]
