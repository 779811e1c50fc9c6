import type { Client, IMessage, StompHeaders } from "@stomp/stompjs";

/** Why messages are missing for good; "no-history" for a destination that keeps none. */
export type LostReason = "epoch" | "expired" | "limit" | "no-history";

export interface ResumingOptions {
  /** Messages are missing for good; the subscription goes on after `position`. */
  onLost?: (destination: string, reason: LostReason, position: string | undefined) => void;
  /** A subscription is refused, or not allowed any more. It is tried again after `seconds`; with 0 it has ended. */
  onRefused?: (destination: string, code: string, text: string, seconds: number) => void;
  /** The login has expired: give `client.connectHeaders` a fresh token. Awaited before the reconnect. */
  onLoginExpired?: () => void | Promise<void>;
  /** The longest wait before the first reconnect, in milliseconds; it doubles each time. By default 1 000. */
  reconnectDelay?: number;
  /** What it doubles up to, in milliseconds. By default 30 000. */
  maxReconnectDelay?: number;
}

export interface Subscription {
  /** Fulfilled once all later messages will come; rejected if the subscription is refused. */
  readonly started: Promise<void>;
  /** After which message it would go on; undefined until that is known, or where there is no history. */
  readonly position: string | undefined;
  unsubscribe(headers?: StompHeaders): void;
}

export interface Topics {
  /**
   * Subscribe, connected or not, but not in `onConnect`: that runs at every reconnect. `headers` are those
   * of SUBSCRIBE; `last-message-id` begins after that position, `replay` with the newest messages.
   */
  subscribe(
    destination: string,
    callback: (message: IMessage) => void,
    headers?: StompHeaders,
  ): Subscription;
}

/** Let the subscriptions of a client survive its reconnects, before it is activated. */
export function resuming(client: Client, options?: ResumingOptions): Topics;
