"""The console inside the test's own process, asked by a browser on the same machine."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask, redirect
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tasks.usecases import users
from tasks.usecases.users import Role, UserRequest, add_user
from tests import s3
from tests.webhook.api.conftest import app, rung, services_for
from webhook.api.app import create_app
from webhook.api.pages import PagesBeside
from webhook.console.acting import about, changes_nothing
from worker.ledger import Ledger
from worker.services import Services

__all__ = ["app", "client", "rung", "services_for"]

HERE, OUTSIDE = "http://127.0.0.1:80", "http://10.0.0.5:8001"
HTML = {"Accept": "text/html"}
PASSWORD = "four unusual words here"
_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
BODY_TOKEN = re.compile(r"""<body hx-headers:inherited='\{"X-CSRF": "([0-9a-f]{64})"\}'>""")


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return at_work_with(app)


def at_work_with(app: Flask) -> FlaskClient:
    """A browser on this machine, whose forms and scripts carry the token of its pages."""
    browser = app.test_client()
    page = browser.get("/", headers=HTML, base_url=HERE)
    browser.environ_base["HTTP_X_CSRF"] = BODY_TOKEN.findall(page.text)[0]
    return browser


@dataclass
class Browser:
    """Somebody's browser, with its cookies; by default on another machine."""

    app: Flask
    base_url: str = OUTSIDE
    address: str = "10.0.0.77"
    listens_on: str = "0.0.0.0"
    headers: dict[str, str] = field(default_factory=dict)
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.app.test_client()

    def ask(self, method: str, path: str, **facts: Any) -> TestResponse:
        headers = {**HTML, **self.headers, **facts.pop("headers", {})}
        environ = {"REMOTE_ADDR": self.address, "SERVER_NAME": self.listens_on, **facts.pop("environ", {})}
        facts.setdefault("base_url", self.base_url)
        return self.client.open(path, method=method, headers=headers, environ_overrides=environ, **facts)

    def get(self, path: str = "/", **facts: Any) -> TestResponse:
        return self.ask("GET", path, **facts)

    def post(self, path: str, data: dict[str, str] | None = None, **facts: Any) -> TestResponse:
        return self.ask("POST", path, data=data or {}, **facts)

    def token(self, path: str = "/login") -> str:
        """What the forms of a page carry."""
        return _TOKEN.findall(self.get(path).text)[0]

    def log_in(self, name: str = "anna", password: str = "", **more: str) -> TestResponse:
        form = {"name": name, "password": password, "csrf": self.token(), **more}
        return self.post("/login", form)

    def body_token(self, path: str = "/") -> str:
        """What htmx sends from a page."""
        return BODY_TOKEN.findall(self.get(path).text)[0]

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.client._cookies.values()}

    @property
    def is_in(self) -> bool:
        return self.get().status_code == 200


Build = Callable[..., Browser]


@pytest.fixture
def browser_for(services_for: Callable[..., Services], rung: list[str]) -> Build:
    """A browser at a console of its own, with these settings; `app` is shared by several."""

    def build(app: Flask | None = None, **facts: Any) -> Browser:
        own = {name: facts.pop(name) for name in list(facts) if name in Browser.__dataclass_fields__}
        return Browser(app or create_app(services_for(**facts)), **own)

    return build


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right parameters are tested with the use cases; here many log in."""
    passwords = users.Passwords()
    passwords.__dict__["_hasher"] = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(users, "_passwords", passwords)


@pytest.fixture
def here(services_for: Callable[..., Services]) -> Services:
    return services_for()


@pytest.fixture
def anna(here: Services) -> None:
    add_user(here, UserRequest(name="anna", role=Role.OPERATOR, password=PASSWORD, by="somebody"))


def pages_of(app: Flask) -> Flask:
    """Return the application that has the console's routes."""
    beside = app.wsgi_app
    assert isinstance(beside, PagesBeside)
    return beside.built()


def writing(browser: Browser) -> None:
    """Give the console writes of its own, as each page has them."""
    app = pages_of(browser.app)
    app.add_url_rule("/write", "console.write", lambda: redirect("/batches/batch_7?a=1", 303), methods=["POST"])
    app.add_url_rule("/write/<one>", "console.write_one", lambda one: "done", methods=["POST", "DELETE"])
    app.add_url_rule("/about", "console.about", lambda: about("gen_7") or "done", methods=["POST"])
    app.add_url_rule("/look", "console.only_look", changes_nothing(lambda: "looked"), methods=["POST"])
    app.add_url_rule("/crash", "console.crash", lambda: {}["gone"], methods=["POST"])


def logged(ledger: Ledger) -> list[tuple[str, str, str, int | None, str | None]]:
    """Oldest first."""
    found = reversed(ledger.access.actions(limit=2000))
    return [(one.door, one.actor, one.action, one.status, one.subject) for one in found]


@pytest.fixture
def client_with_bucket(
    monkeypatch: pytest.MonkeyPatch,
    rclone: s3.Server,
    services_for: Callable[..., Services],
    rung: list[str],
    tmp_path: Path,
) -> Iterator[FlaskClient]:
    """With a bucket, and a provider that reaches it."""
    assert rung == []
    s3.use_bucket(monkeypatch, rclone, tmp_path)
    here = services_for(acedatacloud_base_url="http://127.0.0.1:9")
    yield at_work_with(create_app(here))
    here.archive.close()
