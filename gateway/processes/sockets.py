"""
Listening sockets: one for each server process, all of them on one address.

With ``SO_REUSEPORT`` the kernel spreads connections evenly over the sockets of an address. Whoever
opens them keeps them open while a server is replaced: connections wait in them meanwhile.
"""

from __future__ import annotations

import socket
import sys
from typing import Final

#: Only Linux spreads connections over the sockets of one address; elsewhere one of them gets all.
SPREADS: Final = sys.platform == "linux"
#: Connections that may wait in one socket; Twisted's own 50 are too few for a storm of clients.
BACKLOG: Final = 4096


def open_sockets(host: str, port: str, count: int) -> list[socket.socket]:
    """Return a listening socket for each server; end the program if the port is not free."""
    check_port(host, port)  # sockets that are shared would not notice somebody else's
    if not SPREADS:
        return [listen(host, int(port))] * count
    return [listen(host, int(port), shared=count > 1) for _ in range(count)]


def check_port(host: str, port: str, variable: str = "PORT") -> None:
    """End the program if the variable's port is no port, or somebody uses it."""
    if not port.isdecimal() or not 0 < int(port) < 65536:
        sys.exit(f"{variable} is {port!r}: it has to be a number from 1 to 65535")
    try:
        listen(host, int(port)).close()
    except OSError as error:
        other = int(port) + 10_000 if int(port) < 20_000 else int(port) - 10_000
        example = f"set {variable}, as in {variable}={other}"
        sys.exit(f"can't use port {port} of {host}: {error.strerror}; {example}")


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a listening socket; with ``shared`` others may listen there too."""
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
