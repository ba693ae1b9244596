"""A claim whose COMMIT got no answer: its own worker knows that nothing was sent, so no person has to find out."""

from pathlib import Path
from typing import Any

import pytest

from tests.cutting_proxy import Cut, CuttingProxy
from tests.pipeline import starting
from tests.s3 import Server
from worker.generation import State
from worker.ledger.submission.submissions import Submissions


@pytest.mark.parametrize("cut", [Cut.COMMITTED, Cut.LOST])
def test_what_was_claimed_when_the_connection_was_lost_is_submitted_once_and_by_itself(
    monkeypatch: pytest.MonkeyPatch, postgresql_url: str, rclone: Server, tmp_path: Path, cut: Cut
):
    with CuttingProxy(postgresql_url) as proxy, starting(monkeypatch, proxy.url, rclone, tmp_path) as start:
        pipeline = start()
        ids = pipeline.submit("a fox", "an owl", "a hare")
        pipeline.step("reconcile")
        pipeline.step("dispatch")
        with monkeypatch.context() as patch:
            claim = Submissions._claim

            def claim_cut(*arguments: Any) -> None:
                # Not before: other things that a step looks after, such as the marker, commit as well.
                proxy.arm(cut)
                claim(*arguments)

            patch.setattr(Submissions, "_claim", claim_cut)
            pipeline.step("submit")
        assert proxy.has_cut.is_set()
        assert [pipeline.get(one).state for one in ids] == [State.QUEUED] * 3
        pipeline.until_settled()
        attempts = ["rejected", "succeeded"] if cut is Cut.COMMITTED else ["succeeded"]
        for one in ids:
            assert [attempt.state for attempt in pipeline.story(one).attempts] == attempts
            assert pipeline.path(one)[-1] is State.ARCHIVED
            assert State.UNCONFIRMED not in pipeline.path(one)
        assert pipeline.charges() == 3
