"""A collector of OpenTelemetry on loopback: it takes spans by OTLP over HTTP, and keeps them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

#: Generous: it only ends a test that would hang.
TIMEOUT = 15

KINDS = {2: "SERVER", 4: "PRODUCER", 5: "CONSUMER"}


@dataclass(frozen=True)
class Span:
    kind: str
    name: str
    trace: str
    id: str
    parent: str
    state: str
    failed: bool
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


class Collector:
    """
    ::

        with Collector() as collector:
            ...  # a process with collector.variables
            spans = collector.spans_of(trace, 3)
    """

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.requests = self.requests = []  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.requests: list[bytes]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that sends its spans here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_SERVICE_NAME": "gateway-under-test",
        }

    @property
    def spans(self) -> list[Span]:
        return [span for request in tuple(self.requests) for span in _spans(request)]

    def spans_of(self, trace: str, count: int) -> list[Span]:
        """Return the spans of a trace by their begin, once there are so many."""
        found = self.wait(lambda: [each for each in self.spans if each.trace == trace], count)
        assert len(found) == count, found
        return found

    def wait(self, find: Callable[[], list[Span]], count: int) -> list[Span]:
        """Return what is found, once it is so many or more."""
        deadline = time.monotonic() + TIMEOUT
        while len(found := find()) < count:
            assert time.monotonic() < deadline, self.spans
            time.sleep(0.02)
        return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(body)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def _spans(request: bytes) -> list[Span]:
    return [
        Span(
            KINDS.get(span.kind, str(span.kind)), span.name, span.trace_id.hex(),
            span.span_id.hex(), span.parent_span_id.hex(), span.trace_state,
            span.status.code == 2, _values(span.attributes), _values(each.resource.attributes),
        )
        for each in ExportTraceServiceRequest.FromString(request).resource_spans
        for scope in each.scope_spans
        for span in scope.spans
    ]  # fmt: skip


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
