"""Target: what an attacker knows of a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: An account of which the attacker knows the name.
ADMIN: Final = "admin"


@dataclass(frozen=True)
class Target:
    """Where the gateway is, and a token of the attacker's own account."""

    port: int
    token: str

    @property
    def login(self) -> dict[str, str]:
        return {"authorization": f"Token {self.token}"}
