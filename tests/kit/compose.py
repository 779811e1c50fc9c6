"""Compose files as docker compose reads them, without containers: variables, files, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings

#: ``$$``, ``${NAME}``, ``${NAME-default}`` and ``${NAME:-default}``: what our files have.
_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<how>:?-)(?P<default>[^}]*))?\})")


def read_variables(file: Path) -> dict[str, str]:
    """Return what a file such as .env sets."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Put variables into all texts of a part of a file."""
    if isinstance(value, dict):
        return {name: interpolate(each, variables) for name, each in value.items()}
    if isinstance(value, list):
        return [interpolate(each, variables) for each in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _replaced(found, variables), value)
    return value


def _replaced(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    value = variables.get(found["name"])
    if found["how"] is None:
        return value or ""
    empty = value is None or (found["how"] == ":-" and not value)
    return str(found["default"]) if empty else str(value)


class Composed:
    """A compose file, with the variables of a .env."""

    def __init__(self, file: Path, env: Path | None = None) -> None:
        self._sent = read_variables(env) if env is not None else {}
        self.content = interpolate(yaml.safe_load(file.read_text()), self._sent)
        self.services: dict[str, Any] = self.content["services"]

    def environment(self, service: str) -> dict[str, str]:
        """Return the variables that a container gets, without those of its image."""
        described = self.services[service]
        sent = self._sent if described.get("env_file") else {}
        return {**sent, **described.get("environment", {})}

    def command(self, service: str) -> list[str]:
        """Return what a container runs: what the file says, or else the Dockerfile."""
        command = self.services[service].get("command")
        if command is None:
            [words] = re.findall(r"^CMD (\[.*\])", dockerfile(), re.MULTILINE)
            command = yaml.safe_load(words)
        return shlex.split(command) if isinstance(command, str) else list(command)


def dockerfile() -> str:
    return (settings.BASE_DIR / "Dockerfile").read_text()
