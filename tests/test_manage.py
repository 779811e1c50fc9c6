"""manage.py in a fresh clone, as README writes it: with the python of the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.environment import free_port

#: The interpreter of which the virtual environment of the tests was made.
PYTHON = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
SHOW = "from django.conf import settings as s; print(s.DEBUG, s.SECRET_KEY, s.REDIS_URL, s.HTTPS)"

pytestmark = pytest.mark.skipif(
    sys.prefix == sys.base_prefix or not PYTHON.exists(), reason="no virtual environment"
)


@pytest.fixture
def clone(project: Path, tmp_path: Path) -> Path:
    """A copy of the project, whose .venv is that of the tests."""
    for name in ("gateway", "realtime", "notifications"):
        shutil.copytree(project / name, tmp_path / name)
    shutil.copy(project / "manage.py", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def run(clone: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command from another folder, with hardly any environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        command, cwd=clone.parent, env=kept | variables, capture_output=True, text=True, timeout=60
    )


def shown(clone: Path, **variables: str) -> list[str]:
    """Return some settings, as a shell of manage.py has them."""
    done = run(clone, str(PYTHON), f"{clone}/manage.py", "shell", "-v0", "-c", SHOW, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_finds_the_virtual_environment_and_is_for_development(clone: Path) -> None:
    assert shown(clone)[0] == "True"
    assert run(clone, f"{clone}/manage.py", "check").returncode == 0


def test_it_reads_env_and_the_environment_counts_more(clone: Path) -> None:
    (clone / ".env").write_text(
        "# a comment\n\nDEBUG=0\nSECRET_KEY='a #secret=1'\nexport HTTPS=0\n"
        "REDIS_URL=redis://redis.example:6379/0  # of ours\n#ALLOWED_HOSTS=no\nnonsense\n"
    )
    assert shown(clone) == ["False", "a", "#secret=1", "redis://redis.example:6379/0", "False"]
    assert shown(clone, SECRET_KEY="mine", HTTPS="1")[1::2] == ["mine", "True"]
    other = clone / "other"
    other.write_text("DEBUG=1\n")
    assert shown(clone, ENV_FILE=str(other))[0] == "True"


@pytest.mark.parametrize(
    "command", [["-m", "daphne", "gateway.asgi:application"], ["-m", "gateway.workers"]]
)
def test_servers_read_it_too(clone: Path, command: list[str]) -> None:
    (clone / ".env").write_text("DEBUG=0\nSECRET_KEY=s\nWORKERS=1\nSTOMP_CONNECT_SECONDS=-5\n")
    python = str(clone / ".venv" / "bin" / "python")
    done = run(clone, python, *command, PYTHONPATH=str(clone), PORT=str(free_port()))
    assert done.returncode != 0
    assert "STOMP_CONNECT_SECONDS is -5" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "said",
    [{"ALLOWED_HOSTS": "gateway.example"}, {"DATABASE_URL": "sqlite:///x"}, {"SECRET_KEY": ""}],
)
def test_what_may_mean_production_is_not_taken_for_development(
    clone: Path, said: dict[str, str]
) -> None:
    done = run(clone, str(PYTHON), f"{clone}/manage.py", "check", **said)
    assert (done.returncode, "set SECRET_KEY" in done.stderr) == (1, True)


def test_it_says_so_where_it_is_for_development(clone: Path) -> None:
    done = run(clone, str(PYTHON), f"{clone}/manage.py", "check")
    assert "manage.py: nothing says otherwise: DEBUG=1, for development\n" in done.stderr


def test_a_file_that_is_named_has_to_be_there(clone: Path) -> None:
    done = run(clone, f"{clone}/manage.py", "check", ENV_FILE="/nowhere/gateway.env")
    assert done.returncode == 1
    assert done.stderr == "ENV_FILE is /nowhere/gateway.env: there is no such file\n"


def test_what_says_that_it_is_for_production_needs_its_secret(clone: Path) -> None:
    (clone / ".env").write_text("DEBUG=0\nSECRET_KEY=\n")
    done = run(clone, str(PYTHON), f"{clone}/manage.py", "check")
    assert done.returncode == 1
    assert done.stderr.startswith("manage.py: set SECRET_KEY")
    assert shown(clone, SECRET_KEY="s", DEBUG="")[0] == "False"


def test_without_django_it_says_what_to_do(clone: Path) -> None:
    (clone / ".venv").unlink()
    done = run(clone, str(PYTHON), "-I", "-S", f"{clone}/manage.py", "check")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "manage.py: Django is not installed here; `make run` installs what is needed"
    )
