// Snippets: what the form now says, as a command or a program that does the same.

import { url } from "./connection.js";
import { isSecret } from "./headers.js";
import { gettext } from "./language.js";
import { notification } from "./notify.js";

const { redisCli, token, api } = document.body.dataset;
const endpoint = `${location.origin}${api}`;

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`; // for a POSIX shell
const python = (text) => JSON.stringify(text); // its escapes are Python's, too

export const NOTIFY_SNIPPETS = {
  curl({ topic, message, json }) {
    const credentials = token ? ` -H ${quoted(`Authorization: Token ${token}`)}` : "";
    const content = quoted(notification({ topic, message, json }));
    return `curl -X POST -H 'Content-Type: application/json'${credentials} -d ${content} ${endpoint}`;
  },
  redis({ topic, message }) {
    return `${redisCli} XADD TEST_EVENT_TO_WEBSOCKET_SERVER '*' topic ${quoted(topic)} message ${quoted(message)}`;
  },
  python(form) {
    const credentials = token ? `, "Authorization": ${python(`Token ${token}`)}` : "";
    return `import requests

response = requests.post(
    ${python(endpoint)},
    data=${python(notification(form))}.encode(),
    headers={"Content-Type": "application/json"${credentials}},
    timeout=10,
)
response.raise_for_status()
print(response.json())`;
  },
  javascript({ topic, message, json }) {
    const headers = json ? { "content-type": "application/json" } : {};
    return publishing({ destination: topic, body: json ? message.trim() : message, headers });
  },
};

export const SEND_SNIPPETS = {
  curl({ destination, body }) {
    if (!destination.startsWith("/topic/")) {
      return gettext("# curl speaks HTTP, and %(destination)s takes only what STOMP clients SEND:\n# use Python or JavaScript.", { destination });
    }
    return NOTIFY_SNIPPETS.curl({ topic: destination, message: body, json: false });
  },
  redis({ destination, body }) {
    if (destination === "/app/greet") {
      return `${redisCli} PUBLISH GREETING_CHANNEL_OUTBOUND ${quoted(JSON.stringify(body))}`;
    }
    if (destination === "/app/test") {
      return `${redisCli} XADD TEST_EVENT_TO_BACKEND '*' message ${quoted(body)}`;
    }
    if (destination.startsWith("/topic/")) {
      return NOTIFY_SNIPPETS.redis({ topic: destination, message: body });
    }
    return gettext("# The routing table says where %(destination)s leads.", { destination });
  },
  python({ destination, body, headers }) {
    const { hostname, port, protocol } = location;
    const options = { ...masked(headers), receipt: "sent" };
    return `import time
from stomp.adapter.ws import WSStompConnection  # pip install stomp.py websocket-client

connection = WSStompConnection([(${python(hostname)}, ${port || (protocol === "https:" ? 443 : 80)})], ws_path="/stomp")
${protocol === "https:" ? `connection.set_ssl([(${python(hostname)}, ${port || 443})])\n` : ""}connection.connect(${token ? `"LOGIN", "PASSCODE", ` : ""}wait=True)
connection.send(${python(destination)}, ${python(body)}, headers=${python(options)})
time.sleep(1)
connection.disconnect()`;
  },
  javascript: ({ destination, body, headers }) => publishing({ destination, body, headers: masked(headers) }),
};

/** A program that connects, publishes once, and leaves. */
function publishing({ destination, body, headers }) {
  const credentials = token ? `\n  connectHeaders: { login: "LOGIN", passcode: "PASSCODE" },` : "";
  return `import { Client } from "@stomp/stompjs";

const client = new Client({
  brokerURL: ${JSON.stringify(url)},${credentials}
  onConnect: () => {
    client.watchForReceipt("sent", () => client.deactivate());
    client.publish(${JSON.stringify({ destination, body, headers: { ...headers, receipt: "sent" } }, null, 2).replaceAll("\n", "\n    ")});
  },
});
client.activate();`;
}

/** A snippet goes into files and chats: it names secrets, and does not have them. */
function masked(headers) {
  return Object.fromEntries(Object.entries(headers).map(
    ([name, value]) => [name, isSecret(name) ? name.toUpperCase() : value]));
}
