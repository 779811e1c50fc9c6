/**
 * Subscriptions that survive reconnects: each goes on after the last message that it got, so that
 * a page misses none and sees none twice. For the Client of @stomp/stompjs 7:
 *
 *     const topics = resuming(client, { onLost: (destination, reason, position) => loadState() });
 *     const orders = topics.subscribe("/topic/orders", (message) => show(message.body));
 *     client.activate();
 *
 * Subscribe once, connected or not, but not in onConnect: that runs at every reconnect. onLost is
 * called where messages are missing for good: with the gateway's reason, or "no-history" for a
 * destination that keeps none. Before a reconnect it waits a random time of up to reconnectDelay
 * ms; that doubles each time, up to maxReconnectDelay, until a connection has held for so long. An
 * ERROR with retry-after puts it off by so many seconds. After a close code from 4500 to 4999 the
 * client is deactivated; after 4005, the login has expired, onLoginExpired is awaited before the
 * reconnect: there the page gives client.connectHeaders a fresh token.
 *
 * onRefused is called with destination, code, text and seconds when a subscription is refused, or
 * not allowed any more. With seconds it is tried again after them; else it has ended.
 */
export function resuming(client, options = {}) {
  const { onLost = () => {}, onRefused = () => {}, onLoginExpired = () => {} } = options;
  const { reconnectDelay = 1000, maxReconnectDelay = 30_000 } = options;
  const subscriptions = new Set();
  let attempts = 1, receipts = 0, pause = 0, expired = false, steady;

  client.reconnectDelay &&= 1; // the waiting is done in beforeConnect; 0 still means never
  client.reconnectTimeMode = 0;
  before(client, "onChangeState", (state) => { if (state === 0) attempts = 0; }); // activated
  before(client, "beforeConnect", () => {
    const most = Math.min(maxReconnectDelay, reconnectDelay * 2 ** (attempts - 1));
    const wait = spread(pause, most);
    pause = 0;
    return attempts++ && new Promise((resolve) => setTimeout(resolve, wait)).then(logIn);
  });
  before(client, "onConnect", () => {
    steady = setTimeout(() => { attempts = 1; }, maxReconnectDelay);
    subscriptions.forEach(({ begin }) => begin());
  });
  before(client, "onStompError", (error) => {
    pause = milliseconds(error.headers);
    subscriptions.forEach(({ refuse }) => refuse(error));
  });
  before(client, "onWebSocketClose", ({ code }) => {
    clearTimeout(steady);
    expired ||= code === 4005;
    if (code >= 4500 && code <= 4999) client.deactivate();
  });

  /** Let the page log in again; if it can't, there is no use in going on. */
  async function logIn() {
    if (!expired) return;
    expired = false;
    try {
      await onLoginExpired();
    } catch (error) {
      client.deactivate();
      throw error;
    }
  }

  /** As the client's own; `started` is fulfilled once all later messages will come. */
  function subscribe(destination, callback, headers = {}) {
    let { "last-message-id": position, replay, ...others } = headers;
    let resumes = Boolean(position), live, receipt, start, giveUp, webSocket;
    const started = new Promise((...both) => { [start, giveUp] = both; });
    started.catch(() => {}); // onRefused tells, too

    function begin() {
      if (webSocket === client.webSocket) return;
      webSocket = client.webSocket;
      receipt = `resuming-${++receipts}`;
      client.watchForReceipt(receipt, began);
      const from = position ? { "last-message-id": position } : replay && { replay };
      live = client.subscribe(destination, receive, { ...others, ...from, receipt });
    }

    function began({ headers: { position: here, recovered, reason = "no-history" } }) {
      const lost = resumes && recovered !== "true" && subscriptions.has(subscription);
      [position, resumes] = [here, true];
      start();
      if (lost) onLost(destination, reason, position);
    }

    function refuse({ headers: { code, message, "receipt-id": id } }) {
      if (id !== receipt) return;
      if (code === "no-history") position = replay = undefined; // any more
      else if (REFUSED.test(code)) refused({ headers: { refused: code }, body: message });
    }

    function refused({ headers, body }) {
      const wait = milliseconds(headers);
      live = webSocket = undefined; // the gateway does not know it any more
      if (wait) {
        setTimeout(() => {
          if (client.connected && subscriptions.has(subscription)) begin();
        }, spread(wait, reconnectDelay));
      } else {
        subscriptions.delete(subscription);
        giveUp(new Error(`${destination}: ${headers.refused}`));
      }
      onRefused(destination, headers.refused, body, wait / 1000);
    }

    function receive(message) {
      if (message.headers.refused) {
        refused(message);
        return;
      }
      const { "message-id": id, recovered, reason } = message.headers;
      const lost = position && recovered === "false" && message.body === "";
      if (position && !lost && repeats(id, position)) return;
      position &&= id;
      if (lost) onLost(destination, reason, position);
      else callback(message);
    }

    function unsubscribe(headers) {
      if (subscriptions.delete(subscription) && client.connected) live?.unsubscribe(headers);
    }

    const subscription = { begin, refuse };
    subscriptions.add(subscription);
    if (client.connected) begin();
    return { started, unsubscribe, get position() { return position; } };
  }

  return { subscribe };
}

/** Codes of an ERROR that the same SUBSCRIBE would get again. */
const REFUSED = /^(subscribe-denied|history-denied|bad-token|login-required)$/;

/** What retry-after asks for. */
function milliseconds(headers) {
  return 1000 * (Number(headers["retry-after"]) || 0);
}

/** A random time, not less than asked for: not all come at once. */
function spread(least, most) {
  return least + Math.random() * Math.max(most, least / 2);
}

/** Whether a message came before. Offsets count within an epoch: in another one, all are new. */
function repeats(position, last) {
  const [here, there] = [position, last].map((each) => each.split(/-(?=\d+$)/));
  return here[0] === there[0] && Number(here[1]) <= Number(there[1]);
}

/** Act before a handler of the client, also before one that the page sets later. */
function before(client, name, action) {
  const chain = (handler) => (argument) => {
    const wait = action(argument);
    return wait ? wait.then(() => handler(argument)) : handler(argument);
  };
  let chained = chain(client[name]);
  const set = (handler) => { chained = chain(handler); };
  Object.defineProperty(client, name, { get: () => chained, set });
}
