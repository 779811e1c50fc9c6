"""
Acts: what operators do to sessions, on whichever nodes those are.

::

    a form: to which sessions, how and why ──> ask(...) ──> the log: who did what ──> what is told
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.http import HttpRequest
from redis import RedisError

from realtime.conf import conf
from realtime.models import SessionRecord
from realtime.nodes.inquiry import Answers, ask

from .live import names_of

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

    def summary(self) -> str:
        """Return what is done, for the log."""
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

    def summary(self) -> str:
        then = dict(self.fields["then"].choices)[self.cleaned_data["then"]]  # type: ignore[attr-defined]
        return f"Disconnected, {then}: {self.cleaned_data['reason']}"


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

    def summary(self) -> str:
        return f"Unsubscribed from {self.cleaned_data['topic']}: {self.cleaned_data['reason']}"


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

    def summary(self) -> str:
        return f"Sent to {self.cleaned_data['topic']}: {self.cleaned_data['text']}"


#: All acts, by what nodes are asked; each has its permission, ``realtime.NAME_session``.
ACTS: Final[Mapping[str, type[ActForm]]] = {
    form.question: form for form in (DisconnectForm, UnsubscribeForm, MessageForm)
}


@dataclass
class Outcome:
    """
    What became of sessions.

    Args:
        done: To which it was done.
        untouched: Those whose nodes answered, and did nothing.
        unknown: Those whose nodes did not answer: it may have been done, or not.
        missing: These nodes.
    """

    done: list[SessionRecord] = field(default_factory=list)
    untouched: list[SessionRecord] = field(default_factory=list)
    unknown: list[SessionRecord] = field(default_factory=list)
    missing: Sequence[str] = ()


def act(request: HttpRequest, form: ActForm, records: Sequence[SessionRecord]) -> Outcome:
    """Do to sessions what a valid form says, write it to the admin's log, and tell the operator."""
    nodes = {record.node_id for record in records}
    try:
        answers = ask(
            form.question,
            nodes=nodes,
            ids=[record.id for record in records],
            **form.arguments(request.user.get_username()),
        )
    except RedisError as error:
        messages.error(request, f"Redis is away, so the nodes can't be asked: {error}")
        answers = Answers(missing=sorted(nodes))
    outcome = _outcome(records, answers)
    _log(request, form, outcome)
    _tell(request, form, outcome)
    return outcome


def _outcome(records: Sequence[SessionRecord], answers: Answers) -> Outcome:
    done = {id for answer in answers.by_node.values() for id in answer["done"]}
    outcome = Outcome(missing=answers.missing)
    for record in records:
        if record.id in done:
            outcome.done.append(record)
        elif record.node_id in answers.missing:
            outcome.unknown.append(record)
        else:
            outcome.untouched.append(record)
    return outcome


def _log(request: HttpRequest, form: ActForm, outcome: Outcome) -> None:
    """Write who did what to whom, and why; also what may have been done."""
    assert request.user.is_authenticated
    summary = form.summary()
    attempt = f"{summary} (no answer from {names_of(outcome.missing)})"
    for records, said in ((outcome.done, summary), (outcome.unknown, attempt)):
        if records:
            LogEntry.objects.log_actions(request.user.pk, records, CHANGE, said)


def _tell(request: HttpRequest, form: ActForm, outcome: Outcome) -> None:
    if outcome.done:
        messages.success(request, f"{form.done}: {sessions(outcome.done)}.")
    if outcome.untouched:
        messages.warning(request, f"{sessions(outcome.untouched)} {form.untouched}.")
    if outcome.unknown:
        missing = names_of(outcome.missing)
        messages.error(
            request,
            f"No answer from {missing}: {sessions(outcome.unknown)} may be as before; look again.",
        )


def sessions(records: Sequence[Any]) -> str:
    """Return how many sessions these are, in words."""
    return f"{len(records)} session{'' if len(records) == 1 else 's'}"
