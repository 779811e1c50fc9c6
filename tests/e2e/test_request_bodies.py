"""Bodies of requests to the API, as clients send them: in chunks, compressed, without a type."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.kit.processes import TIMEOUT, Gateway

TOAST = json.dumps({"topic": "/topic/toast", "message": "hello"}).encode()
JSON = "application/json"
ADDRESSES = ("/api/notification", "/api/v1/publish")


def post(
    gateway: Gateway, path: str, body: bytes | Iterator[bytes], **headers: str
) -> tuple[int, Any]:
    """Send a body, in chunks if it is an iterator; return the status and the answer."""
    client = http.client.HTTPConnection("localhost", gateway.port, timeout=TIMEOUT)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(client):
        client.request("POST", path, body, named, encode_chunked=not isinstance(body, bytes))
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())


def chunks(body: bytes, size: int = 7) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def post_chunks(gateway: Gateway, path: str, body: bytes, kind: str) -> tuple[int, Any]:
    headers = {"Content_Type": kind, "Transfer_Encoding": "chunked"}
    return post(gateway, path, chunks(body, max(7, len(body) // 100)), **headers)


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_body_may_come_in_chunks(gateway: Gateway, path: str) -> None:
    status, answer = post_chunks(gateway, path, TOAST, JSON)
    assert (status, answer["topic"]) == (202, "/topic/toast")
    status, answer = post_chunks(gateway, path, b"[" + TOAST + b"," + TOAST + b"]", JSON)
    assert (status, len(answer)) == (202, 2)


def test_so_may_a_form(gateway: Gateway) -> None:
    form = b"topic=/topic/toast&message=hello"
    kind = "application/x-www-form-urlencoded"
    assert post_chunks(gateway, ADDRESSES[0], form, kind)[0] == 202


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_body_in_chunks_has_the_limits_of_any_other(gateway: Gateway, path: str) -> None:
    long = json.dumps({"topic": "/topic/toast", "message": "x" * 70_000}).encode()
    assert post_chunks(gateway, path, long, JSON)[0] == 413
    longer = b"[" + b" " * (4 * 2**20 + 4096) + b"]"
    status, answer = post_chunks(gateway, path, longer, JSON)
    assert status == 413
    assert "over" in answer["detail"]
    assert post_chunks(gateway, path, b"", JSON)[0] == 400


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_body_that_can_not_be_read_is_refused_and_told_why(gateway: Gateway, path: str) -> None:
    for coding in ("gzip", "br", "deflate", "identity, gzip"):
        headers = {"Content_Type": JSON, "Content_Encoding": coding}
        status, answer = post(gateway, path, gzip.compress(TOAST), **headers)
        assert (status, coding in answer["detail"]) == (415, True)
    status, answer = post(gateway, path, TOAST)
    assert (status, "Content-Type" in answer["detail"]) == (415, True)
    status, answer = post(gateway, path, TOAST, Content_Type="text/plain")
    assert (status, "text/plain" in answer["detail"]) == (415, True)


def test_a_body_that_is_not_coded_may_say_so(gateway: Gateway) -> None:
    headers = {"Content_Type": JSON, "Content_Encoding": "Identity"}
    assert post(gateway, ADDRESSES[0], TOAST, **headers)[0] == 202


@pytest.mark.parametrize("path", ["/login/", "/admin/login/", "/language/", "/api/ticket", "/"])
def test_another_charset_is_refused_before_anything_is_read(gateway: Gateway, path: str) -> None:
    kind = "multipart/form-data; boundary=b; charset=punycode"
    half = b"x" * 200_000 + b"-" + b"a" * 200_000
    part = b'--b\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n'
    body = part + half + b"\r\n--b--\r\n"
    status, answer = post(gateway, path, body, Content_Type=kind)
    assert (status, "UTF-8" in answer["detail"]) == (415, True)


@pytest.mark.parametrize(("more", "status"), [(0, 202), (1, 431)])
def test_an_accept_has_a_bound(gateway: Gateway, more: int, status: int) -> None:
    accept = f"text/{'x' * (1014 + more)}, */*"
    answer = post(gateway, ADDRESSES[0], TOAST, Content_Type=JSON, Accept=accept)
    assert answer[0] == status
