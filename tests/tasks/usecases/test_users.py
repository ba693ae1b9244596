"""Users: a wrong name costs as much as a wrong password, a cookie is kept nowhere, and each login has its own."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tasks.usecases import users
from tasks.usecases.passwords import LONGEST, MEMORY_KIB, SHORTEST, Passwords
from tasks.usecases.users import (
    Role,
    UserRequest,
    Visitor,
    add_user,
    change_password,
    change_role,
    log_in,
    log_out,
    read_name,
    remove_user,
    role_of,
    visitor_of,
)
from tests.clock import FakeClock
from tests.examples import examples
from worker.errors import NotFound, RequestInvalid
from worker.services import Services

PASSWORD = "four unusual words here"


@pytest.fixture
def clock(here: Services) -> FakeClock:
    here.ledger.database.clock = clock = FakeClock()
    return clock


def add(here: Services, name: str = "anna", *, password: str | None = PASSWORD, role: Role = Role.VIEWER) -> None:
    add_user(here, UserRequest(name=name, role=role, password=password, by="somebody"))


def cookie_of(here: Services, name: str = "anna", password: str = PASSWORD) -> str:
    entered = log_in(here, name, password)
    assert entered is not None
    return entered.cookie


def in_the_ledger(here: Services) -> str:
    """All that it keeps of people, as text."""
    with here.ledger.database.read() as connection:
        rows = [row for table in ("users", "sessions") for row in connection.execute(text(f"SELECT * FROM {table}"))]
    return str(rows)


def test_who_is_logged_in_is_known_by_their_cookie_until_they_log_out(here: Services) -> None:
    add(here, role=Role.OPERATOR)
    cookie = cookie_of(here)
    assert visitor_of(here, cookie) == Visitor(name="anna", role=Role.OPERATOR)
    log_out(here, cookie)
    assert visitor_of(here, cookie) is None


def test_neither_the_password_nor_the_cookie_is_kept(here: Services) -> None:
    add(here)
    cookie = cookie_of(here)
    kept = in_the_ledger(here)
    assert "$argon2id$" in kept
    assert PASSWORD not in kept
    assert cookie not in kept


def test_each_login_has_a_cookie_of_its_own(here: Services) -> None:
    add(here)
    first, second = cookie_of(here), cookie_of(here)
    assert first != second
    log_out(here, first)
    assert visitor_of(here, second) is not None


@pytest.mark.parametrize("cookie", ["", "x", "a" * 42, "a" * 44, "ä" * 43, "a" * 42 + "\n", "' OR 1=1 --", "\0" * 43])
def test_what_is_no_cookie_of_ours_costs_no_query(here: Services, cookie: str) -> None:
    add(here)
    here.ledger.access.session_of = None  # type: ignore[assignment,method-assign]
    assert visitor_of(here, cookie) is None
    log_out(here, cookie)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna", "wrong words, all of them"),
        ("anna", ""),
        ("anna", PASSWORD[:-1]),
        ("anna", f"{PASSWORD} "),
        ("ben", PASSWORD),
        ("Anna", PASSWORD),
        ("", PASSWORD),
        ("proxied", PASSWORD),
        ("proxied", ""),
        ("gone", PASSWORD),
        ("anna' --", PASSWORD),
        ("\0\ud800", "\ud800"),
    ],
)
def test_whoever_it_is_a_wrong_login_is_one_check_by_argon2(
    here: Services, monkeypatch: pytest.MonkeyPatch, name: str, password: str
) -> None:
    """Of the same parameters: nobody learns from the time which names there are."""
    add(here)
    add(here, "proxied", password=None)
    add(here, "gone")
    remove_user(here, "gone")
    log_in(here, "warm", "up")
    checked: list[str] = []
    verify = PasswordHasher.verify

    def noted(self: PasswordHasher, kept: str, given_password: str) -> Any:
        checked.append(re.match(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$", kept)[0])  # type: ignore[index]
        return verify(self, kept, given_password)

    def never(*_: Any) -> str:
        raise AssertionError("hashing takes as long as another check")

    monkeypatch.setattr(PasswordHasher, "verify", noted)
    monkeypatch.setattr(PasswordHasher, "hash", never)
    assert log_in(here, name, password) is None
    assert checked == [f"$argon2id$v=19$m={MEMORY_KIB},t=2,p=1$"]
    assert "sessions" not in in_the_ledger(here)


def test_nobody_gets_in_with_the_password_of_nobody(here: Services) -> None:
    """What wrong names are checked against is a hash as well, and its password is known."""
    add(here, "proxied", password=None)
    assert log_in(here, "proxied", "") is None
    assert log_in(here, "nobody", "") is None
    assert not Passwords().is_right(None, "")


def test_all_is_hashed_in_one_thread_since_each_would_keep_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, threads = Passwords(), set()
    verify = PasswordHasher.verify

    def noted(*facts: Any) -> Any:
        threads.add(threading.get_ident())
        return verify(*facts)

    monkeypatch.setattr(PasswordHasher, "verify", noted)
    kept = passwords.hash(PASSWORD)
    with ThreadPoolExecutor(4) as others:
        assert list(others.map(lambda _: passwords.is_right(kept, PASSWORD), range(8))) == [True] * 8
    assert len(threads) == 1


def test_a_password_is_the_same_however_a_keyboard_writes_it(here: Services) -> None:
    add(here, "rené", password="crème brûlée bien dorée")
    decomposed = "cre\u0300me bru\u0302le\u0301e bien dore\u0301e"
    assert log_in(here, "rene\u0301", decomposed) is not None


@pytest.mark.parametrize("length", [0, SHORTEST - 1, LONGEST + 1])
def test_a_password_is_neither_short_nor_endless(here: Services, length: int) -> None:
    with pytest.raises(RequestInvalid, match=f"the password has {length:,} characters: use 12 to 1,000"):
        add(here, password="x" * length)
    add(here)
    with pytest.raises(RequestInvalid):
        change_password(here, "anna", "x" * length)
    assert log_in(here, "anna", PASSWORD) is not None


def test_a_new_password_ends_the_old_one_and_every_session(here: Services) -> None:
    add(here)
    cookie = cookie_of(here)
    change_password(here, "anna", "other words than before")
    assert visitor_of(here, cookie) is None
    assert log_in(here, "anna", PASSWORD) is None
    assert visitor_of(here, cookie_of(here, password="other words than before")) is not None


def test_a_removed_user_is_out_and_does_not_come_back(here: Services) -> None:
    add(here)
    cookie = cookie_of(here)
    remove_user(here, "anna")
    assert visitor_of(here, cookie) is None
    assert log_in(here, "anna", PASSWORD) is None
    assert role_of(here, "anna") is None


def test_a_session_that_is_used_stays_and_one_that_is_not_ends(here: Services, clock: FakeClock) -> None:
    add(here)
    used, unused = cookie_of(here), cookie_of(here)
    for _ in range(7):
        clock.advance(timedelta(hours=2).total_seconds())
        assert visitor_of(here, used) is not None
    assert visitor_of(here, unused) is None


def test_a_password_under_older_parameters_is_kept_under_those_of_today_at_the_next_login(
    here: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Passwords()
    older.__dict__["_hasher"] = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)
    with monkeypatch.context() as patch:
        patch.setattr(users, "_passwords", older)
        add(here)
        cookie = cookie_of(here)
    assert "m=8192,t=1,p=1" in in_the_ledger(here)
    assert visitor_of(here, cookie_of(here)) is not None
    assert f"m={MEMORY_KIB},t=2,p=1" in in_the_ledger(here)
    assert "m=8192" not in in_the_ledger(here)
    assert visitor_of(here, cookie) is not None, "nobody is logged out by that"
    assert log_in(here, "anna", PASSWORD) is not None


def test_a_hash_that_is_none_lets_nobody_in(here: Services) -> None:
    add(here)
    with here.ledger.database.write() as connection:
        connection.execute(text("UPDATE users SET password_hash = 'plain'"))
    assert log_in(here, "anna", "plain") is None


def test_a_role_holds_from_the_next_request_on(here: Services) -> None:
    add(here)
    cookie = cookie_of(here)
    change_role(here, "anna", Role.OPERATOR)
    assert visitor_of(here, cookie) == Visitor(name="anna", role=Role.OPERATOR)
    assert role_of(here, "anna") is Role.OPERATOR


def test_a_mistyped_name_is_named(here: Services) -> None:
    add(here)
    with pytest.raises(NotFound, match="there is no user 'ana'; did you mean 'anna'"):
        remove_user(here, "ana")
    with pytest.raises(NotFound, match="`darkroom user list` shows all"):
        change_role(here, "somebody else", Role.VIEWER)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " anna",
        "anna ",
        "an\nna",
        "an\x1bna",
        "a" * 101,
        "an\u202ena",
        "local",
        "nobody",
        "link",
        "a,b",
        "\uff4cocal",
    ],
)
def test_a_name_that_would_mislead_is_refused(here: Services, name: str) -> None:
    with pytest.raises(RequestInvalid, match=r"cannot be the name of a user|has a special meaning"):
        add(here, name)


@given(st.text())
@settings(max_examples=examples(400))
def test_a_name_is_read_to_one_printable_form_or_refused(name: str) -> None:
    try:
        read = read_name(name)
    except RequestInvalid:
        return
    assert read.isprintable()
    assert 0 < len(read) <= 100
    assert read == read.strip()
    assert "," not in read
    assert read not in {"local", "nobody", "link"}
    assert read_name(read) == read
