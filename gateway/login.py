"""
Logging in with a form: the gateway's own page, for everybody with an account, and the admin's.

Hashing a password takes long, on purpose. So requests that send such a form have their turn among
all that hash, of whatever door, and whoever failed too often is held back: see
:mod:`realtime.access.passcodes`.
"""

from __future__ import annotations

import asyncio
import math
from io import BytesIO
from typing import Any, Final

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import RequestAborted, ValidationError
from django.http import HttpResponse, HttpResponseBase
from django.utils.translation import gettext, gettext_lazy

from notifications.api.ways.long import SynchronousHandler
from realtime.access.addresses import address_of, neighbourhood
from realtime.access.passcodes import hashing, hold_back
from realtime.concurrency import Busy
from realtime.stomp import Unavailable

#: Seconds that whoever is held back waits for that answer: to make it takes a thread some
#: milliseconds, which they would take from everybody as often as they like.
HELD_BACK_SECONDS: Final = 1.0

#: Set in the scope of a request that was held back.
_HELD_BACK: Final = "gateway.held_back"

#: Where passwords are posted to, also below a prefix of a proxy.
_FORMS: Final = ("/login/", "/admin/login/")


def hashes(scope: Any) -> bool:
    """Return whether a request may have a password to hash."""
    return scope["method"] == "POST" and scope["path"].endswith(_FORMS)


class LoginHandler(SynchronousHandler):
    """Django's handler for requests that hash: each address has its turn, as long as it waits."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        left = asyncio.ensure_future(receive())  # nothing but a disconnect comes after the body
        response = asyncio.ensure_future(self._respond(scope, body))
        try:
            await asyncio.wait({left, response}, return_when=asyncio.FIRST_COMPLETED)
            if response.done() and scope.get(_HELD_BACK):
                await asyncio.wait({left}, timeout=HELD_BACK_SECONDS)
            if response.done() and not left.done():
                await self.send_response(response.result(), send)
        finally:
            left.cancel()
            response.cancel()

    async def _respond(self, scope: Any, body: BytesIO) -> HttpResponseBase:
        network = neighbourhood(address_of(scope))
        job = None
        try:
            job = hashing.submit(network, self._respond_sync, scope, body)
            return await asyncio.wrap_future(job)
        except Busy as busy:  # at once, or it had to make room for others
            body.close()
            return _busy(busy.seconds)
        finally:
            if job is not None and job.cancelled():
                body.close()


def _busy(seconds: float) -> HttpResponse:
    detail = f"Many log in just now: try again in {math.ceil(seconds)} s."
    headers = {"Retry-After": str(math.ceil(seconds))}
    return HttpResponse(detail, status=503, headers=headers, content_type="text/plain")


class _HoldsBack(AuthenticationForm):
    """A form that says so where too many logins failed."""

    def clean(self) -> Any:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request is not None else ""
        try:
            hold_back(address, self.cleaned_data.get("username") or "")
        except Unavailable as error:
            getattr(self.request, "scope", {})[_HELD_BACK] = True
            raise ValidationError(
                gettext("Too many logins failed: try again in %(seconds)s s."),
                code="held-back",
                params={"seconds": error.retry_after},
            ) from None
        return super().clean()


class LoginForm(_HoldsBack):
    """Django's, which says what is wrong in the words of the console."""

    error_messages: dict[str, Any] = {
        **AuthenticationForm.error_messages,
        "invalid_login": gettext_lazy(
            "Wrong login or password. Capital and small letters count in both."
        ),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].error_messages["required"] = gettext("Enter your login.")
        self.fields["password"].error_messages["required"] = gettext("Enter your password.")


class AdminLoginForm(_HoldsBack, AdminAuthenticationForm):
    """The admin's."""


class GatewayLoginView(LoginView):
    """Django's, with the gateway's page and words."""

    template_name = "login.html"
    authentication_form = LoginForm
