"""Failures have a reason in one word, a remedy, and can be retried by it."""

import json

import pytest

from tests.factories import LEASE, PLENTY, PROVIDER, claimed, failure, queued, state_of
from tests.tasks.cli.conftest import Darkroom
from worker.generation import State
from worker.ledger import Ledger


@pytest.fixture
def shop(ledger: Ledger) -> str:
    """A batch: two refused by moderators, one of which is of a client; one that the provider failed; one that waits."""
    claims = [
        *claimed(ledger, 1, batch="shop", key="B-1", labels={"client": "acme"}),
    ]
    batch_id = str(ledger.generations.newest_batch("shop"))
    claims += claimed(ledger, batch_id=batch_id, key="B-2")
    claims += claimed(ledger, batch_id=batch_id, key="B-3")
    reasons = ("forbidden", "forbidden", "api_error")
    ledger.generations.apply_outcomes([failure(one, reason=why) for one, why in zip(claims, reasons, strict=True)])
    queued(ledger, batch_id=batch_id)
    return batch_id


def test_a_failure_is_shown_with_its_remedy(darkroom: Darkroom, shop: str):
    assert "  failure   moderation: change the prompt or the images" in darkroom("show", "B-1").stdout
    (listed,) = darkroom("list", "--json", "--key", "B-3").stdout.splitlines()
    failed = json.loads(listed)["failure"]
    assert failed == {"category": "provider", "remedy": "retry; if it happens again, use another provider"}
    (waiting,) = darkroom("list", "--json", "--state", "queued").stdout.splitlines()
    assert json.loads(waiting)["failure"] is None


def test_a_batch_is_retried_for_some_reasons_and_the_rest_is_counted(darkroom: Darkroom, ledger: Ledger, shop: str):
    result = darkroom("batch", "retry", "shop", "--only", "moderation")
    assert (result.exit_code, result.stdout) == (0, "2 queued again; 1 left alone: 1 provider\n")
    assert darkroom.bells == ["dispatch", "archive"]
    again = json.loads(darkroom("batch", "retry", shop, "--only", "moderation,network", "--json").stdout)
    assert again == {"batch": shop, "retried": 0, "done": {}, "left": {"provider": 1}}
    assert darkroom("batch", "retry", "shop").stdout == "1 queued again\n"
    assert darkroom("batch", "retry", "shop").stderr == "Nothing in it failed or expired.\n"
    assert ledger.generations.counts(shop) == {State.QUEUED: 4}


@pytest.mark.parametrize("corrected", ["a hare", "a {grey, white} hare"])
def test_a_row_that_was_replaced_by_a_new_version_is_not_paid_for_twice(
    darkroom: Darkroom, ledger: Ledger, corrected: str
):
    sheet = darkroom.data / "eggs.csv"
    sheet.write_text("sku,prompt\n1,a fox\n2,an owl\n")
    assert darkroom("batch", "submit", str(sheet)).exit_code == 0
    ledger.dispatch.run(PROVIDER, PLENTY)
    ledger.generations.apply_outcomes([failure(claim) for claim in ledger.submissions.claim(2, LEASE)])
    sheet.write_text(f'sku,prompt\n1,"{corrected}"\n2,an owl\n')
    assert darkroom("batch", "submit", str(sheet), "--new-version").exit_code == 0
    (old,) = [one for one in ledger.generations.page(state=State.FAILED) if one.key == "1"]

    assert (
        darkroom("retry", "--failed", "--all").stdout == "1 queued again; 1 left alone: 1 replaced by a new version\n"
    )
    assert darkroom("batch", "retry", "eggs").stdout == "0 retried; 1 left alone: 1 replaced by a new version\n"
    failed = darkroom.data / "failed.csv"
    darkroom("batch", "results", "eggs", "--errors", str(failed))
    assert len(failed.read_text().splitlines()) == 1, "only the header: the new version has not failed"
    assert state_of(ledger, old) is State.FAILED
    # Whoever names it wants it.
    assert darkroom("retry", old.id).exit_code == 0
    assert state_of(ledger, old) is State.QUEUED


def test_one_of_what_a_template_made_can_be_corrected_in_the_file_of_failing_rows(darkroom: Darkroom, ledger: Ledger):
    sheet, failed = darkroom.data / "eggs.csv", darkroom.data / "failed.csv"
    sheet.write_text('sku,prompt\n1,"a {fox, hen}"\n')
    assert darkroom("batch", "submit", str(sheet)).exit_code == 0
    ledger.dispatch.run(PROVIDER, PLENTY)
    ledger.generations.apply_outcomes([failure(claim) for claim in ledger.submissions.claim(1, LEASE)])
    (old,) = ledger.generations.page(state=State.FAILED)
    failed.write_text(f"key,prompt\n{old.key},a better one\n")
    submit = ("batch", "submit", str(failed), "--name", "eggs")

    refused = darkroom(*submit).stderr
    assert "1 row was changed since the batch 'eggs' was submitted" in refused
    assert "_choice" not in refused
    assert darkroom(*submit, "--new-version").exit_code == 0
    assert ledger.generations.counts() == {State.FAILED: 1, State.QUEUED: 2}
    assert darkroom("batch", "retry", "eggs").stdout == "0 retried; 1 left alone: 1 replaced by a new version\n"
    for again in (submit, ("batch", "submit", str(sheet))):
        assert " 0 already" not in darkroom(*again).stderr
    assert ledger.generations.counts() == {State.FAILED: 1, State.QUEUED: 2}
    # A change of the whole row is newer than both.
    sheet.write_text('sku,prompt\n1,"a {cat, dog}"\n')
    assert darkroom("batch", "submit", str(sheet), "--new-version").exit_code == 0
    assert sum(ledger.generations.counts().values()) == 5


def test_a_retry_can_be_for_one_client_and_one_reason(darkroom: Darkroom, ledger: Ledger, shop: str):
    assert darkroom("retry", "--failed", "--label", "client=acme", "--only", "provider").stdout == (
        "0 queued again; 1 left alone: 1 moderation\n"
    )
    done = darkroom("retry", "--failed", "--all", "--only", "moderation")
    assert done.stdout == "2 queued again; 1 left alone: 1 provider\n"
    (provider,) = ledger.generations.page(state=State.FAILED)
    assert state_of(ledger, provider) is State.FAILED


@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("bad luck", "'bad luck' is not a reason; expected one or more of moderation, parameters, credit"),
        ("unconfirmed", "unconfirmed generations may be paid for: use `darkroom resolve`"),
    ],
)
def test_an_unknown_reason_is_refused(darkroom: Darkroom, only: str, said: str):
    result = darkroom("batch", "retry", "shop", "--only", only)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_watch_ends_with_the_reasons(darkroom: Darkroom, ledger: Ledger, shop: str):
    ledger.generations.cancel([one.id for one in ledger.generations.page(state=State.QUEUED)])
    assert "3 failed, 1 cancelled, reasons: 2 moderation, 1 provider" in darkroom("watch", "shop").stderr
    assert "reasons: 1 moderation" in darkroom("watch", "--label", "client=acme").stderr
    assert "reasons: 1 provider" in darkroom("watch", "B-3").stderr
