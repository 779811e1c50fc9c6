"""Users: accounts with what rules ask for."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission, User


def make_user(name: str, *permissions: str, **fields: Any) -> User:
    """Return a new account with permissions, written ``app_label.codename``."""
    user = User.objects.create_user(name, password=fields.pop("password", "wonderland"), **fields)
    grant(user, *permissions)
    return user


def grant(user: User, *permissions: str) -> None:
    for permission in permissions:
        label, codename = permission.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=label, codename=codename)
        )
