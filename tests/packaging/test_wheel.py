"""
The wheel, and new Django projects on it, as docs/quickstart.md, docs/django.md and docs/testing.md
make them.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from django.conf import settings
from packaging.requirements import Requirement

import realtime
from tests.conftest import free_port
from tests.kit.browser import needs_chromium, open_page
from tests.kit.clients import StompClient
from tests.kit.processes import PROJECT, Gateway, Process

APPS = ("realtime", "notifications")
PAGE = (PROJECT / "docs" / "quickstart.md").read_text()
DJANGO_PAGE = (PROJECT / "docs" / "django.md").read_text()
TESTING_PAGE = (PROJECT / "docs" / "testing.md").read_text()
STOMPJS = PROJECT / "gateway/static/gateway/vendor/stompjs/stomp.umd.min.js"

#: What the page says for things that are elsewhere here.
WHEEL, REDIS_URL, PORT = "../stomp-gateway", "redis://127.0.0.1:6379/0", "8000"

#: Seconds that one command may take; pip may have to fetch what it installs.
SECONDS = 300


def section(title: str, page: str = PAGE) -> str:
    """Return a section of a page."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks in one language; commands have none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [code for name, code in found if name == language]


def files(text: str) -> list[tuple[str, str]]:
    """Return the blocks that belong into a file, each with the name before it."""
    found = re.findall(
        r"`((?:(?:mysite|shop)/)?\w+\.py)`:\n\n```python\n(.*?)^```$",
        text,
        re.DOTALL | re.MULTILINE,
    )
    assert len(found) == len(blocks(text, "python"))
    return found


def lines_of(text: str) -> list[str]:
    """Return the lines that belong into files."""
    return [line for _, code in files(text) for line in code.splitlines() if line.strip()]


def said(command: str, page: str = PAGE) -> str:
    """Return a command that a page names in passing."""
    assert f"`{command}`" in page
    return command


@dataclass
class Site:
    """The project of the page, in a virtual environment of its own."""

    folder: Path
    python: Path
    wheel: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        ours = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        return kept | {"PATH": os.pathsep.join([str(self.python.parent), os.environ["PATH"]])}

    def run(self, command: str) -> str:
        """Run a command, and return what it printed."""
        done = subprocess.run(
            command.replace(WHEEL, str(self.wheel)), shell=True, cwd=self.folder,
            env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        """Begin to run a command, whose output goes to a file."""
        with log.open("ab") as output:
            return subprocess.Popen(
                f"exec {command}", shell=True, cwd=self.folder, env=self.environment,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def begin(self) -> None:
        """Make the project."""
        self.run(said("django-admin startproject mysite ."))

    def write(self, text: str) -> None:
        """Write the blocks that belong into files at the ends of these."""
        for name, code in files(text):
            self.append(name, code)

    def append(self, name: str, code: str) -> None:
        """Write some lines at the end of a file."""
        with (self.folder / name).open("a") as file:
            file.write("\n" + code.replace(REDIS_URL, settings.REDIS_URL))

    def missing(self) -> dict[str, str]:
        """Return the modules that can't be imported, and what each of them lacks."""
        lines = self.run(f"python {PROJECT / 'tests/packaging/every_module.py'}").splitlines()
        return dict(line.split() for line in lines)


class Server(Gateway):
    """A server of a site, by a command of the page, but on a free port."""

    def __init__(self, site: Site, command: str, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.stomp = f"ws://localhost:{self.port}/stomp"
        self.log = log
        self.popen = site.start(command.replace(PORT, str(self.port)), log)
        self.wait_until_it_answers()


class Bridge(Process):
    """What relays the outbox of a site, by the command of the page."""

    def __init__(self, site: Site, log: Path) -> None:
        self.log = log
        self.popen = site.start(said("python manage.py bridge", DJANGO_PAGE), log)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made as the page says, from a copy: setuptools leaves things behind."""
    copy = tmp_path_factory.mktemp("copy") / "stomp-gateway"
    not_ours = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "db.sqlite3*")
    shutil.copytree(PROJECT, copy, ignore=not_ours)
    command = said("pip wheel --no-deps .").split()
    subprocess.run([sys.executable, "-m", *command, "--quiet"], cwd=copy, check=True)
    [wheel] = copy.glob("*.whl")
    return wheel


@dataclass
class Bare:
    """A project while the wheel was there without extras: what was missing, and its server."""

    site: Site
    missing: dict[str, str]
    server: Server

    def missing_in(self, app: str) -> dict[str, str]:
        return {name: lacks for name, lacks in self.missing.items() if name.startswith(f"{app}.")}


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty virtual environment, and of projects that use it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=True)
    return folder


@pytest.fixture(scope="module")
def bare(wheel: Path, environment: Path) -> Iterator[Bare]:
    """A project without daphne; it comes before the others, and its server stays."""
    site = Site(environment / "without-daphne", environment / "venv/bin/python", wheel)
    site.run(f"pip install --quiet {wheel} {' '.join(pinned('uvicorn', 'websockets'))}")
    site.begin()
    site.write(section("Ten lines").replace('"daphne", ', ""))
    missing = site.missing()
    site.run("python manage.py migrate")
    command = f"uvicorn --port {PORT} mysite.asgi:application"
    with Server(site, command, environment / "uvicorn.log") as server:
        yield Bare(site, missing, server)


def pinned(*names: str) -> list[str]:
    """Return how requirements-dev.txt has these packages."""
    lines = (PROJECT / "requirements-dev.txt").read_text().splitlines()
    return [line for line in lines if line.partition("==")[0] in names]


@pytest.fixture(scope="module")
def site(bare: Bare, wheel: Path, environment: Path) -> Site:
    """The project of the page, with its ten lines."""
    site = Site(environment / "project", environment / "venv/bin/python", wheel)
    site.begin()
    [install] = blocks(PAGE.partition("\n## ")[0], "")
    site.run(install)
    site.write(section("Ten lines"))
    return site


@pytest.fixture(scope="module")
def packages(site: Site) -> str:
    """What is installed for the ten lines."""
    return site.run("pip list")


@pytest.fixture(scope="module")
def start(site: Site) -> str:
    """The command that starts daphne; those before it have been run."""
    *before, start = blocks(section("Run it"), "")[0].splitlines()
    for command in before:
        site.run(command)
    return start


@pytest.fixture(scope="module")
def server(site: Site, start: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """daphne with the ten lines and no more."""
    with Server(site, start, tmp_path_factory.mktemp("daphne") / "log") as server:
        yield server


@pytest.fixture(scope="module")
def server_with_a_table(
    site: Site, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Django's runserver with the routing table of the page; daphne goes on without."""
    site.write(section("What clients send"))
    command = f"{said('python manage.py runserver')} --noreload {PORT}"
    with Server(site, command, tmp_path_factory.mktemp("runserver") / "log") as server:
        yield server


@pytest.fixture
def metadata(wheel: Path) -> Message:
    """What the wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def test_the_wheel_has_all_of_the_two_apps_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = [file for app in APPS for file in (PROJECT / app).rglob("*") if file.is_file()]
    assert names == {str(file.relative_to(PROJECT)) for file in ours if file.suffix != ".pyc"}
    assert {Path(name).suffix for name in names} >= {".py", ".lua", ".js", ".css", ".html"}
    assert {f"{app}/migrations/0001_initial.py" for app in APPS} <= names
    assert {f"{app}/py.typed" for app in APPS} <= names


def test_the_version_is_said_once(metadata: Message, project: Path) -> None:
    assert metadata["Version"] == realtime.__version__
    assert f'"{realtime.__version__}"' not in (project / "pyproject.toml").read_text()


def test_the_gateway_runs_on_versions_that_the_wheel_allows(
    metadata: Message, project: Path
) -> None:
    pins = re.findall(
        r"^([\w-]+).*==(.*)$", (project / "requirements-production.txt").read_text(), re.M
    )
    allowed = {need.name: need.specifier for need in needs(metadata)}
    both = {name: version for name, version in pins if name in allowed}
    assert both.keys() >= {"channels", "channels-redis", "daphne", "django", "redis"}
    assert [name for name, version in both.items() if version not in allowed[name]] == []


def test_what_the_code_knows_from_inside_may_not_get_a_new_major_version(
    metadata: Message,
) -> None:
    allowed = {need.name: need.specifier for need in needs(metadata)}
    for name, next_major in (("redis", "9.0"), ("channels-redis", "5.0"), ("daphne", "5.0")):
        assert next_major not in allowed[name]


def needs(metadata: Message) -> list[Requirement]:
    return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]


def test_without_extras_nothing_of_realtime_is_missing_but_what_daphne_runs(bare: Bare) -> None:
    missing = bare.missing_in("realtime")
    assert missing["realtime.server.server"] == "daphne"
    on_a_terminal = {module for module in missing if module.startswith("realtime.management.")}
    assert {missing[module] for module in on_a_terminal} == {"rich"}
    assert missing.pop("realtime.tracing") == "opentelemetry"
    assert missing.pop("realtime.testing.fixtures") == "pytest"
    assert all(module.startswith("realtime.server.") for module in set(missing) - on_a_terminal)


def test_without_extras_notifications_lacks_its_api_and_its_metrics(bare: Bare) -> None:
    missing = bare.missing_in("notifications")
    assert set(missing.values()) == {"rest_framework", "drf_spectacular", "prometheus_client"}
    for name in missing:
        assert name.startswith(("notifications.api.", "notifications.bridges.metrics"))


async def test_without_daphne_another_server_does(bare: Bare) -> None:
    await check_that_what_a_shell_publishes_reaches_a_client(bare.site, bare.server)


def test_it_takes_ten_lines_at_most() -> None:
    assert 0 < len(lines_of(section("Ten lines"))) <= 10


def test_the_ten_lines_need_neither_the_gateway_nor_django_rest_framework(packages: str) -> None:
    assert "stomp-gateway" in packages.lower()
    assert re.findall("rest|prometheus|cors|honcho|servestatic|valkey", packages.lower()) == []


def test_django_finds_nothing_wrong_with_the_project_of_the_page(site: Site, start: str) -> None:
    assert "no issues (0 silenced)" in site.run(said("python manage.py check"))
    assert "No changes" in site.run("python manage.py makemigrations --check --dry-run")


async def test_what_a_shell_publishes_reaches_a_client(site: Site, server: Server) -> None:
    await check_that_what_a_shell_publishes_reaches_a_client(site, server)


async def check_that_what_a_shell_publishes_reaches_a_client(site: Site, server: Server) -> None:
    _, publish = blocks(section("Run it"), "")
    async with StompClient(server.stomp) as client:
        await client.subscribe("/topic/rooms/1")
        await asyncio.to_thread(site.run, publish)
        assert (await client.message()).body == b"it works"
    assert "Traceback" not in server.output


async def test_daphne_says_goodbye_to_the_clients_of_any_project(
    site: Site, start: str, tmp_path: Path
) -> None:
    with Server(site, start, tmp_path / "log") as server:
        async with StompClient(server.stomp) as client:
            server.popen.terminate()
            assert await client.close_code() == 1012
        assert await asyncio.to_thread(server.stop) == 0
    assert "Traceback" not in server.output


async def test_the_function_in_the_table_answers_what_a_client_sends(
    server_with_a_table: Server,
) -> None:
    async with StompClient(server_with_a_table.stomp) as client:
        await client.subscribe("/topic/rooms/7")
        await client.request("SEND", {"destination": "/app/rooms/7"}, b"hello")
        said_to_all = json.loads((await client.message()).body)
        assert said_to_all == {"name": "somebody", "text": "hello"}
        assert f"`{json.dumps(said_to_all)}`" in PAGE
    async with StompClient(server_with_a_table.stomp) as late:
        await late.subscribe("/topic/rooms/7", replay="all")
        assert json.loads((await late.message()).body) == said_to_all


async def test_clients_may_send_nowhere_else(server_with_a_table: Server) -> None:
    async with StompClient(server_with_a_table.stomp) as client:
        await client.send("SEND", {"destination": "/topic/rooms/1"}, b"hello")
        assert (await client.frame("ERROR")).headers["code"] == "send-denied"


@needs_chromium
@pytest.mark.browser
async def test_the_scripts_of_the_page_do_what_it_says(
    site: Site, server_with_a_table: Server
) -> None:
    [connect] = blocks(section("Run it"), "js")
    [send] = blocks(section("What clients send"), "js")
    _, publish = blocks(section("Run it"), "")
    package = {"@stomp/stompjs": "data:text/javascript,export const { Client } = StompJs"}
    html = f"""
        <!doctype html><body><script>{STOMPJS.read_text()}</script>
        <script type="importmap">{json.dumps({"imports": package})}</script>
        <script type="module">{connect} globalThis.client = client;</script>
    """
    async with open_page(f"{server_with_a_table.url}/admin/login/") as page:
        await page.set_content(html)  # the page keeps its origin
        await page.wait_for_function("globalThis.client?.connected")
        await page.evaluate(send)
        await page.wait_for_function("document.body.innerText.includes('hello')")
        await asyncio.to_thread(site.run, publish)
        await page.wait_for_function("document.body.innerText.includes('it works')")


@pytest.fixture(scope="module")
def shop(site: Site, start: str, wheel: Path, environment: Path) -> Iterator[tuple[Site, Server]]:
    """Another new project, with the model of docs/django.md, and its server."""
    shop = Site(environment / "shop", site.python, wheel)
    shop.begin()
    shop.write(section("Ten lines"))
    shop.run(said("python manage.py startapp shop", DJANGO_PAGE))
    rows = section("Rows in ten lines", DJANGO_PAGE)
    shop.write(rows)
    *before, _ = blocks(rows, "")[0].splitlines()
    for command in before:
        shop.run(command)
    with Server(shop, start, environment / "shop.log") as server:
        yield shop, server


def test_rows_take_ten_lines_at_most() -> None:
    assert 0 < len(lines_of(section("Rows in ten lines", DJANGO_PAGE))) <= 10


async def test_a_row_that_is_saved_reaches_a_client(shop: tuple[Site, Server]) -> None:
    site, server = shop
    rows = section("Rows in ten lines", DJANGO_PAGE)
    create = blocks(rows, "")[0].splitlines()[-1]
    [change] = blocks(rows, "json")
    async with StompClient(server.stomp) as client:
        await client.subscribe("/topic/orders/1")
        await asyncio.to_thread(site.run, create)
        assert json.loads((await client.message()).body) == json.loads(change)


async def test_what_is_in_the_outbox_is_relayed_by_the_command_of_the_page(
    shop: tuple[Site, Server], tmp_path: Path
) -> None:
    site, server = shop
    none_lost = section("None lost", DJANGO_PAGE)
    _, outbox = blocks(none_lost, "python")
    site.append("mysite/settings.py", outbox)
    site.run("python manage.py migrate")
    publish = "from realtime import publish_on_commit as p; p('/topic/news', 'kept', outbox=True)"
    async with StompClient(server.stomp) as client:
        await client.subscribe("/topic/news")
        await asyncio.to_thread(site.run, f'python manage.py shell -c "{publish}"')
        listed = await asyncio.to_thread(
            site.run, said("python manage.py bridge --list", DJANGO_PAGE)
        )
        assert '"lag": 1' in listed
        with Bridge(site, tmp_path / "log") as bridge:
            assert (await client.message()).body == b"kept"
            assert await asyncio.to_thread(bridge.stop) == 0
    assert "Traceback" not in bridge.output


@pytest.fixture(scope="module")
def tested(site: Site, packages: str, wheel: Path, environment: Path) -> Site:
    """Another new project, with the tests of docs/testing.md."""
    tested = Site(environment / "tested", site.python, wheel)
    tested.begin()
    [install] = blocks(TESTING_PAGE.partition("\n## ")[0], "")
    tested.run(install)
    for text in (section("Ten lines"), section("What clients send"), TESTING_PAGE):
        tested.write(text)
    [options] = blocks(TESTING_PAGE, "ini")
    (tested.folder / "pytest.ini").write_text(options)
    return tested


def test_a_new_project_is_tested_as_the_page_says(tested: Site) -> None:
    [commands] = blocks(section("Django's test cases", TESTING_PAGE), "")
    by_pytest, by_django = map(tested.run, commands.splitlines())
    tests = re.findall(r"^( *)(?:async )?def test_", TESTING_PAGE, re.MULTILINE)
    assert len(tests) > 10
    assert f"{len(tests)} passed" in by_pytest
    assert "warning" not in by_pytest
    assert f"Ran {len([indent for indent in tests if indent])} tests" in by_django


def test_with_the_other_extras_nothing_is_missing(site: Site, packages: str) -> None:
    site.run(said(f'pip install "{WHEEL}[daphne,drf,metrics,terminal]"'))
    site.run(f'pip install "{WHEEL}[opentelemetry,testing]"')
    assert site.missing() == {}
