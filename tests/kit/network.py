"""Hosts in network namespaces of their own, on one switch; links that are cut, lossy or narrow."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Self

import pytest

NETWORK = "10.213.77"

_PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"


def _may_make_namespaces() -> bool:
    if os.geteuid() != 0 or not all(shutil.which(each, path=_PATH) for each in ("ip", "tc", "nft")):
        return False
    name = f"gateway-try-{os.getpid()}"
    done = [_try(f"ip netns {what} {name}") for what in ("add", "del")]
    return all(done)


def _try(command: str) -> bool:
    environment = {**os.environ, "PATH": _PATH}
    return not subprocess.run(command.split(), env=environment, capture_output=True).returncode


needs_network = pytest.mark.skipif(
    not os.environ.get("REQUIRE_NETWORK") and not _may_make_namespaces(),
    reason="namespaces need root, and Debian's packages iproute2 and nftables",
)


class Network:
    """
    Hosts on one switch: each has an address, and so has this process.

    Args:
        hosts: Their names.
    """

    def __init__(self, *hosts: str) -> None:
        self.here = f"{NETWORK}.1"
        self.addresses = {name: f"{NETWORK}.{n}" for n, name in enumerate(hosts, 2)}
        self._prefix = f"gw{os.getpid()}"

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for name in ("switch", *self.addresses):
            _try(f"ip netns del {self._prefix}-{name}")

    def _make(self) -> None:
        self._do(f"ip netns add {self._prefix}-switch")
        self._at("switch", "ip link add switch type bridge")
        self._at("switch", "ip link set switch up")
        for name, address in self.addresses.items():
            self._do(f"ip netns add {self._prefix}-{name}")
            self._plug(name, address)
            self._at(name, "ip link set lo up")
            self._at(name, "nft add table inet faults")
            chain = "{ type filter hook input priority 0; }"
            self._at(name, f"nft add chain inet faults input {chain}")
        self._plug("", self.here)

    def command(self, host: str, command: str) -> str:
        """Return a command as one that is run on a host."""
        return f"ip netns exec {self._prefix}-{host} {command}"

    def cut(self, one: str, other: str) -> None:
        """Let nothing pass between two hosts; nobody is told."""
        for host, peer in ((one, other), (other, one)):
            self._at(host, f"nft add rule inet faults input ip saddr {self.addresses[peer]} drop")

    def lose(self, percent: int) -> None:
        """Let each host lose so many of the packets that it gets."""
        for host in self.addresses:
            loses = f"meta iif != lo numgen random mod 100 < {percent} drop"
            self._at(host, f"nft add rule inet faults input {loses}")

    def narrow(self, host: str, rate: str) -> None:
        """Let a host send no faster than so, as ``500kbit``: what is more waits its turn."""
        self._at(host, f"tc qdisc add dev uplink root tbf rate {rate} burst 5kb latency 2s")

    def mend(self) -> None:
        """Let everything pass again."""
        for host in self.addresses:
            self._at(host, "nft flush chain inet faults input")
            _try(self.command(host, "tc qdisc del dev uplink root"))

    def _plug(self, name: str, address: str) -> None:
        """Join a host to the switch, this one without a name."""
        port, link = f"port-{name or 'here'}", "uplink" if name else self._prefix
        self._at("switch", f"ip link add {port} type veth peer name {link}")
        self._at("switch", f"ip link set {port} master switch up")
        where = f"{self._prefix}-{name}" if name else str(os.getpid())
        self._at("switch", f"ip link set {link} netns {where}")
        for line in (f"ip addr add {address}/24 dev {link}", f"ip link set {link} up"):
            self._at(name, line)

    def _at(self, host: str, command: str) -> None:
        self._do(self.command(host, command) if host else command)

    def _do(self, command: str) -> None:
        environment = {**os.environ, "PATH": _PATH}
        words = command.split(" ")
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
