"""
API: what other programs ask of a node over HTTP.

``health``  ``GET /healthz`` and ``GET /readyz``, for orchestrators

These are ASGI applications beside Django: they answer though threads, database or Redis don't.

May import ``layer`` and ``redis``.
"""
