"""The languages of the pages: who is answered in which, and that no text of theirs is forgotten."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from realtime.access import passcodes
from tests.kit import catalogues

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
PATHS = catalogues.catalogue_paths()

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_superuser("alice", password="wonderland")


def text_of(response: Any) -> str:
    return str(response.content.decode())


# Which language


@pytest.mark.parametrize("address", ["/", "/login/"])
@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-hans"),
        ("zh-Hans-CN", "zh-hans"),
        ("zh", "zh-hans"),
        ("fr, zh-CN;q=0.5", "zh-hans"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("fr", "en"),
        ("*", "en"),
        ("", "en"),
    ],
)
def test_a_page_is_in_the_language_that_the_browser_prefers(
    client: Client, address: str, accepted: str, language: str
) -> None:
    response = client.get(address, headers={"Accept-Language": accepted})
    assert f'<html lang="{language}">' in text_of(response)
    assert response["Content-Language"] == language
    assert {"Accept-Language", "Cookie"} <= set(response["Vary"].split(", "))


def test_the_language_that_was_chosen_is_remembered(client: Client) -> None:
    response = client.post("/language/", {"language": "zh-hans", "next": "/login/?next=/"})
    assert response["Location"] == "/login/?next=/"
    cookie = response.cookies[settings.LANGUAGE_COOKIE_NAME]
    assert cookie["max-age"] == 365 * 24 * 3600
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    page = client.get("/", headers={"Accept-Language": "en"})
    assert '<html lang="zh-hans">' in text_of(page)
    client.post("/language/", {"language": "en"})
    assert '<html lang="en">' in text_of(client.get("/", headers=CHINESE))


@pytest.mark.parametrize("language", ["xx", "../en", ""])
def test_there_is_no_other_language(client: Client, language: str) -> None:
    response = client.post("/language/", {"language": language, "next": "/"})
    assert settings.LANGUAGE_COOKIE_NAME not in response.cookies
    assert client.get(f"/language/{language}.js").status_code == 404


def test_choosing_leads_to_no_other_host(client: Client) -> None:
    foreign = {"language": "zh-hans", "next": "https://evil.example/"}
    assert client.post("/language/", foreign)["Location"] == "/"


def test_a_strange_page_can_choose_no_language() -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post("/language/", {"language": "zh-hans"}).status_code == 403
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', text_of(client.get("/")))
    choice = {"language": "zh-hans", "csrfmiddlewaretoken": token}
    assert client.post("/language/", choice).status_code == 302


@pytest.mark.parametrize("address", ["/", "/login/"])
def test_a_page_offers_the_other_language_in_its_own_words(client: Client, address: str) -> None:
    offer = '<button class="small" name="language" value="{0}" lang="{0}">{1}</button>'
    english = text_of(client.get(address))
    chinese = text_of(client.get(address, headers=CHINESE))
    assert offer.format("zh-hans", "简体中文") in english
    assert offer.format("en", "English") in chinese
    assert english.count('name="language"') == chinese.count('name="language"') == 1


# What is said


def test_what_is_wrong_with_a_login_is_said_in_chinese(client: Client, alice: User) -> None:
    def failed(password: str) -> str:
        data = {"username": "alice", "password": password}
        return text_of(client.post("/login/", data, headers=CHINESE))

    assert "请输入密码。" in failed("")
    assert "<title>错误：登录 · STOMP 网关</title>" in failed("wrong")
    for _ in range(passcodes.FREE_FAILURES):
        page = failed("wrong")
    assert "登录失败次数过多，请在" in page


@pytest.mark.parametrize(
    "address",
    ["/admin/", "/admin/login/", "/admin/realtime/sessionrecord/", "/nowhere", "/api/nowhere",
     "/api/notification", "/api/v1/history"],
)  # fmt: skip
@pytest.mark.parametrize("logged_in", [False, True])
def test_all_else_is_in_english(client: Client, alice: User, address: str, logged_in: bool) -> None:
    client.post("/language/", {"language": "zh-hans"})
    if logged_in:
        client.force_login(alice)
    client.get("/")  # in the same thread: it leaves nothing behind
    response = client.get(address, headers={**CHINESE, "Accept": "text/html"}, follow=True)
    assert not re.search("[\u4e00-\u9fff]", text_of(response))


def test_an_error_of_the_api_is_in_english(client: Client, alice: User) -> None:
    client.force_login(alice)
    response = client.post("/api/notification", {}, "application/json", headers=CHINESE)
    assert response.json() == {
        "topic": ["This field is required."],
        "message": ["This field is required."],
    }


# The catalogue of the scripts


def test_english_pages_load_no_catalogue(client: Client) -> None:
    assert "/language/en.js" not in text_of(client.get("/"))
    page = text_of(client.get("/", headers=CHINESE))
    # It is there before the modules run.
    assert page.index('<script defer src="/language/zh-hans.js">') < page.index('type="module"')


def test_a_catalogue_has_what_the_console_says_and_may_be_kept(client: Client) -> None:
    response = client.get("/language/zh-hans.js")
    assert response["Content-Type"] == 'text/javascript; charset="utf-8"'
    assert response["Cache-Control"] == "max-age=60"
    assert '"Connected": "\\u5df2\\u8fde\\u63a5"' in text_of(response)
    assert "Cancel" not in text_of(response)  # of the admin
    again = client.get("/language/zh-hans.js", headers={"If-None-Match": response["ETag"]})
    assert again.status_code == 304


# Nothing is forgotten


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_every_text_is_translated_and_compiled(path: Path) -> None:
    catalogue, texts = catalogues.read(path), catalogues.extracted(path.stem)
    hint = "run `make translations`, and write the translations that it lists"
    assert {each.id for each in catalogue} == {each.id for each in texts}, hint
    assert catalogues.missing(catalogue) == [], hint
    assert path.with_suffix(".mo").read_bytes() == catalogues.compiled(catalogue), hint


def test_each_language_has_its_catalogues() -> None:
    languages = {code for code, _ in settings.LANGUAGES} - {"en"}
    assert {path.parts[-3].replace("_", "-").lower() for path in PATHS} == languages
    assert len(PATHS) == len(languages) * len(catalogues.DOMAINS)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_translation_keeps_markup_and_what_comes_from_outside(path: Path) -> None:
    def fixed(text: str) -> Counter[str]:
        return Counter(re.findall(r"%\(\w+\)s|<[^>]+>|<code>.*?</code>", text))

    for each in catalogues.read(path):
        if each.id:
            assert fixed(each.string) == fixed(each.id), each.id


def test_scripts_give_each_text_as_one_string() -> None:
    for path in catalogues.GATEWAY.glob("static/gateway/console/*.js"):
        source = path.read_text()
        calls = len(catalogues.CALL.findall(source)) - (path.name == "language.js")
        assert calls == len(list(catalogues.texts(path))), path.name


#: Two words, or one that begins a sentence.
PROSE = re.compile(r"[A-Za-z’]{2,},? [A-Za-z]{2,}|^[A-Z][a-z]+\b")
#: A comment, or a string, with what stands before it.
STRING = re.compile(
    r"//[^\n]*|/\*.*?\*/|(?P<before>[\w.]+[(:]\s*)?(?P<string>\"(?:[^\"\\\n]|\\.)*\"|`(?:[^`\\]|\\.)*`)",
    re.DOTALL,
)
#: What programs read, and what the three checks send.
NO_PROSE = {
    "Bearer TOKEN", "Content-Type", "nested too deeply", "testing API endpoint",
    "Test Message from Backend PubSub",
}  # fmt: skip


def untranslated(source: str) -> list[str]:
    """Return what looks like prose in a script, and goes through no function."""
    found = []
    for each in STRING.finditer(source):
        before, text = each["before"] or "", (each["string"] or "")[1:-1]
        if not before.lstrip(".").startswith(("gettext", "className:")) and PROSE.search(text):
            found.append(text)
    return [text for text in found if text not in NO_PROSE]


def test_no_script_says_anything_untranslated() -> None:
    assert untranslated('say("x", `Sent to ${it}, just now`)') == ["Sent to ${it}, just now"]
    for path in catalogues.GATEWAY.glob("static/gateway/console/*.js"):
        source = path.read_text()
        if path.name == "snippets.js":  # programs to copy, in which nothing is translated
            source = re.sub(r"`(?:[^`\\]|\\.)*`", "", source)
        assert untranslated(source) == [], path.name


class Texts(HTMLParser):
    """What people see or hear of a page, without code, data and names."""

    SILENT = {"code", "pre", "b", "textarea", "option", "style", "script"}
    ATTRIBUTES = {"aria-label", "placeholder", "title", "alt"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "input", "img"):
            self.open.append(tag)
        self.found += [value for name, value in attrs if name in self.ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.SILENT & set(self.open):
            self.found.append(data.strip())


#: What is called the same in all languages.
NAMES = {"curl", "redis-cli", "Python", "JavaScript", "English"}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("logged_in", [False, True])
def test_no_page_says_anything_untranslated(
    client: Client, alice: User, settings: Any, debug: bool, logged_in: bool
) -> None:
    settings.DEBUG = debug
    if logged_in:
        client.force_login(alice)
    pages = [client.get(address, headers=CHINESE) for address in ("/", "/login/")]
    pages += [
        client.post("/login/", {"username": "alice", "password": password}, headers=CHINESE)
        for password in ("", "wrong")
    ]
    for page in pages:
        texts = Texts(text_of(page)).found
        assert len(texts) > 10
        latin = [each for each in texts if re.search("[A-Za-z]{2}", each)]
        assert {each for each in latin if not re.search("[\u4e00-\u9fff]", each)} <= NAMES
