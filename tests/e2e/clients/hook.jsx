// Components that the tests of useTopic show, with all that they heard and how often they subscribed.
import { Client } from "@stomp/stompjs";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { resuming } from "stomp-gateway-client";
import { useTopic } from "stomp-gateway-client/react";

const brokerURL = `${location.origin.replace("http", "ws")}/stomp`;
globalThis.client = new Client({ brokerURL, debug: (line) => frames.push(line) });
globalThis.frames = [];
globalThis.heard = [];
const topics = resuming(client);

function Orders({ topic, name, headers }) {
  const state = useTopic(topics, topic, ({ body }) => heard.push(`${name}: ${body}`), headers);
  return <p>{state}</p>;
}

const root = createRoot(document.getElementById("root"));
globalThis.show = (properties) =>
  root.render(<StrictMode>{properties && <Orders {...properties} />}</StrictMode>);
client.activate();
