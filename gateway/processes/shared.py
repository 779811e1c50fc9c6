"""
Shared: what all workers of a supervisor have for ``/metrics``: each other's figures, and a port.

A scrape reaches any one of them. So each writes its figures into a folder of all, once a second and
before it answers a scrape, and whichever is asked adds up what is there. What a worker counted
outlives it: the supervisor puts the totals of those that ended together, in a file of their own.

Files, and not prometheus_client's own multiprocess mode: that keeps the files of every worker that
ever was, and would do for each message what happens once a second here. A sum never goes back:
nobody saw figures that are in no file, and who ended is in one file or in the other, not in both
and not in neither, at whatever moment a scrape comes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .sockets import check_port, listen

logger = logging.getLogger("gateway.workers")

#: The variables by which workers learn of the folder, and of the socket of METRICS_PORT.
FOLDER: Final = "GATEWAY_METRICS_FOLDER"
SOCKET: Final = "GATEWAY_METRICS_FD"

#: The file of those that ended: their totals, and which the latest of them were. Those are few: the
#: number of a process is given again some day.
ENDED: Final = "ended"
LATEST: Final = 8

#: In memory, where there is such a folder: the event loop must not wait for a disk.
_MEMORY: Final = "/dev/shm"  # nosec B108 # the folder in it is new, and ours alone

#: As :mod:`realtime.metrics` has them, which a supervisor can't import: it knows no Django.
Figures = dict[str, dict[str, dict[str, float]]]

_NOTHING: Final[Figures] = {"totals": {}, "now": {}}


@contextlib.contextmanager
def shared_by_workers() -> Iterator[None]:
    """Make all of it, and let processes that start meanwhile find it."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="gateway-", dir=parent) as name:
        os.environ[FOLDER] = name
        try:
            yield
        finally:
            del os.environ[FOLDER]


def open_metrics_port() -> socket.socket | None:
    """
    Listen on METRICS_PORT, if there is one, for processes that start from now on.

    It ends the program if the port is not free.
    """
    port = os.environ.get("METRICS_PORT") or "0"
    if port == "0":
        return None
    address = os.environ.get("METRICS_ADDRESS") or "127.0.0.1"
    check_port(address, port, "METRICS_PORT")
    listener = listen(address, int(port))
    listener.setblocking(False)  # two may accept a connection, and one is too late
    os.set_inheritable(listener.fileno(), True)
    os.environ[SOCKET] = str(listener.fileno())
    return listener


def inherited() -> list[int]:
    """Return the descriptor of the socket of METRICS_PORT, where one was opened."""
    return [int(os.environ[SOCKET])] if SOCKET in os.environ else []


def folder() -> Path | None:
    """Return the folder of all workers; None where there is no supervisor."""
    name = os.environ.get(FOLDER)
    return None if name is None else Path(name)


def write(folder: Path, figures: Figures) -> None:
    """Let the others see the figures of this process."""
    _replace(folder / str(os.getpid()), figures)


def pids(folder: Path) -> list[str]:
    """Return the processes that have written, and not been seen to end."""
    return [path.name for path in folder.iterdir() if path.name.isdecimal()]


def read(folder: Path) -> Figures:
    """Return the sums of all."""
    living = {pid: found for pid in pids(folder) if (found := _load(folder / pid)) is not None}
    ended = _ended(folder)  # last: who ended meanwhile may be in both
    rest = [figures for pid, figures in living.items() if pid not in ended["pids"]]
    return add_up([*rest, ended["figures"]])


def settle(pid: int) -> None:
    """Keep the totals of a process that has ended; its supervisor calls."""
    here = folder()
    if here is not None:
        try:
            _settle(here, pid)
        except OSError as error:
            logger.warning("what pid %d has counted is lost: %s", pid, error)


def _settle(folder: Path, pid: int) -> None:
    mine = folder / str(pid)
    figures = _load(mine)
    if figures is None:  # it did not live long enough to write
        return
    ended = _ended(folder)
    sums = add_up([ended["figures"], {**figures, "now": {}}])
    _replace(folder / ENDED, {"pids": [*ended["pids"], str(pid)][-LATEST:], "figures": sums})
    mine.unlink()


def add_up(several: Iterable[Figures]) -> Figures:
    """Return the sums of several processes, each with what its release knows."""
    sums: Figures = {"totals": {}, "now": {}}
    for one in several:
        for kind, metrics in sums.items():
            for name, values in one[kind].items():
                _add(metrics.setdefault(name, {}), values)
    return sums


def _add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    for key, value in values.items():
        sums[key] = sums.get(key, 0) + value


def _ended(folder: Path) -> Any:
    return _load(folder / ENDED) or {"pids": [], "figures": _NOTHING}


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def _replace(path: Path, content: Any) -> None:
    """Write a file that others see whole, or not yet."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(content))
    fresh.replace(path)
