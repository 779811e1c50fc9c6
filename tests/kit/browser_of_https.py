"""A browser of HTTPS, as far as tests of proxies need one."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from contextlib import closing
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from tests.kit.clients import StompClient
from tests.kit.processes import TIMEOUT

#: Where these clients are, unless they say another; the proxies are at 127.0.0.1.
ADDRESS = "127.0.0.7"


@dataclass
class Browser:
    """A client of HTTPS that remembers cookies and comes from an address of its own."""

    port: int
    plain: int  # the port of plain HTTP
    tls: ssl.SSLContext
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def address(self) -> str:
        return f"wss://localhost:{self.port}/stomp"

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers of an answer."""
        client = http.client.HTTPSConnection(
            "localhost", self.port, timeout=TIMEOUT, context=self.tls, source_address=(ADDRESS, 0)
        )
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        with closing(client):
            client.request(method, path, body, sent)
            answer = client.getresponse()
            for text in answer.headers.get_all("Set-Cookie") or []:
                self.cookies |= {name: one.value for name, one in SimpleCookie(text).items()}
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read().decode(), headers

    def post(self, path: str, content: Any, token: str, **headers: str) -> tuple[int, str]:
        headers |= {"Authorization": f"Token {token}", "Content_Type": "application/json"}
        status, body, _ = self.request("POST", path, json.dumps(content).encode(), **headers)
        return status, body

    def log_in(self, path: str, name: str, password: str) -> int:
        """Log in with the form of a page; return the status of the answer."""
        _, page, _ = self.request("GET", path)
        [secret] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        form = {"username": name, "password": password, "csrfmiddlewaretoken": secret}
        status, _, _ = self.request(
            "POST", path, urlencode(form).encode(), Origin=self.origin,
            Content_Type="application/x-www-form-urlencoded", Referer=f"{self.origin}{path}",
        )  # fmt: skip
        return status

    def stomp(self, token: str, address: str = ADDRESS, **headers: str) -> StompClient:
        """Return a STOMP client on a page of this origin."""
        return StompClient(
            self.address, connect={"authorization": f"Token {token}"}, ssl=self.tls,
            origin=self.origin, local_addr=(address, 0), additional_headers=headers,
        )  # fmt: skip

    def answers(self) -> bool:
        """Return whether a gateway is ready behind the proxy."""
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False
