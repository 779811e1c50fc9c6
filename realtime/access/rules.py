"""Rules: what a client may do."""

from __future__ import annotations

from realtime.conf import cached_setting, conf
from realtime.stomp import AccessDenied


@cached_setting
def check_may_send(destination: str) -> None:
    """
    Let a client SEND to the prefixes in ``STOMP_SEND_PREFIXES`` only.

    Raises:
        AccessDenied: For any other destination.
    """
    prefixes = tuple(conf.STOMP_SEND_PREFIXES)
    if not destination.startswith(prefixes):
        raise AccessDenied(
            f"clients may not send to {destination!r}, only to {', '.join(prefixes)}",
            code="send-denied",
        )
