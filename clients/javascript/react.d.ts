import type { IMessage, StompHeaders } from "@stomp/stompjs";
import type { Topics } from "./resume.js";

/** "live" when all later messages will come, "refused" if the destination may not be heard. */
export type TopicState = "starting" | "live" | "refused";

/**
 * Hear a destination while the component is there. `onMessage` may be another function at each render;
 * `headers` count when the subscription begins. Without a destination nothing is heard.
 */
export function useTopic(
  topics: Topics,
  destination: string | null | undefined,
  onMessage: (message: IMessage) => void,
  headers?: StompHeaders,
): TopicState;
