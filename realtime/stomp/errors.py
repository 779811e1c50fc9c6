"""
Errors: what can go wrong with a client, and what it is told.

::

    StompError                 an ERROR frame, then the close
    ├── FrameError             the bytes are no frame                     1002
    │   └── FrameTooLarge      a frame, or a part of it, over its limit   1009
    ├── ProtocolError          a frame that is not allowed here           1002
    ├── AccessDenied           not for this client                        1008
    ├── Restart                the gateway restarts: reconnect            1012
    ├── Unavailable            not now: reconnect and try again           4001
    │   └── TooMany            more than the client may have, for now     4001
    ├── HeartbeatMissed        nothing heard for too long                 4002
    ├── TooSlow                the client reads too slowly                4003
    ├── MessagesLost           what it missed is gone for good            4004
    ├── LoginExpired           its login came to its end: log in again    4005
    ├── Disconnected           an operator ended it: reconnect            4006
    └── Dismissed              an operator ended it: stay away            4500

Close codes 4000-4499 ask the client to reconnect, 4500-4999 ask it not to.
"""

from __future__ import annotations

import math


class StompError(Exception):
    """
    Say why a client's request failed.

    Args:
        message: For people: lower case, without a full stop, names the thing.
        code: For programs: the ``code`` header of the ERROR frame.
        receipt: The ``receipt`` that the failed frame asked for, if any.
        retry_after: After how many seconds it is worth another try, if that is known; they are
            rounded up to whole ones.
    """

    close_code = 1011

    def __init__(
        self,
        message: str,
        *,
        code: str,
        receipt: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.receipt = receipt
        self.retry_after = None if retry_after is None else max(1, math.ceil(retry_after))


class FrameError(StompError):
    """The bytes are no STOMP frame."""

    close_code = 1002


class FrameTooLarge(FrameError):
    """A frame, its headers or one of them exceeds the limit."""

    close_code = 1009


class ProtocolError(StompError):
    """A frame that is not allowed at this point, or lacks something."""

    close_code = 1002


class AccessDenied(StompError):
    """The client may not do this."""

    close_code = 1008


class Restart(StompError):
    """The gateway ends, and begins again: nothing was wrong."""

    close_code = 1012


class Unavailable(StompError):
    """What the frame needs is away; the same frame may succeed later."""

    close_code = 4001


class TooMany(Unavailable):
    """The client has, or asks for, more than it may; later it may again."""


class HeartbeatMissed(StompError):
    """The client promised heart-beats and fell silent."""

    close_code = 4002


class TooSlow(StompError):
    """The client reads more slowly than messages come for it."""

    close_code = 4003


class MessagesLost(StompError):
    """Messages for the client are lost for good, and it asked not to go on as if they were not."""

    close_code = 4004


class LoginExpired(StompError):
    """What the client logged in with has come to its end: it may come again with a fresh one."""

    close_code = 4005


class Disconnected(StompError):
    """An operator ended the session; the client may come again."""

    close_code = 4006


class Dismissed(StompError):
    """An operator ended the session, and wants the client to stay away."""

    close_code = 4500
