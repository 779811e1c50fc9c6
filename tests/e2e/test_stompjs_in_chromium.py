"""The client that browsers really use, @stomp/stompjs, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import Gateway

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

#: Generous: it only ends a test that would hang.
TIMEOUT = 30

#: What the scripts of the tests have besides StompJs.
HARNESS = """
async () => {
  await import("/static/gateway/vendor/stompjs/stomp.umd.min.js");

  /** Things that happen, to be awaited one after the other. */
  globalThis.Inbox = class {
    all = [];
    #taken = 0;
    #wake = () => {};

    put = (thing) => {
      this.all.push(thing);
      this.#wake();
    };

    async next() {
      while (this.#taken === this.all.length) {
        await new Promise((resolve) => { this.#wake = resolve; });
      }
      return this.all[this.#taken++];
    }

    async take(count) {
      const taken = [];
      while (taken.length < count) taken.push(await this.next());
      return taken;
    }
  };

  globalThis.brokerURL = `${location.origin.replace(/^http/, "ws")}/stomp`;

  /** Rejected at an ERROR that nobody asked for. */
  globalThis.failed = new Promise((_, reject) => { globalThis.fail = reject; });
  failed.catch(() => {});

  /** A client that is connected. */
  globalThis.connect = async (options = {}) => {
    const client = new StompJs.Client({
      brokerURL,
      reconnectDelay: 0,
      onStompError: (frame) => fail(new Error(`${frame.headers.code}: ${frame.body}`)),
      ...options,
    });
    await new Promise((resolve) => {
      client.onConnect = (frame) => {
        options.onConnect?.(frame);
        resolve();
      };
      client.activate();
    });
    return client;
  };

  let receipts = 0;

  /** Do what asks for a receipt, given its headers, and wait for that. */
  globalThis.receipt = (client, request) => new Promise((resolve) => {
    const id = `receipt-${++receipts}`;
    client.watchForReceipt(id, resolve);
    request({ receipt: id });
  });

  /** Subscribe and wait until every later message will come; returns where they come. */
  globalThis.subscribe = async (client, destination, headers = {}) => {
    const inbox = new Inbox();
    await receipt(client, (asked) =>
      client.subscribe(destination, inbox.put, { ...headers, ...asked }));
    return inbox;
  };

  globalThis.send = (client, destination, body, headers = {}) =>
    receipt(client, (asked) =>
      client.publish({ destination, body, headers: { ...headers, ...asked } }));

  globalThis.bodies = (messages) => messages.map((message) => message.body);
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Page]:
    """A page that all tests share; each loads it anew, which ends the clients of the last."""
    async with open_page("about:blank") as page:
        yield page


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Page, gateway: Gateway) -> Page:
    return await load(browser, gateway)


async def load(page: Page, gateway: Gateway) -> Page:
    """Load a page of the gateway that has no client of its own, and prepare it for the tests."""
    await page.goto(f"{gateway.url}/admin/login/")
    await page.evaluate(HARNESS)
    return page


async def run(page: Page, script: str, argument: Any = None, seconds: float = TIMEOUT) -> Any:
    """Call a JavaScript function in the page and return what it returns."""
    async with asyncio.timeout(seconds):
        return await page.evaluate(
            f"(argument) => Promise.race([failed, ({script})(argument)])", argument
        )


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_it_connects_with_every_version(page: Page, version: str) -> None:
    connected = await run(
        page,
        """
        async (version) => {
          const client = await connect({ stompVersions: new StompJs.Versions([version]) });
          return [client.connectedVersion, client.webSocket.protocol];
        }
        """,
        version,
    )
    assert connected == [version, f"v{version.replace('.', '')}.stomp"]


async def test_it_takes_the_highest_version_that_it_has(page: Page) -> None:
    assert await run(page, "async () => (await connect()).connectedVersion") == "1.2"


async def test_it_subscribes_and_sends_with_receipts_and_gets_the_message(
    page: Page,
) -> None:
    message = await run(
        page,
        """
        async () => {
          const topic = "/topic/stompjs/receipts";
          const client = await connect();
          const inbox = await subscribe(client, topic, { id: "mine" });
          await send(client, topic, "na\u00efve \u2713", { note: "a:b\\nc\\rd \\\\ e" });
          const { body, headers } = await inbox.next();
          return { body, headers: { ...headers } };
        }
        """,
    )
    assert message["body"] == "na\u00efve \u2713"
    assert message["headers"]["destination"] == "/topic/stompjs/receipts"
    assert message["headers"]["subscription"] == "mine"
    assert message["headers"]["note"] == "a:b\nc\rd \\ e"
    assert "receipt" not in message["headers"]


async def test_nothing_comes_after_it_unsubscribed(page: Page) -> None:
    received = await run(
        page,
        """
        async () => {
          const topic = "/topic/stompjs/unsubscribed";
          const client = await connect();
          const ended = await subscribe(client, topic, { id: "ended" });
          await receipt(client, (headers) => client.unsubscribe("ended", headers));
          const live = await subscribe(client, topic);
          await send(client, topic, "late");
          return [bodies(await live.take(1)), bodies(ended.all)];
        }
        """,
    )
    assert received == [["late"], []]


async def test_its_disconnect_is_answered_and_closes_normally(page: Page) -> None:
    ended = await run(
        page,
        """
        async () => {
          const happened = new Inbox();
          const client = await connect({
            onDisconnect: (frame) => happened.put(frame.command),
            onWebSocketClose: (event) => happened.put([event.code, event.wasClean]),
          });
          await client.deactivate();
          return happened.take(2);
        }
        """,
    )
    assert ended == ["RECEIPT", [1000, True]]


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_ack_mode_client_acknowledges_all_up_to_the_message(page: Page, version: str) -> None:
    received = await run(
        page,
        """
        async (version) => {
          const topic = `/topic/stompjs/cumulative/${version}`;
          const client = await connect({ stompVersions: new StompJs.Versions([version]) });
          const acked = await subscribe(client, topic, { ack: "client", "prefetch-count": 2 });
          const all = await subscribe(client, topic);
          for (const body of ["1", "2", "3", "4", "5"]) await send(client, topic, body);
          await all.take(5); // then what may come before an ACK is here too
          const before = bodies(acked.all);
          const [, second] = await acked.take(2);
          await receipt(client, (headers) => second.ack(headers));
          return [before, bodies(acked.all)];
        }
        """,
        version,
    )
    assert received == [["1", "2"], ["1", "2", "3", "4"]]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("answer", ["ack", "nack"])
async def test_with_a_prefetch_count_of_one_the_second_message_waits_for_the_first(
    page: Page, version: str, answer: str
) -> None:
    received = await run(
        page,
        """
        async ([version, answer]) => {
          const topic = `/topic/stompjs/individual/${version}/${answer}`;
          const client = await connect({ stompVersions: new StompJs.Versions([version]) });
          const acked = await subscribe(
            client, topic, { ack: "client-individual", "prefetch-count": 1 });
          const all = await subscribe(client, topic);
          for (const body of ["1", "2", "3"]) await send(client, topic, body);
          await all.take(3); // then what may come before an ACK is here too
          const seen = [bodies(acked.all)];
          for (let answers = 0; answers < 3; answers++) {
            const message = await acked.next();
            await receipt(client, (headers) => message[answer](headers));
            seen.push(bodies(acked.all));
          }
          return seen;
        }
        """,
        [version, answer],
    )
    assert received == [["1"], ["1", "2"], ["1", "2", "3"], ["1", "2", "3"]]


async def test_a_message_of_ack_mode_client_individual_is_acknowledged_alone(
    page: Page,
) -> None:
    received = await run(
        page,
        """
        async () => {
          const topic = "/topic/stompjs/alone";
          const client = await connect();
          const acked = await subscribe(
            client, topic, { ack: "client-individual", "prefetch-count": 3 });
          const all = await subscribe(client, topic);
          for (const body of ["1", "2", "3", "4", "5"]) await send(client, topic, body);
          await all.take(5);
          const messages = await acked.take(3);
          await receipt(client, (headers) => messages[2].ack(headers));
          return bodies(acked.all);
        }
        """,
    )
    assert received == ["1", "2", "3", "4"]


async def test_a_transaction_sends_nothing_before_its_commit_and_then_all_in_order(
    page: Page,
) -> None:
    received = await run(
        page,
        """
        async () => {
          const topic = "/topic/stompjs/committed";
          const client = await connect();
          const inbox = await subscribe(client, topic);
          const transaction = client.begin();
          await send(client, topic, "first", { transaction: transaction.id });
          await send(client, topic, "second", { transaction: transaction.id });
          await send(client, topic, "outside");
          const before = bodies(await inbox.take(1));
          transaction.commit();
          return [before, bodies(await inbox.take(2)), inbox.all.length];
        }
        """,
    )
    assert received == [["outside"], ["first", "second"], 3]


async def test_an_aborted_transaction_sends_nothing(page: Page) -> None:
    received = await run(
        page,
        """
        async () => {
          const topic = "/topic/stompjs/aborted";
          const client = await connect();
          const inbox = await subscribe(client, topic);
          const transaction = client.begin();
          await send(client, topic, "dropped", { transaction: transaction.id });
          transaction.abort();
          await send(client, topic, "after");
          await inbox.next();
          return bodies(inbox.all);
        }
        """,
    )
    assert received == ["after"]


async def test_an_ack_in_a_transaction_counts_at_its_commit(page: Page) -> None:
    received = await run(
        page,
        """
        async () => {
          const topic = "/topic/stompjs/acked-in-a-transaction";
          const client = await connect();
          const acked = await subscribe(client, topic, { ack: "client", "prefetch-count": 1 });
          await send(client, topic, "first");
          await send(client, topic, "second");
          const message = await acked.next();
          const transaction = client.begin();
          await receipt(client, (headers) =>
            message.ack({ ...headers, transaction: transaction.id }));
          const before = bodies(acked.all);
          transaction.commit();
          await acked.next();
          return [before, bodies(acked.all)];
        }
        """,
    )
    assert received == [["first"], ["first", "second"]]


async def test_a_binary_body_of_all_byte_values_comes_back_as_it_was(page: Page) -> None:
    type, body = await run(
        page,
        """
        async () => {
          const client = await connect();
          const inbox = await subscribe(client, "/topic/stompjs/binary");
          client.publish({
            destination: "/topic/stompjs/binary",
            binaryBody: Uint8Array.from({ length: 256 }, (_, value) => value),
            headers: { "content-type": "application/octet-stream" },
          });
          const message = await inbox.next();
          return [message.headers["content-type"], Array.from(message.binaryBody)];
        }
        """,
    )
    assert type == "application/octet-stream"
    assert body == list(range(256))


async def test_heart_beats_keep_a_silent_connection_for_30_seconds(page: Page) -> None:
    seen = await run(
        page,
        """
        async () => {
          const connects = new Inbox();
          const closes = new Inbox();
          const client = await connect({
            heartbeatIncoming: 2000,
            heartbeatOutgoing: 2000,
            reconnectDelay: 100,
            onConnect: connects.put,
            onWebSocketClose: closes.put,
          });
          const heard = [];
          client.webSocket.addEventListener("message", () => heard.push(performance.now()));
          await new Promise((resolve) => setTimeout(resolve, 30_000));
          return {
            connected: client.connected,
            connects: connects.all.length,
            closes: closes.all.map(({ code }) => code),
            heard: heard.length,
            silence: performance.now() - heard.at(-1),
          };
        }
        """,
        seconds=60,
    )
    assert (seen["connected"], seen["connects"], seen["closes"]) == (True, 1, [])
    assert 12 <= seen["heard"] <= 24  # every 2 s at the latest, but not all the time
    assert seen["silence"] < 4000


async def test_it_reconnects_to_a_gateway_that_was_killed_and_started_again(
    browser: Page, variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "first", **variables) as first:
        page = await load(browser, first)
        session = await run(
            page,
            """
            () => {
              globalThis.inbox = new Inbox();
              globalThis.closes = new Inbox();
              globalThis.client = new StompJs.Client({
                brokerURL,
                reconnectDelay: 100,
                onConnect: (frame) => {
                  const destination = "/topic/stompjs/again";
                  client.subscribe(destination, (message) => inbox.put(message.body));
                  client.publish({ destination, body: frame.headers.session });
                },
                onWebSocketClose: (event) => closes.put(event.code),
              });
              client.activate();
              return inbox.next();
            }
            """,
        )
        first.popen.kill()
        first.popen.wait()
        assert await run(page, "() => closes.next()") == 1006
        with Gateway(tmp_path / "second", port=first.port, **variables):
            assert await run(page, "() => inbox.next()") not in {"", session}
            await run(page, "() => client.deactivate()")


async def test_it_sees_an_error_with_its_code_and_the_close_code(page: Page) -> None:
    headers, body, close = await run(
        page,
        """
        async () => {
          const errors = new Inbox();
          const closes = new Inbox();
          const client = await connect({
            onStompError: errors.put,
            onWebSocketClose: closes.put,
          });
          client.publish({
            destination: "/queue/unknown",
            headers: { receipt: "failed" },
          });
          const { headers, body } = await errors.next();
          const { code, reason, wasClean } = await closes.next();
          return [{ ...headers }, body, { code, reason, wasClean }];
        }
        """,
    )
    assert "/queue/unknown" in headers["message"]
    assert headers["code"] == "unknown-destination"
    assert headers["receipt-id"] == "failed"
    assert body == f"{headers['message']}\n"
    assert (close["code"], close["wasClean"]) == (1002, True)
    assert close["reason"] and headers["message"].startswith(close["reason"][:40])


async def test_a_reply_comes_as_a_message_that_it_never_subscribed_to(page: Page) -> None:
    subscription, body = await run(
        page,
        """
        async () => {
          const replies = new Inbox();
          const client = await connect({ onUnhandledMessage: replies.put });
          client.publish({
            destination: "/app/echo/alice",
            body: "question",
            headers: { "reply-to": "/temp-queue/answers" },
          });
          const { headers, body } = await replies.next();
          return [headers.subscription, body];
        }
        """,
    )
    assert subscription == "/temp-queue/answers"
    assert body == "alice:question"


async def test_a_subscription_to_an_application_destination_is_answered_once_to_its_page_only(
    page: Page, gateway: Gateway
) -> None:
    ask = """
        async () => {
          globalThis.client = await connect();
          globalThis.answers = await subscribe(client, "/app/settings/theme");
          return bodies(await answers.take(1));
        }
    """
    after_a_message = """
        async () => {
          const inbox = await subscribe(client, "/topic/stompjs/settings");
          await send(client, "/topic/stompjs/settings", "later");
          await inbox.next();
          return answers.all.length;
        }
    """
    async with open_page("about:blank") as second:
        other = await load(second, gateway)
        for asking in (page, other):
            (answer,) = await run(asking, ask)
            assert answer.replace(" ", "") == '{"part":"theme"}'
        for waiting in (page, other):
            assert await run(waiting, after_a_message) == 1
