"""People and their sessions: a name belongs to one at a time, and a session ends with what it rests on."""

from datetime import timedelta

import pytest

from tests.clock import NOON, FakeClock
from worker.errors import NotFound, RequestInvalid
from worker.ledger import Ledger
from worker.ledger.access import IDLE, LONGEST, NewSession, NewUser, Password, Role, Session, User

COOKIE, OTHER = "a" * 64, "b" * 64


def anna(ledger: Ledger, name: str = "anna", *, password: str | None = "old") -> User:
    return ledger.access.create_user(
        NewUser(name=name, role=Role.VIEWER, password_hash=password, created_by="somebody")
    )  # fmt: skip


def log_in(ledger: Ledger, user: User, cookie: str = COOKIE, *, password: str = "old") -> bool:
    return ledger.access.begin_session(NewSession(sha256=cookie, user_id=user.id, password_hash=password))


def is_in(ledger: Ledger, cookie: str = COOKIE) -> bool:
    return ledger.access.session_of(cookie) is not None


def test_a_user_is_there_with_all_that_was_said_of_them(ledger: Ledger):
    made = anna(ledger)
    assert made == User(
        id=made.id,
        name="anna",
        role="viewer",
        created_at=NOON,
        created_by="somebody",
        logged_in_at=None,
        removed_at=None,
    )
    assert made.id.startswith("user_")
    assert ledger.access.users() == [made]
    assert ledger.access.user_named("anna") == made
    assert ledger.access.user_named("Anna") is None
    assert ledger.access.password_of("anna") == Password(made.id, "old")
    assert ledger.access.password_of("ben") is None


def test_a_name_is_taken_until_its_user_is_removed_and_then_no_password_is_left(ledger: Ledger, clock: FakeClock):
    first = anna(ledger)
    with pytest.raises(RequestInvalid, match="there is already a user 'anna'"):
        anna(ledger)
    clock.advance(5)
    assert ledger.access.remove_user("anna") == first._replace(removed_at=clock())
    second = anna(ledger, password="new")
    assert ledger.access.users() == [second]
    assert ledger.access.users(with_removed=True) == [first._replace(removed_at=clock()), second]
    with ledger.database.read() as connection:
        kept = connection.exec_driver_sql("SELECT password_hash FROM users ORDER BY id").scalars().all()
    assert kept == [None, "new"]


@pytest.mark.parametrize("verb", ["change_password", "change_role", "remove_user"])
def test_nobody_can_be_changed_who_is_not_there(ledger: Ledger, verb: str):
    change = getattr(ledger.access, verb)
    value = {"change_password": ["new"], "change_role": [Role.OPERATOR], "remove_user": []}[verb]
    with pytest.raises(NotFound, match="there is no user 'anna'"):
        change("anna", *value)
    anna(ledger)
    ledger.access.remove_user("anna")
    with pytest.raises(NotFound):
        change("anna", *value)


def test_somebody_is_logged_in_until_they_log_out_and_nowhere_else(ledger: Ledger, clock: FakeClock):
    user = anna(ledger)
    assert log_in(ledger, user)
    assert log_in(ledger, user, OTHER)
    assert ledger.access.session_of(COOKIE) == Session("anna", "viewer", NOON, NOON)
    assert ledger.access.users()[0].logged_in_at == NOON
    ledger.access.end_session(COOKIE)
    assert (is_in(ledger), is_in(ledger, OTHER), is_in(ledger, "c" * 64)) == (False, True, False)
    clock.advance(minutes=2)
    ledger.access.note_session_use(COOKIE)
    assert not is_in(ledger)


def test_a_new_password_ends_all_sessions_of_this_user_and_of_nobody_else(ledger: Ledger):
    user, ben = anna(ledger), anna(ledger, "ben")
    log_in(ledger, user)
    log_in(ledger, ben, OTHER)
    ledger.access.change_password("anna", "new")
    assert (is_in(ledger), is_in(ledger, OTHER)) == (False, True)
    assert ledger.access.password_of("anna") == Password(user.id, "new")


def test_a_removed_user_is_out_at_once(ledger: Ledger):
    log_in(ledger, anna(ledger))
    ledger.access.remove_user("anna")
    assert not is_in(ledger)
    anna(ledger)
    assert not is_in(ledger)


def test_a_session_needs_the_password_that_was_checked_and_its_user(ledger: Ledger):
    """It was changed, or the user removed, between the check and the session."""
    user = anna(ledger)
    ledger.access.change_password("anna", "new")
    assert not log_in(ledger, user, password="old")
    ledger.access.remove_user("anna")
    assert not log_in(ledger, user, password="new")
    assert not is_in(ledger)


def test_the_role_holds_from_the_next_request_on(ledger: Ledger):
    log_in(ledger, anna(ledger))
    ledger.access.change_role("anna", Role.OPERATOR)
    found = ledger.access.session_of(COOKIE)
    assert found is not None
    assert found.role == "operator"


def test_the_same_password_under_other_parameters_ends_no_session_and_never_replaces_a_newer_one(ledger: Ledger):
    user = anna(ledger)
    log_in(ledger, user)
    ledger.access.keep_rehashed(user.id, "old", "stronger")
    assert ledger.access.password_of("anna") == Password(user.id, "stronger")
    assert is_in(ledger)
    ledger.access.keep_rehashed(user.id, "old", "late")
    assert ledger.access.password_of("anna") == Password(user.id, "stronger")


def test_a_session_ends_when_it_is_not_used(ledger: Ledger, clock: FakeClock):
    log_in(ledger, anna(ledger))
    clock.advance((IDLE - timedelta(seconds=1)).total_seconds())
    assert is_in(ledger)
    ledger.access.note_session_use(COOKIE)
    clock.advance((IDLE - timedelta(seconds=1)).total_seconds())
    assert is_in(ledger)
    clock.advance(1)
    assert not is_in(ledger)


def test_a_session_ends_however_much_it_is_used(ledger: Ledger, clock: FakeClock):
    log_in(ledger, anna(ledger))
    end = NOON + LONGEST
    while clock() + IDLE / 2 < end:
        clock.advance((IDLE / 2).total_seconds())
        ledger.access.note_session_use(COOKIE)
        assert is_in(ledger)
    clock.now = end
    assert not is_in(ledger)


def test_the_use_of_a_session_is_noted_at_most_once_a_minute(ledger: Ledger, clock: FakeClock):
    log_in(ledger, anna(ledger))
    seen = []
    for seconds in (30, 30, 1):
        clock.advance(seconds)
        ledger.access.note_session_use(COOKIE)
        found = ledger.access.session_of(COOKIE)
        assert found is not None
        seen.append(found.seen_at)
    assert seen == [NOON, NOON, NOON + timedelta(seconds=61)]


def test_a_session_of_a_clock_that_was_ahead_is_none(ledger: Ledger, clock: FakeClock):
    clock.advance(days=400)
    log_in(ledger, anna(ledger))
    clock.advance(days=-400)
    assert not is_in(ledger)


def test_a_use_that_a_wrong_clock_has_noted_is_corrected(ledger: Ledger, clock: FakeClock):
    log_in(ledger, anna(ledger))
    clock.advance(days=3)
    ledger.access.note_session_use(COOKIE)
    clock.advance(days=-3)
    ledger.access.note_session_use(COOKIE)
    found = ledger.access.session_of(COOKIE)
    assert found is not None
    assert found.seen_at == NOON


def test_old_sessions_are_pruned_and_open_ones_stay(ledger: Ledger, clock: FakeClock):
    user = anna(ledger)
    log_in(ledger, user)
    clock.advance(days=20)
    log_in(ledger, user, OTHER)
    clock.advance(days=20)
    before = clock() - timedelta(days=30)
    assert ledger.maintenance.count_prunable(before)["sessions"] == 1
    assert ledger.maintenance.prune_sessions(before).gone == {"sessions": 1}
    assert ledger.maintenance.prune_sessions(before).gone == {"sessions": 0}
    with ledger.database.read() as connection:
        assert connection.exec_driver_sql("SELECT sha256 FROM sessions").scalars().all() == [OTHER]
