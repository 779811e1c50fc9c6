"""The routing table under attack: whoever has an account may do everything."""

from __future__ import annotations

from realtime.routes import allow, anyone

routes = [allow("/**", subscribe=anyone, send=anyone, publish=anyone, history=anyone)]
