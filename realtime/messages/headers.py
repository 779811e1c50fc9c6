"""Headers: which of a message's own a client or a service may choose."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from realtime.stomp import SECRET_HEADERS

from .idempotency import IDEMPOTENCY_KEY
from .message import PROTOCOL_HEADERS

#: Between client and server, or said by the gateway alone: no part of what is published.
_RESERVED: Final = PROTOCOL_HEADERS | {"login", "sender", IDEMPOTENCY_KEY} | SECRET_HEADERS

#: All that clients take for spaces, in Python or in JavaScript; NUL is sent as one.
_SPACES: Final = re.compile(r"[\s\ufeff\x00]+")


@lru_cache(maxsize=1024)
def is_free(name: str) -> bool:
    """Return whether who publishes may set a header of this name."""
    # Old clients trim names, and what their version can't write is a space: " sender" is "sender".
    return _SPACES.sub("", name).lower() not in _RESERVED
