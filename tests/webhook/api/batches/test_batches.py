"""Batches are listed, read, steered and retried, and their results come back as files."""

import csv
import io
import json
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient
from python_calamine import CalamineWorkbook
from werkzeug.http import parse_options_header

from tests.broken_off import broken_off
from tests.clock import FakeClock
from tests.cutting_proxy import Cut, CuttingProxy
from tests.factories import failure
from tests.tasks.usecases.batches.shop import a_shop, go, row, submit
from webhook.api.app import create_app
from webhook.api.models.batches import BatchDetailsDocument, BatchPage, BatchRetriedDocument, SteeredDocument
from webhook.api.models.problem import Problem
from worker.failures import Category, category_of
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.changes import Changes
from worker.services import Services
from worker.settings import load_settings


def refused(answer: Any, status: int, code: str) -> Problem:
    problem = Problem.model_validate_json(answer.data)
    assert (answer.status_code, problem.code) == (status, code), answer.text
    return problem


def steer(api: FlaskClient, verb: str, **body: object) -> SteeredDocument:
    answer = api.post(f"/v1/batches/shop/{verb}", json=body) if body else api.post(f"/v1/batches/shop/{verb}")
    assert answer.status_code == 200, answer.text
    return SteeredDocument.model_validate_json(answer.data)


def retry(api: FlaskClient, key: str | None = "again-1", **body: object) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post("/v1/batches/shop/retry", json=body, headers=headers)


def retried(answer: Any) -> BatchRetriedDocument:
    assert answer.status_code == 200, answer.text
    return BatchRetriedDocument.model_validate_json(answer.data)


def results(api: FlaskClient, query: str = "", batch: str = "shop") -> Any:
    return api.get(f"/v1/batches/{batch}/results?{query}", buffered=True)


def test_batches_are_listed_in_pages_the_newest_first(api: FlaskClient, ledger: Ledger, clock: FakeClock) -> None:
    ids = []
    for number in range(5):
        clock.advance(1)
        ids.append(submit(ledger, [row(1, f"{number}", "a fox")], f"batch {number}"))
    seen, after, pages = [], "", 0
    while True:
        page = BatchPage.model_validate_json(api.get(f"/v1/batches?limit=2{after}").data)
        seen += [one.id for one in page.data]
        pages += 1
        if page.next is None or pages > len(ids):
            break
        after = f"&after={page.next}"
    assert (seen, pages) == (ids[::-1], 3)
    assert BatchPage.model_validate_json(api.get("/v1/batches?limit=5").data).next is None
    problem = refused(api.get("/v1/batches?limit=201"), 422, "invalid")
    assert problem.errors is not None
    assert problem.errors[0].parameter == "limit"


@pytest.mark.parametrize("after", ["zzz", "%F0%9F%92%A9"])
def test_a_cursor_that_nobody_gave_out_is_refused(api: FlaskClient, ledger: Ledger, after: str) -> None:
    a_shop(ledger, None)
    problem = refused(api.get(f"/v1/batches?after={after}"), 422, "invalid")
    assert "this is not the `next` of a page of this list" in problem.detail


def test_an_empty_cursor_is_the_beginning(api: FlaskClient, ledger: Ledger) -> None:
    a_shop(ledger, None)
    assert len(api.get("/v1/batches?after=").json["data"]) == 1  # type: ignore[index]


def test_a_batch_is_found_by_its_id_or_its_name(api: FlaskClient, ledger: Ledger) -> None:
    batch_id = a_shop(ledger, None)
    for name in (batch_id, "shop"):
        details = BatchDetailsDocument.model_validate_json(api.get(f"/v1/batches/{name}").data)
        assert (details.id, details.total, details.counts[State.FAILED]) == (batch_id, 6, 1)
    problem = refused(api.get("/v1/batches/nothing"), 404, "not_found")
    assert "`GET /v1/batches`" in problem.detail
    assert "darkroom" not in problem.detail


def test_a_batch_is_steered(api: FlaskClient, ledger: Ledger, wakes: list[str]) -> None:
    submit(ledger, [row(number, f"{number}", "a fox") for number in range(3)])
    assert steer(api, "pause").done == {"paused": 3}
    assert wakes == []
    assert steer(api, "resume").changed
    assert wakes == ["dispatch"]
    assert steer(api, "reprioritize", priority=7).done == {"reprioritized": 3}
    limits = {"start_at": "2030-01-01T00:00:00Z", "max_in_flight": 2}
    steered = steer(api, "limit", **limits)
    assert (steered.start_at, steered.max_in_flight) == ("2030-01-01T00:00:00.000Z", 2)
    steered = steer(api, "limit", start_at=None)
    assert (steered.start_at, steered.max_in_flight) == (None, 2)
    assert steer(api, "cancel").done == {"cancelled": 3}
    refused(api.post("/v1/batches/shop/cancel"), 422, "invalid")
    refused(api.post("/v1/batches/nothing/pause"), 404, "not_found")
    refused(api.post("/v1/batches/shop/limit", json={}), 422, "invalid")
    refused(api.post("/v1/batches/shop/reprioritize", json={"priority": 2**31}), 422, "invalid")
    refused(api.post("/v1/batches/shop/limit", json={"max_cost": "1"}), 422, "invalid")


def test_what_failed_is_retried_once_however_often_it_is_asked_for(
    api: FlaskClient, ledger: Ledger, clock: FakeClock, wakes: list[str]
) -> None:
    a_shop(ledger, None)
    clock.advance(1)
    assert "Idempotency-Key" in refused(retry(api, None), 400, "idempotency_key_missing").detail
    first = retry(api)
    assert retried(first).done == {State.QUEUED: 1}
    assert wakes == ["dispatch", "archive"]
    clock.advance(1)
    (claim,) = go(ledger).values()
    ledger.generations.apply_outcomes([failure(claim)])
    again = retry(api)
    assert retried(again) == retried(first)
    assert again.headers["Idempotent-Replayed"] == "true"
    refused(retry(api, may_pay_twice=True), 422, "key_reused")
    assert retried(retry(api, "again-2")).retried == 1


def test_a_retry_that_died_is_completed_without_paying_for_anything_again(
    api: FlaskClient, ledger: Ledger, clock: FakeClock
) -> None:
    a_shop(ledger, None)
    clock.advance(1)
    with broken_off():
        retry(api)
    clock.advance(1)
    (claim,) = go(ledger).values()
    ledger.generations.apply_outcomes([failure(claim)])
    clock.advance(60)
    answer = retried(retry(api))
    assert answer.retried == 0
    assert answer.left == {"failed again since this was asked for": 1}
    assert answer.sent_before, "it has retried one that is not counted"
    assert retried(retry(api)) == answer
    assert not retried(retry(api, "again-2")).sent_before


@pytest.mark.parametrize("cut", [Cut.COMMITTED, Cut.LOST])
def test_a_retry_whose_commit_was_cut_is_never_told_as_one_that_retried_nothing(
    postgresql_url: str, here: Services, wakes: list[str], monkeypatch: pytest.MonkeyPatch, cut: Cut
) -> None:
    assert wakes == []
    with CuttingProxy(postgresql_url) as proxy:
        monkeypatch.setenv("DATABASE_URL", proxy.url)
        with closing(Services(load_settings(), here.clock)) as through:
            api = create_app(through).test_client()
            a_shop(through.ledger, None)
            with monkeypatch.context() as patch:
                move = Changes.move

                def cut_after(*arguments: Any, **options: Any) -> None:
                    proxy.arm(cut)
                    move(*arguments, **options)

                patch.setattr(Changes, "move", cut_after)
                told = refused(retry(api), 503, "outcome_unknown").detail
            assert "may have been saved" in told
            answer = retried(retry(api))
    assert (answer.retried, answer.sent_before) == (0 if cut is Cut.COMMITTED else 1, True)


def test_a_retry_names_reasons_and_never_those_that_may_be_paid_for(api: FlaskClient, ledger: Ledger) -> None:
    a_shop(ledger, None)
    (failed,) = ledger.generations.page(state=State.FAILED)
    category = category_of(failed.state, failed.reason, failed.message)
    others = [one for one in Category if one not in {category, Category.UNCONFIRMED}]
    assert retried(retry(api, "first", only=others)).retried == 0
    assert retried(retry(api, "second", only=[category])).retried == 1
    refused(retry(api, "third", only=["unconfirmed"]), 422, "invalid")
    refused(retry(api, "third", only=["bad luck"]), 422, "invalid")
    refused(api.post("/v1/batches/nothing/retry", json={}, headers={"Idempotency-Key": "4"}), 404, "not_found")


def test_results_come_back_in_each_format(api: FlaskClient, ledger: Ledger) -> None:
    a_shop(ledger, None)
    found = {kind: results(api, f"format={kind}") for kind in ("csv", "jsonl", "json", "xlsx")}
    for kind, answer in found.items():
        assert answer.status_code == 200
        assert answer.headers["Content-Disposition"] == f"attachment; filename=shop.{kind}"
        assert answer.content_length == len(answer.data)
    table = list(csv.DictReader(io.StringIO(found["csv"].text)))
    lines = [json.loads(line) for line in found["jsonl"].text.splitlines()]
    assert found["csv"].content_type == "text/csv; charset=utf-8"
    assert found["jsonl"].mimetype == "application/jsonl"
    assert found["json"].json == lines
    assert [line["key"] for line in table if line["key"]] == [line["key"] for line in lines if line["key"]]
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(found["xlsx"].data)).get_sheet_by_index(0)
    assert len(sheet.to_python()) == len(table) + 1 == len(lines) + 1
    assert results(api).data == found["jsonl"].data


def test_an_empty_batch_is_an_empty_array(api: FlaskClient, ledger: Ledger) -> None:
    batch_id = submit(ledger, [row(1, "1", "a fox")])
    with ledger.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM transitions")
        connection.exec_driver_sql("DELETE FROM generations")
    assert results(api, "format=json", batch_id).json == []


def test_failing_rows_come_back_to_be_corrected(api: FlaskClient, ledger: Ledger) -> None:
    a_shop(ledger, None)
    answer = results(api, "format=csv&errors=1")
    assert answer.headers["Content-Disposition"] == "attachment; filename=shop.errors.csv"
    (failed,) = csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig")))
    assert (failed["key"], bool(failed["error"])) == ("0043", True)
    refused(api.get("/v1/batches/shop/results?format=json&errors=1"), 422, "invalid")


def test_results_of_nothing_and_in_no_format_are_refused(api: FlaskClient, ledger: Ledger) -> None:
    refused(api.get("/v1/batches/nothing/results"), 404, "not_found")
    a_shop(ledger, None)
    refused(api.get("/v1/batches/shop/results?format=html"), 422, "invalid")
    refused(api.get("/v1/batches/shop/results?links=700000"), 422, "invalid")


def test_a_file_of_results_is_named_after_its_batch_in_any_language(api: FlaskClient, ledger: Ledger) -> None:
    name = submit(ledger, [row(1, "1", "a fox")], 'Größe "XL"; {a}/b\u2028')
    named = results(api, batch=name).headers["Content-Disposition"]
    assert named.isascii()
    assert parse_options_header(named) == ("attachment", {"filename": "b\u2028.jsonl"})


def test_results_are_sent_in_pieces_from_a_file_that_is_closed_with_the_answer(
    api: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    import webhook.results_file as door  # noqa: PLC0415

    files, make = [], door.TemporaryFile

    def made(**options: Any) -> Any:
        files.append(make(**options))
        return files[-1]

    monkeypatch.setattr(door, "TemporaryFile", made)
    monkeypatch.setattr(door, "_PIECE", 100)
    a_shop(ledger, None)
    answer = api.get("/v1/batches/shop/results", buffered=False)
    pieces = list(answer.iter_encoded())
    assert max(map(len, pieces)) == 100
    answer.close()
    refused(api.get("/v1/batches/nothing/results"), 404, "not_found")
    assert len(files) == 2
    assert all(one.closed for one in files)
