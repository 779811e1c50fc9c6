"""A routing table with rules, for processes under test."""

from __future__ import annotations

from realtime.routes import allow, authenticated, group

routes = [
    allow("/topic/team/**", subscribe=group("team")),
    allow("/topic/closed/**", subscribe=group("team"), on_revoked="close"),
    allow("/topic/all/**", subscribe=authenticated),
]
