"""`--label NAME=VALUE` chooses what a command is about."""

import json

import pytest

from tests.factories import PLENTY, POLL_AFTER, PROVIDER, archived, claimed, failure, queued
from tests.tasks.cli.conftest import Darkroom
from worker.errors import Uncertain
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.submission import Submitted
from worker.pricing.price_file import load_prices
from worker.providers import PROVIDERS

ACME = {"client": "acme"}


def listed(darkroom: Darkroom, *arguments: str) -> list[str]:
    return [json.loads(line)["id"] for line in darkroom("list", "--json", *arguments).stdout.splitlines()]


def test_a_list_shows_those_with_all_labels(darkroom: Darkroom, ledger: Ledger):
    (acme,) = queued(ledger, labels=ACME)
    (both,) = queued(ledger, labels={**ACME, "order": "7"}, key="sku-1")
    queued(ledger)
    assert listed(darkroom, "--label", "client=acme") == [both.id, acme.id]
    assert listed(darkroom, "--label", "client=acme", "--label", "order=7") == [both.id]
    assert listed(darkroom, "--label", "client=acme", "--key", "sku-1") == [both.id]
    assert listed(darkroom, "--label", "client=acme", "--provider", "kie") == []
    shown = json.loads(darkroom("show", "sku-1", "--json").stdout)
    assert shown["labels"] == {"client": "acme", "order": "7"}
    assert "  labels    client=acme  order=7\n" in darkroom("show", "sku-1").stdout


def test_what_is_submitted_gets_its_labels(darkroom: Darkroom, ledger: Ledger):
    generation_id = darkroom("submit", "a red fox", "--label", "client=acme", "--label", "order=7").stdout.strip()
    assert ledger.generations.labels_of([generation_id]) == {generation_id: {"client": "acme", "order": "7"}}


def test_decisions_are_for_one_client(darkroom: Darkroom, ledger: Ledger):
    (acme,), (other,) = queued(ledger, labels=ACME), queued(ledger)
    assert darkroom("cancel", "--label", "client=acme").stdout == "1 cancelled\n"
    states = {one.id: one.state for one in ledger.generations.get([acme.id, other.id])}
    assert states == {acme.id: State.CANCELLED, other.id: State.QUEUED}
    ledger.generations.cancel([other.id])
    ledger.generations.apply_outcomes([failure(claim) for claim in claimed(ledger, labels=ACME)])
    assert darkroom("retry", "--failed", "--label", "client=acme").stdout == "1 queued again\n"
    assert darkroom("delete", "--label", "client=nobody").stderr == "No matching generations.\n"


def test_reports_are_for_one_client(darkroom: Darkroom, ledger: Ledger):
    for labels in (ACME, {}):
        (claim,) = claimed(ledger, labels=labels)
        ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("?", code="time_out"))], POLL_AFTER)
    assert len(darkroom("unconfirmed", "--json").stdout.splitlines()) == 2
    (mine,) = darkroom("unconfirmed", "--json", "--label", "client=acme").stdout.splitlines()
    assert ledger.generations.labels_of([json.loads(mine)["id"]])
    assert darkroom("at-risk", "--label", "client=acme").stderr == "Nothing is at risk.\n"


def test_watching_a_label_ends_when_all_of_it_is_done(darkroom: Darkroom, ledger: Ledger):
    archived(ledger, 2, labels=ACME)
    queued(ledger)
    result = darkroom("watch", "--label", "client=acme")
    assert result.exit_code == 0
    assert "2 archived, 0 failed" in result.stderr
    wrong = darkroom("watch", "--label", "client=nobody")
    assert (wrong.exit_code, wrong.stderr) == (
        1, "darkroom: there is no generation with client=nobody; `darkroom list` shows the newest ones\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["client"], "label 'client' is not of the form name=value, such as client=acme"),
        (["Client=acme"], "label name 'Client': use 1 to 63 of the characters a to z, 0 to 9, `_`, `.` and `-`"),
        (["client="], "label 'client': its value is empty"),
        (["client=" + "x" * 257], "label 'client': its value has 257 characters, the limit is 256"),
        (["client=a", "client=b"], "label 'client' is given twice: a generation has one value per label"),
        ([f"n{number}=x" for number in range(17)], "17 labels, the limit is 16 per generation"),
    ],
)
def test_an_impossible_label_is_refused(darkroom: Darkroom, given: list[str], said: str):
    result = darkroom("list", *[word for label in given for word in ("--label", label)])
    assert result.exit_code == 2
    assert said in result.stderr


PRICES = """
currency: EUR
prices: [{price: 0.5}]
caps:
  labels: {client: {acme: 1, "*": 3}}
"""


def charged(darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three for acme, of which two fit its budget; one for a client with an odd name; one without a label."""
    path = darkroom.data / "prices.yaml"
    path.write_text(PRICES)
    monkeypatch.setenv("DARKROOM_PRICES", str(path))
    queued(ledger, 3, labels=ACME)
    queued(ledger, labels={"client": "=beta()"})
    queued(ledger)
    ledger.dispatch.run(PROVIDER, PLENTY, load_prices(path, PROVIDERS))


def test_spending_is_told_apart_by_client_and_provider(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    charged(darkroom, ledger, monkeypatch)
    found = darkroom("spend", "--by", "label:client,provider", "--csv")
    assert found.stdout.splitlines() == [
        "label:client,provider,known,possible,reserved,total,late,currency",
        "acme,acedata,0.00,0.00,1.00,1.00,0.00,EUR",
        ",acedata,0.00,0.00,0.50,0.50,0.00,EUR",
        "'=beta(),acedata,0.00,0.00,0.50,0.50,0.00,EUR",
    ]
    report = json.loads(darkroom("spend", "--by", "label:client,provider", "--json").stdout)
    assert report["by"] == ["label:client", "provider"]
    assert report["rows"][0]["label:client"] == {"id": "acme", "name": "acme"}
    (cap,) = report["caps"]
    assert (cap["budget"], cap["id"], cap["used"], cap["waiting"]) == ("label", "client=acme", "1.00", 1)
    single = json.loads(darkroom("spend", "--by", "provider", "--label", "client=acme", "--json").stdout)
    assert [(row["id"], row["total"]) for row in single["rows"]] == [("acedata", "1.00")]
    table = darkroom("spend", "--by", "label:client,provider").stdout
    assert "without label" in table
    assert "client=acme" in table


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("label", "cannot group by all labels: write label:NAME, such as label:client"),
        ("client", "cannot group by 'client': expected one or more of day, provider, batch, operation, label:NAME"),
        ("day,day", "cannot group by 'day,day': one of them is given twice"),
        ("label:Client", "label name 'Client'"),
    ],
)
def test_an_unknown_dimension_is_refused(darkroom: Darkroom, by: str, said: str):
    result = darkroom("spend", "--by", by)
    assert result.exit_code == 2
    assert said in result.stderr
