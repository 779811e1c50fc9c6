"""Topics: what is heard on all nodes, by whom; the history of one, to look at, to publish again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from redis import RedisError

from realtime.access.rules import decide, record
from realtime.broker import publish_many
from realtime.destinations.names import DestinationError
from realtime.history.log import MAX_REPLAY
from realtime.history.positions import Position
from realtime.layer.pages import read_page
from realtime.messages.json import as_notification
from realtime.messages.message import Message
from realtime.models import Topic
from realtime.nodes.figures import NOTHING, data_size, host_and_pid
from realtime.nodes.found import Audience, find_presence, find_topics
from realtime.routes.rules import PUBLISH, Action

from .live import LiveAdmin, asked, tell_redis_is_away
from .shown import moment

#: Topics on the page; a search finds the others.
MAX_TOPICS: Final = 200

#: Messages of a history on one page.
PAGE: Final = 20

#: So many characters of a message are shown.
_MAX_CHARACTERS: Final = 4000

#: Longer JSON is shown in several lines.
_LINE_CHARACTERS: Final = 100

#: By what topics are ordered, and what that is called.
ORDERS: Final = {"subscribers": "Subscribers", "per_second": "Messages a second"}


@dataclass(frozen=True)
class Kept:
    """
    A page of a topic's history.

    Args:
        messages: The newest first.
        position: Where the topic stands.
        number: Which page this is, from 1.
        more: Whether there are older ones.
        why_not: Why it can't be shown.
    """

    messages: Sequence[Message] = ()
    position: Position | None = None
    number: int = 1
    more: bool = False
    why_not: str = ""


@admin.register(Topic)
class TopicAdmin(LiveAdmin):
    """Pages as for any model, but made of what nodes answer and Redis keeps."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.list_view), name="realtime_topic_changelist"),
            path("<path:name>/change/", view(self.topic_view), name="realtime_topic_change"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """Show the topics with the most of something, or those whose name has a text."""
        self.check_view_permission(request)
        text, order = request.GET.get("q", "").strip(), request.GET.get("o", "")
        order = order if order in ORDERS else "subscribers"
        found = asked(request, find_topics, text=text, order=order, limit=MAX_TOPICS)
        topics = found.rows if found is not None else []
        return self.render(
            request,
            "change_list",
            topics=[{**each, "page": quote(each["topic"])} for each in topics],
            more=found is not None and found.count > MAX_TOPICS,
            text=text,
            order=order,
            orders=ORDERS,
        )

    def topic_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Show who hears a topic and what it keeps; with POST, publish one of it again."""
        self.check_view_permission(request)
        topic = unquote(name)
        if request.method == "POST":
            return self._publish_again(request, topic)
        kept = _history(request, topic)
        audience = asked(request, find_presence, topic=topic) or Audience(topic)
        return self.render(
            request,
            "change_form",
            title=topic,
            topic=topic,
            audience=audience,
            users=[{**each, "since": _since(each["since"])} for each in audience.users],
            by_node=[(host_and_pid(node), count) for node, count in audience.nodes.items()],
            kept=kept,
            entries=[_entry(message) for message in kept.messages],
            may_publish=request.user.has_perm(PUBLISH),
            may_see_sessions=request.user.has_perm("realtime.view_sessionrecord"),
        )

    def _publish_again(self, request: HttpRequest, topic: str) -> HttpResponse:
        if not request.user.has_perm(PUBLISH):
            raise PermissionDenied
        here = HttpResponseRedirect(request.get_full_path())
        actions: tuple[Action, ...] = ("history", "publish")
        for action in actions:
            decision = decide(request, action, topic)
            if not decision.allowed:
                record(request, request.META.get("REMOTE_ADDR", ""), decision)
                messages.error(request, decision.refusal)
                return here
        try:
            message = _kept(topic, request.POST.get("id", ""))
            if message is None:
                messages.warning(request, "That message is not kept any more.")
            else:
                self._publish(request, message)
        except DestinationError as error:
            messages.error(request, error.message)
        except RedisError as error:
            messages.error(request, f"Redis is away, so it was not published: {error}")
        return here

    def _publish(self, request: HttpRequest, message: Message) -> None:
        """Publish a message of a history as a new one, and write that to the admin's log."""
        anew = Message(message.destination, message.body, message.headers)
        (id,) = publish_many([anew])
        assert request.user.is_authenticated
        topics = [Topic(id=message.destination)]
        said = f"Published again: {message.id} as {id}"
        LogEntry.objects.log_actions(request.user.pk, topics, CHANGE, said)
        messages.success(request, f"{said}.")


def _since(at: float | None) -> str:
    return NOTHING if at is None else moment(at)


def _history(request: HttpRequest, topic: str) -> Kept:
    """Return a page of what a topic keeps, as far as the rules let this user look back."""
    decision = decide(request, "history", topic)
    if not decision.allowed:
        return Kept(why_not=decision.refusal)
    number = _page_number(request)
    try:
        page = read_page(topic, limit=number * PAGE + 1)
    except DestinationError as error:
        return Kept(why_not=error.message)
    except RedisError as error:
        tell_redis_is_away(request, error)
        return Kept(why_not="Redis is away")
    newest = list(reversed(page.messages))
    shown = newest[(number - 1) * PAGE : number * PAGE]
    return Kept(shown, page.position, number, more=len(newest) > number * PAGE)


def _page_number(request: HttpRequest) -> int:
    """Return which page is asked for; there are as many as may be read at once."""
    text = request.GET.get("p", "1")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 1
    return max(1, min(number, MAX_REPLAY // PAGE))


def _kept(topic: str, id: str) -> Message | None:
    """Return the message of a topic's history with this id, if it is there still."""
    position = Position.parse(id)
    if position is None or position.offset < 1:
        return None
    page = read_page(topic, after=position.before(1), limit=1)
    found: Iterable[Message] = page.messages
    return next((message for message in found if message.id == id), None)


def _entry(message: Message) -> dict[str, Any]:
    """Return a message as it is shown."""
    content = as_notification(message)
    text = _text(content["message"])
    return {
        "id": message.id,
        "text": text[:_MAX_CHARACTERS],
        "cut": len(text) > _MAX_CHARACTERS,
        "encoding": content.get("encoding", ""),
        "size": data_size(len(message.body)),
        "headers": sorted(content["headers"].items()),
    }


def _text(body: Any) -> str:
    """Return text as it is, and JSON as people read it."""
    if isinstance(body, str):
        return body
    line = json.dumps(body, ensure_ascii=False)
    if len(line) <= _LINE_CHARACTERS:
        return line
    return json.dumps(body, indent=2, ensure_ascii=False)
