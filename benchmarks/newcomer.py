"""
A newcomer's path: from a fresh clone to the first message in a browser, by the two commands that
README.md begins with::

    python -m benchmarks.newcomer          # packages come from pip's cache, if it has them

It prints when what was there, in seconds since the clone began.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Final

from playwright.async_api import async_playwright, expect

from .servers import PROJECT, free_port

#: Seconds in which the first message has to be seen.
GOAL: Final = 60
PATIENCE: Final = 600
MESSAGE: Final = "testing API endpoint"


class Clock:
    """Says what is there, and when."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def say(self, what: str) -> float:
        seconds = time.monotonic() - self._start
        print(f"{seconds:6.1f} s  {what}", flush=True)
        return seconds


def main() -> int:
    """Go the way once; return 1 if it takes too long."""
    with TemporaryDirectory(prefix="gateway-newcomer-") as folder:
        clone, clock = Path(folder) / "gateway", Clock()
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        clock.say("git clone")
        port = free_port()
        with make_run(clone, port):
            wait_until_it_answers(port)
            clock.say("make run answers")
            seconds = asyncio.run(see_a_message(port, clock))
    print(f"the goal is {GOAL} s: {'ok' if seconds <= GOAL else 'too long'}")
    return 0 if seconds <= GOAL else 1


@contextmanager
def make_run(clone: Path, port: int) -> Iterator[None]:
    """Run it with nothing of this environment but where programs and caches are."""
    known = ("PATH", "HOME", "LANG", "TMPDIR")
    variables = {name: os.environ[name] for name in known if name in os.environ}
    command = ["make", "run", f"PORT={port}", f"REDIS_URL=redis://127.0.0.1:{free_port()}/0"]
    process = subprocess.Popen(
        command, cwd=clone, env=variables, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def wait_until_it_answers(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"http://localhost:{port}/readyz", timeout=5).read()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


async def see_a_message(port: int, clock: Clock) -> float:
    """Open the console, run the first check's command, and see the message."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox"]
        )
        page = await browser.new_page()
        await page.goto(f"http://localhost:{port}/")
        await expect(page.locator("#state")).to_contain_text("Connected", timeout=30_000)
        clock.say("the console is connected")
        body = f'{{"topic": "/topic/toast", "message": "{MESSAGE}" }}'
        url = f"localhost:{port}/api/notification"
        json = "Content-Type: application/json"
        curl = ["curl", "--silent", "-X", "POST", "-d", body, "-H", json, url]
        await asyncio.to_thread(subprocess.run, curl, check=True, stdout=subprocess.DEVNULL)
        await expect(page.locator("#messages")).to_contain_text(MESSAGE, timeout=30_000)
        seconds = clock.say("the message is there")
        await browser.close()
    return seconds


def chromium() -> str:
    found = which("chromium") or which("chromium-browser")
    if found is None:
        sys.exit("install chromium")
    return found


if __name__ == "__main__":
    sys.exit(main())
