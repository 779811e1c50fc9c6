import { useEffect, useRef, useState } from "react";

/**
 * Hear a destination while the component is there. `onMessage` may be another function at each
 * render; `headers` count when the subscription begins. Without a destination nothing is heard.
 *
 * Returns "starting", then "live", when all later messages will come: load the state then. "refused"
 * if it may not be heard; onRefused of resuming() says why.
 */
export function useTopic(topics, destination, onMessage, headers) {
  const latest = useRef({});
  const [state, setState] = useState("starting");

  useEffect(() => { latest.current = { onMessage, headers }; });

  useEffect(() => {
    if (!destination) return undefined;
    let here = true;
    const become = (next) => () => here && setState(next);
    const receive = (message) => latest.current.onMessage(message);
    const subscription = topics.subscribe(destination, receive, latest.current.headers);
    subscription.started.then(become("live"), become("refused"));
    return () => {
      here = false;
      setState("starting");
      subscription.unsubscribe();
    };
  }, [topics, destination]);

  return state;
}
