"""daphne with the application of the server's own tests, and clients that read when told to."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import closing, suppress
from pathlib import Path

from websockets.asyncio.client import connect

from tests.conftest import free_port
from tests.kit.processes import TIMEOUT, Process


class Server(Process):
    """daphne with tests/server_app.py."""

    def __init__(
        self, log: Path, options: str = "", *, application: str = "application", **variables: str
    ) -> None:
        self.port = free_port()
        options = f"-b 127.0.0.1 -p {self.port} --access-log /dev/null {options}"
        super().__init__(f"daphne {options} tests.kit.server_app:{application}", log, **variables)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert self.popen.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.1)

    @property
    def memory(self) -> int:
        """The resident memory in bytes."""
        pages = Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    def websocket(self, path: str, **options: object) -> connect:
        options = {"open_timeout": TIMEOUT, "max_size": None, **options}
        return connect(f"ws://127.0.0.1:{self.port}{path}", **options)  # type: ignore[arg-type]

    def socket(self, data: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        """Return a connection that reads only when it is told to."""
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(TIMEOUT)
        client.connect(("127.0.0.1", self.port))
        client.sendall(data)
        return client

    def upgraded(
        self, path: str, receive_buffer: int = 0, forwarded: str | None = None
    ) -> socket.socket:
        """Return a raw WebSocket, its handshake done."""
        client = self.socket(upgrade(path, forwarded), receive_buffer)
        while b"\r\n\r\n" not in (head := client.recv(2048, socket.MSG_PEEK)):
            time.sleep(0.01)
        length = head.index(b"\r\n\r\n") + 4
        assert b" 101 " in client.recv(length)
        return client

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        return self.request("GET", path, headers=headers)

    def request(
        self, method: str, path: str, body: object = None, **options: object
    ) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        with closing(client):
            client.request(method, path, body, **options)  # type: ignore[arg-type]
            answer = client.getresponse()
            return answer.status, answer.read()


def upgrade(path: str, forwarded: str | None = None) -> bytes:
    proxied = "" if forwarded is None else f"X-Forwarded-For: {forwarded}\r\n"
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"{proxied}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0.0.0\r\n"
        "Origin: http://localhost\r\nAccept-Language: en\r\nCache-Control: no-cache\r\n\r\n"
    ).encode()


def read(client: socket.socket) -> bytes:
    """Read until the server ends the connection, in whatever way."""
    answer = b""
    with suppress(ConnectionResetError):
        while data := client.recv(4096):
            answer += data
    return answer
