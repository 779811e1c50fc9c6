"""
Acts: the forms for what operators do to sessions, and what they are told of it.

::

    a form: to which sessions, how and why ──> nodes.acts.act(...) ──> what is told
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest
from redis import RedisError

from realtime.conf import conf
from realtime.models import SessionRecord
from realtime.nodes.acts import Operator, Outcome, act
from realtime.nodes.figures import names_of

from .live import tell_redis_is_away

#: So many sessions at once, at most.
MAX_SESSIONS: Final = 1000


class ActForm(forms.Form):
    """What is to be done to sessions; ``question`` is what their nodes are asked."""

    question: ClassVar[str]
    #: For people: of a button, and of what was done.
    title: ClassVar[str]
    done: ClassVar[str]
    #: Why a session that is there was left as it was.
    untouched: ClassVar[str] = "not there any more"
    is_harsh: ClassVar[bool] = False

    ids = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, topics: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.topics = sorted(topics)
        if "topic" in self.fields:
            self.fields["topic"].widget.attrs["list"] = "topics"

    def clean_ids(self) -> list[str]:
        ids = list(dict.fromkeys(self.cleaned_data["ids"].split(",")))
        if len(ids) > MAX_SESSIONS:
            raise forms.ValidationError(f"at most {MAX_SESSIONS} sessions at once")
        return ids

    def arguments(self, operator: str) -> dict[str, Any]:
        """Return what nodes are asked with, besides the ids."""
        raise NotImplementedError


class DisconnectForm(ActForm):
    question, title, done = "disconnect", "Disconnect", "Disconnected"
    is_harsh = True

    reason = forms.CharField(
        max_length=100, help_text="The client is told: it is the message of its ERROR."
    )
    then = forms.ChoiceField(
        label="And then",
        choices=[("reconnect", "it may reconnect"), ("stay-away", "it is asked to stay away")],
        initial="reconnect",
        widget=forms.RadioSelect,
    )

    def arguments(self, operator: str) -> dict[str, Any]:
        again = self.cleaned_data["then"] == "reconnect"
        return {"reason": self.cleaned_data["reason"], "reconnect": again}


class UnsubscribeForm(ActForm):
    question, title, done = "unsubscribe", "Unsubscribe", "Unsubscribed"
    untouched = "not there any more, or not subscribed to it"
    is_harsh = True

    topic = forms.CharField(max_length=255)
    reason = forms.CharField(
        max_length=100, help_text="The client is told: it is the body of its last MESSAGE."
    )

    def arguments(self, operator: str) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("topic", "reason")}


class MessageForm(ActForm):
    question, title, done = "message", "Send a message", "Sent"
    untouched = UnsubscribeForm.untouched

    topic = forms.CharField(
        max_length=255, help_text="Who is not subscribed to it can't be sent anything there."
    )
    text = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4}),
        strip=False,
        help_text="These sessions alone get it; no history keeps it.",
    )

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        if (size := len(text.encode())) > conf.max_body_bytes:
            raise forms.ValidationError(
                f"a body of {size} bytes is over the limit of {conf.max_body_bytes}"
            )
        return text

    def arguments(self, operator: str) -> dict[str, Any]:
        asked = {name: self.cleaned_data[name] for name in ("topic", "text")}
        return {**asked, "headers": {"sender": operator}}


#: The forms, by what nodes are asked.
FORMS: Final[Mapping[str, type[ActForm]]] = {
    form.question: form for form in (DisconnectForm, UnsubscribeForm, MessageForm)
}


def act_on(request: HttpRequest, form: ActForm, records: Sequence[SessionRecord]) -> None:
    """Do to sessions what a valid form says, and tell the operator what became of it."""
    operator = Operator(request.user, request.META.get("REMOTE_ADDR", ""))
    arguments = form.arguments(operator.user.get_username())
    try:
        _tell(request, form, act(form.question, records, operator, **arguments))
    except RedisError as error:
        tell_redis_is_away(request, error)
        messages.error(request, _unsure(records))


def _tell(request: HttpRequest, form: ActForm, outcome: Outcome) -> None:
    if outcome.done:
        messages.success(request, f"{form.done}: {sessions(outcome.done)}.")
    if outcome.untouched:
        messages.warning(request, f"{sessions(outcome.untouched)} {form.untouched}.")
    if outcome.unknown:
        names = names_of(outcome.missing)
        messages.error(request, f"No answer from {names}: {_unsure(outcome.unknown)}")


def _unsure(records: Sequence[Any]) -> str:
    return f"{sessions(records)} may be as before; look again."


def sessions(records: Sequence[Any]) -> str:
    """Return how many sessions these are, in words."""
    return f"{len(records)} session{'' if len(records) == 1 else 's'}"
