"""Rules: who may do what."""

from __future__ import annotations

from django.conf import settings

from realtime.conf import cached_setting
from realtime.stomp import AccessDenied


def check_may_send(destination: str) -> None:
    """
    Let a client SEND to the prefixes in ``STOMP_SEND_PREFIXES`` only.

    Raises:
        AccessDenied: For any other destination.
    """
    prefixes = _send_prefixes()
    if not destination.startswith(prefixes):
        raise AccessDenied(
            f"clients may not send to {destination!r}, only to {', '.join(prefixes)}",
            code="send-denied",
        )


@cached_setting
def _send_prefixes() -> tuple[str, ...]:
    return tuple(settings.STOMP_SEND_PREFIXES)
