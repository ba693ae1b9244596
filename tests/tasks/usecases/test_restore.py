"""A restored ledger compared and opened without a command line."""

from tasks.restore_marker import read
from tasks.usecases.restore import ReconcileRequest, reconcile
from tests.tasks.cli import stories
from worker.ledger.restore_guard import Marker
from worker.services import Services


def restored(here: Services) -> Services:
    """Its bucket tells of another ledger, and one generation waits."""
    stories.queued(here.ledger)
    here.ledger.restore.verify_marker(Marker("ledger_before", 7, 0, here.clock()))
    return here


def test_submissions_stay_stopped_until_a_person_confirms(here_with_bucket: Services) -> None:
    here = restored(here_with_bucket)
    looked = reconcile(here, ReconcileRequest())
    assert (looked.is_stopped, looked.opened, looked.obstacle, looked.queued) == (True, False, None, 1)
    assert looked.wakes == ()
    confirmed = reconcile(here, ReconcileRequest(confirmed_by="ada"))
    assert (confirmed.is_stopped, confirmed.opened) == (False, True)
    assert confirmed.wakes == ("dispatch", "archive", "poll")
    assert confirmed.gate is not None
    assert confirmed.gate.opened_by == "ada"
    marker = read(here.archive)
    assert marker is not None
    assert marker.ledger == confirmed.gate.ledger
    assert not reconcile(here, ReconcileRequest(confirmed_by="ada")).opened, "there is nothing to confirm any more"


def test_a_bucket_that_cannot_be_asked_is_an_obstacle(here: Services) -> None:
    report = reconcile(restored(here), ReconcileRequest(confirmed_by="ada"))
    assert report.obstacle is not None
    assert "the bucket is unreachable: S3_BUCKET is not set" in report.obstacle
    assert (report.is_stopped, report.opened) == (True, False)
