"""manage.py in a fresh clone, as README writes it: with the python of the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert shown(clone, ENV_FILE=os.devnull)[0] == "True"


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
