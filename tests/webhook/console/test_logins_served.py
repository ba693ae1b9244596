"""Logins under the real server: whatever somebody types, the answer is a sentence."""

import re
from collections.abc import Iterator
from contextlib import closing
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, ProxyHandler, Request, build_opener

import pytest

from tasks.usecases.passwords import Passwords
from tests.patience import patient
from tests.webhook.api.serving import served
from worker.ledger import Ledger
from worker.ledger.access import NewUser, Role
from worker.ledger.migrations import upgrade

pytestmark = pytest.mark.processes

PASSWORD = "four unusual \N{FOX FACE} words"
LONG = "x" * 10_000
_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
_TOLD = re.compile(r'role="alert">(.*?)</', re.DOTALL)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.sqlite3'}"
    with closing(Ledger(url)) as ledger:
        upgrade(ledger.database)
        kept = Passwords().hash(PASSWORD)
        ledger.access.create_user(NewUser(name="anna", role=Role.OPERATOR, password_hash=kept, created_by="somebody"))
    with served(url) as (found, _):
        yield found


@pytest.fixture
def browser() -> OpenerDirector:
    return build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))


def ask(browser: OpenerDirector, address: str, body: bytes | None = None) -> tuple[int, str]:
    # As through a proxy: this counts as another machine.
    request = Request(address, body, {"Accept": "text/html", "X-Forwarded-For": "203.0.113.7"})
    try:
        with browser.open(request, timeout=patient(15)) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def log_in(browser: OpenerDirector, address: str, **fields: str) -> tuple[int, str]:
    _, page = ask(browser, f"{address}/login")
    form = {"csrf": _TOKEN.findall(page)[0], **fields}
    return ask(browser, f"{address}/login", urlencode(form, errors="surrogateescape").encode())


def test_who_knows_the_password_is_in(browser: OpenerDirector, address: str) -> None:
    status, page = log_in(browser, address, name="anna", password=PASSWORD)
    assert (status, "Log out" in page) == (200, True)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("", ""),
        ("anna", ""),
        ("", PASSWORD),
        ("   ", "   "),
        ("an\0na", PASSWORD),
        ("anna", f"{PASSWORD}\0"),
        ("\N{FOX FACE}", "\N{FOX FACE}"),
        ("anna\udc80", "\udc80"),
        ("anna", LONG),
        (f"anna{LONG}", PASSWORD),
        ("anna\r\nSet-Cookie: a=b", "\r\n"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_whatever_is_wrong_gets_the_same_sentence(
    browser: OpenerDirector, address: str, name: str, password: str
) -> None:
    status, page = log_in(browser, address, name=name, password=password)
    assert (status, _TOLD.findall(page)) == (401, ["Wrong name or password."])
    assert "Log out" not in page
    assert "x" * 200 not in page


def test_fields_that_are_missing_get_it_too(browser: OpenerDirector, address: str) -> None:
    status, page = log_in(browser, address)
    assert (status, _TOLD.findall(page)) == (401, ["Wrong name or password."])


def test_a_form_beyond_all_measure_is_too_large(browser: OpenerDirector, address: str) -> None:
    # The last ones are still being sent when they are refused.
    for form in (LONG * 2, *[LONG * 120] * 20):
        status, page = log_in(browser, address, name="anna", password=form)
        assert status == 413
        assert "What was sent is too large." in page
