"""
Peers: servers that are built here, each once, where the tools for it are installed.

Centrifugo is built by Go, and the project in spring/ by Maven. What is built stays in a folder of
the user's cache, under the version that it has.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

CENTRIFUGO_VERSION: Final = "v6.9.1"
CENTRIFUGO_MODULE: Final = "github.com/centrifugal/centrifugo/v6"
SPRING: Final = Path(__file__).with_name("spring")

#: Seconds that one may take to build, with all that is fetched for it.
PATIENCE: Final = 1800


class LeftOut(Exception):
    """A peer that can't be built here; the text says what to install."""


@cache
def centrifugo() -> Path:
    """
    Return the program, built if it has to be.

    Raises:
        LeftOut: If it can't be.
    """

    def build(folder: Path) -> None:
        need("go", of="Go")
        module = f"{CENTRIFUGO_MODULE}@{CENTRIFUGO_VERSION}"
        run(["go", "install", module], GOBIN=str(folder))

    return built(f"centrifugo-{CENTRIFUGO_VERSION}", "centrifugo", build)


@cache
def spring() -> Path:
    """
    Return the jar, built if it has to be; do as :func:`centrifugo`.

    Raises:
        LeftOut: If it can't be, or there is no Java to run it.
    """
    need("java", of="a JDK, 17 or later")

    def build(folder: Path) -> None:
        need("javac", of="a JDK, 17 or later")
        need("mvn", of="Maven")
        shutil.copytree(SPRING, folder, dirs_exist_ok=True)
        run(["mvn", "-B", "-q", "-f", str(folder), "package"])

    return built(f"spring-{spring_version()}-{_digest(SPRING)}", "target/peer.jar", build)


def spring_version() -> str:
    """Return the version of Spring Boot that the project names."""
    return ElementTree.parse(SPRING / "pom.xml").findtext("parent/version", "")


def cache_folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "stomp-gateway-benchmarks"


def built(name: str, product: str, build: Callable[[Path], None]) -> Path:
    """Return a product in a folder of the cache, built there unless it was before."""
    folder = cache_folder() / name
    if not (folder / product).exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"building {name} (once)", flush=True)
        build(folder)
    return folder / product


def need(program: str, *, of: str) -> None:
    if shutil.which(program) is None:
        raise LeftOut(f"install {of}: {program} is missing")


def run(command: list[str], **variables: str) -> None:
    try:
        done = subprocess.run(
            command, env={**os.environ, **variables}, text=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LeftOut(f"{command[0]} took more than {PATIENCE} s to build it") from None
    if done.returncode:
        *_, last = done.stdout.strip().splitlines() or [""]
        raise LeftOut(f"{command[0]} could not build it: {last[:200]}")


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
