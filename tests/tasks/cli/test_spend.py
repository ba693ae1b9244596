"""`darkroom spend`, and what `doctor` says about budgets."""

import json
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from tasks.usecases.services import LedgerAlone
from tasks.usecases.spend import SpendRequest, spend
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from tests.tasks.cli.test_doctor import findings
from worker.errors import RequestInvalid, Uncertain
from worker.generation import GenerationRequest, Operation, Outcome, Status
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.generations import NewGeneration
from worker.ledger.outcome import News
from worker.ledger.submission import Submitted
from worker.pricing.price_file import load_prices
from worker.providers import PROVIDERS
from worker.settings import load_settings

FILE = """
currency: credits
prices:
  - {provider: acedata, price: 1.5}
  - {provider: acedata, operation: blend, price: 2}
caps:
  day: 5
  providers: {acedata: 100}
  batches: {autumn: 50}
"""


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(FILE)
    monkeypatch.setenv("DARKROOM_PRICES", str(path))
    return path


def story(ledger: Ledger, file: Path) -> None:
    """One spent, one possible, one reserved (a blend), one that has no room any more; all in one batch."""
    operations = (Operation.IMAGINE, Operation.IMAGINE, Operation.BLEND, Operation.IMAGINE)
    ledger.generations.create(
        [
            NewGeneration(provider="acedata", request=GenerationRequest(operation=one, prompt="a fox"))
            for one in operations
        ],
        "autumn",
    )
    ledger.dispatch.run("acedata", Limits(1000, 1000), load_prices(file, PROVIDERS))
    first, second, _ = sorted(ledger.submissions.claim(3, stories.MINUTE), key=lambda claim: claim.generation.id)
    ledger.generations.apply_outcomes(
        [
            News(
                attempt_id=first.attempt_id,
                outcome=Outcome(status=Status.SUCCEEDED, task_id="task-1", text={"a": "b"}),
                cause="callback",
            )
        ]
    )
    unclear = Uncertain("no answer came in time", code="read_timeout")
    ledger.submissions.record([Submitted(second.attempt_id, unclear)], stories.MINUTE)


def test_one_document_says_what_was_spent_and_what_is_left(darkroom: Darkroom, ledger: Ledger, prices: Path) -> None:
    story(ledger, prices)
    document = json.loads(darkroom("spend", "--by", "operation", "--json").stdout)
    assert (document["currency"], document["by"]) == ("credits", "operation")
    amounts = ("known", "possible", "reserved", "total", "late")
    assert document["rows"] == [
        {"id": key, "name": key} | dict(zip(amounts, row, strict=True))
        for key, row in {
            "imagine": ("1.50", "1.50", "0.00", "3.00", "0.00"),
            "blend": ("0.00", "0.00", "2.00", "2.00", "0.00"),
        }.items()
    ]
    assert document["total"] == dict(zip(amounts, ("1.50", "1.50", "2.00", "5.00", "0.00"), strict=True))
    assert [(cap["budget"], cap["name"], cap["cap"], cap["used"], cap["left"], cap["waiting"])
            for cap in document["caps"]] == [
        ("day", "today", "5.00", "5.00", "0.00", 1),
        ("provider", "acedata today", "100.00", "5.00", "95.00", 0),
        ("batch", "autumn", "50.00", "5.00", "45.00", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["day", "provider", "batch", "operation"])
def test_people_see_a_table_and_the_budgets(darkroom: Darkroom, ledger: Ledger, prices: Path, by: str) -> None:
    story(ledger, prices)
    lines = darkroom("spend", "--by", by).stdout.splitlines()
    assert lines[0].split() == [by, "known", "possible", "reserved", "total"]
    words = {"provider": "acedata", "batch": "autumn", "operation": "imagine"}
    assert words.get(by, f"{ledger.database.clock():%Y-%m-%d}") in lines[1]
    assert lines[-4].split() == ["budget", "(credits)", "cap", "used", "left", "waiting"]
    assert lines[-3].split() == ["today", "5.00", "5.00", "0.00", "1"]


def test_a_program_names_the_days_that_count(darkroom: Darkroom, ledger: Ledger, prices: Path) -> None:
    story(ledger, prices)
    here = LedgerAlone(load_settings())
    with closing(here):
        (of_today,) = spend(here, SpendRequest()).rows
        today = date.fromisoformat(str(of_today.key))
        until_today = spend(here, SpendRequest(since=today, until=today))
        before = spend(here, SpendRequest(until=today - timedelta(days=1)))
        assert (until_today.rows, before.rows) == ((of_today,), ())
        assert until_today.caps == before.caps != ()
        with pytest.raises(RequestInvalid, match="is before the first day"):
            spend(here, SpendRequest(since=today, until=today - timedelta(days=1)))


def test_only_what_was_submitted_since_then_counts(darkroom: Darkroom, ledger: Ledger, prices: Path) -> None:
    now = ledger.database.clock()
    ledger.database.clock = lambda: now - timedelta(days=3)
    story(ledger, prices)
    assert len(json.loads(darkroom("spend", "--json").stdout)["rows"]) == 1
    assert json.loads(darkroom("spend", "--since", "2d", "--json").stdout)["rows"] == []
    assert "Nothing spent since" in darkroom("spend", "--since", "2d").stderr


def test_without_prices_it_says_how_to_begin(darkroom: Darkroom) -> None:
    result = darkroom("spend")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "DARKROOM_PRICES is not set, so new submissions have no price and are not counted" in result.stderr
    assert "Nothing spent" not in result.stderr, "nobody knows"
    assert json.loads(darkroom("spend", "--json").stdout)["currency"] is None


def test_a_mistake_in_the_file_is_one_sentence(darkroom: Darkroom, prices: Path) -> None:
    prices.write_text("caps:\n  day: much\n")
    result = darkroom("spend")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"darkroom: {prices}, line 2, column 8: invalid amount 'much'")
    assert findings(darkroom)["budgets"][0] == "fail"


def test_show_says_why_one_waits(darkroom: Darkroom, ledger: Ledger, prices: Path) -> None:
    story(ledger, prices)
    (waiting,) = [one for one in ledger.generations.page() if one.reason == "budget"]
    text = " ".join(darkroom("show", waiting.id).stdout.split())
    assert "the daily budget has no room: 5.00 credits of 5.00 credits spent or reserved" in text


def test_the_doctor_warns_of_a_full_budget(darkroom: Darkroom, ledger: Ledger, prices: Path) -> None:
    assert "budgets" in findings(darkroom)
    assert findings(darkroom)["budgets"] == ("ok", "today has 5.00 credits left; acedata today has 100.00 credits left")
    story(ledger, prices)
    verdict, message = findings(darkroom)["budgets"]
    assert verdict == "warn"
    assert message.startswith("budget for today: 1 waiting, cap reached (5.00 of 5.00 credits): raise the cap in ")


def test_the_doctor_warns_of_a_provider_without_a_price(
    darkroom: Darkroom, prices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MJPROXY_BASE_URL", "http://127.0.0.1:1")
    document = json.loads(darkroom("doctor", "--json").stdout)
    told = [one["message"] for one in document["checks"] if one["check"] == "budgets" and one["verdict"] == "warn"]
    assert told == [f"{prices} has no price for mjproxy: its generations count as free"]


def test_without_prices_the_doctor_says_nothing_of_budgets(darkroom: Darkroom) -> None:
    assert "budgets" not in findings(darkroom)


def test_what_has_no_factor_is_told_by_submit_doctor_and_spend(
    darkroom: Darkroom, ledger: Ledger, prices: Path
) -> None:
    submitted = darkroom("submit", "a fox --hd", "an owl --hd", "a hen --turbo").stderr
    advice = "add lines such as `- {provider: acedata, hd: true, factor: 2}`"
    assert (
        f"{prices} has no factor for hd at acedata, so the highest known one is reserved; "
        f"2 generations are reserved at 6.00 credits each: {advice}"
    ) in submitted
    verdict, message = findings(darkroom)["prices"]
    assert verdict == "warn"
    assert message == (
        f"{prices} has no factor for hd, moodboard, quality=2, quality=4, style_reference at acedata, so the highest "
        "known one is reserved (hd 4 times, moodboard 4 times, quality=2 2 times, quality=4 4 times, style_reference 4 "
        f"times): {advice}"
    )
    prices.write_text(FILE.replace("  day: 5\n", "  day: 20\n"))
    ledger.dispatch.run("acedata", Limits(1000, 1000), load_prices(prices, PROVIDERS))
    told = darkroom("spend").stderr
    assert (
        "12.00 of it, at acedata, is counted at the highest known factor, because the price file has none for hd"
        in told
    )
    document = json.loads(darkroom("spend", "--json").stdout)
    assert document["assumed"] == [{"provider": "acedata", "extras": ["hd"], "amount": "12.00"}]


def test_with_all_factors_nothing_more_is_said(darkroom: Darkroom, ledger: Ledger, prices: Path) -> None:
    extras = ("hd: true", "moodboard: true", "quality: 2", "quality: 4", "style_reference: true")
    factors = "".join(f"  - {{provider: acedata, {extra}, factor: 1.5}}\n" for extra in extras)
    prices.write_text(FILE.replace("caps:\n", f"{factors}caps:\n"))
    assert "factor" not in darkroom("submit", "a fox --hd").stderr
    assert "prices" not in findings(darkroom)
    ledger.dispatch.run("acedata", Limits(1000, 1000), load_prices(prices, PROVIDERS))
    document = json.loads(darkroom("spend", "--json").stdout)
    assert (document["total"]["reserved"], document["assumed"]) == ("2.25", [])


def test_a_submission_is_saved_and_the_mistake_told_when_the_price_file_is_wrong(
    darkroom: Darkroom, ledger: Ledger, prices: Path
) -> None:
    prices.write_text("caps:\n  day: much\n")
    result = darkroom("submit", "a fox")
    assert result.exit_code == 0
    assert f"saved, but nothing is submitted until this is fixed: {prices}, line 2, column 8" in result.stderr
    assert len(ledger.generations.page()) == 1


def test_what_was_sent_without_a_price_is_told_and_charged_on_request(
    darkroom: Darkroom, ledger: Ledger, prices: Path
) -> None:
    done = stories.archived(ledger)
    told = darkroom("spend")
    assert "1 has no price: 1 acedata imagine" in told.stderr
    assert "`darkroom spend --price-now` charges 1 of them: 1.50 credits" in told.stderr
    report = json.loads(darkroom("spend", "--json").stdout)
    assert report["unpriced"] == [{"provider": "acedata", "operation": "imagine", "number": 1, "amount": "1.50"}]
    assert "nothing was charged: repeat the command with --yes" in darkroom("spend", "--price-now").stderr
    assert darkroom("spend", "--price-now", "--label", "client=acme").exit_code == 2
    assert darkroom("spend", "--price-now", "--yes").stdout == "1 charged, 1.50 credits\n"
    again = json.loads(darkroom("spend", "--price-now", "--yes", "--json").stdout)
    assert again == {"priced": 0, "amount": "0.00", "currency": "credits"}
    shown = json.loads(darkroom("show", str(done), "--json").stdout)
    assert (shown["cost"], shown["total_cost"]) == ("1.50", "1.50")
