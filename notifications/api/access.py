"""Access: who calls the API, and what they may do; by the same credentials and rules as STOMP."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from redis import RedisError
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from realtime.access.authentication import authenticate_sync
from realtime.access.credentials import NOT_OF_TICKET, Credentials, Login
from realtime.access.rules import decide, record, record_refused
from realtime.routes.rules import NEEDS_PUBLISH, PUBLISH, Action
from realtime.stomp import AccessDenied, Unavailable

from .errors import Away, RedisAway

#: The permission to read /metrics.
VIEW_METRICS = "notifications.view_metrics"


class CredentialsAuthentication(BaseAuthentication):
    """
    Ask ``STOMP_AUTHENTICATORS`` who brings ``Authorization``, or a ticket. A login session's
    cookie is left to DRF, which checks that no strange page makes use of it.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        credentials = Credentials(
            address=address_of(request),
            authorization=request.META.get("HTTP_AUTHORIZATION"),
            ticket=request.query_params.get("ticket"),
        )
        if credentials.authorization is None and credentials.ticket is None:
            return None
        try:
            login = authenticate_sync(credentials)
        except AccessDenied as error:
            raise AuthenticationFailed(error.message, error.code) from None
        except Unavailable as error:
            raise Away(error.message, error.retry_after) from None
        except RedisError:
            raise RedisAway from None
        return (login.user, login) if login is not None else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class IsAuthenticated(BasePermission):
    """Whoever is logged in; while DEBUG is on everybody."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return settings.DEBUG or bool(request.user and request.user.is_authenticated)


def has_permission(request: Request, permission: str) -> bool:
    """
    Return whether whoever asks has a permission of Django's; while DEBUG is on everybody has.

    Who comes with a ticket for some destinations has what the rules say of these, and no more.
    """
    bound = isinstance(request.auth, Login) and bool(request.auth.destinations)
    return settings.DEBUG or (not bound and request.user.has_perm(permission))


class MayPublish(IsAuthenticated):
    """Services publish: those with the permission ``notifications.publish``."""

    message = NEEDS_PUBLISH

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        reads = request.method in ("GET", "HEAD", "OPTIONS")
        return reads or settings.DEBUG or request.user.has_perm(PUBLISH)


class MayViewMetrics(IsAuthenticated):
    """Those with the permission ``notifications.view_metrics``."""

    message = f"/metrics needs the permission {VIEW_METRICS}"

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        return has_permission(request, VIEW_METRICS)


def may(permission: str, **of_methods: str) -> type[IsAuthenticated]:
    """Return a class for those with a permission of Django's; some methods may need another."""

    class May(IsAuthenticated):
        def has_permission(self, request: Request, view: Any) -> bool:
            if not super().has_permission(request, view):
                return False
            needed = of_methods.get(request.method or "", permission)
            self.message = f"this needs the permission {needed}"
            return has_permission(request, needed)

    return May


def check_rule(request: Request, action: Action, destination: str) -> None:
    """
    Check that the rules allow a request something, and its ticket, if it came with one.

    Raises:
        PermissionDenied: If not.
    """
    login = request.auth
    if isinstance(login, Login) and not login.is_for(destination):
        record_refused(request, address_of(request), action, NOT_OF_TICKET, destination)
        raise PermissionDenied(f"this ticket is not for {destination!r}", f"{action}-denied")
    decision = decide(request, action, destination)
    if not decision.allowed:
        record(request, address_of(request), decision)
        denied = decision.denied()
        raise PermissionDenied(denied.message, denied.code)


def address_of(request: Request) -> str:
    """Return where a request comes from."""
    return str(request.META.get("REMOTE_ADDR", ""))
