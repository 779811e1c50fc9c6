"""
The routing table: what goes where, as ``urls.py`` says it for URLs. ``STOMP_ROUTING`` names it.

What clients send to ``/app/...`` reaches nobody but the entry for it; what is sent to
``/topic/...`` needs none.
"""

from __future__ import annotations

from notifications.bridges import from_channel, from_stream, to_channel, to_stream

routes = [
    # What services publish on a Redis channel reaches the subscribers of a topic.
    from_channel("GREETING_CHANNEL_INBOUND", to="/topic/greetings"),
    # What clients send reaches services on a Redis channel, as a JSON string.
    to_channel("/app/greet", "GREETING_CHANNEL_OUTBOUND"),
    # The same by Redis streams, which forget nothing; each entry names its topic.
    from_stream("TEST_EVENT_TO_WEBSOCKET_SERVER"),
    to_stream("/app/test", "TEST_EVENT_TO_BACKEND", maxlen=10_000),
]
