"""Changes: rows of a model that are saved and deleted, as messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, Literal, TypeVar

from django.db import router, transaction
from django.db.models import Field, Model
from django.db.models.signals import post_delete, post_save
from django.utils.encoding import is_protected_type
from django.utils.module_loading import import_string

from realtime.destinations.names import check_published, quoted

from .commit import publish_on_commit

M = TypeVar("M", bound=type[Model])

#: What has happened to a row.
Event = Literal["created", "updated", "deleted"]

#: Stands for an attribute of the instance.
_ATTRIBUTE: Final = re.compile(r"\{(\w+)\}")


def realtime_model(
    destination: str | Callable[[Any], str | None],
    *,
    serializer: Callable[..., Any] | str | None = None,
    fields: Sequence[str] | None = None,
    outbox: bool = False,
) -> Callable[[M], M]:
    """
    Publish what becomes of a model's rows, after each commit::

        @realtime_model("/topic/orders/{pk}", serializer="shop.serializers.OrderSerializer")
        class Order(models.Model): ...

    The body is JSON, ``{"event": "created", "pk": 7, "data": {...}}``; the event is ``created``,
    ``updated`` or ``deleted``, and then there is no ``data``.

    It hears Django's signals: ``save()``, ``create()``, ``delete()``, also of a queryset, and what
    that deletes with it. ``update()``, ``bulk_create()``, ``bulk_update()``, raw SQL and fixtures
    publish nothing.

    Args:
        destination: ``{name}`` stands for an attribute of the instance, as one segment: what can't
            be in one is quoted as in a URL, and None, or "", is for no message. Or a function of
            the instance; it may return None.
        serializer: One of Django REST framework's, or its dotted path, since it imports the model.
            Without, the data are the model's own columns.
        fields: The names of these columns, if it is not all of them. Everybody who hears the
            destination sees them.
        outbox: As for :func:`.publish_on_commit`; each ``save()`` is a transaction then.

    Raises:
        ValueError: If nobody can hear the destination, the model is abstract, has no such attribute
            or field, or has a password and nothing says what is published of it.
    """

    def connect(model: M) -> M:
        if model._meta.abstract:
            raise ValueError(f"{model.__name__} is abstract: decorate those that have rows")
        changes = _Changes(model, destination, serializer, fields, outbox)
        if outbox:
            _save_in_transaction(model)
        uid = f"realtime {destination}"
        post_save.connect(changes.saved, sender=model, weak=False, dispatch_uid=uid)
        post_delete.connect(changes.deleted, sender=model, weak=False, dispatch_uid=uid)
        return model

    return connect


class _Changes:
    def __init__(
        self,
        model: type[Model],
        destination: str | Callable[[Any], str | None],
        serializer: Callable[..., Any] | str | None,
        fields: Sequence[str] | None,
        outbox: bool,
    ) -> None:
        if isinstance(destination, str):
            _check_template(destination, model)
        self._destination = destination
        self._serializer = serializer
        self._fields = _columns(model, fields) if serializer is None else []
        self._outbox = outbox

    def saved(self, instance: Model, created: bool, raw: bool, using: str, **signal: Any) -> None:
        """Publish that a row was created or updated; nothing of a fixture."""
        if not raw:
            row = _as_saved(instance, using)
            self._publish("created" if created else "updated", row, using)

    def deleted(self, instance: Model, using: str, **signal: Any) -> None:
        """Publish that a row was deleted."""
        self._publish("deleted", instance, using)

    def _publish(self, event: Event, instance: Model, using: str) -> None:
        if (destination := self._destination_of(instance)) is None:
            return
        content: dict[str, Any] = {"event": event, "pk": instance.pk}
        if event != "deleted":
            content["data"] = self._data_of(instance)
        publish_on_commit(destination, content, using=using, outbox=self._outbox)

    def _destination_of(self, instance: Model) -> str | None:
        if not isinstance(self._destination, str):
            return self._destination(instance)
        values = {name: getattr(instance, name) for name in _ATTRIBUTE.findall(self._destination)}
        if any(value is None or value == "" for value in values.values()):
            return None
        return _ATTRIBUTE.sub(lambda found: quoted(str(values[found[1]])), self._destination)

    def _data_of(self, instance: Model) -> Any:
        serializer = self._serializer
        if isinstance(serializer, str):
            serializer = import_string(serializer)
        if serializer is not None:
            return serializer(instance).data
        return {field.attname: _value(field, instance) for field in self._fields}


def _save_in_transaction(model: type[Model]) -> None:
    """Let the row be committed together with its message: by itself it is before ``post_save``."""
    save_base = model.save_base

    @wraps(save_base)
    def save_together(self: Model, *, using: str | None = None, **options: Any) -> None:
        alias = using or router.db_for_write(type(self), instance=self)
        with transaction.atomic(alias, savepoint=False):
            save_base(self, using=alias, **options)

    model.save_base = save_together  # type: ignore[assignment, method-assign]


def _as_saved(instance: Model, using: str) -> Model:
    """Return the instance, or its row where it says only how that changed: ``F("count") + 1``."""
    if any(hasattr(value, "resolve_expression") for value in vars(instance).values()):
        return type(instance)._base_manager.using(using).get(pk=instance.pk)
    return instance


def _check_template(destination: str, model: type[Model]) -> None:
    filled = check_published(_ATTRIBUTE.sub("1", destination))
    if "{" in filled or "}" in filled:
        raise ValueError(f"{destination!r}: a brace that is part of no {{name}}")
    for name in _ATTRIBUTE.findall(destination):
        if not hasattr(model, name):
            raise ValueError(f"{destination!r}: {model.__name__} has no attribute {name!r}")


def _columns(model: type[Model], names: Sequence[str] | None) -> list[Field[Any, Any]]:
    """Return the fields of a model that have a column, or those with these names."""
    columns: list[Field[Any, Any]] = list(model._meta.concrete_fields)
    if names is None:
        if any(field.name == "password" for field in columns):
            raise ValueError(f"{model.__name__} has a password: say in fields= what is published")
        return columns
    by_name = {field.name: field for field in columns}
    if unknown := [name for name in names if name not in by_name]:
        raise ValueError(f"{model.__name__} has no column {unknown[0]!r}")
    return [by_name[name] for name in names]


def _value(field: Field[Any, Any], instance: Model) -> Any:
    """Return what JSON can say of a column, as Django's own serializers do."""
    value = field.value_from_object(instance)
    if isinstance(value, str):  # as it was assigned: the row has a date
        return field.to_python(value)
    return value if is_protected_type(value) else field.value_to_string(instance)
