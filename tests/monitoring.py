"""What Prometheus and Grafana load from `deploy/`, and the metrics that Darkroom has."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from tests.test_layering import ROOT

ALERTS = ROOT / "deploy" / "alerts.yml"
BOARD = ROOT / "deploy" / "grafana" / "darkroom.json"
METRICS = ROOT / "deploy" / "METRICS.md"

_NAME = re.compile(r"\bdarkroom_\w+")
_SELECTOR = re.compile(r"\b(darkroom_\w+)\{([^}]*)\}")
_ROW = re.compile(r"^\| `(darkroom_\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)
#: of a histogram's series
_SUFFIX = re.compile(r"_(bucket|count|sum)$")


@cache
def rules() -> tuple[dict[str, Any], ...]:
    loaded = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    return tuple(rule for group in loaded["groups"] for rule in group["rules"])


def alerts() -> tuple[dict[str, Any], ...]:
    return tuple(rule for rule in rules() if "alert" in rule)


@cache
def board() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(BOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> Iterator[dict[str, Any]]:
    """Every panel of the board, those of closed rows too."""
    for panel in board()["panels"]:
        yield panel
        yield from panel.get("panels", ())


def board_expressions() -> list[str]:
    """What the board asks Prometheus, with a value in the place of each variable."""
    targets = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    asked = [one["query"]["query"] for one in board()["templating"]["list"] if one["type"] == "query"]
    series = [found[1] for one in asked if (found := re.fullmatch(r"label_values\((.+), \w+\)", one))]
    assert len(series) == len(asked)
    return [re.sub(r"\$__rate_interval", "5m", re.sub(r"\$\{?provider\}?", ".+", one)) for one in (*targets, *series)]


@cache
def known() -> dict[str, frozenset[str]]:
    """Every metric of Darkroom with its labels; a histogram as the series that Prometheus makes of it."""
    rows = _ROW.findall(METRICS.read_text(encoding="utf-8"))
    return {
        f"{name}{series}": frozenset(re.findall(r"\w+", labels)) | ({"le"} if series == "_bucket" else set())
        for name, kind, labels in rows
        for series in (("_bucket", "_count", "_sum") if kind == "histogram" else ("",))
    }


def series_in(expression: str) -> set[str]:
    """What an expression asks for, and none that a rule records."""
    return set(_NAME.findall(re.sub(r"darkroom:[\w:]+", "", expression)))


def labels_in(expression: str) -> set[tuple[str, str]]:
    """Each series with a label by which the expression selects."""
    return {
        (name, label)
        for name, selected in _SELECTOR.findall(expression)
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selected)
    }


def family(series: str) -> str:
    """The metric that a series belongs to."""
    return _SUFFIX.sub("", series)
