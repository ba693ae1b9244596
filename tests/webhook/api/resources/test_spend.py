"""GET /v1/spend: what `darkroom spend` shows."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tasks.usecases import views
from tasks.usecases.spend import SpendRequest, read_dimensions, spend
from tests.tasks.cli.test_spend import FILE, story
from webhook.api.models.spend import SpendDocument
from worker.services import Services
from worker.settings.settings import load_settings


@pytest.fixture
def prices(here: Services, tmp_path: Path, settings_of_the_test: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(FILE)
    settings_of_the_test.setenv("DARKROOM_PRICES", str(path))
    here.settings = load_settings()
    return path


@pytest.mark.parametrize("by", ["day", "provider", "batch", "operation", "label:client,provider,day"])
def test_sums_are_those_of_the_command_line(here: Services, api: FlaskClient, prices: Path, by: str) -> None:
    story(here.ledger, prices)
    answer = api.get("/v1/spend", query_string={"by": by})
    assert answer.status_code == 200
    found = SpendDocument.model_validate(answer.json)
    assert answer.json == views.of_spending(spend(here, SpendRequest(read_dimensions(by))))
    assert found.rows != []
    assert found.total.known == "1.50"


def test_what_the_budgets_have_left_is_in_it(here: Services, api: FlaskClient, prices: Path) -> None:
    story(here.ledger, prices)
    found = SpendDocument.model_validate(api.get("/v1/spend").json)
    today = next(cap for cap in found.caps if cap.budget == "day")
    assert (today.cap, today.used, today.left, today.waiting) == ("5.00", "5.00", "0.00", 1)


def test_days_and_labels_limit_what_is_summed_up(here: Services, api: FlaskClient, prices: Path) -> None:
    story(here.ledger, prices)
    earlier = SpendDocument.model_validate(api.get("/v1/spend?from=2020-01-01&to=2020-12-31").json)
    assert (str(earlier.since), str(earlier.until), earlier.rows) == ("2020-01-01", "2020-12-31", [])
    labelled = SpendDocument.model_validate(api.get("/v1/spend?label=client:acme").json)
    assert labelled.rows == []
    assert api.get("/v1/spend?label=client:acme&label=year:2026").status_code == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("by=colour", "cannot group by 'colour': expected one or more of day, provider"),
        ("from=yesterday", "from: expected a day such as 2026-11-30"),
        ("from=0001-01-01", "from: it must be greater than or equal to 2000-01-01"),
        ("from=2026-02-01&to=2026-01-01", "the last day 2026-01-01 is before the first day 2026-02-01"),
        ("label=client", "label 'client': its value is empty; give it as name:value"),
        ("since=30d", "since: there is no field with this name"),
    ],
)
def test_a_mistake_is_one_sentence(api: FlaskClient, query: str, words: str) -> None:
    answer = api.get(f"/v1/spend?{query}")
    assert answer.status_code == 422
    assert answer.json is not None
    assert words in answer.json["detail"]
