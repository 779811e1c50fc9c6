"""Wrong logins, at every door that hashes."""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import urlencode

from tests.e2e.attack.target import ADMIN
from tests.e2e.attack.wire import Refused, open_http, open_stomp

from .attack import PAUSE, Attacker, attack

_FIELD: Final = re.compile(rb'name="csrfmiddlewaretoken" value="(\w+)"')
_COOKIE: Final = re.compile(rb"csrftoken=(\w+)")
_LENGTH: Final = re.compile(rb"(?i)content-length: (\d+)")

#: What the gateway says of a login that it has looked at.
LOOKED_AT: Final = "authentication-failed"


async def _connect_wrongly(attacker: Attacker, number: int) -> None:
    """CONNECT as somebody who is not there, and hang up."""
    login = {"login": f"nobody-{attacker.number()}", "passcode": "guess"}
    try:
        opening = open_stomp(attacker.target.port, attacker.address(number), login)
        await attacker.answer(opening)
    except Refused as refused:
        if refused.args[0] != LOOKED_AT:
            raise
        attacker.tally.count("wrong logins looked at")


@attack()
async def wrong_logins_24(attacker: Attacker) -> None:
    """24 sockets of one address CONNECT as nobody, hang up and come again."""
    await attacker.by_many(24, lambda number: _connect_wrongly(attacker, 0))


@attack()
async def wrong_logins_200(attacker: Attacker) -> None:
    """200 sockets, each of an address of its own, do the same."""
    await attacker.by_many(200, lambda number: _connect_wrongly(attacker, number))


@attack(within=None)
async def impatient_logins(attacker: Attacker) -> None:
    """200 sockets of 200 addresses CONNECT as nobody, and hang up before the answer."""

    async def hang_up(number: int) -> None:
        async with attacker.websocket(number, logged_in=False) as websocket:
            login = f"CONNECT\naccept-version:1.2\nlogin:n{attacker.number()}\npasscode:g\n\n\0"
            websocket.send(login.encode())
            attacker.tally.count("logins left behind")
            await asyncio.wait({websocket.ended}, timeout=PAUSE)

    await attacker.by_many(200, hang_up)


async def _post_form(attacker: Attacker, number: int, path: str) -> None:
    """Post a form with a wrong password, as often as the connection lasts."""
    host = f"Host: localhost:{attacker.target.port}\r\n"
    async with await open_http(attacker.target.port, attacker.address(number)) as http:
        http.write(f"GET {path} HTTP/1.1\r\n{host}\r\n".encode())
        head = await http.head()
        page = await http.body(_length(head))
        cookie, field = _COOKIE.search(head), _FIELD.search(page)
        if cookie is None or field is None:
            raise Refused(f"HTTP {_status(head)}")
        while True:
            form = {"username": ADMIN, "password": "guess", "next": "/admin/"}
            body = urlencode({**form, "csrfmiddlewaretoken": field[1].decode()})
            http.write(
                f"POST {path} HTTP/1.1\r\n{host}Cookie: csrftoken={cookie[1].decode()}\r\n"
                f"Origin: http://localhost:{attacker.target.port}\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            head = await attacker.answer(http.head())
            page = await http.body(_length(head))
            if b"Too many logins failed" in page:
                attacker.tally.stop("too many failures")
            elif _status(head) == "200":
                attacker.tally.count("wrong passwords looked at")
            else:
                attacker.tally.stop(f"HTTP {_status(head)}")


@attack()
async def login_form(attacker: Attacker) -> None:
    """32 connections of one address post the login form with wrong passwords."""
    await attacker.by_many(32, lambda number: _post_form(attacker, 0, "/login/"))


@attack()
async def admin_form(attacker: Attacker) -> None:
    """100 connections of 100 addresses post that of the admin, for an account that is there."""
    await attacker.by_many(100, lambda number: _post_form(attacker, number, "/admin/login/"))


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


def _status(head: bytes) -> str:
    return head.split(b" ", 2)[1].decode()
