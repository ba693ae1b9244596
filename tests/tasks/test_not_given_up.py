"""What was paid for is not given up for a passing reason: only a link that proves its end, or a person, ends it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.cli import cli
from tests.factories import claimed
from tests.pipeline import Pipeline, Start, starting
from tests.s3 import Server
from tests.tasks.test_hostile_links import PNG
from tests.worker.downloads.test_download import RawServer, ok, reply, serving
from worker.downloads.download import Downloader
from worker.generation import Asset, Link, Outcome, State, Status
from worker.ledger.outcome import News

CHALLENGE = b"<!DOCTYPE html><title>Just a moment...</title>"
BLOCKED = b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%b" % (len(CHALLENGE), CHALLENGE)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path) -> Iterator[Start]:
    with starting(monkeypatch, sqlite_url, rclone, tmp_path) as start:
        yield start


@pytest.fixture
def pipeline(start: Start) -> Pipeline:
    return start()


def succeeded(pipeline: Pipeline, url: str, deadline: datetime | None = None) -> str:
    """A success with this link."""
    (claim,) = claimed(pipeline.ledger)
    outcome = Outcome(status=Status.SUCCEEDED, task_id=f"t-{claim.attempt_id}", links=(Link(url),))
    ends = deadline or pipeline.clock() + timedelta(hours=24)
    pipeline.ledger.generations.apply_outcomes(
        [News(attempt_id=claim.attempt_id, outcome=outcome, cause="callback", deadlines=(ends,))]
    )
    return claim.generation.id


def go_on(pipeline: Pipeline, **time: float) -> None:
    """Let the time go by and archive what is due, to the end."""
    pipeline.clock.advance(**time)
    pipeline.step("archive")
    pipeline.here.downloader.close()


def asset_of(pipeline: Pipeline, generation_id: str) -> Asset:
    (asset,) = pipeline.assets(generation_id)
    return asset


def darkroom(*arguments: str) -> str:
    return CliRunner().invoke(cli, list(arguments), prog_name="darkroom").output


@pytest.mark.parametrize("refusal", [reply("404 Not Found"), reply("410 Gone"), reply("403 Forbidden"), BLOCKED])
def test_a_file_that_appears_a_moment_later_is_archived(pipeline: Pipeline, refusal: bytes) -> None:
    answers = [refusal, refusal, refusal]
    with serving(lambda _: answers.pop() if answers else ok(PNG)) as server:
        generation_id = succeeded(pipeline, f"http://127.0.0.1:{server.port}/a.png")
        for _ in range(4):
            go_on(pipeline, seconds=20)
    assert pipeline.get(generation_id).state is State.ARCHIVED
    assert asset_of(pipeline, generation_id).reason is None


def test_a_guessed_life_ends_nothing_and_two_weeks_of_tries_do_until_a_person_asks_again(pipeline: Pipeline) -> None:
    answers = {"now": reply("410 Gone")}
    with serving(lambda _: answers["now"]) as server:
        generation_id = succeeded(pipeline, f"http://127.0.0.1:{server.port}/a.png")
        for _ in range(5):
            go_on(pipeline, days=2.9)
        assert pipeline.get(generation_id).state is State.SUCCEEDED
        assert asset_of(pipeline, generation_id).reason == "not_found"
        assert [one.reason for one in pipeline.ledger.assets.at_risk(pipeline.clock())] == ["not_found"]
        go_on(pipeline, days=1)
        found = pipeline.get(generation_id)
        assert (found.state, found.reason) == (State.EXPIRED, "unreachable")
        assert "gave up after 15 days of trying" in darkroom("dead")

        pipeline.ledger.generations.retry([generation_id])
        go_on(pipeline, days=14)
        assert pipeline.get(generation_id).state is State.SUCCEEDED
        answers["now"] = ok(PNG)
        go_on(pipeline, hours=6)
    assert pipeline.get(generation_id).state is State.ARCHIVED


def test_a_link_whose_own_end_is_over_is_dead_at_once_unless_only_a_firewall_says_no(pipeline: Pipeline) -> None:
    answers = {"now": BLOCKED}
    with serving(lambda _: answers["now"]) as server:
        ends = (pipeline.clock() + timedelta(hours=1)).replace(microsecond=0)
        url = f"http://127.0.0.1:{server.port}/a.png?ex={int(ends.timestamp()):x}&hm=SECRET"
        generation_id = succeeded(pipeline, url, ends)
        go_on(pipeline, hours=2)
        assert (pipeline.get(generation_id).state, asset_of(pipeline, generation_id).reason) == ("succeeded", "blocked")
        answers["now"] = reply("404 Not Found")
        go_on(pipeline, hours=6)
    found = pipeline.get(generation_id)
    assert (found.state, found.reason) == (State.EXPIRED, "link_dead")
    assert "the link expired at" in str(found.message)


def test_a_host_that_is_not_allowed_waits_visibly_and_goes_on_after_the_setting(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(ok(PNG)) as server:
        pipeline.here.__dict__["downloader"] = Downloader("")
        generation_id = succeeded(pipeline, f"http://127.0.0.1:{server.port}/a.png")
        for _ in range(20):
            go_on(pipeline, hours=7)
        asset = asset_of(pipeline, generation_id)
        assert (pipeline.get(generation_id).state, asset.reason) == (State.SUCCEEDED, "host_not_allowed")
        assert "host_not_allowed: http://127.0.0.1" in darkroom("at-risk")
        assert "DARKROOM_DOWNLOAD_ALLOW" in darkroom("at-risk")
        assert server.requests == []

        pipeline.here.__dict__["downloader"] = Downloader("127.0.0.1")
        assert pipeline.ledger.assets.retry_mended() == 1
        go_on(pipeline)
    assert pipeline.get(generation_id).state is State.ARCHIVED


def test_the_provider_is_asked_for_a_fresh_link_a_few_times_only(pipeline: Pipeline) -> None:
    server: RawServer
    with serving(reply("404 Not Found")) as server:
        succeeded(pipeline, f"http://127.0.0.1:{server.port}/a.png")
        for _ in range(45):
            go_on(pipeline, hours=6)
    assert 3 <= len(pipeline.sandbox.log("query")) <= 5


def test_a_fresh_link_may_lead_to_another_host_for_its_own_asset_only(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = "https://renewed.example/a.png?sig=1"
    provider = pipeline.here.provider("acedata")
    monkeypatch.setattr(type(provider), "renew", lambda *_: fresh)
    with serving(reply("404 Not Found")) as server:
        one = succeeded(pipeline, f"http://127.0.0.1:{server.port}/a.png")
        go_on(pipeline)
    assert asset_of(pipeline, one).url == fresh
    other = succeeded(pipeline, fresh)
    go_on(pipeline, seconds=3)
    # No such name: it was looked for, which a forbidden host is not.
    assert asset_of(pipeline, one).reason == "no_answer"
    assert asset_of(pipeline, other).reason == "host_not_allowed"
