"""A real HTTP server with a JSON Web Key Set, which can be slow, down, or talk nonsense."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What a server does with a request.
Answer = Callable[[BaseHTTPRequestHandler], None]


class KeyServer:
    """Serves what ``answer`` says, and counts the requests; close it in the end."""

    def __init__(self) -> None:
        self.answer: Answer = answer_keys([])
        self.requests = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests += 1
                with contextlib.suppress(OSError):  # who asked may have given up
                    owner.answer(self)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer_bytes(data: bytes, status: int = 200, **headers: str) -> Answer:
    """Return an answer with a body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return answer


def answer_keys(keys: list[Any], after: float = 0) -> Answer:
    """Return an answer with keys, after so many seconds."""
    serve = answer_bytes(json.dumps({"keys": keys}).encode())

    def answer(request: BaseHTTPRequestHandler) -> None:
        time.sleep(after)
        serve(request)

    return answer


def trickle(request: BaseHTTPRequestHandler) -> None:
    """Answer a byte at a time, for as long as somebody listens, but not for a minute."""
    request.send_response(200)
    request.end_headers()
    for _ in range(600):
        request.wfile.write(b" ")
        time.sleep(0.1)
