"""The login page: for everybody with an account, with rights in the admin or without."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView


class LoginForm(AuthenticationForm):
    """Django's, which says what is wrong in the words of the console."""

    error_messages: dict[str, Any] = {
        **AuthenticationForm.error_messages,
        "invalid_login": "Wrong login or password. Capital and small letters count in both.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].error_messages["required"] = "Enter your login."
        self.fields["password"].error_messages["required"] = "Enter your password."


class GatewayLoginView(LoginView):
    """Django's, with the gateway's page and words."""

    template_name = "login.html"
    authentication_form = LoginForm
