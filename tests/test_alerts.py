"""The alerts and the board agree with the metrics, and each alert with its entry in the runbook."""

import re
from collections import Counter

import pytest

from tests.monitoring import alerts, board, board_expressions, family, known, labels_in, panels, rules, series_in
from tests.test_documents import ROOT, anchors, text_of

RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"
MISSING = "DarkroomMetricMissing"

expressions = [rule["expr"] for rule in rules()]
by_alert = pytest.mark.parametrize(
    "alert", alerts(), ids=[f"{one['alert']}-{number}" for number, one in enumerate(alerts())]
)


@by_alert
def test_an_alert_says_how_bad_it_is_what_it_means_and_what_to_do(alert):
    assert alert["labels"]["severity"] in {"critical", "warning"}
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["summary"].endswith(".")
    assert notes["description"].endswith(".")


@by_alert
def test_an_alert_leads_to_an_entry_of_its_own_in_the_runbook(alert):
    file, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert ROOT / file == RUNBOOK
    assert anchor == alert["alert"].lower()
    assert anchor in anchors(RUNBOOK)


def test_the_runbook_has_no_entry_for_an_alert_that_is_gone():
    entries = re.findall(r"^### (Darkroom\w+)$", text_of(RUNBOOK), re.MULTILINE)
    assert Counter(entries) == Counter({one["alert"] for one in alerts()})


@pytest.mark.parametrize("expression", [*expressions, *board_expressions()])
def test_only_metrics_and_labels_are_asked_for_that_there_are(expression: str):
    assert series_in(expression) <= known().keys()
    assert {(name, label) for name, label in labels_in(expression) if label not in known()[name]} == set()


@pytest.mark.parametrize("series", sorted({name for one in expressions for name in series_in(one)}))
def test_a_metric_that_vanishes_silences_no_alert(series: str):
    twins = {name for one in alerts() if one["alert"] == MISSING for name in absent_in(one["expr"])}
    assert series in twins


def absent_in(expression: str) -> set[str]:
    return {name for one in re.findall(r"absent\(([^)]*)\)", expression) for name in series_in(one)}


def test_whatever_a_rule_records_is_used():
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert recorded == {name for one in expressions for name in re.findall(r"darkroom:[\w:]+", one)}


def test_every_metric_is_on_the_board():
    assert {family(name) for one in board_expressions() for name in series_in(one)} == set(map(family, known()))


def test_the_board_belongs_to_no_installation():
    assert (board()["id"], board().get("uid")) == (None, None)
    (source,) = (one for one in board()["templating"]["list"] if one["type"] == "datasource")
    assert source["query"] == "prometheus"
    sources = {str(one["datasource"]) for one in panels() if "datasource" in one}
    assert sources == {str({"type": "prometheus", "uid": f"${{{source['name']}}}"})}


def test_each_panel_has_a_title_a_unit_and_a_place_of_its_own():
    drawn = [one for one in panels() if one["type"] != "row"]
    places = Counter((one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels())
    assert max(places.values()) == 1
    assert len({one["id"] for one in panels()}) == len(list(panels()))
    for panel in drawn:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_the_rows_of_the_board_stand_in_the_order_in_which_people_worry():
    rows = [one["title"] for one in panels() if one["type"] == "row"]
    assert rows == ["Money", "Flow", "Links", "Receivers", "Machinery"]
