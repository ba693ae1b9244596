"""A request of several transactions is carried out once: while it runs, after it has died, and after it was refused."""

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.usecases import once_only
from tasks.usecases.once import Once
from tasks.usecases.once_only import LEASE, carry_out
from tests.clock import NOON, FakeClock
from tests.factories import new
from tests.patience import patient
from worker.errors import (
    CommitUnknown,
    DarkroomError,
    KeyInUse,
    KeyReused,
    LedgerUnavailable,
    RequestInvalid,
    SentBefore,
    VersionTooOld,
)
from worker.services import Services
from worker.settings import load_settings

ASKED = Once(owner="tok_1", key="order-1", request_sha256="ab")
OTHER = Once(owner="tok_1", key="order-1", request_sha256="cd")
BY_NAME = Once(owner="batch", key="shop", request_sha256="")


@pytest.fixture
def here(settings_of_the_test: pytest.MonkeyPatch, tmp_path: Path, clock: FakeClock) -> Iterator[Services]:
    services = Services(load_settings(), clock)
    yield services
    services.close()


class Work:
    """Notes when it was called, and raises what it is told to."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.called: list[datetime] = []

    def __call__(self, begun_at: datetime) -> dict[str, Any]:
        self.called.append(begun_at)
        if self.errors and (error := self.errors.pop(0)):
            raise error
        return {"number": len(self.called), "name": "Größe"}


def test_the_answer_is_given_again_without_the_work(here: Services) -> None:
    work = Work()
    first, again = carry_out(here, ASKED, work), carry_out(here, ASKED, work)
    assert (first.is_replayed, again.is_replayed, len(work.called)) == (False, True, 1)
    assert first.document == again.document == {"number": 1, "name": "Größe"}
    with pytest.raises(KeyReused):
        carry_out(here, OTHER, work)


def test_what_holds_only_now_is_not_kept(here: Services) -> None:
    def work(_: datetime) -> dict[str, Any]:
        return {"number": 2, "warnings": ["'a secret fox' looks odd"]}

    first, again = (carry_out(here, ASKED, work, passing=("warnings", "waits")) for _ in range(2))
    assert first.document["warnings"]
    assert again.document == {"number": 2, "warnings": []}


def test_one_that_is_not_kept_is_carried_out_each_time_but_one_at_a_time(here: Services) -> None:
    def nested(_: datetime) -> dict[str, Any]:
        with pytest.raises(KeyInUse):
            carry_out(here, BY_NAME, Work(), is_kept=False)
        return {}

    carry_out(here, BY_NAME, nested, is_kept=False)
    assert not carry_out(here, BY_NAME, Work(), is_kept=False).is_replayed
    with pytest.raises(LedgerUnavailable):
        carry_out(here, BY_NAME, Work(LedgerUnavailable("away")), is_kept=False)
    assert not carry_out(here, BY_NAME, Work(), is_kept=False).is_replayed


def test_a_refused_one_leaves_its_key_to_another(here: Services) -> None:
    with pytest.raises(RequestInvalid):
        carry_out(here, ASKED, Work(RequestInvalid("no")))
    assert not carry_out(here, OTHER, Work()).is_replayed


@pytest.mark.parametrize("error", [VersionTooOld("it is too old"), RequestInvalid("row 2 was changed")])
def test_one_that_is_refused_after_something_was_written_keeps_its_key_for_the_same_request(
    here: Services, error: DarkroomError
) -> None:
    work = Work(error, RequestInvalid("no longer"), None)

    def written(begun_at: datetime) -> dict[str, Any]:
        here.ledger.generations.create([new("fox", dedupe="fox")])
        return work(begun_at)

    with pytest.raises(type(error), match=f"^{error}$"):
        carry_out(here, ASKED, written)
    with pytest.raises(KeyReused):
        carry_out(here, OTHER, written)
    with pytest.raises(SentBefore):
        carry_out(here, ASKED, work)
    assert carry_out(here, ASKED, work).may_be_more


def test_one_that_only_waited_for_its_turn_has_written_nothing(here: Services) -> None:
    def nested(_: datetime) -> dict[str, Any]:
        return dict(carry_out(here, BY_NAME, Work(RequestInvalid("no")), is_kept=False).document)

    with pytest.raises(RequestInvalid):
        carry_out(here, ASKED, nested)
    assert not carry_out(here, OTHER, Work()).is_replayed


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), KeyboardInterrupt(), ZeroDivisionError()])
def test_a_broken_off_one_is_completed_by_the_same_request_which_learns_when_it_began(
    here: Services, clock: FakeClock, error: BaseException
) -> None:
    work = Work(error, RequestInvalid("no longer"), None)
    with pytest.raises(type(error)):
        carry_out(here, ASKED, work)
    with pytest.raises(KeyReused):
        carry_out(here, OTHER, work)
    clock.advance(1)
    # Refused this time: but the first may have written something.
    with pytest.raises(SentBefore, match=r"^this request was sent before, and may .* then; this time: no longer$"):
        carry_out(here, ASKED, work)
    with pytest.raises(KeyReused):
        carry_out(here, OTHER, work)
    assert not carry_out(here, ASKED, work).is_replayed
    assert work.called == [NOON] * 3


def test_what_an_earlier_try_may_have_done_is_told_also_when_the_answer_is_given_again(here: Services) -> None:
    work = Work(LedgerUnavailable("away"))
    with pytest.raises(LedgerUnavailable):
        carry_out(here, ASKED, work)
    completed, again = carry_out(here, ASKED, work), carry_out(here, ASKED, work)
    assert (completed.is_replayed, again.is_replayed) == (False, True)
    assert completed.may_be_more
    assert again.may_be_more
    first = carry_out(here, BY_NAME, work)
    assert not first.may_be_more
    assert not carry_out(here, BY_NAME, work).may_be_more


def test_a_ledger_that_is_away_at_the_second_try_does_not_unsay_the_first(here: Services) -> None:
    work = Work(KeyboardInterrupt(), LedgerUnavailable("it is away; nothing was written"))
    with pytest.raises(KeyboardInterrupt):
        carry_out(here, ASKED, work)
    with pytest.raises(CommitUnknown, match="may have been carried out then; this time: it is away"):
        carry_out(here, ASKED, work)


def test_a_key_that_stands_for_no_request_says_nothing_of_who_had_it_before(
    here: Services, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(here.ledger.access, "forget_request", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            carry_out(here, BY_NAME, Work(KeyboardInterrupt()), is_kept=False)
    clock.advance(LEASE.total_seconds() + 1)
    with pytest.raises(RequestInvalid, match=r"^no$") as refused:
        carry_out(here, BY_NAME, Work(RequestInvalid("no")), is_kept=False)
    assert not isinstance(refused.value, SentBefore)


def test_a_long_one_is_renewed_until_it_ends(here: Services, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once_only, "RENEWED_EVERY", 0.01)
    renewed, renew, failures = threading.Semaphore(0), here.ledger.access.renew_request, [LedgerUnavailable("busy")]

    def noted(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        renew(*arguments)
        renewed.release()

    monkeypatch.setattr(here.ledger.access, "renew_request", noted)

    def work(_: datetime) -> dict[str, Any]:
        for _ in range(3):
            clock.advance(LEASE.total_seconds() - 1)
            # The first may have begun before the clock was advanced.
            assert renewed.acquire(timeout=patient(10))
            assert renewed.acquire(timeout=patient(10))
            with pytest.raises(KeyInUse):
                carry_out(here, ASKED, Work())
        return {}

    carry_out(here, ASKED, work)
    assert not [one for one in threading.enumerate() if one.name == "renew-request"]
