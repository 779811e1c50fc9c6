"""The programs that files in deploy/ are for, and certificates."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

DEPLOY: Path = settings.BASE_DIR / "deploy"

#: By the program: the Debian package that has it.
PACKAGES = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "caddy": "caddy",
    "systemd-analyze": "systemd",
    "openssl": "openssl",
}


def needs(program: str) -> pytest.MarkDecorator:
    """Return what skips a test where a program is missing, but not in CI."""
    return pytest.mark.skipif(
        find(program) is None and not os.environ.get("REQUIRE_SERVERS"),
        reason=f"no {program} is installed (Debian has it in the package {PACKAGES[program]})",
    )


def find(program: str) -> str | None:
    """Return where a program is, also one that is for administrators."""
    return shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


def run(program: str, *arguments: str | Path, **options: object) -> str:
    """Return all that a program says; it has to be content."""
    path = find(program)
    assert path, f"install {program}: on Debian and Ubuntu, apt install {PACKAGES[program]}"
    done = subprocess.run([path, *arguments], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout + done.stderr)


def make_secrets(folder: Path) -> Path:
    """Run deploy/secrets.sh for a folder of its own; return the folder."""
    environment = {**os.environ, "SECRETS": str(folder)}
    subprocess.run(["sh", DEPLOY / "secrets.sh"], env=environment, check=True)
    return folder


class Proxy:
    """A proxy as its file in deploy/ has it, but for ports, names and places."""

    def __init__(self, program: str, folder: Path, tls: Path, gateways: tuple[int, int]) -> None:
        """
        Args:
            folder: For its files.
            tls: Where fullchain.pem and privkey.pem are.
            gateways: The ports on which gateways listen.
        """
        self.program = program
        self.folder = folder
        self._tls = tls
        self._gateways = gateways

    def write(self, http: int, https: int) -> Path:
        """Write its file; return where."""
        name = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}
        text = (DEPLOY / self.program / name[self.program]).read_text()
        for number, port in enumerate(self._gateways, 1):
            text = replaced(text, f"gateway{number}:8080", f"127.0.0.1:{port}")
        text = getattr(self, f"_{self.program}")(text, http, https)
        (self.folder / "configuration").write_text(text)
        return self.folder / "configuration"

    def check(self, file: Path) -> str:
        """Let the program check its file; return what it says."""
        arguments = {
            "nginx": ["-t", "-c"],
            "haproxy": ["-c", "-f"],
            "caddy": ["validate", "--adapter", "caddyfile", "--config"],
        }
        return run(self.program, *arguments[self.program], file, env=self.environment)

    def command(self, file: Path) -> str:
        """Return the command that runs it in the foreground."""
        path = find(self.program)
        return {
            "nginx": f"{path} -c {file} -g 'daemon off;'",
            "haproxy": f"{path} -db -f {file}",
            "caddy": f"{path} run --adapter caddyfile --config {file}",
        }[self.program]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the program."""
        return {**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}

    def _nginx(self, text: str, http: int, https: int) -> str:
        for port, real in (("80", http), ("443", https)):
            text = replaced(text, f"listen [::]:{port} ", f"listen [::1]:{real} ")
            text = replaced(text, f"listen {port} ", f"listen 127.0.0.1:{real} ")
        text = replaced(text, "worker_rlimit_nofile 65536;", "")
        text = replaced(text, "worker_connections 16384;", "worker_connections 500;")
        text = replaced(text, "worker_processes auto;", "worker_processes 1;")
        text = replaced(text, "/etc/nginx/tls/", f"{self._tls}/")
        text = replaced(text, "/var/log/nginx/", f"{self.folder}/")
        return replaced(text, "/run/nginx.pid", f"{self.folder}/nginx.pid")

    def _haproxy(self, text: str, http: int, https: int) -> str:
        both = [(self._tls / name).read_text() for name in ("fullchain.pem", "privkey.pem")]
        (self.folder / "gateway.pem").write_text("".join(both))
        text = replaced(text, "/etc/haproxy/tls/", f"{self.folder}/")
        text = replaced(text, "maxconn 40000", "maxconn 400")
        text = replaced(text, "bind :::443 v4v6 ssl", f"bind 127.0.0.1:{https} ssl")
        return replaced(text, "bind :::80 v4v6", f"bind 127.0.0.1:{http}")

    def _caddy(self, text: str, http: int, https: int) -> str:
        tls = f"tls {self._tls}/fullchain.pem {self._tls}/privkey.pem"
        text = replaced(text, "gateway.example.org {", f"localhost {{\n\t{tls}")
        here = "admin off\n\tskip_install_trust\n\tdefault_bind 127.0.0.1"
        return f"{{\n\t{here}\n\thttp_port {http}\n\thttps_port {https}\n}}\n{text}"


def replaced(text: str, old: str, new: str) -> str:
    """Replace what has to be there."""
    assert old in text, old
    return text.replace(old, new)
