"""Other client libraries that browsers use, in a real browser: old ones, and rx-stomp."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.e2e.test_stompjs_in_chromium import load, run
from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import PROJECT, Gateway

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

VENDOR = Path(__file__).parent / "vendor"
STOMPJS = PROJECT / "gateway" / "static" / "gateway" / "vendor" / "stompjs" / "stomp.umd.min.js"

#: The files of each library, and its ways of saying what the conversation says, as
#: ``{subscribe, send, begin, disconnect, connectedVersion}``.
LIBRARIES: dict[str, tuple[list[Path], str]] = {
    "stompjs": (
        [VENDOR / "stompjs" / "stomp.min.js"],
        """
        async (onReceipt, onError) => {
          const client = Stomp.client(brokerURL);
          client.debug = null;
          client.onreceipt = onReceipt;
          const connected = await new Promise((resolve) => {
            client.connect("", "", resolve, onError);
          });
          return {
            connectedVersion: connected.headers.version,
            subscribe: client.subscribe.bind(client),
            send: (destination, body, headers) => client.send(destination, headers, body),
            begin: () => client.begin(),
            disconnect: () => new Promise((resolve) => client.disconnect(resolve)),
          };
        }
        """,
    ),
    "webstomp-client": (
        [VENDOR / "webstomp-client" / "webstomp.min.js"],
        """
        async (onReceipt, onError) => {
          const protocols = ["v10.stomp", "v11.stomp", "v12.stomp"];
          const client = webstomp.client(brokerURL, { debug: false, protocols });
          client.onreceipt = onReceipt;
          const connected = await new Promise((resolve) => {
            client.connect({}, resolve, onError);
          });
          return {
            connectedVersion: connected.headers.version,
            subscribe: client.subscribe.bind(client),
            send: client.send.bind(client),
            begin: () => client.begin(),
            disconnect: () => new Promise((resolve) => client.disconnect(resolve)),
          };
        }
        """,
    ),
    "rx-stomp": (
        [
            STOMPJS,
            VENDOR / "rxjs" / "rxjs.umd.min.js",
            VENDOR / "rx-stomp" / "rx-stomp.umd.min.js",
        ],
        """
        async (onReceipt, onError) => {
          const client = new RxStomp.RxStomp();
          client.configure({ brokerURL });
          client.unhandledReceipts$.subscribe(onReceipt);
          client.stompErrors$.subscribe(onError);
          client.activate();
          await rxjs.firstValueFrom(client.connected$);
          return {
            connectedVersion: client.stompClient.connectedVersion,
            subscribe: (destination, put, subHeaders) =>
              client.watch({ destination, subHeaders }).subscribe(put),
            send: (destination, body, headers) => client.publish({ destination, body, headers }),
            begin: () => client.stompClient.begin(),
            disconnect: () => client.deactivate(),
          };
        }
        """,
    ),
}

CONVERSATION = """
async (library) => {
  const waiting = {};
  const client = await library(
    (frame) => waiting[frame.headers["receipt-id"]](),
    (error) => fail(new Error(error.body ?? error)),
  );
  let receipts = 0;
  const receipt = (request) => new Promise((resolve) => {
    const id = `receipt-${++receipts}`;
    waiting[id] = resolve;
    request({ receipt: id });
  });
  const topic = `/topic/clients/${Math.random()}`;
  const inbox = new Inbox();
  await receipt((headers) => client.subscribe(
    topic, inbox.put, { ack: "client-individual", "prefetch-count": 1, ...headers }));
  const send = (body, headers = {}) =>
    receipt((asked) => client.send(topic, body, { ...headers, ...asked }));

  await send("na\u00efve \u2713", { note: "plain" });
  await send("second");
  const first = await inbox.next();
  const beforeAck = inbox.all.length;
  first.ack();
  (await inbox.next()).ack();

  const committed = client.begin();
  await send("third", { transaction: committed.id });
  const aborted = client.begin();
  await send("never", { transaction: aborted.id });
  aborted.abort();
  await send("outside");
  (await inbox.next()).ack();
  committed.commit();
  (await inbox.next()).ack();

  const replies = new Inbox();
  client.subscribe("/app/settings/colours", replies.put, {});
  const answer = (await replies.next()).body;
  await client.disconnect();
  return {
    version: client.connectedVersion,
    note: first.headers.note,
    beforeAck,
    bodies: bodies(inbox.all),
    answer: JSON.parse(answer),
  };
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Page]:
    async with open_page("about:blank", inject=True) as page:
        yield page


@pytest.mark.parametrize(
    ("library", "version"), [("stompjs", "1.1"), ("webstomp-client", "1.2"), ("rx-stomp", "1.2")]
)
async def test_it_subscribes_sends_acknowledges_commits_and_disconnects(
    browser: Page, gateway: Gateway, library: str, version: str
) -> None:
    page = await load(browser, gateway)
    # rx-stomp takes its ids from a library of its own.
    await page.evaluate("() => { globalThis.uuid = { v4: () => crypto.randomUUID() }; }")
    files, adapter = LIBRARIES[library]
    for file in files:
        await page.add_script_tag(path=file)
    happened: dict[str, Any] = await run(page, f"() => ({CONVERSATION})({adapter})")
    assert happened == {
        "version": version,
        "note": "plain",
        "beforeAck": 1,
        "bodies": ["na\u00efve \u2713", "second", "outside", "third"],
        "answer": {"part": "colours"},
    }
