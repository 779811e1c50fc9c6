"""A table that keeps all of what the outbox's writers write."""

from realtime.routes import allow, anyone, topic

routes = [
    allow("/**", subscribe=anyone),
    topic("/topic/outbox/**", history=100_000, ttl=3600),
]
