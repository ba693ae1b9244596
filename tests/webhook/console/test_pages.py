"""What holds for every page of the console."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint
from flask.testing import FlaskClient

import webhook.console
from tests.webhook.console.conftest import pages_of
from webhook.api.app import create_app
from webhook.console.static_files import address_of
from worker.services import Services

FOLDER = Path(webhook.console.__file__).parent
PAGES = (
    "/",
    "/gallery",
    "/review",
    "/review/decisions",
    "/operate",
    "/operate/unconfirmed",
    "/operate/at-risk",
    "/operate/dead",
    "/operate/accounts",
    "/operate/workers",
    "/operate/restore",
    "/operate/subscribers",
    "/operate/spend",
    "/submit",
)
HTML = {"Accept": "text/html"}
#: what the content security policy would silently switch off
INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|hx-on|javascript:", re.IGNORECASE)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_served_to_whoever_uses_this_machine(client: FlaskClient, path: str) -> None:
    found = client.get(path, headers=HTML, base_url="http://127.0.0.1:80")
    assert found.status_code == 200
    assert found.mimetype == "text/html"
    assert "default-src 'none'" in found.headers["Content-Security-Policy"]
    assert found.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("template", sorted(FOLDER.rglob("*.html")), ids=lambda path: path.name)
def test_no_template_has_styles_or_scripts_inside(template: Path) -> None:
    assert INLINE.search(template.read_text("utf-8")) is None


def test_an_unknown_page_is_a_page_for_people_and_a_problem_for_programs(client: FlaskClient) -> None:
    assert client.get("/nowhere", headers=HTML).mimetype == "text/html"
    assert client.get("/nowhere").mimetype == "application/problem+json"
    assert client.get("/v1/nowhere", headers=HTML).mimetype == "application/problem+json"


def test_an_unknown_page_leads_back(client: FlaskClient) -> None:
    assert 'href="/">Go to the board</a>' in client.get("/nowhere", headers=HTML).text


def test_files_are_kept_by_browsers_as_long_as_their_address_holds(client: FlaskClient) -> None:
    found = client.get(address_of("console.css"))
    assert found.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert client.get("/static/another/console.css").headers["Cache-Control"] == "no-cache"
    assert client.get("/static/another/..%2Fguard.py").status_code == 404
    assert client.get("/static/another/missing.css").status_code == 404


def test_no_two_pages_give_a_filter_the_same_name(
    services_for: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last would count for all: once, one that redacts was replaced by one that does not."""
    named: list[str] = []
    register = Blueprint.app_template_filter

    def note(pages: Blueprint, name: str) -> Any:
        named.append(name)
        return register(pages, name)

    monkeypatch.setattr(Blueprint, "app_template_filter", note)
    pages_of(create_app(services_for()))
    assert named
    assert len(named) == len(set(named))
