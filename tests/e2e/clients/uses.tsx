// What may be written with the package, and what not: `tsc` reads it.
import { Client, type IMessage } from "@stomp/stompjs";
import { resuming, type LostReason, type Topics } from "stomp-gateway-client";
import { useTopic, type TopicState } from "stomp-gateway-client/react";

const client = new Client({ brokerURL: "wss://gateway.example.org/stomp" });
const topics: Topics = resuming(client, {
  onLost: (destination, reason, position) => {
    const lost: [string, LostReason, string | undefined] = [destination, reason, position];
    console.log(lost);
  },
  onRefused: (destination: string, code: string, text: string, seconds: number) =>
    console.log(destination, code, text, seconds),
  onLoginExpired: async () => {
    client.connectHeaders = { authorization: "Bearer fresh" };
  },
  reconnectDelay: 500,
  maxReconnectDelay: 10_000,
});
resuming(client);

const orders = topics.subscribe("/topic/orders", (message: IMessage) => console.log(message.body), {
  replay: "20",
});
await orders.started;
const position: string | undefined = orders.position;
orders.unsubscribe();
orders.unsubscribe({ receipt: "gone" });

export function Orders({ topic }: { topic: string | null }) {
  const state: TopicState = useTopic(topics, topic, ({ body }) => console.log(body, position));
  return <p>{state === "live" ? "all that follows comes" : state}</p>;
}

// @ts-expect-error: there is no such option
resuming(client, { onLoss: () => {} });
// @ts-expect-error: a destination is a text
topics.subscribe(7, () => {});
// @ts-expect-error: it can only be read
orders.position = "epoch-1";
// @ts-expect-error: what a message brings is a message
useTopic(topics, "/topic/orders", (body: string) => console.log(body));
// @ts-expect-error: headers are texts
topics.subscribe("/topic/orders", () => {}, { replay: 20 });
