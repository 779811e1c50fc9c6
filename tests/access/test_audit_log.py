"""The audit log: who failed to log in, at whatever door, in lines that nobody can forge."""

from __future__ import annotations

import pytest
from django.test import Client

from realtime.access import audit
from tests.kit.users import make_user


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_a_login_that_fails_in_a_form_is_recorded(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_user("alice")
    Client().post(path, {"username": "alice", "password": "wrong"}, REMOTE_ADDR="192.0.2.77")
    [line] = [each.getMessage() for each in caplog.records if each.name == "realtime.audit"]
    assert line == (
        'login-failed address="192.0.2.77" login="alice" reason="wrong login or passcode"'
    )
    assert "wrong " in line and "wonderland" not in caplog.text


def test_no_login_makes_a_line_or_a_field_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    audit.record("login-failed", login='x"\nlogin-failed address="192.0.2.1', address="192.0.2.7")
    [line] = [each.getMessage() for each in caplog.records]
    assert "\n" not in line
    assert line.endswith(' address="192.0.2.7"')
    assert ' address="192.0.2.1' not in line
