"""Guests: each tab of an example logs in under a name of its own, without a password."""

from __future__ import annotations

from django.contrib.auth.models import User

from realtime.access.credentials import Credentials, Login
from realtime.stomp import AccessDenied

#: What guests have in place of a password's hash: nobody else has it, and no password fits it.
GUEST = "!guest"


def guest_user(credentials: Credentials) -> Login | None:
    """Find, or make, the account of a guest, whose passcode is ``guest``; an authenticator."""
    if not credentials.login or credentials.passcode != "guest":
        return None  # for others to judge
    user, _ = User.objects.get_or_create(
        username=credentials.login, defaults={"password": GUEST, "first_name": "Guest"}
    )
    if user.password != GUEST:
        raise AccessDenied("this name is no guest's", code="authentication-failed")
    return Login(user, "guest")
