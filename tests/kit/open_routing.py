"""A routing table by which whoever is logged in may do everything, for processes under test."""

from __future__ import annotations

from realtime.routes import allow, authenticated

routes = [allow("/**", subscribe=authenticated, send=authenticated, publish=authenticated)]
