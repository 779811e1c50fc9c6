"""The pages of the gateway: what they may load, and its login page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.test import AsyncClient, Client, RequestFactory

from gateway.console import redis_cli_for
from gateway.errors import server_error
from gateway.headers import security_headers

PAGES = {
    "/": 200,
    "/login/": 200,
    "/admin/": 302,
    "/admin/login/": 200,
    "/api/notification": 401,
    "/nowhere": 404,
    "/api/nowhere": 404,
    "/static/gateway/console.js": 200,
    "/static/gateway/favicon.svg": 200,
}

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    """Somebody with an account, and no rights in the admin."""
    return User.objects.create_user("alice", password="wonderland")


def log_in(client: Client, **data: str) -> Any:
    return client.post("/login/", {"username": "alice", "password": "wonderland", **data})


def directives(response: Any) -> dict[str, str]:
    """Return the policy of an answer."""
    parts = response["Content-Security-Policy"].split("; ")
    return {name: sources for name, _, sources in (part.partition(" ") for part in parts)}


# Headers


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("address", "status"), PAGES.items())
async def test_every_answer_says_what_a_page_may_do(address: str, status: int) -> None:
    response = await AsyncClient().get(address, headers={"Accept": "text/html"})
    assert response.status_code == status
    policy = directives(response)
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert {policy[each] for each in ("script-src", "style-src", "connect-src", "form-action")} == {
        "'self'"
    }
    assert response["Permissions-Policy"].startswith("camera=(), ")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    # Static files come before the middleware that says it the old way, too.
    assert response.get("X-Frame-Options", "DENY") == "DENY"


def test_pages_for_those_who_are_logged_in_say_it_too(admin_client: Client) -> None:
    for address in ("/", "/admin/", "/admin/realtime/sessionrecord/", "/api/notification"):
        response = admin_client.get(address, headers={"Accept": "text/html"})
        assert response.status_code == 200
        assert directives(response)["script-src"] == "'self'"


def test_nothing_unsafe_is_allowed() -> None:
    sources = {source for each in settings.SECURE_CSP.values() for source in each}
    assert sources == {"'none'", "'self'", "data:"}


def test_no_page_has_styles_or_scripts_within(admin_client: Client) -> None:
    for address in ("/", "/login/", "/api/notification", "/nowhere"):
        page = admin_client.get(address, headers={"Accept": "text/html"}).content.decode()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
        for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL):
            assert not body.strip() or "application/json" in attributes


@pytest.mark.parametrize("status", [404, 500])
def test_only_the_technical_pages_of_developers_go_without_a_policy(
    status: int, settings: Any
) -> None:
    respond = security_headers(lambda request: HttpResponse(status=status))
    request = RequestFactory().get("/")
    assert "Content-Security-Policy" in respond(request)
    settings.DEBUG = True
    assert "Content-Security-Policy" not in respond(request)


def test_a_stack_may_be_synchronous_or_not() -> None:
    def get_response(request: Any) -> HttpResponse:
        return HttpResponse()

    assert not iscoroutinefunction(security_headers(get_response))
    assert iscoroutinefunction(security_headers(markcoroutinefunction(get_response)))


# Errors


@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "500"])
def test_errors_have_a_page_that_leads_back(name: str) -> None:
    page = render_to_string(f"{name}.html")
    assert "<h1>" in page
    assert f"({name[:3]})" in page
    assert 'href="/"' in page


@pytest.mark.parametrize("path", ["/api/notification", "/api/v1/sessions"])
def test_errors_of_the_api_are_json(path: str) -> None:
    foreign = Client(HTTP_HOST="evil.example").get(path)
    assert (foreign.status_code, "its host" in foreign.json()["detail"]) == (400, True)
    broken = server_error(RequestFactory().get(path))
    assert (broken.status_code, *json.loads(broken.content)) == (500, "detail")


def test_errors_elsewhere_are_pages() -> None:
    assert "<h1>" in Client(HTTP_HOST="evil.example").get("/login/").content.decode()
    assert "<h1>" in server_error(RequestFactory().get("/")).content.decode()


def test_a_form_without_its_token_is_explained() -> None:
    response = Client(enforce_csrf_checks=True).post("/login/", {"username": "alice"})
    assert response.status_code == 403
    assert "can’t be taken" in response.content.decode()


# Log in


def test_somebody_without_rights_in_the_admin_can_log_in(client: Client, alice: User) -> None:
    response = log_in(client)
    assert (response.status_code, response["Location"]) == (302, "/")
    assert "Logged in as <b>alice</b>" in client.get("/").content.decode()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"password": "looking-glass"}, "Wrong login or password"),
        ({"username": "nobody"}, "Wrong login or password"),
        ({"username": ""}, "Enter your login."),
        ({"password": ""}, "Enter your password."),
    ],
)
def test_what_is_wrong_is_said(
    data: dict[str, str], told: str, client: Client, alice: User
) -> None:
    response = log_in(client, **data)
    page = response.content.decode()
    assert response.status_code == 200
    assert told in page
    assert "wonderland" not in page
    assert not client.cookies.get(settings.SESSION_COOKIE_NAME)


def test_a_closed_account_is_told_no_more_than_others(client: Client, alice: User) -> None:
    User.objects.update(is_active=False)
    assert "Wrong login or password" in log_in(client).content.decode()


def test_it_leads_to_where_one_came_from(client: Client, alice: User) -> None:
    page = client.get("/api/notification?topic=/topic/a%26b", headers={"Accept": "text/html"})
    [link] = re.findall(r'<a href="(/login/[^"]*)">Log in</a>', page.content.decode())
    form = client.get(link).content.decode().partition("<main")[2].partition("</main>")[0]
    [after] = re.findall(r'name="next" value="([^"]*)"', form)
    response = log_in(client, next=after)
    assert response["Location"] == "/api/notification?topic=/topic/a%26b"


@pytest.mark.parametrize(
    "foreign",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"],
)
def test_it_leads_to_no_other_host(foreign: str, client: Client, alice: User) -> None:
    assert log_in(client, next=foreign)["Location"] == "/"
    assert client.post("/logout/", {"next": foreign})["Location"] == "/"
    assert foreign not in client.get("/login/", {"next": foreign}).content.decode()


def test_who_is_logged_in_is_told_so(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert "You are logged in as <b>alice</b>" in client.get("/login/").content.decode()


def test_a_name_is_no_html(client: Client) -> None:
    client.force_login(User.objects.create_user("<script>alert(1)</script>"))
    for address in ("/", "/login/", "/api/notification"):
        page = client.get(address, headers={"Accept": "text/html"}).content.decode()
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert(1)" not in page


# Log out


def test_logging_out_takes_a_post(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/logout/").status_code == 405
    assert "Logged in as" in client.get("/").content.decode()
    assert client.post("/logout/")["Location"] == "/"
    assert "Logged in as" not in client.get("/").content.decode()


def test_a_strange_page_can_log_nobody_in_or_out(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    assert log_in(client).status_code == 403
    client.force_login(alice)
    assert client.post("/logout/").status_code == 403
    assert "Logged in as" in client.get("/").content.decode()


def test_the_browsable_api_logs_out_and_stays(client: Client, alice: User) -> None:
    client.force_login(alice)
    page = client.get("/api/notification", headers={"Accept": "text/html"}).content.decode()
    assert '<form action="/logout/" method="post">' in page
    response = client.post("/logout/", {"next": "/api/notification"})
    assert response["Location"] == "/api/notification"


def test_templates_name_no_address_by_hand(project: Path) -> None:
    for path in (project / "gateway" / "templates").rglob("*.html"):
        assert not re.search(r'(?:href|src|action)="/', path.read_text()), path.name


# The console


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("redis://127.0.0.1:6379/0", "redis-cli"),
        ("redis://localhost", "redis-cli"),
        ("redis://127.0.0.1:6380/0", "redis-cli -h 127.0.0.1 -p 6380"),
        ("redis://:secret@redis.example/2", "redis-cli -h redis.example -p 6379 -n 2 --askpass"),
        (
            "rediss://alice:secret@redis.example:1/0",
            "redis-cli -h redis.example -p 1 --tls --user alice --askpass",
        ),
        ("unix:///run/a redis.sock?db=1", "redis-cli -s '/run/a redis.sock' -n 1"),
        ("redis+cluster://:secret@one:7000,two", "redis-cli -c -h one -p 7000 --askpass"),
        ("redis+sentinel://:secret@one,two/primary/0", "redis-cli"),
    ],
)
def test_redis_cli_goes_where_the_gateway_goes(url: str, command: str) -> None:
    assert redis_cli_for(url) == command
    assert "secret" not in command


def test_only_staff_is_told_where_redis_is(
    client: Client, alice: User, admin_client: Client, settings: Any
) -> None:
    settings.REDIS_URL = "redis://:secret@redis.example:6380/0"
    client.force_login(alice)
    assert "redis.example" not in client.get("/").content.decode()
    page = admin_client.get("/").content.decode()
    assert "redis-cli -h redis.example -p 6380 --askpass PUBLISH" in page
    assert "secret" not in page


def test_with_debug_everybody_is_told_where_redis_is(client: Client, settings: Any) -> None:
    settings.DEBUG = True
    settings.REDIS_URL = "redis://redis.example:6380/0"
    assert "redis-cli -h redis.example -p 6380 PUBLISH" in client.get("/").content.decode()


def test_the_console_leads_to_the_login_page_and_back(client: Client) -> None:
    assert 'href="/login/?next=/"' in client.get("/").content.decode()
