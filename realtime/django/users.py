"""Users: what one user is told, wherever they are, or aren't."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils.module_loading import import_string
from redis import RedisError

from realtime.broker import publish_many
from realtime.conf import conf
from realtime.destinations.names import USER_QUEUE, user_destination
from realtime.messages.message import Message, check
from realtime.nodes.found import find_sessions

logger = logging.getLogger(__name__)

#: Called with the user, as it was given, and the content.
Fallback = Callable[[Any, Any], object]


def notify(
    user: AbstractBaseUser | str,
    content: Any,
    *,
    queue: str = "notifications",
    headers: Mapping[str, str] | None = None,
    fallback: Fallback | str | None = None,
) -> bool:
    """
    Tell a user something: on each of their sessions that hears ``/user/queue/QUEUE``, or, if there
    is none, by the fallback. Return whether there was one.

    All nodes are asked, which may take some milliseconds, and up to 2 s if one of them does not
    answer. While Redis is away nobody is online. Call it after the commit
    (``transaction.on_commit(partial(notify, user, content))``): a mail can't be rolled back.

    Args:
        user: A user, or the name with which they log in.
        content: As for :func:`.publish`.
        fallback: A function of the user and the content, or its dotted path; without, the one of
            ``STOMP_NOTIFY_FALLBACK``, if it has one.

    Raises:
        DestinationError: If the user can have no such queue.
        MessageTooLarge: If the body, or the headers, are over the limit.
        TypeError, ValueError: If the content can't be encoded, or a header is not a text.
        redis.RedisError: If Redis is away, and there is no fallback.
    """
    name = user if isinstance(user, str) else user.get_username()
    destination = user_destination(f"{USER_QUEUE}{queue}", name)
    message = check(Message.of(destination, content, headers))
    otherwise = _fallback(fallback)
    try:
        if find_sessions(user=name, topic=destination, limit=1).count:
            publish_many([message])
            return True
    except RedisError as error:
        if otherwise is None:
            raise
        logger.warning(
            "a user is told something by the fallback: Redis did not take it: %(error)s",
            {"error": error},
        )
    if otherwise is not None:
        otherwise(user, content)
    return False


def _fallback(given: Fallback | str | None) -> Fallback | None:
    chosen = given if given is not None else conf.STOMP_NOTIFY_FALLBACK or None
    return import_string(chosen) if isinstance(chosen, str) else chosen
