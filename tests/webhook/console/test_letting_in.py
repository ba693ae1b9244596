"""Who is let in: whoever uses this machine, and whoever logs in; and nobody else, whatever they send."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from itertools import cycle
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from argon2 import PasswordHasher

from tasks.usecases.users import Role, UserRequest, add_user, change_password, change_role, remove_user
from tests.clock import FakeClock
from tests.webhook.console.conftest import HERE, PASSWORD, Build, logged, pages_of, writing
from webhook.console import letting_in, tries
from worker.errors import LedgerUnavailable
from worker.ledger import Ledger
from worker.services import Services

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ON_THIS_MACHINE = {"base_url": HERE, "address": "127.0.0.1", "listens_on": "127.0.0.1"}


# --- without a login ---


def test_on_this_machine_nobody_logs_in(browser_for: Build, anna: None) -> None:
    browser = browser_for(**ON_THIS_MACHINE)
    page = browser.get()
    assert page.status_code == 200
    assert '<p class="person">local</p>' in page.text
    assert "Log out" not in page.text
    login = browser.get("/login?next=/gallery")
    assert (login.status_code, login.headers["Location"]) == (303, "/gallery")


STRANGERS: dict[str, dict[str, Any]] = {
    "a name that resolves to this machine": {"base_url": "http://evil.example:80"},
    "another port": {"headers": {"Host": "127.0.0.1:9999"}},
    "another machine": {"address": "203.0.113.7"},
    "a proxy on this machine": {"headers": {"X-Forwarded-For": "127.0.0.1"}},
    "a server for others": {"listens_on": "0.0.0.0"},
}


@pytest.mark.parametrize("facts", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_gets_the_login_page_and_nothing_else(browser_for: Build, ledger: Ledger, facts: Any) -> None:
    browser = browser_for(**{**ON_THIS_MACHINE, **facts})
    for path in ("/", "/?a=1"):
        page = browser.get(path)
        assert page.status_code == 303
        assert page.headers["Location"] == ("/login" if path == "/" else f"/login?next={quote(path, safe='/')}")
    login = browser.get("/login")
    assert login.status_code == 200
    assert "<nav" not in login.text
    assert browser.post("/logout").status_code in {401, 403}
    assert logged(ledger) == []


def test_a_page_of_another_site_writes_nothing_from_this_machine(client: Any, ledger: Ledger) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert client.post("/logout", headers=headers, base_url=HERE).status_code == 403
    assert logged(ledger) == []


def test_whoever_listens_beside_loopback_is_told_why_a_login_is_needed(browser_for: Build) -> None:
    browser = browser_for(**ON_THIS_MACHINE, headers={"Host": "127.0.0.1:9999"})
    assert "because Host is &#39;127.0.0.1:9999&#39;" in browser.get("/login").text
    behind_a_proxy = browser_for(**ON_THIS_MACHINE, headers={"X-Forwarded-For": "203.0.113.7"})
    for other in (browser_for(), behind_a_proxy):
        assert "no login is needed" not in other.get("/login").text


def test_while_there_are_no_users_the_page_says_how_to_add_one(browser_for: Build, here: Services) -> None:
    browser = browser_for()
    assert "darkroom user add NAME --role operator" in browser.get("/login").text
    add_user(here, UserRequest(name="anna", role=Role.VIEWER, password=PASSWORD, by="somebody"))
    assert "darkroom user add" not in browser.get("/login").text


# --- with a password ---


def test_a_password_lets_in_until_the_logout(browser_for: Build, anna: None, ledger: Ledger) -> None:
    browser = browser_for()
    entered = browser.log_in("anna", PASSWORD, next="/gallery?label=a")
    assert (entered.status_code, entered.headers["Location"]) == (303, "/gallery?label=a")
    page = browser.get()
    assert page.status_code == 200
    assert '<p class="person">anna</p>' in page.text
    left = browser.post("/logout", {"csrf": browser.token("/")})
    assert (left.status_code, left.headers["Location"]) == (303, "/login")
    assert not browser.is_in
    assert logged(ledger) == [
        ("console", "anna", "POST /login", 303, "10.0.0.77"),
        ("console", "anna", "POST /logout", 303, None),
    ]


def test_a_stolen_cookie_is_worth_nothing_after_the_logout(browser_for: Build, anna: None) -> None:
    browser = browser_for()
    browser.log_in("anna", PASSWORD)
    thief = browser_for(browser.app)
    thief.client.set_cookie("darkroom", browser.cookies["darkroom"], domain="10.0.0.5")
    assert thief.is_in
    browser.post("/logout", {"csrf": browser.token("/")})
    assert not thief.is_in


def test_a_cookie_that_was_there_before_the_login_is_not_that_of_the_session(browser_for: Build, anna: None) -> None:
    """Somebody else may have put it there."""
    browser = browser_for()
    planted = "x" * 43
    for name in ("darkroom", "darkroom-forms"):
        browser.client.set_cookie(name, planted, domain="10.0.0.5")
    assert browser.log_in("anna", PASSWORD).status_code == 303
    assert browser.cookies["darkroom"] != planted
    other = browser_for(browser.app)
    other.client.set_cookie("darkroom", planted, domain="10.0.0.5")
    assert (browser.is_in, other.is_in) == (True, False)


def test_each_login_is_a_session_of_its_own(browser_for: Build, anna: None) -> None:
    first = browser_for()
    second = browser_for(first.app)
    first.log_in("anna", PASSWORD)
    second.log_in("anna", PASSWORD)
    assert first.cookies["darkroom"] != second.cookies["darkroom"]
    first.post("/logout", {"csrf": first.token("/")})
    assert second.is_in


def test_a_session_ends_by_itself(browser_for: Build, anna: None, clock: FakeClock) -> None:
    browser = browser_for()
    browser.log_in("anna", PASSWORD)
    clock.advance(timedelta(hours=11).total_seconds())
    assert browser.is_in
    clock.advance(timedelta(hours=11).total_seconds())
    assert browser.is_in
    clock.advance(timedelta(hours=12).total_seconds())
    assert not browser.is_in


@pytest.mark.parametrize(
    "end", [remove_user, lambda here, name: change_password(here, name, "other words than before")]
)
def test_who_is_removed_or_has_a_new_password_is_out_with_the_next_request(
    browser_for: Build, here: Services, anna: None, end: Callable[..., Any]
) -> None:
    browser = browser_for()
    browser.log_in("anna", PASSWORD)
    token = browser.token("/")
    end(here, "anna")
    assert not browser.is_in
    assert browser.post("/logout", {"csrf": token}).status_code == 401


def test_a_cookie_is_read_by_nothing_but_this_server(browser_for: Build, anna: None) -> None:
    plain = browser_for().log_in("anna", PASSWORD)
    assert re.fullmatch(
        r"darkroom=[\w-]{43}; Expires=[^;]+; Max-Age=604800; HttpOnly; Path=/; SameSite=Lax",
        plain.headers["Set-Cookie"],
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"base_url": "https://darkroom.test"},
        {"headers": {"X-Forwarded-Proto": "https"}},
        {"console_url": "https://darkroom.test", "darkroom_signing_keys": "k1:" + "x" * 32},
    ],
    ids=["https", "https in front of a proxy", "CONSOLE_URL is https"],
)
def test_over_https_the_cookie_belongs_to_this_host_alone(browser_for: Build, anna: None, facts: Any) -> None:
    browser = browser_for(**facts)
    entered = browser.log_in("anna", PASSWORD)
    assert re.fullmatch(
        r"__Host-darkroom=[\w-]{43}; Expires=[^;]+; Max-Age=604800; Secure; HttpOnly; Path=/; SameSite=Lax",
        entered.headers["Set-Cookie"],
    )
    assert set(browser.cookies) == {"__Host-darkroom", "__Host-darkroom-forms"}
    # One that a page of a neighbouring host could set is not looked at.
    for name, status in (("__Host-darkroom", 200), ("darkroom", 303)):
        other = browser_for(browser.app, base_url=browser.base_url, headers=browser.headers)
        host = str(urlsplit(browser.base_url).hostname)
        other.client.set_cookie(name, browser.cookies["__Host-darkroom"], domain=host)
        assert other.get().status_code == status


def test_on_this_machine_cookies_need_no_https_whatever_the_address_for_others_is(browser_for: Build) -> None:
    browser = browser_for(
        **ON_THIS_MACHINE, console_url="https://darkroom.test", darkroom_signing_keys="k1:" + "x" * 32,
    )  # fmt: skip
    assert "Secure" not in browser.get().headers["Set-Cookie"]


# --- what is wrong ---

WRONG = [
    ("anna", "wrong"),
    ("nobody-of-ours", PASSWORD),
    ("", ""),
    ("anna", ""),
    ("<script>", "<b>"),
    ("a" * 5000, "x"),
]


@pytest.mark.parametrize(("name", "password"), WRONG)
def test_a_wrong_name_looks_as_a_wrong_password_does(
    browser_for: Build, anna: None, ledger: Ledger, name: str, password: str
) -> None:
    browser = browser_for()
    page = browser.log_in(name, password)
    assert page.status_code == 401
    assert "Wrong name or password." in page.text
    assert "darkroom=" not in page.headers.get("Set-Cookie", "")
    assert "<script>" not in page.text
    assert not browser.is_in
    who = "anna" if name == "anna" else "nobody"
    assert logged(ledger) == [("console", who, "POST /login", 401, "10.0.0.77")]


def test_a_password_that_was_typed_as_the_name_is_kept_nowhere(
    browser_for: Build, anna: None, ledger: Ledger, capfd: pytest.CaptureFixture[str]
) -> None:
    browser_for().log_in(PASSWORD, "anna")
    assert PASSWORD not in str(logged(ledger))
    assert PASSWORD not in capfd.readouterr().err


def test_wrong_passwords_are_counted_by_name_and_the_page_says_how_long(browser_for: Build, anna: None) -> None:
    browser = browser_for()
    other = browser_for(browser.app, address="10.0.0.78")
    assert [browser.log_in("anna", "wrong").status_code for _ in range(tries.BY_NAME)] == [401] * tries.BY_NAME
    page = other.log_in("anna", PASSWORD)
    assert page.status_code == 429
    assert 0 < int(page.headers["Retry-After"]) <= 300
    assert re.search(r"Too many wrong passwords\. Try again in (\d+ seconds|[1-5] minutes)\.", page.text)
    assert browser.log_in("ben", "wrong").status_code == 401


def test_the_same_name_in_other_letters_has_no_tries_of_its_own(browser_for: Build, here: Services) -> None:
    add_user(here, UserRequest(name="rené", role=Role.VIEWER, password=PASSWORD, by="somebody"))
    browser = browser_for()
    for _ in range(tries.BY_NAME):
        browser.log_in("rené", "wrong")
    assert browser.log_in("rene\u0301", PASSWORD).status_code == 429


def test_who_knows_the_password_has_all_tries_again(browser_for: Build, anna: None) -> None:
    browser = browser_for()
    for _ in range(tries.BY_NAME - 1):
        browser.log_in("anna", "wrong")
    assert browser_for(browser.app).log_in("anna", PASSWORD).status_code == 303
    assert [browser.log_in("anna", "wrong").status_code for _ in range(tries.BY_NAME)] == [401] * tries.BY_NAME


@pytest.mark.parametrize(
    ("facts", "address"),
    [
        ({"address": "203.0.113.7"}, "203.0.113.7"),
        ({"address": "2001:db8::7"}, "2001:db8::7"),
        ({"address": "127.0.0.1", "headers": {"X-Forwarded-For": "9.9.9.9, 203.0.113.7"}}, "203.0.113.7"),
        ({"address": "203.0.113.7", "headers": {"X-Forwarded-For": "9.9.9.9"}}, "203.0.113.7"),
        ({"address": "127.0.0.1", "headers": {"X-Forwarded-For": "nonsense"}}, "127.0.0.1"),
    ],
    ids=["an address", "IPv6", "behind a proxy on this machine", "a header of their own", "a header that is none"],
)
def test_a_thousand_wrong_logins_cost_no_more_than_a_few(
    browser_for: Build, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, facts: Any, address: str
) -> None:
    """Whatever names they try: neither hashes, nor rows, nor a lock on those who come from elsewhere."""
    checked = []
    verify = PasswordHasher.verify
    monkeypatch.setattr(PasswordHasher, "verify", lambda *facts: (checked.append(1), verify(*facts)))
    browser = browser_for(**facts)
    token = browser.token()
    statuses = [
        browser.post("/login", {"name": f"name{number}", "password": "x", "csrf": token}).status_code
        for number in range(1000)
    ]
    assert statuses == [401] * tries.BY_ADDRESS + [429] * (1000 - tries.BY_ADDRESS)
    assert len(checked) == tries.BY_ADDRESS
    assert {one[-1] for one in logged(ledger)} == {address}
    assert len(logged(ledger)) == tries.BY_ADDRESS
    elsewhere = browser_for(browser.app, address="198.51.100.1")
    assert elsewhere.log_in("name0", "x").status_code == 401


@pytest.mark.parametrize(
    ("addresses", "most"),
    [(["10.0.0.77"], tries.AT_ONCE_OF_ADDRESS), ([f"10.0.{number}.1" for number in range(100)], tries.AT_ONCE)],
    ids=["of one address", "of all"],
)
def test_no_more_than_a_few_log_in_at_once(
    browser_for: Build, anna: None, monkeypatch: pytest.MonkeyPatch, addresses: list[str], most: int
) -> None:
    """Each holds a thread of the API, which others need, as long as its form does not arrive."""
    browser = browser_for()
    statuses: list[int] = []
    coming = cycle(addresses)
    log_in = letting_in.log_in

    def nested(*facts: Any) -> Any:
        if len(statuses) < most and 503 not in statuses:
            statuses.append(log_in_from(next(coming)))
        return log_in(*facts)

    def log_in_from(address: str) -> int:
        return browser_for(browser.app, address=address).log_in("anna", PASSWORD).status_code

    monkeypatch.setattr(letting_in, "log_in", nested)
    log_in_from(next(coming))
    assert statuses == [503, *[303] * (most - 1)]
    monkeypatch.setattr(letting_in, "log_in", log_in)
    assert log_in_from(addresses[0]) == 303


def test_forms_that_never_arrive_keep_nobody_else_out(
    browser_for: Build, anna: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browser_for()
    others = browser_for(browser.app, address="198.51.100.1")
    with ExitStack() as silent:
        tried = letting_in.Tries.one_more
        mine: list[letting_in.Tries] = []
        monkeypatch.setattr(letting_in.Tries, "one_more", lambda of, at: (mine.append(of), tried(of, at))[1])
        assert browser.log_in("anna", "x").status_code == 401
        for _ in range(tries.AT_ONCE_OF_ADDRESS):
            silent.enter_context(mine[0].one_more(browser.address))
        assert browser.log_in("anna", PASSWORD).status_code == 503
        assert others.log_in("anna", PASSWORD).status_code == 303


# --- where it leads afterwards ---


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
        "/\t/evil.example", "/\n/evil.example", "javascript:alert(1)", "evil.example", "http:evil.example", "/login",
        "/login?next=/x", "/logout", " //evil.example", "//[", "", "/\u2028/x",
    ],
)  # fmt: skip
def test_after_the_login_nobody_is_led_elsewhere(browser_for: Build, anna: None, target: str) -> None:
    browser = browser_for()
    page = browser.get("/login", query_string={"next": target})
    assert 'name="next" value="/"' in page.text
    assert browser.log_in("anna", PASSWORD, next=target).headers["Location"] == "/"


@pytest.mark.parametrize(
    "target", ["/", "/gallery", "/gallery?label=a%2Fb&next=//evil.example", "/generations/gen_1#x"]
)
def test_after_the_login_they_are_where_they_wanted_to_be(browser_for: Build, anna: None, target: str) -> None:
    assert browser_for().log_in("anna", PASSWORD, next=target).headers["Location"] == target


def test_what_is_no_page_hears_that_it_was_refused_and_htmx_opens_the_login(browser_for: Build) -> None:
    browser = browser_for()
    picture = browser.get("/", headers={"Accept": "image/avif,image/webp,*/*"})
    assert (picture.status_code, "Location" in picture.headers) == (401, False)
    part = browser.get("/", headers={"HX-Request": "true", "HX-Current-URL": "http://10.0.0.5:8001/gallery?a=1"})
    assert (part.status_code, part.headers["HX-Redirect"]) == (401, "/login?next=/gallery%3Fa%3D1")


def test_a_part_of_no_page_leads_to_the_login_too(browser_for: Build) -> None:
    part = browser_for().get("/gallery", headers={"HX-Request": "true", "HX-Current-URL": "http://["})
    assert (part.status_code, part.headers["HX-Redirect"]) == (401, "/login")


def test_whoever_is_logged_out_while_they_fill_in_a_form_is_not_led_away_from_it(browser_for: Build) -> None:
    browser = browser_for()
    sent = browser.post("/submit", {"prompts": "a fox"})
    assert sent.status_code == 401
    assert "go back and send it again: what you entered is still there" in sent.text
    assert 'href="/login" target="_blank"' in sent.text
    typed = browser.post("/submit/check", {"prompts": "a fox"}, headers={"HX-Request": "true"})
    assert (typed.status_code, "HX-Redirect" in typed.headers) == (401, False)
    assert "continue here: what you entered is still there" in typed.text


# --- what each may do ---


def test_a_viewer_looks_and_changes_nothing(browser_for: Build, here: Services, anna: None, ledger: Ledger) -> None:
    change_role(here, "anna", Role.VIEWER)
    browser = browser_for()
    writing(browser)
    browser.log_in("anna", PASSWORD)
    page = browser.get()
    assert '<span class="quiet">viewer</span>' in page.text
    refused = browser.post("/write", {"csrf": browser.token("/")})
    assert refused.status_code == 403
    assert "Viewers can see everything but change nothing" in refused.text
    assert [one[2] for one in logged(ledger)] == ["POST /login"]
    change_role(here, "anna", Role.OPERATOR)
    assert browser.post("/write", {"csrf": browser.token("/")}).status_code == 303
    change_role(here, "anna", Role.VIEWER)
    assert browser.post("/logout", {"csrf": browser.token("/")}).status_code == 303


def test_every_write_is_logged_with_who_did_it(browser_for: Build, anna: None, ledger: Ledger) -> None:
    browser = browser_for()
    writing(browser)
    browser.log_in("anna", PASSWORD)
    form = {"csrf": browser.token("/")}
    for path in ("/write", "/write/gen_1", "/about", "/look", "/crash"):
        browser.post(path, form)
    assert logged(ledger)[1:] == [
        ("console", "anna", "POST /write", 303, "batch_7"),
        ("console", "anna", "POST /write/<one>", 200, "gen_1"),
        ("console", "anna", "POST /about", 200, "gen_7"),
        ("console", "anna", "POST /crash", 500, None),
    ]
    assert all(one.request_id for one in ledger.access.actions())


def test_what_cannot_be_written_down_is_not_carried_out(
    browser_for: Build, anna: None, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browser_for()
    done = []
    pages = pages_of(browser.app)
    pages.add_url_rule("/write", "console.write", lambda: done.append(1) or "done", methods=["POST"])
    browser.log_in("anna", PASSWORD)
    form = {"csrf": browser.token("/")}

    def away(_: Any) -> str:
        raise LedgerUnavailable("the ledger is away")

    monkeypatch.setattr(ledger.access, "record_action", away)
    assert browser.post("/write", form).status_code == 503
    assert done == []
