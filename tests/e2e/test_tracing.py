"""Traces of real processes, from the POST, the SEND or the entry that begins them to deliveries."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conftest import free_port
from tests.kit.clients import StompClient
from tests.kit.collector import Collector, Span
from tests.kit.processes import PROJECT, SERVER, TIMEOUT, Gateway, Process, environment, procfile

#: How long nothing may come any more, in seconds: several times what spans wait to be sent.
SILENCE = 1.0


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def gateways(
    variables: dict[str, str], collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Gateway]]:
    """Two gateways on one Redis, which trace."""
    own = {**variables, **collector.variables}
    folder = tmp_path_factory.mktemp("traced")
    with Gateway(folder / "one", **own) as one, Gateway(folder / "other", **own) as other:
        yield [one, other]


def new_topic() -> str:
    return f"/topic/traced/{secrets.token_hex(8)}"


def new_trace(flags: str = "01") -> tuple[str, str, str]:
    """Return a traceparent, its trace, and its span."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace}-{span}-{flags}", trace, span


async def post(gateway: Gateway, content: Any, path: str = "notification", **headers: str) -> Any:
    """POST to the API; return the answer."""
    request = urllib.request.Request(
        f"{gateway.url}/api/{path}",
        json.dumps(content).encode(),
        {"Content-Type": "application/json", **headers},
    )

    def answer() -> Any:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            assert response.status == 202
            return json.load(response)

    return await asyncio.to_thread(answer)


async def subscriber(stack: AsyncExitStack, gateway: Gateway, *destinations: str) -> StompClient:
    client = await stack.enter_async_context(StompClient(gateway.stomp))
    for number, destination in enumerate(destinations):
        await client.subscribe(destination, id=str(number))
    return client


async def spans_of(collector: Collector, trace: str, count: int) -> list[Span]:
    """Return the spans of a trace, once there are so many and no more come."""
    await asyncio.to_thread(collector.spans_of, trace, count)
    await asyncio.sleep(SILENCE)
    return await asyncio.to_thread(collector.spans_of, trace, count)


def by_kind(spans: list[Span]) -> dict[str, list[Span]]:
    return {kind: [each for each in spans if each.kind == kind] for kind in {s.kind for s in spans}}


async def test_a_post_is_one_trace_up_to_the_deliveries_of_two_gateways(
    gateways: list[Gateway], collector: Collector
) -> None:
    topic, (traceparent, trace, caller) = new_topic(), new_trace()
    one, other = gateways
    async with AsyncExitStack() as stack:
        clients = [await subscriber(stack, one, topic)]
        clients += [await subscriber(stack, other, topic) for _ in range(3)]
        content = {"topic": topic, "message": "nobody else's business"}
        headers = {"traceparent": traceparent, "tracestate": "shop=1", "Cookie": "secret=secret"}
        answer = await post(one, content, "v1/publish?wait=deliver", **headers)
        messages = [await client.message() for client in clients]
        spans = by_kind(await spans_of(collector, trace, 4))
    [server], [producer], consumers = spans["SERVER"], spans["PRODUCER"], spans["CONSUMER"]
    assert server.parent == caller
    assert server.name == "POST /api/v1/publish"
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/v1/publish",
        "http.response.status_code": 202,
    }
    assert producer.parent == server.id
    assert producer.name == "publish"
    assert producer.attributes == {
        "messaging.system": "stomp",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.message.id": answer["id"],
    }
    assert {consumer.parent for consumer in consumers} == {producer.id}
    assert {consumer.name for consumer in consumers} == {"deliver"}
    assert {consumer.attributes["messaging.message.id"] for consumer in consumers} == {answer["id"]}
    assert {each.attributes["messaging.destination.name"] for each in consumers} == {topic}
    assert sorted(each.attributes["stomp.subscriptions"] for each in consumers) == [1, 3]
    assert len({each.resource["service.instance.id"] for each in consumers}) == 2
    assert {each.resource["service.name"] for each in consumers} == {"gateway-under-test"}
    assert {each.state for each in [server, producer, *consumers]} == {"shop=1"}
    assert not any(each.failed for each in [server, producer, *consumers])
    for message in messages:
        assert message.headers["traceparent"] == f"00-{trace}-{producer.id}-01"
        assert message.headers["tracestate"] == "shop=1"
    for request in collector.requests:
        assert b"business" not in request
        assert b"secret" not in request
        assert b"wait" not in request


async def test_a_list_is_published_and_delivered_in_one_span_each(
    gateways: list[Gateway], collector: Collector
) -> None:
    topic, (traceparent, trace, _) = new_topic(), new_trace()
    async with AsyncExitStack() as stack:
        client = await subscriber(stack, gateways[1], topic)
        content = [{"topic": topic, "message": number} for number in range(5)]
        await post(gateways[0], content, traceparent=traceparent)
        for _ in content:
            await client.message()
        spans = by_kind(await spans_of(collector, trace, 3))
    [producer], [consumer] = spans["PRODUCER"], spans["CONSUMER"]
    for span in (producer, consumer):
        assert span.attributes["messaging.batch.message_count"] == 5
        assert span.attributes["messaging.destination.name"] == topic
        assert "messaging.message.id" not in span.attributes
    assert consumer.attributes["stomp.subscriptions"] == 1


async def test_what_a_topic_and_patterns_hear_on_a_node_is_a_delivery_for_each(
    gateways: list[Gateway], collector: Collector
) -> None:
    topic, (traceparent, trace, _) = new_topic(), new_trace()
    async with AsyncExitStack() as stack:
        client = await subscriber(stack, gateways[1], topic, "/topic/traced/*", "/topic/**")
        await post(gateways[0], {"topic": topic, "message": "x"}, traceparent=traceparent)
        for _ in range(3):
            await client.message()
        spans = by_kind(await spans_of(collector, trace, 5))
    [producer] = spans["PRODUCER"]
    for consumer in spans["CONSUMER"]:
        assert consumer.parent == producer.id
        assert consumer.attributes["stomp.subscriptions"] == 1
        assert consumer.attributes["messaging.destination.name"] == topic


async def test_a_send_goes_on_with_the_trace_that_it_names_and_begins_none(
    gateways: list[Gateway], collector: Collector
) -> None:
    topic, (traceparent, trace, caller) = new_topic(), new_trace()
    async with AsyncExitStack() as stack:
        client = await subscriber(stack, gateways[1], topic)
        sender = await subscriber(stack, gateways[0])
        await sender.request("SEND", {"destination": topic, "traceparent": traceparent})
        message = await client.message()
        await sender.request("SEND", {"destination": topic})
        assert "traceparent" not in (await client.message()).headers
        spans = by_kind(await spans_of(collector, trace, 2))
    [producer], [consumer] = spans["PRODUCER"], spans["CONSUMER"]
    assert producer.parent == caller
    assert consumer.parent == producer.id
    assert message.headers["traceparent"] == f"00-{trace}-{producer.id}-01"
    assert producer.attributes["messaging.message.id"] == message.headers["message-id"]
    others = [each for each in collector.spans if each.trace != trace]
    assert [s for s in others if s.attributes.get("messaging.destination.name") == topic] == []


async def test_what_services_publish_over_redis_goes_on_with_its_trace(
    own_variables: dict[str, str], own_client: redis.Redis, collector: Collector, tmp_path: Path
) -> None:
    topic = new_topic()
    own = {**own_variables, **collector.variables}
    with (
        Gateway(tmp_path / "gateway", **own) as gateway,
        Process(procfile("bridge"), tmp_path / "bridge", **own) as bridge,
    ):
        bridge.wait_for_output("stream:TEST_EVENT_TO_WEBSOCKET_SERVER: consumed by this process")
        bridge.wait_for_output("channel:ANSWERS: consumed by this process")
        async with AsyncExitStack() as stack:
            client = await subscriber(stack, gateway, topic)
            for way in ("entry", "envelope", "malformed"):
                traceparent, trace, caller = new_trace()
                if way == "envelope":
                    headers = {"traceparent": traceparent}
                    content = {"destination": topic, "body": way, "headers": headers}
                    own_client.publish("ANSWERS", json.dumps(content))
                else:
                    fields: dict[Any, Any] = {
                        "topic": topic,
                        "message": way,
                        "traceparent": traceparent,
                    }
                    if way == "malformed":
                        fields["traceparent"] = b"\xff" * 9000
                    own_client.xadd("TEST_EVENT_TO_WEBSOCKET_SERVER", fields)
                message = await client.message()
                assert message.body.decode() == way
                if way == "malformed":
                    assert "traceparent" not in message.headers
                    continue
                spans = by_kind(await spans_of(collector, trace, 2))
                [producer], [consumer] = spans["PRODUCER"], spans["CONSUMER"]
                assert producer.parent == caller
                assert consumer.parent == producer.id
                assert message.headers["traceparent"] == f"00-{trace}-{producer.id}-01"


@pytest.mark.parametrize("way", ["POST", "SEND"])
async def test_a_trace_that_is_not_sampled_leaves_no_span_and_no_header(
    gateways: list[Gateway], collector: Collector, way: str
) -> None:
    topic, (traceparent, trace, _) = new_topic(), new_trace("00")
    async with AsyncExitStack() as stack:
        client = await subscriber(stack, gateways[1], topic)
        if way == "POST":
            await post(gateways[0], {"topic": topic, "message": "x"}, traceparent=traceparent)
            assert "traceparent" not in (await client.message()).headers
        else:
            await client.send("SEND", {"destination": topic, "traceparent": traceparent})
            assert (await client.message()).headers["traceparent"] == traceparent
    await asyncio.sleep(SILENCE)
    assert [span for span in collector.spans if span.trace == trace] == []


MALFORMED = [
    "",
    "nonsense",
    "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01," * 20,
]


@pytest.mark.parametrize("traceparent", MALFORMED)
async def test_what_is_malformed_is_ignored(
    gateways: list[Gateway], collector: Collector, traceparent: str
) -> None:
    topic = new_topic()
    async with AsyncExitStack() as stack:
        client = await subscriber(stack, gateways[1], topic)
        await post(
            gateways[0], {"topic": topic, "message": "x"}, traceparent=traceparent, tracestate="?"
        )
        _, trace, parent, _ = (await client.message()).headers["traceparent"].split("-")
        assert trace not in traceparent
        spans = by_kind(await asyncio.to_thread(collector.spans_of, trace, 3))
        assert spans["SERVER"][0].parent == ""
        assert spans["PRODUCER"][0].id == parent
        await client.send("SEND", {"destination": topic, "traceparent": traceparent})
        assert (await client.message()).headers["traceparent"] == traceparent


async def test_without_a_collector_messages_go_on_and_the_log_says_so_once(
    variables: dict[str, str], tmp_path: Path
) -> None:
    own = {**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    own |= {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_BSP_MAX_QUEUE_SIZE": "20"}
    own |= {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"}
    await check_that_messages_go_on(tmp_path / "log", own)
    lines = re.findall(r"^.*OpenTelemetry.*$", (tmp_path / "log").read_text(), re.MULTILINE)
    assert len(lines) == 1, lines
    assert "realtime.tracing" in lines[0]
    assert "127.0.0.1" in lines[0]


async def test_a_collector_that_never_answers_holds_up_nothing_and_no_end(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        own = {**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        await check_that_messages_go_on(tmp_path / "log", {**own, "OTEL_BSP_SCHEDULE_DELAY": "50"})


async def check_that_messages_go_on(log: Path, variables: dict[str, str]) -> None:
    topic = new_topic()
    with Gateway(log, **variables) as gateway:
        async with StompClient(gateway.stomp) as client:
            await client.subscribe(topic)
            began = time.monotonic()
            for number in range(50):
                await post(gateway, {"topic": topic, "message": number})
                assert (await client.message(2)).body == b"%d" % number
            assert time.monotonic() - began < 10
            await client.request("DISCONNECT", {})
        began = time.monotonic()
        status = gateway.stop()
        assert time.monotonic() - began < 8
        assert status == (0 if SERVER == "daphne" else -15)


async def test_a_process_that_ends_sends_what_waits(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with Collector() as collector:
        own = {**variables, **collector.variables, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        with Gateway(tmp_path / "log", **own) as gateway:
            traceparent, trace, _ = new_trace()
            await post(gateway, {"topic": new_topic(), "message": "x"}, traceparent=traceparent)
            assert collector.spans == []
        await asyncio.to_thread(collector.spans_of, trace, 2)


async def test_so_does_a_bridge(
    own_variables: dict[str, str], own_client: redis.Redis, tmp_path: Path
) -> None:
    with Collector() as collector:
        own = {**own_variables, **collector.variables, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        with Process(procfile("bridge"), tmp_path / "log", **own) as bridge:
            bridge.wait_for_output("channel:ANSWERS: consumed by this process")
            traceparent, trace, _ = new_trace()
            content = {
                "destination": new_topic(), "body": "x", "headers": {"traceparent": traceparent}
            }  # fmt: skip
            own_client.publish("ANSWERS", json.dumps(content))
            await asyncio.sleep(SILENCE)
            assert collector.spans == []
        await asyncio.to_thread(collector.spans_of, trace, 1)


async def test_where_nothing_is_configured_messages_gain_no_header(
    gateway: Gateway, second_gateway: Gateway
) -> None:
    topic, (traceparent, _, _) = new_topic(), new_trace()
    async with StompClient(second_gateway.stomp) as client:
        await client.subscribe(topic)
        await post(gateway, {"topic": topic, "message": "x"}, traceparent=traceparent)
        assert set((await client.message()).headers) == {
            "content-length", "content-type", "destination", "message-id", "subscription",
        }  # fmt: skip


# redis-py itself loads the metrics of OpenTelemetry where they are installed.
LOADED = """
import asyncio, sys
import gateway.asgi
import notifications.bridges.runner, realtime.hub.feed, realtime.broker
print("realtime.tracing" in sys.modules)
print(realtime.broker.trace is realtime.hub.feed.trace is None)
"""


@pytest.mark.parametrize(
    "asked, on",
    [
        ({}, False),
        ({"STOMP_TRACING": "1"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "STOMP_TRACING": "0"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, False),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
            False,
        ),
        ({"OTEL_SERVICE_NAME": "gateway"}, False),
    ],
)
def test_tracing_is_loaded_only_where_it_is_asked_for(
    variables: dict[str, str], asked: dict[str, str], on: bool
) -> None:
    assert run("-c", LOADED, **variables, **asked).stdout.split() == [str(on), str(not on)]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, env=environment(**variables),
        capture_output=True, text=True, timeout=2 * TIMEOUT,
    )  # fmt: skip


SOMEBODY_ELSES = """
import logging
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
theirs = TracerProvider()
trace.set_tracer_provider(theirs)
import gateway.asgi, realtime.broker
from realtime.sessions.node import services
print(realtime.broker.trace is not None, trace.get_tracer_provider() is theirs)
print(logging.getLogger("opentelemetry").propagate, len(services))
"""


def test_where_somebody_sends_spans_already_they_stay_in_charge(variables: dict[str, str]) -> None:
    own = {**variables, "STOMP_TRACING": "1"}
    assert run("-c", SOMEBODY_ELSES, **own).stdout.split() == ["True", "True", "True", "2"]


def test_who_wants_traces_and_has_not_the_package_is_told_what_to_install(
    variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()  # which is all that there is
    path = os.pathsep.join([str(tmp_path), str(PROJECT)])
    own = {**variables, "STOMP_TRACING": "1", "PYTHONPATH": path}
    for command in (["manage.py", "check"], ["-c", "import gateway.asgi"]):
        done = run(*command, **own)
        assert done.returncode == 1
        assert "(realtime.E012) STOMP_TRACING is on" in done.stderr
        assert "pip install -r requirements-opentelemetry.txt" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_protocol_that_is_not_spoken_is_refused(variables: dict[str, str]) -> None:
    own = {**variables, "STOMP_TRACING": "1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    done = run("manage.py", "check", **own)
    assert done.returncode == 1
    assert "OTEL_EXPORTER_OTLP_PROTOCOL has to be http/protobuf" in done.stderr
