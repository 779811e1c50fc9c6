"""The OpenAPI document: valid, complete, and for whoever is logged in; and its page."""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import jsonschema
import pytest
import yaml
from django.core.management import call_command
from django.urls import get_resolver
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIClient

from realtime.broker import publish
from tests.kit.users import make_user

SCHEMA = "/api/v1/schema"
DOCS = "/api/docs/"

#: Each operation, and what it may answer.
OPERATIONS = {
    ("get", "/api/notification"): {200, 400, 401, 403, 404, 406, 429, 503},
    ("post", "/api/notification"): {202, 207, 400, 401, 403, 404, 406, 413, 415, 429, 503},
    ("post", "/api/ticket"): {201, 400, 401, 403, 404, 406, 413, 415, 429, 503},
    ("get", "/api/events"): {200, 400, 401, 403, 429, 503},
    ("post", "/api/v1/publish"): {202, 207, 400, 401, 403, 404, 406, 413, 415, 429, 503},
    ("get", "/api/v1/history"): {200, 400, 401, 403, 404, 406, 429, 503},
    ("get", "/api/v1/schema"): {200, 401, 403, 404, 406, 429, 503},
    ("get", "/api/v1/sessions"): {200, 400, 401, 403, 404, 406, 429, 503},
    ("get", "/api/v1/sessions/{id}"): {200, 401, 403, 404, 406, 429, 503},
    ("delete", "/api/v1/sessions/{id}"): {204, 400, 401, 403, 404, 406, 429, 503},
    ("delete", "/api/v1/users/{name}/sessions"): {200, 400, 401, 403, 404, 406, 429, 503},
    ("delete", "/api/v1/sessions/{id}/subscriptions"): {204, 400, 401, 403, 404, 406, 429, 503},
    ("post", "/api/v1/sessions/{id}/messages"): {
        204,
        400,
        401,
        403,
        404,
        406,
        413,
        415,
        429,
        503,
    },
    ("get", "/api/v1/topics"): {200, 400, 401, 403, 404, 406, 429, 503},
    ("get", "/api/v1/presence"): {200, 400, 401, 403, 404, 406, 429, 503},
    ("get", "/api/v1/users/{name}"): {200, 401, 403, 404, 406, 429, 503},
    ("get", "/api/v1/nodes"): {200, 401, 403, 404, 406, 429, 503},
}

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> APIClient:
    client = APIClient()
    client.force_authenticate(make_user("alice", "notifications.publish"))
    return client


@pytest.fixture
def document(api: APIClient) -> dict[str, Any]:
    return api.get(SCHEMA, {"format": "json"}).json()


def check(document: dict[str, Any], method: str, path: str, answer: Any) -> None:
    """Check that an answer is what the document says of it."""
    responses = document["paths"][path][method]["responses"]
    content = responses[str(answer.status_code)]["content"]["application/json"]
    schema = {**content["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(_with_null(schema)).validate(answer.json())


def _with_null(schema: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON Schema has it: ``nullable`` is a type there."""
    if isinstance(schema, list):
        return [_with_null(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    known = {name: _with_null(value) for name, value in schema.items()}
    if known.pop("nullable", False) and "type" in known:
        known["type"] = [known["type"], "null"]
    return known


def test_the_command_finds_nothing_wrong() -> None:
    out = StringIO()
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=out)
    paths = yaml.safe_load(out.getvalue())["paths"]
    assert {(method, path) for path, each in paths.items() for method in each} == set(OPERATIONS)


def test_it_is_yaml_or_json(api: APIClient, document: dict[str, Any]) -> None:
    validate_schema(document)
    answer = api.get(SCHEMA)
    assert answer.headers["Content-Type"].startswith("application/vnd.oai.openapi")
    assert yaml.safe_load(answer.content) == document
    assert api.get(SCHEMA, headers={"Accept": "application/json"}).json() == document


def test_it_has_each_operation_with_all_that_it_may_answer(document: dict[str, Any]) -> None:
    operations = {
        (method, path): {int(status) for status in operation["responses"]}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert operations == OPERATIONS


def test_it_leaves_no_address_out(document: dict[str, Any]) -> None:
    [(_, resolver)] = [
        (each, each) for each in get_resolver().url_patterns if str(each.pattern) == "api/"
    ]  # fmt: skip
    patterns = [str(each.pattern) for each in resolver.url_patterns]
    v1 = next(each for each in resolver.url_patterns if str(each.pattern) == "^v1/")
    names = {f"/api/{text.strip('^$?/')}" for text in patterns if text.endswith("/?$")}
    names |= {f"/api/v1/{str(each.pattern).strip('^$?/')}" for each in v1.url_patterns}
    names = {re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", name) for name in names}
    assert names - {"/api/docs"} | {"/api/events"} == set(document["paths"])


def test_each_operation_is_described_with_examples(document: dict[str, Any]) -> None:
    tags = [each["name"] for each in document["tags"]]
    assert tags == ["publish", "look", "live", "access", "schema"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["description"]
            assert set(operation["tags"]) <= set(tags)
            assert operation["security"]
            if path != SCHEMA:
                first = min(operation["responses"])
                content = operation["responses"][first].get("content", {})
                assert all(each.get("examples") or each.get("example") for each in content.values())
                assert content or first == "204"
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]["application/json"]["examples"]


def test_the_examples_of_requests_are_taken(
    api: APIClient, document: dict[str, Any], settings: Any
) -> None:
    settings.STOMP_ROUTING = "tests.routing"
    for path in ("/api/v1/publish", "/api/notification", "/api/ticket"):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for name, example in body["examples"].items():
            answer = api.post(path, example["value"], format="json")
            assert answer.status_code in (201, 202), (path, name, answer.content)
            check(document, "post", path, answer)


@pytest.mark.parametrize("path", ["/api/v1/publish", "/api/notification"])
def test_answers_to_what_is_published_are_as_it_says(
    api: APIClient, document: dict[str, Any], path: str, settings: Any
) -> None:
    settings.STOMP_ROUTING = "tests.routing"
    good, large = {"topic": "/topic/toast", "message": None}, "x" * 100_000
    contents = [good, [good], [good, {}], [{}], {}, [], 1, good | {"message": large}]
    got = set()
    for content in contents:
        answer = api.post(path, content, format="json")
        check(document, "post", path, answer)
        got.add(answer.status_code)
    assert got == {202, 207, 400, 413}
    check(document, "post", path, api.generic("POST", path, b"{", content_type="text/plain"))
    check(document, "post", path, APIClient().post(path, good, format="json"))


@pytest.mark.parametrize("path", ["/api/v1/history", "/api/notification"])
def test_histories_are_as_it_says(
    api: APIClient, document: dict[str, Any], path: str, settings: Any
) -> None:
    settings.STOMP_ROUTING = "tests.routing"
    for content in ("text", {"a": 1}, None, b"\xff"):
        publish("/topic/schema", content)
    queries = [{}, {"limit": 2}, {"after": "other-1"}, {"limit": "x"}, {"topic": "/queue/a"}]
    for query in queries:
        check(document, "get", path, api.get(path, {"topic": "/topic/schema"} | query))
    check(document, "get", path, api.get(path))


def test_a_ticket_is_as_it_says(api: APIClient, document: dict[str, Any]) -> None:
    contents = [{}, {"destinations": ["/topic/a"]}, {"destinations": [[]]}, {"x": 1}, None, []]
    for content in contents:
        answer = api.generic(
            "POST", "/api/ticket", json.dumps(content), content_type="application/json"
        )
        assert answer.status_code in (201, 400)
        check(document, "post", "/api/ticket", answer)


def test_it_says_how_to_log_in(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {name: each["type"] for name, each in schemes.items()} == {
        "bearer": "http", "ticket": "apiKey", "cookieAuth": "apiKey"
    }  # fmt: skip
    ways = [{"bearer": []}, {"ticket": []}, {"cookieAuth": []}]
    assert document["paths"]["/api/v1/publish"]["post"]["security"] == ways
    assert {"ticket": []} not in document["paths"]["/api/ticket"]["post"]["security"]


# Who may see it


def test_whoever_is_logged_in_sees_the_document_and_the_page() -> None:
    client = APIClient()
    assert client.get(SCHEMA).status_code == 401
    assert client.get(DOCS).headers["Location"] == "/login/?next=/api/docs/"
    client.force_login(make_user("bob"))
    assert client.get(SCHEMA).status_code == 200
    assert client.get(DOCS).status_code == 200


def test_while_debug_is_on_everybody_sees_them(settings: Any) -> None:
    settings.DEBUG = True
    assert APIClient().get(SCHEMA).status_code == 200
    assert APIClient().get(DOCS).status_code == 200


def test_the_page_has_nothing_within_and_nothing_from_elsewhere(api: APIClient) -> None:
    page = api.get(DOCS).content.decode()
    assert "<style" not in page
    assert "<script>" not in page
    assert "//" not in page.partition("<body>")[2]
    script = api.get(DOCS, {"script": ""})
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert "/api/v1/schema" in script.content.decode()
