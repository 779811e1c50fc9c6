"""Recipes: the programs of docs/clients.md for a gateway of the tests, and ways to run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.kit.browser import open_page
from tests.kit.processes import PROJECT, Gateway, Process

PAGE: Final = PROJECT / "docs" / "clients.md"
PACKAGE: Final = PROJECT / "clients" / "javascript"
HERE: Final = Path(__file__).parent

#: Whether they run as the page has them, as by `make clients`; else with heart-beats of a second.
LONG: Final = "CLIENTS_LONG" in os.environ
BEAT: Final = 10.0 if LONG else 1.0

#: Seconds that one command may take; it may have to fetch what it builds with.
SECONDS: Final = 300

#: Returns all that a program has shown so far.
Heard = Callable[[], Awaitable[str]]


def recipe(client: str, gateway: Gateway, topic: str) -> str:
    """Return a program of the page, for a gateway and a topic of the tests."""
    section = PAGE.read_text().partition(f"\n## {client}\n")[2].partition("\n## ")[0]
    [code] = re.findall(r"^```\w+\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    code = code.replace("wss://gateway.example.org/stomp", gateway.stomp)
    code = re.sub(r'"gateway\.example\.org", \d+', f'"localhost", {gateway.port}', code)
    code = code.replace("connection.set_ssl([server])\n", "").replace("/topic/orders", topic)
    assert "gateway.example.org" not in code
    assert topic in code
    if not LONG:
        code, count = re.subn(r"\b10(_000\b|\*time\.Second\b)", r"1\1", code)
        assert count == 2
    return code


def tool(name: str) -> str:
    """Return where a program is; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    if name == "npm" and os.environ.get("NPM_AWAY"):
        pytest.skip("npm reaches no registry")
    return found


def command(*arguments: str, folder: Path, **variables: str) -> str:
    """Run a command in a folder, and return what it printed."""
    done = subprocess.run(
        arguments, cwd=folder, env={**os.environ, **variables}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def only_by_make_clients() -> None:
    if not LONG:
        pytest.skip("only `make clients` fetches and builds what this needs")


@asynccontextmanager
async def running(program: str, folder: Path) -> AsyncIterator[Heard]:
    """Run a program; what it prints is what it has heard."""
    with Process(program, folder / "heard") as process:

        async def heard() -> str:
            assert process.popen.poll() is None, process.output
            return process.output

        yield heard
        process.popen.kill()


@asynccontextmanager
async def python(code: str, folder: Path, gateway: Gateway) -> AsyncIterator[Heard]:
    file = folder / "orders.py"
    file.write_text(code)
    async with running(f"{sys.executable} {file}", folder) as heard:
        yield heard


@asynccontextmanager
async def go(code: str, folder: Path, gateway: Gateway) -> AsyncIterator[Heard]:
    tool("go")
    only_by_make_clients()
    for name in ("go.mod", "go.sum"):
        shutil.copy(HERE / "go" / name, folder)
    (folder / "main.go").write_text(code)
    command("go", "build", "-o", "orders", ".", folder=folder)
    async with running(str(folder / "orders"), folder) as heard:
        yield heard


@asynccontextmanager
async def java(code: str, folder: Path, gateway: Gateway) -> AsyncIterator[Heard]:
    for name in ("javac", "mvn"):
        tool(name)
    only_by_make_clients()
    libraries, file = folder / "libraries", folder / "Orders.java"
    copy = "dependency:copy-dependencies"
    command("mvn", "-B", "-q", copy, f"-DoutputDirectory={libraries}", folder=HERE / "java")
    file.write_text(code)
    async with running(f"java -cp '{libraries}/*' {file}", folder) as heard:
        yield heard


@asynccontextmanager
async def browser(code: str, folder: Path, gateway: Gateway) -> AsyncIterator[Heard]:
    """Show a script in a page; what it logs and what the page has is what it has heard."""
    logged: list[str] = []
    async with open_page(f"{gateway.url}/admin/login/", inject=True) as page:
        page.on("console", lambda message: logged.append(message.text))
        await page.set_content('<div id="root"></div>')  # the page keeps its origin
        await page.add_script_tag(path=bundle(code, folder))

        async def heard() -> str:
            return "\n".join([*logged, await page.inner_text("body")])

        yield heard


def bundle(code: str, folder: Path) -> Path:
    """Make one script of a program that imports packages, as for a page."""
    project(folder)
    (folder / "orders.jsx").write_text(code)
    esbuild = str(PACKAGE / "node_modules" / ".bin" / "esbuild")
    options = ["--bundle", "--jsx=automatic", "--define:global=window", "--log-level=warning"]
    command(esbuild, "orders.jsx", *options, "--outfile=orders.js", folder=folder)
    return folder / "orders.js"


def project(folder: Path) -> None:
    """Make a folder a project that has installed the package, as it is packed, and its peers."""
    fetched = PACKAGE / "node_modules"
    tool("npm")
    if not fetched.exists():
        only_by_make_clients()
        command("npm", "ci", folder=PACKAGE)
    modules = folder / "node_modules"
    modules.mkdir()
    for package in fetched.iterdir():
        (modules / package.name).symlink_to(package)
    shutil.unpack_archive(pack(folder), folder, filter="data")
    (folder / "package").rename(modules / "stomp-gateway-client")


def pack(folder: Path) -> Path:
    """Pack the package into a folder, and return the archive."""
    command("npm", "pack", "--silent", "--pack-destination", str(folder), folder=PACKAGE)
    [archive] = folder.glob("*.tgz")
    return archive
