"""What the documents say is true."""

from __future__ import annotations

import logging
import re
import shlex
from copy import deepcopy
from io import StringIO
from logging.config import dictConfig
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.authtoken.models import Token

import gateway.settings
from notifications.bridges import checks
from notifications.bridges.formats import unwrap
from realtime.access import audit
from realtime.access.passcodes import WRONG
from realtime.access.rules import decide
from realtime.access.signing import verify
from realtime.apps import check_limits
from realtime.conf import conf
from realtime.routes.rules import ACTIONS, Action, Rule, group, service
from realtime.routes.table import Table
from realtime.sessions.session import Login, Session
from realtime.stomp import AccessDenied, StompError
from tests.kit.users import make_user


def test_the_page_of_the_configuration_lists_every_variable(project: Path) -> None:
    source = (project / "gateway" / "settings.py").read_text()
    used = set(re.findall(r'(?:env_\w+|environ\.get)\(\s*"([A-Z_]+)"', source))
    page = (project / "docs" / "configuration.md").read_text()
    assert {"REDIS_URL", "STOMP_ROUTING", "LOG_LEVEL"} <= used
    used -= {"STOMP_SEND_PREFIXES", "TRUST_PROXY"}  # they are only told that they are gone
    assert {name for name in used if f"`{name}`" not in page} == set()


def test_protocol_lists_every_error_code_and_no_other(project: Path) -> None:
    code = "\n".join(file.read_text() for file in (project / "realtime").rglob("*.py"))
    used = set(re.findall(r'code(?:: str)? ?= ?"([a-z-]+)"', code))
    used |= {f"{action}-denied" for action in ACTIONS if action != "publish"}  # that is a 403
    used -= {"gone"}  # nobody is there to be told
    document = (project / "docs" / "protocol.md").read_text()
    table = document.partition("## Errors")[2].partition("\nCodes from")[0]
    documented = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", table)) - {"message", "code"}
    documented -= {"receipt-id", "retry-after"}
    assert documented == used


def test_the_protocol_and_the_console_know_every_close_code(project: Path) -> None:
    errors = [StompError]
    for error in errors:  # it grows meanwhile
        errors += error.__subclasses__()
    codes = {1000, *(error.close_code for error in errors)}
    protocol = (project / "docs" / "protocol.md").read_text()
    assert set(map(int, re.findall(r"^\| (\d{4}) \|", protocol, re.M))) == codes
    script = (project / "gateway/static/gateway/console/connection.js").read_text()
    known = set(map(int, re.findall(r"^  (\d{4}): gettext\(", script, re.M)))
    assert known == {*codes, 1006}  # which is no close code: browsers say it where there was none


def test_the_tests_leave_the_ports_that_the_documents_name_alone(project: Path) -> None:
    documents = [project / "README.md", *(project / "docs").glob("*.md")]
    named = set(re.findall(r"\b\d{4,5}\b", "".join(file.read_text() for file in documents)))
    assert {"16379", "18080"} <= named
    assert str(urlsplit(settings.REDIS_URL).port) not in named


def sections_of(document: Path) -> set[str]:
    """Return how links name the sections of a document."""
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_in_the_documents_lead_somewhere(project: Path) -> None:
    others = ["README.md", "SECURITY.md", "deploy/README.md", "clients/javascript/README.md"]
    for document in [*(project / name for name in others), *(project / "docs").glob("*.md")]:
        links = re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", document.read_text())
        for target, section in links:
            found = document.parent / target if target else document
            assert found.exists(), f"{document.name}: {target}"
            if section:
                assert section in sections_of(found), f"{document.name}: {target}#{section}"


def test_each_document_is_a_page_of_the_site_and_each_page_is_a_document(project: Path) -> None:
    pages = re.findall(r": (\S+\.md)$", (project / "mkdocs.yml").read_text(), re.MULTILINE)
    assert {f"docs/{path.name}" for path in project.glob("docs/*.md")} < set(pages)
    assert all((project / page).exists() for page in pages)


def test_the_tests_that_the_documents_name_exist(project: Path) -> None:
    named = {
        name
        for document in (project / "docs").glob("*.md")
        for name in re.findall(r"`(test_\w+)`", document.read_text())
    }
    sources = "".join(file.read_text() for file in (project / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert {name for name in named if f"def {name}(" not in sources} == set()


def test_the_redis_line_of_readme_and_its_python_twin_publish_the_same(project: Path) -> None:
    readme = (project / "README.md").read_text()
    [shell] = re.findall(r'redis-cli PUBLISH \w+ "(.*)"\n', readme)
    [python] = re.findall(r"publish\(\"\w+\", \"(.*)\"\)'", readme)
    assert shell == python
    assert unwrap(shell.replace('\\"', '"').encode()) == "Test Message from Backend PubSub"


@pytest.mark.parametrize("document", ["docs/bridges.md", "docs/migrating.md"])
def test_the_routes_of_the_documents_pass_the_checks(
    project: Path, monkeypatch: pytest.MonkeyPatch, document: str
) -> None:
    [table] = blocks_of(project, document)
    names: dict[str, Any] = {}
    exec(table, names)
    assert len(names["routes"]) > 5
    monkeypatch.setattr(checks, "routing_table", lambda: Table(names["routes"]))
    assert checks.check_bridges(None) == []


def test_the_redis_lines_of_the_documents_are_commands(
    project: Path, redis_client: redis.Redis
) -> None:
    text = "".join(file.read_text() for file in (project / "docs").glob("*.md"))
    lines = re.findall(r"^redis-cli (.*)$", text.replace("\\\n", " "), re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        redis_client.execute_command(*shlex.split(line))
    redis_client.delete("TEST_EVENT_TO_WEBSOCKET_SERVER")  # nobody is to carry it
    redis_client.acl_deluser("gateway")


def test_every_test_that_the_protocol_names_exists(project: Path) -> None:
    document = (project / "docs" / "protocol.md").read_text()
    tests = "\n".join(file.read_text() for file in (project / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", document))
    assert len(named) > 60
    assert {name for name in named if f"def {name}(" not in tests} == set()
    table = document.partition("demand by demand")[2]
    rows = re.findall(r"^\| \d+ \|.*$", table, re.MULTILINE)
    assert len(rows) > 60
    assert all("`test_" in row for row in rows)


def blocks_of(project: Path, document: str, language: str = "python") -> list[str]:
    """Return the blocks of code of a document."""
    text = (project / document).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def rules_in(block: str) -> list[Rule]:
    names: dict[str, Any] = {}
    exec(block, names)
    return [entry for entry in names["routes"] if isinstance(entry, Rule)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("user", "action", "destination", "allowed"),
    [
        ("", "subscribe", "/topic/news", True),
        ("", "history", "/topic/news", True),
        ("", "send", "/topic/news", False),
        ("alice", "subscribe", "/topic/home/alice/lamp", True),
        ("alice", "send", "/topic/home/alice/lamp", True),
        ("alice", "subscribe", "/topic/home/bob/lamp", False),
        ("root", "subscribe", "/topic/home/bob/lamp", True),
        ("alice", "subscribe", "/topic/orders/7/items", False),
        ("clerk", "subscribe", "/topic/orders/7/items", True),
        ("clerk", "subscribe", "/topic/orders/7", True),
        ("alice", "subscribe", "/topic/board/minutes", False),
        ("alice", "history", "/topic/team/a", False),
        ("backend", "publish", "/user/alice/queue/news", True),
        ("backend", "publish", "/topic/board/minutes", True),
        ("alice", "publish", "/topic/news", False),
        ("alice", "send", "/app/whatever", True),
        ("", "send", "/app/whatever", False),
        ("root", "subscribe", "/topic/**", False),
        ("alice", "subscribe", "/topic/other", False),
    ],
)
def test_the_rules_of_the_page_about_access_say_what_it_says(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    action: Action,
    destination: str,
    allowed: bool,
) -> None:
    [block] = [each for each in blocks_of(project, "docs/access.md") if "is_member" in each]
    block = block.replace("shop.view_order", "auth.view_user")  # of an app that is here
    monkeypatch.setattr("realtime.access.rules.rules_of", Table(rules_in(block)).rules)
    permissions = {"backend": ["notifications.publish"], "clerk": ["auth.view_user"]}
    who = make_user(user, *permissions.get(user, ()), is_staff=user == "root") if user else None
    session = Session(login=Login(who, "passcode") if who is not None else None)
    assert decide(session, action, destination).allowed is allowed


def test_each_table_of_rules_in_the_documents_is_one(project: Path) -> None:
    for document in ("README.md", "docs/access.md"):
        tables = [each for each in blocks_of(project, document) if "allow(" in each]
        assert tables
        for block in tables:
            assert len(rules_in(block)) >= 3


@pytest.mark.django_db
def test_the_commands_of_the_page_make_a_user_a_member_and_a_service(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: "open sesame, please")
    text = (project / "docs" / "access.md").read_text()
    section = text.partition("### Accounts")[2].partition("\n## ")[0]
    commands = re.findall(r"^python manage.py (.*)$", section, re.MULTILINE)
    assert len(commands) == 6
    printed = StringIO()
    for command in commands:
        name, *arguments = shlex.split(command)
        call_command(name, *arguments, stdout=printed)
    alice = User.objects.get(username="alice")
    assert alice.check_password("open sesame, please")
    assert group("board")(Session(login=Login(alice, "passcode")), "/topic/a", {})
    backend = User.objects.get(username="backend")
    assert not backend.has_usable_password()
    assert service(Session(login=Login(backend, "token")), "/topic/a", {})
    assert Token.objects.get(user=backend).key in printed.getvalue()


def test_the_variables_of_the_example_are_those_of_the_page(project: Path) -> None:
    example = (project / ".env.example").read_text()
    named = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))
    assert {"HTTPS", "TRUSTED_PROXIES", "STOMP_ROUTING"} <= named
    page = (project / "docs" / "configuration.md").read_text()
    assert {name for name in named if f"`{name}`" not in page} == set()


def test_what_is_signed_as_the_page_says_is_good_for_what_it_says(project: Path) -> None:
    [block] = [each for each in blocks_of(project, "docs/access.md") if "sign(" in each]
    names: dict[str, Any] = {}
    exec(block, names)
    [subscribe] = blocks_of(project, "docs/access.md", "js")
    [destination] = re.findall(r'subscribe\("(.*?)"', subscribe)
    assert verify(names["token"], destination, "alice") > 0


@pytest.mark.django_db
def test_the_authenticator_of_the_page_about_access_is_one(project: Path) -> None:
    [block] = [each for each in blocks_of(project, "docs/access.md") if "card_user" in each]
    names: dict[str, Any] = {"read_card": lambda card: card, "card_ends": lambda card: 4e9}
    exec(block, names)
    credentials, alice = names["Credentials"], make_user("alice")
    assert names["card_user"](credentials(login="alice")) is None
    login = names["card_user"](credentials(login="card:1", passcode="alice"))
    assert (login.user, login.until) == (alice, 4e9)
    with pytest.raises(AccessDenied):
        names["card_user"](credentials(login="card:1", passcode="nobody"))


@pytest.fixture
def logging_of_the_page(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The page's LOGGING, which it makes of the gateway's."""
    monkeypatch.setattr(gateway.settings, "LOGGING", deepcopy(gateway.settings.LOGGING))
    [block] = [each for each in blocks_of(project, "docs/access.md") if "LOGGING" in each]
    names: dict[str, Any] = {}
    exec(block, names)
    made: dict[str, Any] = names["LOGGING"]
    return made


def test_the_audit_log_has_a_file_of_its_own_and_the_general_log_goes_on(
    logging_of_the_page: dict[str, Any], tmp_path: Path
) -> None:
    logging_of_the_page["handlers"]["audit"]["filename"] = str(tmp_path / "audit")
    logging_of_the_page["handlers"]["console"] = {
        "class": "logging.FileHandler",
        "filename": str(tmp_path / "general"),
        "formatter": "line",
    }
    root, own = logging.getLogger(), logging.getLogger("realtime.audit")
    before = list(root.handlers), root.level
    try:
        dictConfig(logging_of_the_page)
        own.warning("login-failed")
        logging.getLogger("gateway").info("worker 1 serves")
    finally:
        for handler in {*own.handlers, *root.handlers} - {*before[0]}:
            handler.close()
        own.handlers, root.handlers = [], before[0]
        root.setLevel(before[1])
    assert (tmp_path / "audit").read_text().endswith(" realtime.audit: login-failed\n")
    assert "worker 1 serves" in (tmp_path / "general").read_text()


def test_the_filter_of_fail2ban_finds_failed_logins_and_no_forged_address(
    project: Path,
    caplog: pytest.LogCaptureFixture,
    logging_of_the_page: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "_rate", audit._Rate())  # others may have written many lines
    [block, jail] = blocks_of(project, "docs/access.md", "ini")
    [expression] = re.findall(r"failregex = (.*)", block)
    address = re.compile(expression.replace("<ADDR>", r"(?P<address>[0-9a-f.:]+)"))
    claim = f'realtime.audit: login-failed address="192.0.2.1" login="x" reason="{WRONG}"'
    audit.record("login-failed", address="192.0.2.7", login=f'x" {claim}', reason=WRONG)
    audit.record("login-failed", address="192.0.2.8", login=claim, reason="the token has expired")
    record, expired = caplog.records
    assert record.name in logging_of_the_page["loggers"]
    form = logging_of_the_page["formatters"]["audit"]["format"]
    assert logging_of_the_page["handlers"]["audit"]["filename"] in jail

    def found(record: logging.LogRecord, form: str) -> list[str]:
        line = logging.Formatter(form).format(record)[len("2026-01-31 12:00:00,000") :]
        return [match["address"] for match in address.finditer(line)]

    assert found(record, form) == ["192.0.2.7"]
    assert found(expired, form) == []
    general = gateway.settings.LOGGING["formatters"]["line"]["format"]
    path = f"/x {claim}"  # as Django names it, decoded
    missing = logging.LogRecord("django.request", 30, "", 1, "Not Found: %s", (path,), None)
    assert found(missing, general) == []
    assert found(missing, form) == []


def test_what_the_page_shows_of_explain_is_what_it_says(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (project / "docs" / "access.md").read_text()
    [denied] = re.findall(r"^alice: denied: .*$", text, re.MULTILINE)
    [block] = [each for each in blocks_of(project, "docs/access.md") if "is_member" in each]
    monkeypatch.setattr("realtime.access.rules.rules_of", Table(rules_in(block)).rules)
    decision = decide(Session(), "subscribe", "/topic/board/minutes")
    assert denied == f"alice: denied: {decision.refusal} (subscribe-denied)"
    assert "explain --user alice SUBSCRIBE /topic/board/minutes" in text


def test_no_document_tells_of_settings_that_are_gone(project: Path) -> None:
    for document in [project / ".env.example", project / "README.md", *project.glob("docs/*.md")]:
        told = document.read_text().partition("## Upgrading")[0]
        for name in ("STOMP_SEND_PREFIXES", "TRUST_PROXY"):
            assert re.search(rf"\b{name}\b", told) is None, document.name


def test_the_limits_for_large_bodies_pass_the_checks_and_hold_what_the_page_says(
    project: Path, settings: Any
) -> None:
    page = (project / "docs" / "clients.md").read_text()
    told = dict(re.findall(r"^(STOMP_\w+)=(\d+)$", page, re.MULTILINE))
    assert len(told) == 2
    for name, value in told.items():
        setattr(settings, name, int(value))
    settings.STOMP_MAX_BODY_BYTES = None
    assert check_limits(None) == []
    assert conf.max_body_bytes > 2**20
    settings.STOMP_SEND_BUFFER_BYTES -= 1
    assert [each.id for each in check_limits(None)] == ["realtime.E003"]


def test_each_alert_is_in_the_runbooks_and_no_other(project: Path) -> None:
    alerts = (project / "deploy" / "prometheus" / "alerts.yml").read_text()
    known = set(re.findall(r"alert: (\w+)", alerts))
    assert known == set(
        re.findall(r"`(Gateway[A-Z]\w+)`", (project / "docs/runbooks.md").read_text())
    )


def test_the_runbooks_name_reasons_that_there_are(project: Path) -> None:
    page = (project / "docs" / "runbooks.md").read_text()
    code = "".join(path.read_text() for path in (project / "realtime").rglob("*.py"))
    named = [
        each
        for line in re.findall(r"`GatewayRefusals` with ([^:.]+)", page)
        for each in re.findall(r"`([a-z-]+)`", line)
    ]
    assert len(named) >= 2
    assert not [each for each in named if f'"{each}"' not in code]


def test_the_figures_of_the_page_about_scaling_are_goals_that_were_reached(project: Path) -> None:
    page = (project / "docs" / "scaling.md").read_text().partition("## Which")[0]
    told = re.findall(r"^\| (.+?) \| ([\d,.]+\S*(?: \S+)?) \|$", page, re.MULTILINE)
    assert len(told) == 7
    goals = (project / "benchmarks" / "RESULTS.md").read_text().partition("### Goals")[2]
    for what, figure in told:
        goal = rf"^{re.escape(what)} +[<>]= {re.escape(figure)} .* ok$"
        assert re.search(goal, goals, re.MULTILINE), f"{what}: {figure}"
