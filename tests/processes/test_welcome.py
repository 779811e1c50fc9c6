"""What `python -m gateway` says at first."""

from __future__ import annotations

from gateway.__main__ import welcome

REDIS = "redis://me:secret@localhost:6380/0"


def test_the_welcome_shows_where_everything_is_and_no_password() -> None:
    text = welcome("8081", REDIS, 1, embedded=False, demo=False)
    assert "console     http://localhost:8081/\n" in text
    assert "Redis       redis://me:***@localhost:6380/0\n" in text
    assert "secret" not in text
    assert "workers" not in text
    assert "backend.py" not in text


def test_the_welcome_tells_what_is_not_as_usual() -> None:
    text = welcome("8081", REDIS, 4, embedded=True, demo=True)
    assert "(embedded)\n    workers     4\n" in text
    assert "curl -N 'localhost:8081/api/events?topic=/topic/greetings" in text
