"""
The routing table: what goes where, as ``urls.py`` says it for URLs. ``STOMP_ROUTING`` names it.

Rules say who may do what; the first that covers a destination decides, and what no rule covers is
denied. More of them, for topics of a team's own::

    allow("/topic/orders/{id}/**", subscribe=permission("shop.view_order"), publish=service)
    allow("/topic/home/{username}/*", subscribe=owner | staff, send=owner, sender=True)
    allow("/topic/team/**", subscribe=group("team"), history=staff, on_revoked="close")
    allow("/user/{username}/queue/**", publish=service)

What clients send to ``/app/...`` reaches nobody but the entry for it.
"""

from __future__ import annotations

from django.conf import settings

from notifications.bridges import from_channel, from_stream, to_channel, to_stream
from realtime.routes import allow, anyone, authenticated, service

routes = [
    # What services publish on a Redis channel reaches the subscribers of a topic.
    from_channel("GREETING_CHANNEL_INBOUND", to="/topic/greetings"),
    # What clients send reaches services on a Redis channel, as a JSON string.
    to_channel("/app/greet", "GREETING_CHANNEL_OUTBOUND"),
    # The same by Redis streams, which forget nothing; each entry names its topic.
    from_stream("TEST_EVENT_TO_WEBSOCKET_SERVER"),
    to_stream("/app/test", "TEST_EVENT_TO_BACKEND", maxlen=10_000),
    # Who may hear these topics, publish to them over the API, and send to these destinations.
    allow("/topic/toast", subscribe=authenticated, publish=service),
    allow("/topic/greetings", subscribe=authenticated, publish=service),
    allow("/topic/test", subscribe=authenticated, publish=service),
    allow("/app/greet", send=authenticated),
    allow("/app/test", send=authenticated),
]

if settings.DEBUG:  # for development: everybody may do everything
    routes.insert(0, allow("/**", subscribe=anyone, send=anyone, publish=anyone))
